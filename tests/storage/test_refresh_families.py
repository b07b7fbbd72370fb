"""Refresh families: a token is spent once, whoever asks, and what ends a family ends it for good."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from perhop.authorization_server.refresh_families import (
    FAMILY_LIFETIME,
    IDLE_LIFETIME,
    FirstOfFamily,
    RefreshFamily,
    RefreshToken,
    StoredRefreshToken,
)
from perhop.authorization_server.store import Replayed
from perhop.errors import CodeInvalid, StorageUnavailable
from perhop.rules.revocation import revocation_digest
from perhop.storage.retention import FAMILY_KEPT_AFTER_EXPIRY, forget_expired
from perhop.storage.stores import Stores
from tests.storage.conftest import NOW, Opened
from tests.storage.test_tokens import CODE, CONSENT, RACERS
from tests.support.token_records import a_token_record

FAMILY = RefreshFamily(
    id="family-1",
    client_id="desk-app",
    subject="user:ann",
    resource="http://127.0.0.1:8420/mcp/calendar",
    scopes=frozenset({"calendar:read", "calendar:write"}),
    terms="terms",
    began_at=NOW,
    expires_at=NOW + FAMILY_LIFETIME,
    tenant="acme",
    task="task-1",
)
NAMES = [("sub", "user:ann"), ("agent", "desk-app"), ("aud", FAMILY.resource), ("tenant", "acme"), ("task", "task-1")]
EVERY_NAME = [*NAMES, ("family", "family-1")]


def a_token(token_hash: str, family: str = "family-1", *, at: int = NOW) -> RefreshToken:
    return RefreshToken(token_hash=token_hash, family=family, issued_at=at, expires_at=at + IDLE_LIFETIME)


async def begin(stores: Stores, family: RefreshFamily = FAMILY, *, first: str = "one", code: str = "c0de") -> None:
    """A family, as the redemption of a code begins it."""
    await stores.consents.put(CONSENT)
    await stores.codes.add(replace(CODE, code_hash=code))
    await stores.codes.consume(code)
    record = a_token_record(f"first-of-{family.id}", family=family.id)
    token = a_token(first, family.id, at=family.began_at)
    await stores.token_records.add_for_code(record, code, begins=FirstOfFamily(family, token))


async def spend(stores: Stores, spent: str, following: str, *, at: int = NOW + 1) -> bool:
    record = a_token_record(f"with-{following}", family="family-1")
    return await stores.token_records.add_for_refresh(record, spent, a_token(following, at=at))


async def test_a_family_comes_back_as_it_began(stores: Stores) -> None:
    """Every field of a family and of its token is kept."""
    await begin(stores)
    stored = StoredRefreshToken(token=a_token("one"), family=FAMILY, is_spent=False, is_ended=False)
    assert await stores.refresh_tokens.find("one") == stored
    assert await stores.refresh_tokens.family("family-1") == FAMILY
    assert await stores.refresh_tokens.find("other") is None
    assert await stores.refresh_tokens.family("other") is None


async def test_a_code_keeps_what_was_shown(stores: Stores) -> None:
    """The digest of the terms comes back with the code."""
    await stores.codes.add(replace(CODE, terms="shown"))
    consumed = await stores.codes.consume("c0de")
    assert getattr(consumed, "code", None) == replace(CODE, terms="shown")


async def test_a_token_is_spent_once(stores: Stores) -> None:
    """The second use finds it spent, and adds neither token nor record."""
    await begin(stores)
    assert await spend(stores, "one", "two")
    assert not await spend(stores, "one", "three")
    first = await stores.refresh_tokens.find("one")
    assert first is not None
    assert first.is_spent
    assert await stores.refresh_tokens.find("three") is None
    assert await stores.lineage.live("jti", "with-three", now=NOW) == []
    assert await spend(stores, "two", "three")


async def test_one_of_fifty_spends_it(opened: Opened, stores: Stores) -> None:
    """Of fifty uses of a token at once, by two processes, exactly one gets the next."""
    await begin(stores)
    both = (stores, opened.other)
    outcomes = await asyncio.gather(*(spend(both[turn % 2], "one", f"next-{turn}") for turn in range(RACERS)))
    assert outcomes.count(True) == 1
    live = await stores.lineage.live("family", "family-1", now=NOW)
    assert {each.jti for each in live} == {"first-of-family-1", f"with-next-{outcomes.index(True)}"}


async def test_a_family_has_one_live_token(stores: Stores) -> None:
    """The database itself refuses a second token that is not spent."""
    await begin(stores)
    with pytest.raises(StorageUnavailable):
        await begin(stores, first="another", code="other")


@pytest.mark.parametrize("names", [[each] for each in EVERY_NAME])
async def test_a_revocation_ends_what_it_covers(
    opened: Opened, stores: Stores, names: Sequence[tuple[str, str]]
) -> None:
    """By every name a family ends together with the revocation's row, once, and no token of it is spent any more."""
    await begin(stores)
    other = replace(FAMILY, id="other", client_id="c", subject="s", resource="r", tenant="t", task=None)
    await begin(stores, other, first="other-1", code="other")
    assert await stores.revocation_rows.covered_families(names, now=NOW) == ["family-1"]
    rows = [(kind, revocation_digest(value), NOW, NOW + 60) for kind, value in names]
    added, ended = await opened.other.revocation_rows.add_ending(rows, names, now=NOW)
    assert (len(added), ended) == (1, ["family-1"])
    assert await stores.revocation_rows.covered_families(names, now=NOW) == []
    assert not await spend(stores, "one", "two")
    found = await stores.refresh_tokens.find("one")
    assert found is not None
    assert (found.is_ended, found.is_spent) == (True, False)
    left = await stores.refresh_tokens.find("other-1")
    assert left is not None
    assert not left.is_ended
    again = await stores.revocation_rows.add_ending(rows, names, now=NOW, only_ending=True)
    assert again == ([], [])


