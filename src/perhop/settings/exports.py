"""Exports of the journal: each into a file of its own, which is none of Perhop's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from perhop.settings.model import ExportSection
from perhop.settings.problems import Findings
from perhop.settings.values import Export

KEYS = "keys"


def build_exports(
    sections: Mapping[str, ExportSection], file: Path, database: Path | None, findings: Findings
) -> tuple[Export, ...]:
    """The exports; one that would write into what another, or Perhop itself, keeps is a problem."""
    taken: dict[Path, str] = {}
    built = []
    for name, section in sections.items():
        to = None if section.to == "-" else file.parent / section.to
        built.append(Export(name=name, format=section.format, to=to))
        if to is None:
            continue
        path = ("exports", name, "to")
        what = whose(to, file=file, database=database)
        if what is not None:
            findings.add(path, f"`exports.{name}.to` is {what}", "name a file that nothing else writes")
        first = taken.setdefault(to.resolve(), name)
        if first != name:
            text = f"`exports.{name}.to` is the file of `exports.{first}`"
            findings.add(path, text, "name another one: the lines of two exports do not belong into one file")
    return tuple(built)


def whose(to: Path, *, file: Path, database: Path | None) -> str | None:
    """What this file is to Perhop, so that no export may be appended to it; None for a file that is nothing to it."""
    at = to.resolve()
    if at == file.resolve():
        return "the configuration file"
    keys = (file.parent / KEYS).resolve()
    if at.is_relative_to(keys):
        return f"in the folder `{KEYS}/`"
    if database is None:
        return None
    beside = database.resolve().parent
    for name, what in ((database.resolve().name, "the database"), ("journal.db", "the journal")):
        if at in {beside / f"{name}{end}" for end in ("", "-wal", "-shm", "-journal")}:
            return what
    if at == beside / "journal.checkpoint":
        return "the journal's checkpoint"
    if at.parent == beside and at.name.startswith("export-") and at.suffix == ".cursor":
        return "where an export keeps how far it got"
    return "the control socket" if at == beside / "perhop.sock" else None
