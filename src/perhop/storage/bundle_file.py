"""A bundle as a zip file: written whole or not at all, and read as something that a stranger made."""

from __future__ import annotations

import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Self

from perhop.errors import CheckFailed, NotFound, OperatorError

LARGEST_BUNDLE = 1024 * 1024 * 1024
LARGEST_FILE = 1024 * 1024 * 1024
"""Bytes of one file in the bundle, unpacked."""

MOST_FILES = 64
_CHUNK = 64 * 1024
_END = struct.Struct("<4s4H2LH")
_END_MARK = b"PK\x05\x06"
_ZIP64_MARK = b"PK\x06\x07"
_ZIP64_SIZE = 20
_LARGEST_DIRECTORY = 64 * 1024
_EPOCH = (1980, 1, 1, 0, 0, 0)

_FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error)


def write_bundle(target: Path, files: Iterable[tuple[str, Iterable[bytes]]], *, check: Callable[[Path], None]) -> None:
    """Write these files as a bundle that its owner alone can read. Until it is whole and `check` has passed it, the
    name is not there; a file that is there already stays.

    Raises: OperatorError, and whatever `check` raises
    """
    try:
        descriptor, draft = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise OperatorError(f"cannot write `{target}`: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w+b") as file:
            _write(file, files)
            file.flush()
            os.fsync(file.fileno())
        check(Path(draft))
        os.link(draft, target)
    except FileExistsError:
        raise OperatorError(f"`{target}` is there already", advice="name another file: evidence is kept") from None
    except OSError as error:
        raise OperatorError(f"cannot write `{target}`: {error.strerror}") from error
    finally:
        os.unlink(draft)


def _write(file: IO[bytes], files: Iterable[tuple[str, Iterable[bytes]]]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, chunks in files:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o600 << 16
            with bundle.open(entry, "w") as opened:
                for chunk in chunks:
                    opened.write(chunk)


class BundleFile:
    """The BundleFiles of a zip file that nobody trusts. Nothing is unpacked to disk, and no name in it is a path here.

    Raises: NotFound, OperatorError, CheckFailed
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("rb")
        except FileNotFoundError:
            raise NotFound(f"there is no bundle `{path}`", advice="check the path") from None
        except OSError as error:
            raise OperatorError(f"`{path}` cannot be read: {error.strerror}") from error
        try:
            _check_end(self._file, path)
            self._zip = zipfile.ZipFile(self._file)
            self._entries = {each.filename: each for each in self._zip.infolist()}
        except _FAULTS as error:
            self._file.close()
            raise CheckFailed(f"`{path}` is not a bundle: {error}") from error
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()
        self._file.close()

    def names(self) -> tuple[str, ...]:
        return tuple(each.orig_filename for each in self._zip.infolist())

    def chunks(self, name: str) -> Iterator[bytes]:
        entry = self._entries[name]
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise CheckFailed(f"`{name}` in the bundle is packed in a way that no bundle uses")
        if entry.file_size > LARGEST_FILE:
            raise CheckFailed(f"`{name}` in the bundle says that it has {entry.file_size} bytes, which is too much")
        try:
            # It reads as many bytes as the directory promised, and holds them against their checksum.
            with self._zip.open(entry) as opened:
                while chunk := opened.read(_CHUNK):
                    yield chunk
        except (*_FAULTS, OSError) as error:
            raise CheckFailed(f"`{name}` in the bundle cannot be unpacked: {error}") from error


def _check_end(file: IO[bytes], path: Path) -> None:
    """The file is one zip from its first byte to its last, with a directory of a size that a bundle has.

    Without this look the directory of a hostile file could be as large as the file.
    """
    size = file.seek(0, os.SEEK_END)
    if size > LARGEST_BUNDLE:
        raise CheckFailed(f"`{path}` has more than {LARGEST_BUNDLE} bytes")
    back = min(size, _END.size + _ZIP64_SIZE)
    file.seek(size - back)
    tail = file.read(back)
    if len(tail) < _END.size:
        raise CheckFailed(f"`{path}` is not a bundle: it is not a zip file")
    mark, _, _, here, entries, directory, offset, comment = _END.unpack(tail[-_END.size :])
    if mark != _END_MARK or comment:
        raise CheckFailed(f"`{path}` is not a bundle: it does not end as a zip file does")
    is_plain = not tail[: -_END.size].startswith(_ZIP64_MARK) and here == entries <= MOST_FILES
    if not is_plain or directory > _LARGEST_DIRECTORY or offset + directory + _END.size != size:
        raise CheckFailed(f"`{path}` is not a bundle: its directory is not that of one")
    file.seek(0)
    if not file.read(4).startswith(b"PK\x03\x04"):
        raise CheckFailed(f"`{path}` is not a bundle: something stands before it")
