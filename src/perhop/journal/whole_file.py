"""A new file that is whole or not there: what a full disk cut short, nobody finds under the file's name."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path

_NO_LINKS = frozenset({errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})


def write_whole(file: Path, content: bytes, *, mode: int) -> None:
    """Write a file that must not exist, with this mode from the start, and durable with its name.

    Raises: OSError, which names the file
    """
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}.new")
    try:
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as written:
                written.write(content)
                written.flush()
                os.fsync(written.fileno())
            _name(draft, file)
        finally:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
        _make_name_durable(file.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from error


def _name(draft: Path, file: Path) -> None:
    """Unlike a rename, a link never takes another file's place; some mounted file systems have no links."""
    try:
        os.link(draft, file)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if file.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(file)) from error
        draft.rename(file)


def _make_name_durable(folder: Path) -> None:
    # The file is there by now, and an error would say that it is not; some file systems cannot do this for a folder.
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
