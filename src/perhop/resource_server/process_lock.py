"""A lock that one process of this user and machine holds for a resource, and the last time noted under it.

It is let go of when the process ends, however it ends; the file stays, and tells the next holder what it needs.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from perhop.core.resource import ResourceUri
from perhop.errors import SettingsError

_ADVICE = "give a store: `Guard(replay=SqliteReplay(PATH))`"


@dataclass(frozen=True, slots=True)
class Before:
    """What stood in the file: the latest time that was noted, and whether this very lock has noted it."""

    latest: int
    is_own: bool


class ProcessLock:
    """An exclusive lock on a file among the temporary ones."""

    def __init__(self) -> None:
        self._holder = secrets.token_hex(8)
        self._file: int | None = None
        self._process = 0
        self._latest = 0

    @property
    def is_held(self) -> bool:
        """False in a child that was forked: the lock is its parent's."""
        return self._file is not None and self._process == os.getpid()

    @property
    def was_removed(self) -> bool:
        """True if the file is gone under the lock: another process can make it anew, and lock that."""
        return self.is_held and self._file is not None and os.fstat(self._file).st_nlink == 0

    def take(self, resource: ResourceUri) -> Before | None:
        """None where another process holds it. Raises: SettingsError."""
        path = _lock_path(resource)
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        except OSError as error:
            raise SettingsError(f"`{path}` cannot be locked: {error.strerror}", advice=_ADVICE) from error
        try:
            if not _is_ours(file):
                raise SettingsError(f"`{path}` belongs to somebody else", advice=_ADVICE)
            if not _try_lock(file) or not _is_at(path, file):
                os.close(file)
                return None
            before = self._read(file, path)
            self._latest = max(before.latest, self._latest if before.is_own else 0)
            self._write(file)
        except BaseException:
            os.close(file)
            raise
        self._file, self._process = file, os.getpid()
        return before

    def note(self, time: int) -> None:
        """The next holder will know of this time, even if this process is killed now. Raises: OSError."""
        if self._file is not None and time > self._latest:
            self._latest = time
            self._write(self._file)

    def release(self) -> None:
        if self.is_held and self._file is not None:
            os.close(self._file)
            self._file = None

    def _read(self, file: int, path: Path) -> Before:
        text = os.read(file, 100).decode("ascii", "replace")
        if not text:
            return Before(latest=0, is_own=False)
        holder, _, latest = text.strip().partition(" ")
        if not latest.isdecimal():
            raise SettingsError(f"`{path}` holds something else", advice="remove it")
        return Before(latest=int(latest), is_own=holder == self._holder)

    def _write(self, file: int) -> None:
        # Of one width, so that one write replaces it all.
        os.lseek(file, 0, os.SEEK_SET)
        os.write(file, f"{self._holder} {self._latest:020d}\n".encode())


def _lock_path(resource: ResourceUri) -> Path:
    user = os.getuid() if sys.platform != "win32" else 0
    digest = hashlib.sha256(resource.encode()).hexdigest()[:24]
    return Path(tempfile.gettempdir()) / f"perhop-guard-{user}-{digest}.lock"


def _is_at(path: Path, file: int) -> bool:
    """False if the file was removed, and perhaps made anew, between opening and locking it."""
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(file))
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _is_ours(_file: int) -> bool:
        return True

    def _try_lock(file: int) -> bool:
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _is_ours(file: int) -> bool:
        # In a folder for all, whoever came first may have made it, and could take it away under the lock.
        return os.fstat(file).st_uid == os.getuid()

    def _try_lock(file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
