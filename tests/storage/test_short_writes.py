"""Short transactions share a commit: each stands or falls by itself, and all are on disk before anybody hears of it."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from perhop.errors import CodeInvalid, StorageUnavailable
from perhop.storage.short_writes import AT_ONCE, NewRow, Work
from tests.storage.conftest import Opened

ADD = "INSERT INTO assertion (client_id, jti, expires_at) VALUES ('c', ?, 1)"


def adding(jti: str) -> Work[Any]:
    return lambda connection: connection.execute(ADD, (jti,)).lastrowid and jti


def on_disk(path: Path) -> set[str]:
    """What another process finds."""
    with sqlite3.connect(path) as connection:
        return {row[0] for row in connection.execute("SELECT jti FROM assertion")}


async def test_many_at_once_are_all_done(opened: Opened) -> None:
    """Each caller gets its own result, more of them than one commit takes, and all of it is there for others."""
    names = [f"j{number}" for number in range(AT_ONCE + 20)]
    done = await asyncio.gather(*(opened.database.write_shortly(adding(name)) for name in names))
    assert done == names
    assert on_disk(opened.database.path) == set(names)


async def test_one_that_fails_takes_no_other_along(opened: Opened) -> None:
    """A row that is there already, a refusal and a fault are each their own caller's; what they did is taken back."""

    def half(connection: sqlite3.Connection) -> None:
        connection.execute(ADD, ("half",))
        raise CodeInvalid("no")

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute(ADD, ("broken",))
        connection.execute("INSERT INTO nowhere VALUES (1)")

    works: tuple[Work[Any], ...] = (adding("a"), adding("a"), half, broken, adding("b"))
    outcomes = await asyncio.gather(
        *(opened.database.write_shortly(work) for work in works),
        return_exceptions=True,
    )
    assert (outcomes[0], outcomes[4]) == ("a", "b")
    assert [type(each) for each in outcomes[1:4]] == [StorageUnavailable, CodeInvalid, StorageUnavailable]
    assert on_disk(opened.database.path) == {"a", "b"}


async def test_rows_that_are_only_added_stand_or_fall_by_themselves(opened: Opened) -> None:
    """Among many rows for one commit, one that is there already fails alone, beside other works and other tables."""
    into = "assertion (client_id, jti, expires_at)"
    grants = "spent_grant (issuer, jti, expires_at)"
    await opened.database.write_shortly(adding("there"))
    names = ["there", *(f"r{number}" for number in range(40)), "r7"]
    works: list[Work[Any]] = [NewRow(into, ("c", name, 1)) for name in names]
    works += [adding("beside"), NewRow(grants, ("i", "g", 1))]
    outcomes = await asyncio.gather(
        *(opened.database.write_shortly(work) for work in works),
        return_exceptions=True,
    )
    failed = [at for at, outcome in enumerate(outcomes) if isinstance(outcome, BaseException)]
    assert failed == [0, 41]
    assert all(type(outcomes[at]) is StorageUnavailable for at in failed)
    assert on_disk(opened.database.path) == {"there", "beside", *names}
    assert await opened.database.read_shortly(lambda it: it.execute("SELECT jti FROM spent_grant").fetchall()) == [
        ("g",)
    ]


async def test_rows_that_are_only_added_come_to_what_they_say(opened: Opened) -> None:
    """Each row of one statement has its own values, each in its own column, and is on disk when its caller hears."""
    rows = [NewRow("assertion (jti, expires_at, client_id)", (f"j{at}", at, f"c{at}")) for at in range(45)]
    await asyncio.gather(*(opened.database.write_shortly(row) for row in rows))
    with sqlite3.connect(opened.database.path) as other:
        found = other.execute("SELECT client_id, jti, expires_at FROM assertion ORDER BY expires_at").fetchall()
    assert found == [(f"c{at}", f"j{at}", at) for at in range(45)]


