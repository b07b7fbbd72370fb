"""Token records, authorization codes and assertions: once means once, whoever asks at the same time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from perhop.authorization_server.people_store import Consent
from perhop.authorization_server.store import AuthorizationCode, Consumed, Replayed
from perhop.errors import CodeInvalid, CodeReplayed, StorageUnavailable
from perhop.storage.retention import KEPT_AFTER_EXPIRY, TOKEN_LIFETIME_CAP, forget_expired
from perhop.storage.stores import Stores
from tests.storage.conftest import Opened
from tests.support.token_records import a_token_record

NOW = 1_790_000_000
RACERS = 50

CODE = AuthorizationCode(
    code_hash="c0de",
    client_id="desk-app",
    subject="user:ann",
    redirect_uri="http://127.0.0.1:3955/callback",
    code_challenge="challenge",
    resource="http://127.0.0.1:8420/mcp/calendar",
    scopes=frozenset({"calendar:read", "calendar:write"}),
    expires_at=NOW + 60,
)
CONSENT = Consent(
    subject=CODE.subject,
    client_id=CODE.client_id,
    resource=CODE.resource,
    scopes=CODE.scopes,
    terms="terms",
    granted_at=NOW,
)


async def test_a_code_is_consumed_once(stores: Stores) -> None:
    """The first redemption gets the code as it was stored, the second is told that it is one."""
    await stores.codes.add(CODE)
    assert await stores.codes.consume("c0de") == Consumed(CODE)
    assert await stores.codes.consume("c0de") == Replayed(())


async def test_a_code_that_was_never_issued_is_unknown(stores: Stores) -> None:
    """An unknown code is neither consumed nor replayed."""
    assert await stores.codes.consume("other") is None


async def test_one_of_fifty_redeemers_wins(opened: Opened, stores: Stores) -> None:
    """Of fifty redemptions at once, by two processes, exactly one gets the code."""
    await stores.codes.add(CODE)
    both = (stores, opened.other)
    outcomes = await asyncio.gather(*(both[turn % 2].codes.consume("c0de") for turn in range(RACERS)))
    assert sorted(type(each).__name__ for each in outcomes) == ["Consumed"] + ["Replayed"] * (RACERS - 1)


async def test_a_replay_names_every_token_of_the_code(stores: Stores) -> None:
    """A replayed code tells which tokens came of it, so that they can be revoked."""
    await stores.consents.put(CONSENT)
    await stores.codes.add(CODE)
    await stores.codes.consume("c0de")
    await stores.token_records.add_for_code(a_token_record("of-code"), "c0de")
    await stores.token_records.add(a_token_record("other"))
    assert await stores.codes.consume("c0de") == Replayed(("of-code",))


async def test_no_token_is_made_of_a_code_that_was_replayed_meanwhile(stores: Stores) -> None:
    """A replay that comes before the first token is recorded keeps that token from being made."""
    await stores.codes.add(CODE)
    await stores.codes.consume("c0de")
    await stores.codes.consume("c0de")
    with pytest.raises(CodeReplayed):
        await stores.token_records.add_for_code(a_token_record("late"), "c0de")
    assert await stores.lineage.live("jti", "late", now=NOW) == []


@pytest.mark.parametrize("taken_back", ["before it is given", "while it is redeemed"])
async def test_no_token_is_made_of_a_consent_that_was_taken_back(stores: Stores, taken_back: str) -> None:
    """A code rests on its consent to the end: taken back at any moment before the token is recorded, there is none."""
    key = (CODE.subject, CODE.client_id, CODE.resource)
    await stores.consents.put(CONSENT)
    if taken_back == "before it is given":
        await stores.consents.take_back(*key, now=NOW)
    await stores.codes.add(CODE)
    await stores.codes.consume("c0de")
    if taken_back == "while it is redeemed":
        await stores.consents.take_back(*key, now=NOW)
    with pytest.raises(CodeInvalid):
        await stores.token_records.add_for_code(a_token_record("late"), "c0de")
    assert await stores.lineage.live("jti", "late", now=NOW) == []


async def test_a_consent_says_when_it_was_last_used(stores: Stores) -> None:
    """The time of the last token, for this person, client and resource alone."""
    other = replace(CONSENT, client_id="desk-two")
    await stores.consents.put(CONSENT)
    await stores.consents.put(other)
    await stores.codes.add(CODE)
    await stores.codes.consume("c0de")
    record = a_token_record("of-code", subject=CODE.subject, client_id=CODE.client_id, audience=CODE.resource)
    await stores.token_records.add_for_code(record, "c0de")
    found = {each.client_id: each.used_at for each in await stores.consents.all("user:ann")}
    assert found == {"desk-app": record.issued_at, "desk-two": None}
    assert await stores.consents.all("user:bob") == []


async def test_a_token_of_a_code_that_nobody_redeemed_is_refused(stores: Stores) -> None:
    """Only a redeemed code can have a token."""
    await stores.codes.add(CODE)
    with pytest.raises(CodeReplayed):
        await stores.token_records.add_for_code(a_token_record("early"), "c0de")


async def test_a_record_comes_back_as_it_was(stores: Stores) -> None:
    """Every field of a record is kept."""
    record = a_token_record("whole", parent_jti="p", family="f", parent_audience="http://127.0.0.1:1/mcp", hop=3)
    await stores.token_records.add(record)
    assert await stores.lineage.live("jti", "whole", now=NOW) == [record]


async def test_two_tokens_never_share_an_id(stores: Stores) -> None:
    """A second record under the same `jti` is refused, and the first stays."""
    await stores.token_records.add(a_token_record("same"))
    with pytest.raises(StorageUnavailable):
        await stores.token_records.add(a_token_record("same", subject="other"))
    assert [each.subject for each in await stores.lineage.live("jti", "same", now=NOW)] == ["trip-planner"]


async def test_one_of_fifty_uses_of_an_assertion_is_the_first(opened: Opened, stores: Stores) -> None:
    """Of fifty uses of an assertion's id at once, by two processes, exactly one counts."""
    both = (stores, opened.other)
    uses = (both[turn % 2].assertions.spend("c", "jti", expires_at=NOW + 60) for turn in range(RACERS))
    assert sum(await asyncio.gather(*uses)) == 1


