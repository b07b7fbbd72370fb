"""Single use in a file for all processes of one machine: the workers of one server above all. Survives restarts.

What the file cannot know is refused: what was issued before the file was made, and what is old enough to have been
forgotten.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from perhop.core.proof import CheckedProof
from perhop.core.resource import ResourceUri
from perhop.core.token import VerifiedToken
from perhop.errors import ProofReplayed, ReplayUnavailable, SettingsError, TokenReplayed
from perhop.resource_server.memory_proofs import NONCE_KEY_BYTES
from perhop.resource_server.private_file import make_private
from perhop.resource_server.replay import TIDY_EVERY, is_forgotten_at, last_use, use_key

_BUSY_SECONDS = 5

_MAKE = """
CREATE TABLE IF NOT EXISTS used(token TEXT PRIMARY KEY, until INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS bounds(made_at REAL NOT NULL, forgotten INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS proof(digest TEXT PRIMARY KEY, until INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS proof_bounds(nonce_key BLOB NOT NULL, forgotten INTEGER NOT NULL);
"""
_USE = """
INSERT OR IGNORE INTO used(token, until)
SELECT :token, :until FROM bounds WHERE :issued_at >= made_at AND :until > forgotten
"""
_USE_PROOF = """
INSERT OR IGNORE INTO proof(digest, until) SELECT :digest, :until FROM proof_bounds WHERE :until > forgotten
"""


class SqliteReplay:
    """One file may serve several resources. It must lie on a disk of this machine.

    Raises: SettingsError
    """

    def __init__(self, path: str | Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = Path(path)
        self._clock = clock
        self._process = os.getpid()
        self._turn = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inherited: sqlite3.Connection | None = None
        self._opened: os.stat_result | None = None
        self._nonce_key = b""
        self._uses = 0
        self._starts = 0

    def start(self, resource: ResourceUri) -> None:
        """Open the file, and make it if it is not there. Raises: SettingsError"""
        del resource
        self._leave_to_parent()
        try:
            with self._turn:
                self._open()
        except (sqlite3.Error, OSError) as error:
            raise SettingsError(
                f"`{self._path}` cannot be used for single use: {error}", advice="name a file in a folder of the server"
            ) from error
        self._starts += 1

    async def use(self, token: VerifiedToken) -> None:
        """See `ReplayStore`."""
        self._leave_to_parent()
        try:
            is_first = await asyncio.to_thread(self._insert, token)
        except (sqlite3.Error, OSError, SettingsError) as error:
            raise ReplayUnavailable(f"`{self._path}`: {error}") from error
        if not is_first:
            raise TokenReplayed("used before, or issued before the file was made")

    async def use_proof(self, proof: CheckedProof) -> None:
        """See `ReplayStore`."""
        self._leave_to_parent()
        try:
            is_first = await asyncio.to_thread(self._insert_proof, proof)
        except (sqlite3.Error, OSError, SettingsError) as error:
            raise ReplayUnavailable(f"`{self._path}`: {error}") from error
        if not is_first:
            raise ProofReplayed("the proof came before")

    def nonce_key(self) -> bytes:
        """See `ReplayStore`. It lies in the file: who has it can make nonces, and no proof.

        As the file was seen last: whether it is still there is looked at when something is used up, in a thread.
        """
        if not self._nonce_key:
            raise ReplayUnavailable(f"`{self._path}` was not opened")
        return self._nonce_key

    def stop(self) -> None:
        """Close the file, when as many guards have stopped as have started."""
        self._starts -= 1
        if self._starts == 0:
            self._leave_to_parent()
            with self._turn:
                self._close()

    def _insert(self, token: VerifiedToken) -> bool:
        with self._turn:
            connection = self._open()
            # One statement, one transaction: the file's own lock decides between processes.
            row = {"token": use_key(token), "until": last_use(token), "issued_at": token.issued_at}
            is_first = connection.execute(_USE, row).rowcount == 1
            self._uses += 1
            if self._uses % TIDY_EVERY == 0:
                _forget(connection, _FORGET_TOKENS, before=is_forgotten_at(token))
            return is_first

    def _insert_proof(self, proof: CheckedProof) -> bool:
        with self._turn:
            connection = self._open()
            row = {"digest": proof.digest, "until": proof.until}
            is_first = connection.execute(_USE_PROOF, row).rowcount == 1
            self._uses += 1
            if self._uses % TIDY_EVERY == 0:
                _forget(connection, _FORGET_PROOFS, before=int(self._clock()))
            return is_first

    def _open(self) -> sqlite3.Connection:
        if self._connection is None or not self._is_still_there():
            self._close()
            make_private(self._path)
            self._connection = _connect(self._path, made_at=self._clock())
            (key,) = self._connection.execute("SELECT nonce_key FROM proof_bounds").fetchone()
            self._nonce_key = bytes(key)
            self._opened = os.stat(self._path)
        return self._connection

    def _is_still_there(self) -> bool:
        """False if the file was removed or replaced: other processes are using another one then, or will."""
        try:
            return self._opened is not None and os.path.samestat(os.stat(self._path), self._opened)
        except FileNotFoundError:
            return False

    def _leave_to_parent(self) -> None:
        """In a child that was forked, what is open belongs to the parent: it is neither used nor closed here."""
        if self._process != os.getpid():
            self._process, self._turn = os.getpid(), threading.Lock()
            self._inherited, self._connection = self._connection, None

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _connect(path: Path, *, made_at: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.executescript(_MAKE)
        # Of processes that come at the same time the first one says when the file was made.
        connection.execute(
            "INSERT INTO bounds(made_at, forgotten) SELECT ?, 0 WHERE NOT EXISTS (SELECT 1 FROM bounds)", (made_at,)
        )
        connection.execute(
            "INSERT INTO proof_bounds(nonce_key, forgotten) SELECT ?, 0 WHERE NOT EXISTS (SELECT 1 FROM proof_bounds)",
            (secrets.token_bytes(NONCE_KEY_BYTES),),
        )
    except BaseException:
        connection.close()
        raise
    return connection


_FORGET_TOKENS = (
    "UPDATE bounds SET forgotten = max(forgotten, (SELECT coalesce(max(until), 0) FROM used WHERE until < ?))",
    "DELETE FROM used WHERE until < ?",
)
_FORGET_PROOFS = (
    "UPDATE proof_bounds SET forgotten = max(forgotten, (SELECT coalesce(max(until), 0) FROM proof WHERE until < ?))",
    "DELETE FROM proof WHERE until < ?",
)


def _forget(connection: sqlite3.Connection, statements: Sequence[str], *, before: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements:
            connection.execute(statement, (before,))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