async def test_who_reads_beside_others_fails_alone(opened: Opened) -> None:
    """Of many that read at once each gets its own answer; a fault or a refusal of one is nobody else's."""

    def seen(connection: sqlite3.Connection) -> list[Any]:
        return connection.execute("SELECT jti FROM assertion").fetchall()

    def refusing(_: sqlite3.Connection) -> None:
        raise CodeInvalid("no")

    await opened.database.write_shortly(adding("a"))
    works: tuple[Work[Any], ...] = (
        seen,
        refusing,
        lambda connection: connection.execute("SELECT 1 FROM nowhere"),
        seen,
    )
    outcomes = await asyncio.gather(*(opened.database.read_shortly(work) for work in works), return_exceptions=True)
    assert (outcomes[0], outcomes[3]) == ([("a",)], [("a",)])
    assert [type(each) for each in outcomes[1:3]] == [CodeInvalid, StorageUnavailable]
    await opened.database.write_shortly(adding("b"))
    assert await opened.database.read_shortly(seen) == [("a",), ("b",)]


async def test_nobody_hears_of_what_is_not_committed(opened: Opened) -> None:
    """Where the whole transaction is lost, everyone in it is told so, and the next one begins anew."""

    def losing(connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")
        raise sqlite3.OperationalError("disk I/O error")

    works: tuple[Work[Any], ...] = (adding("a"), losing, adding("b"))
    outcomes = await asyncio.gather(
        *(opened.database.write_shortly(work) for work in works),
        return_exceptions=True,
    )
    assert {type(each) for each in outcomes} == {StorageUnavailable}
    assert on_disk(opened.database.path) == set()
    assert await opened.database.write_shortly(adding("c")) == "c"
    assert on_disk(opened.database.path) == {"c"}


async def test_whoever_goes_away_leaves_it_to_be_done(opened: Opened) -> None:
    """A caller that is gone neither undoes its own write nor holds anybody else's up."""
    going = asyncio.create_task(opened.database.write_shortly(adding("gone")))
    staying = asyncio.create_task(opened.database.write_shortly(adding("stays")))
    await asyncio.sleep(0)
    going.cancel()
    assert await staying == "stays"
    await asyncio.gather(going, return_exceptions=True)
    assert on_disk(opened.database.path) == {"gone", "stays"}


async def test_short_and_long_transactions_take_turns(opened: Opened) -> None:
    """Neither finds the database busy with the other, of the same process or of another one."""
    assertions, other = opened.stores.assertions, opened.other.assertions
    spent = await asyncio.gather(
        *(assertions.spend("c", f"s{number}", expires_at=9) for number in range(20)),
        *(assertions.spend_grant("i", f"s{number}", expires_at=9) for number in range(20)),
        *(other.spend("c", f"s{number}", expires_at=9) for number in range(20)),
    )
    assert sum(spent) == 40


async def test_closing_waits_for_what_was_begun(opened: Opened) -> None:
    """What somebody has asked for is on disk when the database is closed; then nothing is done any more."""
    last = asyncio.create_task(opened.database.write_shortly(adding("last")))
    await asyncio.sleep(0)
    await opened.database.close()
    assert on_disk(opened.database.path) == {"last"}
    assert await last == "last"
    with pytest.raises(StorageUnavailable):
        await opened.database.write_shortly(adding("later"))
    with pytest.raises(StorageUnavailable):
        await opened.database.read_shortly(adding("later"))
    assert on_disk(opened.database.path) == {"last"}


async def test_reading_sees_one_state_and_takes_no_lock(opened: Opened) -> None:
    """A short reading transaction goes on while another process writes, and sees nothing that is not committed."""
    with sqlite3.connect(opened.database.path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute(ADD, ("theirs",))
        rows = await opened.database.read_shortly(
            lambda connection: connection.execute("SELECT jti FROM assertion").fetchall()
        )
        other.execute("ROLLBACK")
    assert rows == []


async def test_a_vanished_database_is_unavailable(opened: Opened) -> None:
    """A file that is gone is not made anew: nothing is issued into an empty one."""
    for file in opened.database.path.parent.glob("perhop.db*"):
        file.unlink()
    with pytest.raises(StorageUnavailable):
        await opened.database.write_shortly(adding("a"))
    assert not opened.database.path.exists()
