"""Single use: which call tokens were used already. One store for all processes that serve one resource.

A token is known by its issuer and `jti`, never by its text: one ES256 signature can be written in two ways.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from perhop.core.resource import ResourceUri
from perhop.core.token import VerifiedToken
from perhop.errors import ReplayUnavailable, SettingsError, TokenReplayed
from perhop.rules.lifetime import MAX_SKEW

_TIDY_EVERY = 1000


class ReplayStore(Protocol):
    """Remembers what was used. Write one of your own for servers on several machines."""

    def start(self, resource: ResourceUri) -> None:
        """Called before the first use. Raises: SettingsError where single use cannot be kept."""
        ...

    async def use(self, token: VerifiedToken) -> None:
        """Use this token up; atomic over all processes, and remembered until the token has expired.

        Raises: TokenReplayed, ReplayUnavailable
        """
        ...

    def stop(self) -> None:
        """Called when the guard stops; it may start again."""
        ...


class MemoryReplay:
    """The default: in the memory of one process, which must be the only one that serves the resource.

    What came before this process cannot be remembered, so a token with an `iat` before its start is refused. That no
    second process of this user serves the resource on this machine is held by a lock on a file; other machines and
    other users are not seen.

    Raises: SettingsError
    """

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._used: dict[str, int] = {}
        self._lock = _ProcessLock()
        self._uses = 0

    def start(self, resource: ResourceUri) -> None:
        """Take the lock. Raises: SettingsError."""
        if not self._lock.take(resource):
            raise SettingsError(
                f"another process on this machine guards `{resource}`, and each would take the same call token once",
                advice="give all of them one store: `Guard(replay=SqliteReplay(PATH))`",
            )

    async def use(self, token: VerifiedToken) -> None:
        """See `ReplayStore`. No await before the entry is made: no second use can come between."""
        if not self._lock.is_held:
            raise ReplayUnavailable("this process does not hold the lock of its resource: was it forked?")
        if token.issued_at < self._began:
            raise TokenReplayed("issued before this process began, so it may have been used")
        key = _key(token)
        if key in self._used:
            raise TokenReplayed("used before")
        self._used[key] = _forgotten_at(token)
        self._uses += 1
        if self._uses % _TIDY_EVERY == 0:
            now = self._clock()
            self._used = {key: until for key, until in self._used.items() if until > now}

    def stop(self) -> None:
        """Let go of the lock; what was used stays used."""
        self._lock.release()


class SqliteReplay:
    """A file for all processes of one machine, workers of one server above all. Survives restarts.

    Raises: SettingsError
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._turn = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._process = 0
        self._uses = 0

    def start(self, resource: ResourceUri) -> None:
        """Open the file, and make it if it is not there; one file may serve several resources. Raises: SettingsError"""
        del resource
        try:
            with self._turn:
                self._open()
        except (sqlite3.Error, OSError) as error:
            raise SettingsError(
                f"`{self._path}` cannot be used for single use: {error}", advice="name a file in a folder of the server"
            ) from error

    async def use(self, token: VerifiedToken) -> None:
        """See `ReplayStore`."""
        try:
            is_first = await asyncio.to_thread(self._insert, _key(token), _forgotten_at(token), token.issued_at)
        except (sqlite3.Error, OSError) as error:
            raise ReplayUnavailable(f"`{self._path}`: {error}") from error
        if not is_first:
            raise TokenReplayed("used before")

    def stop(self) -> None:
        """Close the file."""
        with self._turn:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _insert(self, key: str, until: int, now: int) -> bool:
        with self._turn:
            connection = self._open()
            # One statement, one transaction: the file's own lock decides between processes.
            inserted = connection.execute("INSERT OR IGNORE INTO used(token, until) VALUES (?, ?)", (key, until))
            is_first = inserted.rowcount == 1
            self._uses += 1
            if self._uses % _TIDY_EVERY == 0:
                # `iat` of a token that was verified is the time, give or take what clocks may differ.
                connection.execute("DELETE FROM used WHERE until < ?", (now - MAX_SKEW,))
            return is_first

    def _open(self) -> sqlite3.Connection:
        # A connection must not be carried over a fork.
        if self._connection is None or self._process != os.getpid():
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            connection = sqlite3.connect(self._path, timeout=5, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("CREATE TABLE IF NOT EXISTS used(token TEXT PRIMARY KEY, until INTEGER NOT NULL)")
            self._connection, self._process = connection, os.getpid()
        return self._connection


class _ProcessLock:
    """An exclusive lock on a file of this user and resource, let go of when the process ends, however it ends."""

    def __init__(self) -> None:
        self._file: int | None = None
        self._process = 0
        self._holders = 0

    @property
    def is_held(self) -> bool:
        """False in a child that was forked: the lock is its parent's."""
        return self._file is not None and self._process == os.getpid()

    def take(self, resource: ResourceUri) -> bool:
        """True if it is ours now. Raises: SettingsError."""
        if self.is_held:
            self._holders += 1
            return True
        path = _lock_path(resource)
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        except OSError as error:
            raise SettingsError(
                f"`{path}` cannot be locked: {error.strerror}",
                advice="give a store: `Guard(replay=SqliteReplay(PATH))`",
            ) from error
        if not _try_lock(file):
            os.close(file)
            return False
        self._file, self._process, self._holders = file, os.getpid(), 1
        return True

    def release(self) -> None:
        if not self.is_held or self._file is None:
            return
        self._holders -= 1
        if self._holders == 0:
            os.close(self._file)
            self._file = None


def _lock_path(resource: ResourceUri) -> Path:
    user = os.getuid() if sys.platform != "win32" else 0
    digest = hashlib.sha256(resource.encode()).hexdigest()[:24]
    return Path(tempfile.gettempdir()) / f"perhop-guard-{user}-{digest}.lock"


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: int) -> bool:
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def _key(token: VerifiedToken) -> str:
    return hashlib.sha256(f"{token.issuer}\n{token.jti}".encode()).hexdigest()


def _forgotten_at(token: VerifiedToken) -> int:
    """After the last second at which any guard still takes the token."""
    return token.expires_at + 2 * MAX_SKEW
