"""The tables of `journal.db`, its header, the indexes that keep an investigation fast at a million records, and what
SQLite's errors mean for it.

`record(seq, body)` is the journal; everything else can be made from it, and from the key, again.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from perhop.errors import JournalDamaged, JournalUnavailable

APPLICATION_ID = 0x50484A31
"""Says in the file's header that this is a journal of Perhop ("PHJ1")."""

VERSION = 1


def _json(*paths: str) -> str:
    # A record that was tampered with may be no JSON any more; it must still be readable, so the index skips it.
    found = ", ".join(f"json_extract(body, '{path}')" for path in paths)
    return f"CASE WHEN json_valid(body) THEN {found if len(paths) == 1 else f'coalesce({found})'} END"


FACETS = {
    "txn": _json("$.txn"),
    "in_jti": _json("$.in.jti"),
    "out_jti": _json("$.out.jti"),
    "event": _json("$.event"),
    "reason": _json("$.reason"),
    "client": _json("$.client", "$.in.client_id"),
    "resource": _json("$.resource"),
    "call_id": _json("$.call.id"),
    "time": _json("$.time"),
}
"""What can be looked for by an index: name -> SQL expression. A query must use the very same text."""

IN_AUD = _json("$.in.aud")
OUT_AUD = _json("$.out.aud")
DATA_PLANE = _json("$.call.data_plane")

TABLES = (
    "CREATE TABLE record (seq INTEGER PRIMARY KEY, body TEXT NOT NULL)",
    "CREATE TABLE leaf (seq INTEGER PRIMARY KEY, hash BLOB NOT NULL)",
    "CREATE TABLE checkpoint (size INTEGER PRIMARY KEY, note TEXT NOT NULL)",
    "CREATE TABLE frontier (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, hashes BLOB NOT NULL)",
    *(f"CREATE INDEX record_{name} ON record ({expression})" for name, expression in FACETS.items()),
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)

_PASSING = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
"""Primary result codes that say something of the machine, and nothing of what stands in the file."""


def fault(error: sqlite3.Error, path: Path) -> JournalUnavailable | JournalDamaged:
    """What a failure of SQLite says: the file did not answer, or it is not what it should be."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING:
        return JournalUnavailable(f"the journal `{path}` did not answer: {error}")
    return JournalDamaged(f"the journal `{path}` cannot be read: {error}")


def check_header(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that is another program's, or another version's.

    Raises: JournalDamaged
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID:
        raise JournalDamaged(f"`{path}` is not a journal of Perhop")
    if version != VERSION:
        raise JournalDamaged(f"the journal `{path}` has version {version}, this Perhop reads version {VERSION}")
