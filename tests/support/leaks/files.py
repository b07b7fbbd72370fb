"""Files that tests leave: what each of them is, and its text as it is looked through."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote

from tests.support.leaks.exceptions import KeptFile, kept_file
from tests.support.leaks.secrets import Kind

_SQLITE = b"SQLite format 3\0"
_PEM_BODY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----([^-]+)-----")
_YAML_SECRET = re.compile(r"\bsecret: *[\"']?([^\s\"'},]+)")
_BLOCK, _OVERLAP = 1 << 24, 1 << 14
_EMPTY = bytes(64)


class Sight(StrEnum):
    """What is looked at."""

    FILE = "files"
    DATABASE = "databases"
    RECORD = "records"
    CHECKPOINT = "checkpoints"
    EXPORT = "exports"
    REPORT = "reports"
    OUTPUT = "outputs"
    LOG = "log lines"
    METRICS = "pages of metrics"
    SPAN = "spans"
    ANSWER = "answers that refuse"


@dataclass(frozen=True, slots=True)
class Text:
    """Something to look through; `rows` says that a line is a row, `allowed` what may be there."""

    sights: tuple[Sight, ...]
    place: str
    octets: bytes
    amount: int = 1
    rows: bool = False
    allowed: Kind | None = None
    is_decoded: bool = True

    def where(self, place: int) -> str:
        """This text, and where in it that octet is."""
        if place < 0:
            return f"{self.place}, encoded"
        line = self.octets[:place].count(b"\n") + 1
        return f"{self.place}, row {line}" if self.rows else f"{self.place}, octet {place} (line {line})"


def kept_secrets(file: Path, kept: KeptFile) -> Iterator[tuple[str, Kind]]:
    """What a file holds that may hold secrets, to be looked for elsewhere."""
    if kept.kind is None:
        return
    text = file.read_text(encoding="utf-8", errors="replace")
    if kept.kind is Kind.PRIVATE_KEY:
        found = ["".join(body.split()) for body in _PEM_BODY.findall(text)]
    else:
        found = _YAML_SECRET.findall(text) if file.suffix == ".yaml" else [text.strip()]
    yield from ((each, kept.kind) for each in found)


def files_in(folder: Path) -> Iterator[tuple[Path, KeptFile | None]]:
    """Every file below this folder, with the reason why it may hold secrets, if it may."""
    start = len(str(folder.parent)) + 1
    inside = [str(folder)]
    while inside:
        for entry in _entries(inside.pop()):
            if entry.is_dir(follow_symlinks=False):
                inside.append(entry.path)
            elif entry.is_file(follow_symlinks=False):
                yield Path(entry.path), kept_file(entry.path[start:])


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []  # it is gone, or a test has closed it to everybody


def texts_of(file: Path, place: str) -> Iterator[Text]:
    """The file's octets, and of a database its rows as well: a long one is in pieces in the file."""
    kinds: tuple[Sight, ...] | None = None
    before = b""
    with file.open("rb") as source:
        while block := source.read(_BLOCK):
            octets = before + block
            sights = _kinds_of(file, octets) if kinds is None else ()
            kinds = kinds or sights
            # Of a database the rows are decoded. In its octets everything looks like something.
            is_decoded = Sight.DATABASE not in kinds and not file.name.endswith(("-wal", "-shm"))
            yield Text(sights, place, octets.replace(_EMPTY, b""), is_decoded=is_decoded)
            before = octets[-_OVERLAP:]
    if kinds is not None and Sight.DATABASE in kinds:
        yield from _rows_of(file, place)


def _kinds_of(file: Path, octets: bytes) -> tuple[Sight, ...]:
    if octets.startswith(_SQLITE):
        return Sight.FILE, Sight.DATABASE
    if file.suffix == ".checkpoint":
        return Sight.FILE, Sight.CHECKPOINT
    if octets.lstrip()[:15].lower() == b"<!doctype html>":
        return Sight.FILE, Sight.REPORT
    line = octets.partition(b"\n")[0]
    if line.startswith(b"{") and (b'"class_uid":' in line or (b'"event":' in line and b'"seq":' in line)):
        return Sight.FILE, Sight.EXPORT
    return (Sight.FILE,)


def _rows_of(file: Path, place: str) -> Iterator[Text]:
    is_whole = not file.with_name(f"{file.name}-wal").exists()
    address = f"file:{quote(str(file))}?mode=ro{'&immutable=1' if is_whole else ''}"
    try:
        with closing(sqlite3.connect(address, uri=True)) as db:
            db.text_factory = bytes
            names = [row[0].decode() for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for name in names:
                rows = [_row(row) for row in db.execute(f'SELECT * FROM "{name}"')]
                sights = (Sight.RECORD,) if name == "record" else ()
                yield Text(sights, f"{place}, table {name}", b"\n".join(rows), amount=len(rows), rows=True)
    except sqlite3.DatabaseError:
        return  # a test has broken it; its octets have been looked at


def _row(row: tuple[object, ...]) -> bytes:
    return b"\x1f".join(each for each in row if isinstance(each, bytes)).replace(b"\n", b" ")
