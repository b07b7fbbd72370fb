"""Where exports go and how far they got: a file that is appended to, a stream, and the file of a cursor."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from perhop.errors import ExportFailed

_TAIL_BYTES = 64 * 1024


class AppendedFile:
    """A file that only grows, made with mode 0600. It is opened for each batch, so it may be moved away between two.

    What a crash left of a last line is taken off before anything is added: its record comes again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, lines: Sequence[str]) -> None:
        """Raises: ExportFailed"""
        text = "".join(f"{line}\n" for line in lines).encode()
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                end = _end_of_whole_lines(file)
                os.ftruncate(file, end)
                os.lseek(file, end, os.SEEK_SET)
                _write_all(file, text)
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise ExportFailed(
                f"`{self._path}` cannot be written: {error.strerror}", advice="make room, or mend the path; it goes on"
            ) from error


class Stream:
    """A stream such as stdout; what reads it answers for the lines from there on."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, lines: Sequence[str]) -> None:
        """Raises: ExportFailed"""
        try:
            self._stream.write("".join(f"{line}\n" for line in lines).encode())
            self._stream.flush()
        except OSError as error:
            raise ExportFailed(f"the stream cannot be written: {error.strerror}") from error


class CursorFile:
    """A cursor in a file of its own, replaced in one step."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> int:
        """Raises: ExportFailed"""
        try:
            found = json.loads(self._path.read_text(encoding="ascii"))
        except FileNotFoundError:
            return 0
        except (OSError, ValueError) as error:
            raise ExportFailed(f"the cursor `{self._path}` cannot be read: {error}") from error
        seq = found.get("seq") if isinstance(found, dict) else None
        if not isinstance(seq, int) or isinstance(seq, bool) or seq < 0:
            raise ExportFailed(f"`{self._path}` is not a cursor", advice="remove it to export from the first record on")
        return seq

    def save(self, seq: int) -> None:
        """Raises: ExportFailed"""
        draft = self._path.with_name(f"{self._path.name}.new")
        try:
            with draft.open("w", encoding="ascii") as file:
                file.write(json.dumps({"seq": seq}) + "\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError as error:
            raise ExportFailed(f"the cursor `{self._path}` cannot be written: {error.strerror}") from error


class CursorInMemory:
    """A cursor for one run: it begins after a record, and is forgotten."""

    def __init__(self, seq: int = 0) -> None:
        self._seq = seq

    def load(self) -> int:
        return self._seq

    def save(self, seq: int) -> None:
        self._seq = seq


def _end_of_whole_lines(file: int) -> int:
    size = os.fstat(file).st_size
    at = size
    while at > 0:
        start = max(0, at - _TAIL_BYTES)
        newline = os.pread(file, at - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        at = start
    return 0


def _write_all(file: int, text: bytes) -> None:
    while text:
        text = text[os.write(file, text) :]
