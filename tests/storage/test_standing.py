"""Revocations, standing and key states."""

from __future__ import annotations

import asyncio

import pytest

from perhop.errors import StorageUnavailable
from perhop.storage.retention import forget_expired
from perhop.storage.stores import Stores
from tests.storage.conftest import NOW, Opened

PLANNER = ("client", "trip-planner")
DESK = ("client", "desk-app")
CALENDAR = ("resource", "calendar")


async def test_revocations_are_numbered_in_order(stores: Stores) -> None:
    """Rows come back with growing numbers, and are read from any number on."""
    first, second = await stores.revocation_rows.add([("jti", "aa", NOW, NOW + 60), ("sub", "bb", NOW, NOW + 90)])
    (third,) = await stores.revocation_rows.add([("jti", "aa", NOW + 1, NOW + 60)])
    assert first.seq < second.seq < third.seq
    assert (second.kind, second.digest, second.not_before, second.expires_at) == ("sub", "bb", NOW, NOW + 90)
    assert await stores.revocation_rows.after(0, now=NOW) == [first, second, third]
    assert await stores.revocation_rows.after(first.seq, now=NOW) == [second, third]
    assert await stores.revocation_rows.after(third.seq, now=NOW) == []


async def test_revocations_that_concern_no_token_are_left_out(stores: Stores) -> None:
    """From its expiry on a row is not in force."""
    _, longer = await stores.revocation_rows.add([("jti", "aa", NOW, NOW + 60), ("sub", "bb", NOW, NOW + 90)])
    assert await stores.revocation_rows.after(0, now=NOW + 60) == [longer]


async def test_a_number_is_never_given_twice(opened: Opened) -> None:
    """After every row is forgotten, a reader of the feed still finds the next one behind what it has seen."""
    (last,) = await opened.stores.revocation_rows.add([("jti", "aa", NOW, NOW + 60)])
    assert await forget_expired(opened.database, now=NOW + 60) == 1
    (following,) = await opened.stores.revocation_rows.add([("jti", "bb", NOW, NOW + 900)])
    assert following.seq > last.seq


async def test_two_writers_give_different_numbers(opened: Opened) -> None:
    """Revocations that two processes add at once all have numbers of their own."""
    both = (opened.stores, opened.other)
    adds = (both[turn % 2].revocation_rows.add([("jti", f"{turn}", NOW, NOW + 60)]) for turn in range(20))
    seqs = [row.seq for rows in await asyncio.gather(*adds) for row in rows]
    assert len(set(seqs)) == 20


async def test_what_the_file_defines_is_not_disabled(stores: Stores) -> None:
    """A first reconciliation disables nothing."""
    assert await stores.standings.reconcile(frozenset({PLANNER, CALENDAR}), now=NOW) == frozenset()
    assert await stores.standings.disabled() == frozenset()


async def test_what_the_file_no_longer_defines_is_disabled(stores: Stores) -> None:
    """Removing an object from the file disables it, once, and leaves the others."""
    await stores.standings.reconcile(frozenset({PLANNER, DESK, CALENDAR}), now=NOW)
    assert await stores.standings.reconcile(frozenset({DESK}), now=NOW) == {PLANNER, CALENDAR}
    assert await stores.standings.disabled() == {PLANNER, CALENDAR}
    assert await stores.standings.reconcile(frozenset({DESK}), now=NOW) == frozenset()


async def test_an_empty_file_disables_everything(stores: Stores) -> None:
    """A file that defines nothing any more takes everything along."""
    await stores.standings.reconcile(frozenset({PLANNER}), now=NOW)
    assert await stores.standings.reconcile(frozenset(), now=NOW) == {PLANNER}
    assert await stores.standings.disabled() == {PLANNER}


async def test_what_is_put_back_stays_disabled(stores: Stores) -> None:
    """Only `enable` lifts a disabling; a file that defines the object again does not."""
    await stores.standings.reconcile(frozenset({PLANNER}), now=NOW)
    await stores.standings.reconcile(frozenset(), now=NOW)
    assert await stores.standings.reconcile(frozenset({PLANNER}), now=NOW) == frozenset()
    assert await stores.standings.disabled() == {PLANNER}
    assert await stores.standings.enable(*PLANNER, now=NOW)
    assert await stores.standings.disabled() == frozenset()
    assert await stores.standings.reconcile(frozenset({PLANNER}), now=NOW) == frozenset()
    assert await stores.standings.disabled() == frozenset()


async def test_reconciling_does_not_lift_a_disabling(stores: Stores) -> None:
    """An object that was disabled by command stays so whatever the file says, and whatever it said before."""
    await stores.standings.reconcile(frozenset({PLANNER}), now=NOW)
    await stores.standings.disable(*PLANNER, why="stolen key", now=NOW)
    await stores.standings.disable(*DESK, why="not defined yet", now=NOW)
    await stores.standings.reconcile(frozenset({PLANNER, DESK}), now=NOW)
    assert await stores.standings.disabled() == {PLANNER, DESK}


async def test_removing_what_is_disabled_is_told(stores: Stores) -> None:
    """An object that leaves the file is told although it was disabled before: its tokens are revoked again."""
    await stores.standings.reconcile(frozenset({PLANNER}), now=NOW)
    await stores.standings.disable(*PLANNER, why="stolen key", now=NOW)
    assert await stores.standings.reconcile(frozenset(), now=NOW) == {PLANNER}


async def test_enabling_tells_whether_it_was_disabled(stores: Stores) -> None:
    """Of many who enable at once, one lifts the disabling."""
    assert not await stores.standings.enable(*PLANNER, now=NOW)
    await stores.standings.disable(*PLANNER, why="stolen key", now=NOW)
    await stores.standings.disable(*PLANNER, why="again", now=NOW)
    lifted = await asyncio.gather(*(stores.standings.enable(*PLANNER, now=NOW) for _ in range(10)))
    assert sum(lifted) == 1


async def test_kinds_do_not_mix(stores: Stores) -> None:
    """A client and a resource of one name are two objects."""
    await stores.standings.disable("client", "calendar", why="x", now=NOW)
    assert await stores.standings.disabled() == {("client", "calendar")}


async def test_key_states_are_set_together(stores: Stores) -> None:
    """States are kept with the time of their change, which stays while the state does."""
    await stores.key_states.set({"k1": "active", "k2": "prepared"}, now=NOW)
    await stores.key_states.set({"k1": "retired", "k2": "active"}, now=NOW + 10)
    await stores.key_states.set({"k2": "active"}, now=NOW + 20)
    await stores.key_states.set({}, now=NOW + 30)
    assert await stores.key_states.all() == {"k1": ("retired", NOW + 10), "k2": ("active", NOW + 10)}


async def test_an_unknown_key_state_changes_nothing(stores: Stores) -> None:
    """One state that does not exist leaves every state of the same change as it was."""
    await stores.key_states.set({"k1": "active"}, now=NOW)
    with pytest.raises(StorageUnavailable):
        await stores.key_states.set({"k1": "retired", "k2": "actve"}, now=NOW)
    assert await stores.key_states.all() == {"k1": ("active", NOW)}