async def test_of_fifty_ends_one_is_written(opened: Opened, stores: Stores) -> None:
    """Of fifty who end a family at once, by two processes, one adds a row to the feed."""
    await begin(stores)
    rows = [("family", revocation_digest("family-1"), NOW, NOW + 60)]
    both = (stores.revocation_rows, opened.other.revocation_rows)
    ends = await asyncio.gather(
        *(
            both[turn % 2].add_ending(rows, [("family", "family-1")], now=NOW, only_ending=True)
            for turn in range(RACERS)
        )
    )
    assert sorted(len(ended) for _, ended in ends) == [0] * (RACERS - 1) + [1]
    assert len(await stores.revocation_rows.after(0, now=NOW)) == 1


@pytest.mark.parametrize(("kind", "value"), NAMES)
@pytest.mark.parametrize(("not_before", "begins"), [(NOW, False), (NOW - 1, True)])
async def test_nothing_begins_that_is_revoked(
    stores: Stores, kind: str, value: str, not_before: int, begins: bool
) -> None:
    """A family that begins at or before the moment of a revocation does not begin, and its access token neither."""
    await stores.revocation_rows.add([(kind, revocation_digest(value), not_before, NOW + 60)])
    if begins:
        await begin(stores)
        return
    with pytest.raises(CodeInvalid):
        await begin(stores)
    assert await stores.refresh_tokens.find("one") is None
    assert await stores.lineage.live("jti", "first-of-family-1", now=NOW) == []


@pytest.mark.parametrize("at", [NOW + IDLE_LIFETIME - 1, NOW + IDLE_LIFETIME])
async def test_a_token_that_has_expired_is_not_spent(stores: Stores, at: int) -> None:
    """The moment of expiry is the first at which it is not taken."""
    await begin(stores)
    assert await spend(stores, "one", "two", at=at) is (at < NOW + IDLE_LIFETIME)


async def test_a_replayed_code_names_its_family(stores: Stores) -> None:
    """A code that comes again tells which family began with it."""
    await begin(stores)
    assert await stores.codes.consume("c0de") == Replayed(("first-of-family-1",), "family-1")


async def test_families_that_are_over_are_forgotten(opened: Opened, stores: Stores) -> None:
    """A family, its tokens and its code stay until it is over, and a day longer; another one's are left alone."""
    await begin(stores)
    await spend(stores, "one", "two")
    await begin(stores, replace(FAMILY, id="later", expires_at=FAMILY.expires_at + 1), first="later-1", code="later")
    over = FAMILY.expires_at + FAMILY_KEPT_AFTER_EXPIRY
    await forget_expired(opened.database, now=over - 1)
    assert await stores.refresh_tokens.find("one") is not None
    assert isinstance(await stores.codes.consume("c0de"), Replayed)
    await forget_expired(opened.database, now=over)
    for token in ("one", "two"):
        assert await stores.refresh_tokens.find(token) is None
    assert await stores.refresh_tokens.family("family-1") is None
    assert await stores.codes.consume("c0de") is None
    assert await stores.refresh_tokens.find("later-1") is not None