async def test_assertion_ids_belong_to_their_client(stores: Stores) -> None:
    """Two clients may choose the same id."""
    assert await stores.assertions.spend("one", "jti", expires_at=NOW + 60)
    assert await stores.assertions.spend("two", "jti", expires_at=NOW + 60)
    assert not await stores.assertions.spend("one", "jti", expires_at=NOW + 90)


async def test_what_expired_is_forgotten(opened: Opened, stores: Stores) -> None:
    """Forgetting drops spent assertions, codes whose tokens are gone, and old records; a replay is known till then."""
    database = opened.database
    await stores.assertions.spend("c", "jti", expires_at=NOW)
    await stores.codes.add(CODE)
    await stores.codes.add(replace(CODE, code_hash="young", expires_at=NOW + 61))
    await stores.token_records.add(a_token_record("kept", expires_at=NOW - KEPT_AFTER_EXPIRY + 961))
    await stores.token_records.add(a_token_record("gone", expires_at=NOW - KEPT_AFTER_EXPIRY + 960))
    assert await forget_expired(database, now=NOW + 60 + TOKEN_LIFETIME_CAP) == 3
    assert await stores.codes.consume("c0de") is None
    assert isinstance(await stores.codes.consume("young"), Consumed)
    assert await stores.assertions.spend("c", "jti", expires_at=NOW)
    assert await stores.lineage.live("jti", "gone", now=0) == []
    assert len(await stores.lineage.live("jti", "kept", now=0)) == 1


async def test_an_issuers_assertion_is_spent_once(opened: Opened, stores: Stores) -> None:
    """Of fifty uses at once, by two processes, one is the first; ids are an issuer's, and forgotten once expired."""
    both = (stores, opened.other)
    spends = (both[turn % 2].assertions.spend_grant("a", "j", expires_at=NOW) for turn in range(RACERS))
    assert sum(await asyncio.gather(*spends)) == 1
    assert await stores.assertions.spend_grant("b", "j", expires_at=NOW + 60)
    assert await stores.assertions.spend("a", "j", expires_at=NOW + 60)
    await forget_expired(opened.database, now=NOW)
    assert await stores.assertions.spend_grant("a", "j", expires_at=NOW + 60)
    assert not await stores.assertions.spend_grant("b", "j", expires_at=NOW + 60)
