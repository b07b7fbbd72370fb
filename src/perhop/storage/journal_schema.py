"""The tables of `journal.db`, its header, the indexes that keep an investigation fast at a million records, and what
SQLite's errors mean for it.

`record(seq, body)`, from the base on, is the journal; everything else can be made from it, and from the key, again. An
index over an expression would parse every body anew, and SQLite cannot answer from it alone: hence columns, in the
table `facet`.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from perhop.errors import JournalDamaged, JournalUnavailable, OperatorError
from perhop.journal.facets import KIND
from perhop.journal.store import WHOLE, SignedTree
from perhop.journal.tree import Frontier

APPLICATION_ID = 0x50484A31
"""Says in the file's header that this is a journal of Perhop ("PHJ1")."""

VERSION = 3

FACETS_SINCE = 2
"""A file of an earlier version has the records and no facets; the writer makes them when it opens it."""

BASE_SINCE = 3
"""A file of an earlier version begins with its first record, and is not sealed."""

TERMS = ("person", "network", "user_agent")
"""Facets whose texts stand once in `term`, and by number in `facet`."""

_KIND_COLUMNS = ", ".join(f"{name} {'INTEGER' if name == 'status' else 'TEXT'}" for name in KIND)

FACET_TABLES = (
    "CREATE TABLE term (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)",
    f"CREATE TABLE kind (id INTEGER PRIMARY KEY, {_KIND_COLUMNS})",
    "CREATE TABLE facet (seq INTEGER PRIMARY KEY, time INTEGER, txn TEXT, in_jti TEXT, out_jti TEXT, call_id TEXT,"
    " person INTEGER, network INTEGER, user_agent INTEGER, kind INTEGER NOT NULL)",
    "CREATE INDEX kind_client ON kind (client, resource, name, event, reason)",
)

INDEXES = {
    "txn": "(txn) WHERE txn IS NOT NULL",
    "in_jti": "(in_jti) WHERE in_jti IS NOT NULL",
    "out_jti": "(out_jti) WHERE out_jti IS NOT NULL",
    "call_id": "(call_id) WHERE call_id IS NOT NULL",
    "person": "(person) WHERE person IS NOT NULL",
    # Counting by kind and place reads this alone, in its own order: nothing is looked up, nothing is sorted.
    "kind": "(kind, network, user_agent, time, person)",
    "time": "(time)",
}
"""What can be looked for by an index of `facet`: name -> columns, and the rows that are in it."""

FACET_INDEXES = tuple(f"CREATE INDEX facet_{name} ON facet {columns}" for name, columns in INDEXES.items())

RECORD_TABLES = (
    "CREATE TABLE record (seq INTEGER PRIMARY KEY, body TEXT NOT NULL)",
    "CREATE TABLE leaf (seq INTEGER PRIMARY KEY, hash BLOB NOT NULL)",
    "CREATE TABLE checkpoint (size INTEGER PRIMARY KEY, note TEXT NOT NULL)",
    "CREATE TABLE frontier (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, hashes BLOB NOT NULL)",
)

BASE_TABLE = (
    "CREATE TABLE base (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, hashes BLOB NOT NULL,"
    " note TEXT NOT NULL, sealed INTEGER NOT NULL)"
)
"""Where the file begins: the tree over the records before, with its checkpoint; and whether it is a sealed segment."""

EMPTY_BASE = "INSERT OR IGNORE INTO base VALUES (1, 0, x'', '', 0)"

HEADER = (f"PRAGMA application_id = {APPLICATION_ID}", f"PRAGMA user_version = {VERSION}")

TABLES = (*RECORD_TABLES, *FACET_TABLES, BASE_TABLE)
"""All of them; their indexes are quicker made when they are full."""

_SCHEMAS = {
    1: RECORD_TABLES,
    2: (*RECORD_TABLES, *FACET_TABLES, *FACET_INDEXES),
    VERSION: (*TABLES, *FACET_INDEXES),
}


def schema_of(version: int) -> frozenset[str]:
    """Every statement that made something in a file of this version."""
    return frozenset(_SCHEMAS[version])


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


def read_version(connection: sqlite3.Connection, path: Path) -> int:
    """The version of a journal of ours, this one or an earlier; any other file is refused.

    Raises: JournalDamaged
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if application != APPLICATION_ID:
        raise JournalDamaged(f"`{path}` is not a journal of Perhop")
    if version not in _SCHEMAS:
        raise JournalDamaged(
            f"the journal `{path}` has version {version}, this Perhop reads version {VERSION}",
            advice="read it with the version of perhop that wrote it",
        )
    return version


def check_header(connection: sqlite3.Connection, path: Path) -> int:
    """The version of a journal that questions can be asked of; any other file is refused.

    Raises: JournalDamaged, OperatorError
    """
    version = read_version(connection, path)
    if version < FACETS_SINCE:
        raise OperatorError(
            f"the journal `{path}` has version {version}, and questions need version {FACETS_SINCE}",
            advice="start `perhop serve` with it once: whoever writes a journal brings it up to date",
        )
    return version


def read_base(connection: sqlite3.Connection, version: int) -> tuple[SignedTree, bool]:
    """Where a file of this version begins, and whether it is sealed. Does not look at the note's signature.

    Raises: ValueError
    """
    if version < BASE_SINCE:
        return WHOLE, False
    row = connection.execute("SELECT size, hashes, CAST(note AS BLOB), sealed FROM base").fetchone()
    if row is None:
        raise ValueError("it does not say where it begins")
    size, hashes, note, sealed = row
    if type(size) is not int or type(hashes) is not bytes or type(note) is not bytes:
        raise ValueError("it does not say where it begins")
    return SignedTree(Frontier.of_bytes(size, hashes), note.decode("utf-8", "replace")), bool(sealed)
