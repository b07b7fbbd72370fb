"""Where exports go and how far they got: a file that is appended to, a stream, and the file of a cursor."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from perhop.errors import ExportFailed

_TAIL_BYTES = 64 * 1024
_MOST_LOOKED_AT = 1024 * 1024
_LOCK_SECONDS = 5.0
_RETRY_SECONDS = 0.02


class AppendedFile:
    """A file that only grows, made with mode 0600. It is opened for each batch, so it may be moved away between two.

    What a crash left of a last line is taken off before anything is added: its record comes again. A file that holds
    something else than lines of ours is refused and stays as it is. Whoever else appends waits for the batch to end.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, lines: Sequence[str]) -> None:
        """Raises: ExportFailed"""
        text = "".join(f"{line}\n" for line in lines).encode()
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                _lock(file)
                size, end = os.fstat(file).st_size, _end_of_whole_lines(file)
                self._check(file, end, size, text)
                if end < size:
                    os.ftruncate(file, end)
                _write_all(file, text)
                os.fsync(file)
            finally:
                os.close(file)
        except TimeoutError as error:
            raise ExportFailed(
                f"`{self._path}` is locked by another program", advice="give each export a file of its own; it goes on"
            ) from error
        except OSError as error:
            raise ExportFailed(
                f"`{self._path}` cannot be written: {error.strerror}", advice="make room, or mend the path; it goes on"
            ) from error

    def _check(self, file: int, end: int, size: int, text: bytes) -> None:
        """See that whole lines are objects, and that what follows them is what a crash left of one.

        Raises: ExportFailed
        """
        rest = os.pread(file, min(size - end, _MOST_LOOKED_AT), end)
        if end == 0:
            # Without a whole line that says whose it is, it is ours only if it goes on as we would write it.
            is_ours = text.startswith(rest)
        else:
            is_ours = _begins_with_an_object(file, end) and (rest in text or not _is_whole(rest))
        if not is_ours:
            raise ExportFailed(
                f"`{self._path}` holds something else than exported records, and was not touched",
                advice="name another file, or move this one away; if it is the beginning of a record, remove it",
            )


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


def _begins_with_an_object(file: int, end: int) -> bool:
    """True if the first whole line is an object: no other file of text, nor JSON over several lines, begins so."""
    line, at = b"", 0
    while at < end and b"\n" not in line:
        line += os.pread(file, _TAIL_BYTES, at)
        at += _TAIL_BYTES
    first = line.partition(b"\n")[0]
    return first.startswith(b"{") and first.rstrip().endswith(b"}")


def _is_whole(rest: bytes) -> bool:
    """True if only its newline is missing: no crash of ours left it, unless we are about to write it again."""
    try:
        return isinstance(json.loads(rest), dict)
    except ValueError:
        return False


def _lock(file: int) -> None:
    """Keep everybody else from appending until the file is closed.

    Raises: TimeoutError
    """
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError from None
            time.sleep(_RETRY_SECONDS)
        else:
            return


def _write_all(file: int, text: bytes) -> None:
    while text:
        text = text[os.write(file, text) :]
