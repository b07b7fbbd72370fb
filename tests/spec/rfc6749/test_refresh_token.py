"""RFC 6749 §6 and RFC 9700 §4.14: a refresh token is good once, for its client, and never for more than was allowed.

Spec: RFC 6749 §6
Spec: RFC 9700 §4.14.2
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from perhop.authorization_server.refresh_families import FAMILY_LIFETIME, IDLE_LIFETIME, hash_refresh_token
from perhop.authorization_server.revocation import RevokedObject
from perhop.core.client import GrantType
from perhop.errors import BearerRefused
from tests.support.authorization_servers import (
    CALENDAR,
    PERSON,
    RunningServer,
    assert_refused,
    claims_in,
    claims_of,
    running_server,
)
from tests.support.refreshing import (
    BOTH,
    READ,
    add_portal,
    allowed,
    allowed_without_pages,
    family_of,
    refresh,
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        add_portal(running)
        yield running


def _is_good(server: RunningServer, token: str) -> bool:
    """True if the token is in force at the calendar, as the gateway would look."""
    try:
        server.issuer.revocations.check(server.permit(token).bound.token)
    except BearerRefused:
        return False
    return True


async def test_a_refresh_gives_the_next_pair(server: RunningServer) -> None:
    """A refresh answers with an access token for the same resource, person and scopes, and with another refresh token.

    Spec: RFC 6749 §6
    """
    first = await allowed(server)
    server.clock.now += 400
    answer = await refresh(server, first["refresh_token"])
    claims = claims_of(answer)
    assert (claims["aud"], claims["sub"], claims["scope"]) == (CALENDAR, PERSON, "calendar:read")
    assert (claims["client_id"], claims["hop"]) == ("desk-app", 1)
    assert "act" not in claims
    assert claims["txn"] != claims_in(first["access_token"])["txn"]
    assert answer.json()["refresh_token"] != first["refresh_token"]
    assert answer.json()["expires_in"] == 300
    assert answer.headers["cache-control"] == "no-store"
    code, refreshed = server.records("token.issued")
    assert code["about"] == {"grant": "authorization_code", "family": refreshed["about"]["family"]}
    assert refreshed["about"]["grant"] == "refresh_token"


async def test_a_family_goes_on_as_long_as_it_is_used(server: RunningServer) -> None:
    """Each refresh token leads to the next."""
    token = (await allowed(server))["refresh_token"]
    for _ in range(5):
        server.clock.now += IDLE_LIFETIME - 1
        answer = await refresh(server, token)
        assert answer.status_code == 200, answer.text
        token = answer.json()["refresh_token"]


async def test_a_token_that_comes_again_ends_the_family(server: RunningServer) -> None:
    """A second use is refused with its own reason, and with it every token of the family, and what came of them.

    Spec: RFC 9700 §4.14.2
    """
    first = await allowed(server)
    second = (await refresh(server, first["refresh_token"])).json()
    onward = await server.through_gateway(second["access_token"])
    below = (await server.exchange(onward)).json()["access_token"]
    family = await _family(server, first["refresh_token"])
    assert_refused(await refresh(server, first["refresh_token"]), "invalid_grant")
    refusal = server.last_refusal()
    assert refusal["reason"] == "refresh.reused"
    assert refusal["about"] == {"grant": "refresh_token", "family": family}
    (revocation,) = server.records("revocation")
    assert (revocation["about"]["kind"], revocation["about"]["value"]) == ("family", family)
    tokens = {claims_in(each)["jti"] for each in (first["access_token"], second["access_token"], onward, below)}
    assert set(revocation["about"]["tokens"]) == tokens
    for token in (first["access_token"], second["access_token"]):
        assert not _is_good(server, token)
    assert_refused(await server.exchange(onward), "invalid_request")
    assert_refused(await refresh(server, second["refresh_token"]), "invalid_grant")
    assert server.last_refusal()["reason"] == "token.revoked"


async def _family(server: RunningServer, token: str) -> str:
    stored = await server.stores.refresh_tokens.find(hash_refresh_token(token))
    assert stored is not None
    return stored.family.id


async def test_a_request_sent_twice_ends_the_family(server: RunningServer) -> None:
    """There is no time of grace: the second one of two equal requests in the same second ends the family."""
    first = await allowed(server)
    answers = await asyncio.gather(*(refresh(server, first["refresh_token"]) for _ in range(2)))
    assert sorted(each.status_code for each in answers) == [200, 400]
    good = next(each.json() for each in answers if each.status_code == 200)
    assert not _is_good(server, good["access_token"])
    assert_refused(await refresh(server, good["refresh_token"]), "invalid_grant")


async def test_of_fifty_uses_at_once_one_succeeds(server: RunningServer) -> None:
    """Of fifty requests with one token exactly one is answered with tokens, which are dead, and one end is recorded."""
    first = await allowed(server)
    answers = await asyncio.gather(*(refresh(server, first["refresh_token"]) for _ in range(50)))
    assert sorted(each.status_code for each in answers) == [200] + [400] * 49
    assert {each.json()["error"] for each in answers if each.status_code == 400} == {"invalid_grant"}
    good = next(each.json() for each in answers if each.status_code == 200)
    assert not _is_good(server, good["access_token"])
    (revocation,) = server.records("revocation")
    assert claims_in(good["access_token"])["jti"] in revocation["about"]["tokens"]
    assert_refused(await refresh(server, good["refresh_token"]), "invalid_grant")


async def test_a_reuse_is_told_once(server: RunningServer) -> None:
    """Who brings a spent token again and again adds refusals, and nothing to the feed."""
    first = await allowed(server)
    await refresh(server, first["refresh_token"])
    for _ in range(3):
        server.clock.now += 1
        assert_refused(await refresh(server, first["refresh_token"]), "invalid_grant")
        assert server.last_refusal()["reason"] == "refresh.reused"
    assert len(server.records("revocation")) == 1


async def test_a_reuse_during_another_refresh_is_seen(server: RunningServer) -> None:
    """A refresh that was judged before another one spent its token ends the family when it comes to spend it."""
    first = await allowed(server)
    _first_time_a_token_is_recorded(server, lambda: refresh(server, first["refresh_token"]))
    assert_refused(await refresh(server, first["refresh_token"]), "invalid_grant")
    assert server.last_refusal()["reason"] == "refresh.reused"
    assert len(server.records("revocation")) == 1


async def test_a_family_that_ends_during_a_refresh_gives_nothing(server: RunningServer) -> None:
    """A revocation between the judgement and the spending wins: nothing is issued, and nothing is called reused."""
    first = await allowed(server)
    family = await family_of(server)
    revoke = server.issuer.revoker.revoke
    _first_time_a_token_is_recorded(server, lambda: revoke(RevokedObject.FAMILY, family, why="", by="tests"))
    assert_refused(await refresh(server, first["refresh_token"]), "invalid_grant")
    assert server.last_refusal()["reason"] == "token.revoked"
    assert len(server.records("token.issued")) == 1


def _first_time_a_token_is_recorded(server: RunningServer, meanwhile: Callable[[], Awaitable[Any]]) -> None:
    """Have something happen just before the store is asked to spend a token."""
    records = server.stores.token_records
    has_happened = False

    class Interrupted:
        def __getattr__(self, name: str) -> Any:
            return getattr(records, name)

        async def add_for_refresh(self, *words: Any) -> bool:
            nonlocal has_happened
            if not has_happened:
                has_happened = True
                await meanwhile()
            return await records.add_for_refresh(*words)

    server.change(stores=replace(server.stores, token_records=Interrupted()))  # type: ignore[arg-type]


async def test_another_client_spends_nothing(server: RunningServer) -> None:
    """A token of another client is refused, and works for its own client afterwards.

    Spec: RFC 6749 §6
    """
    first = await allowed(server)
    for by in ("laptop-app", "portal"):
        assert_refused(await refresh(server, first["refresh_token"], by=by), "invalid_grant")
        assert server.last_refusal()["reason"] == "presenter.mismatch"
    second = await refresh(server, first["refresh_token"])
    assert second.status_code == 200
    assert_refused(await refresh(server, first["refresh_token"], by="laptop-app"), "invalid_grant")
    assert server.records("revocation") == []
    assert (await refresh(server, second.json()["refresh_token"])).status_code == 200


async def test_a_client_with_a_secret_shows_it(server: RunningServer) -> None:
    """A confidential client is refused without its secret, or with another, and its token is not spent by that.

    Spec: RFC 6749 §6
    """
    first = await allowed_without_pages(server)
    for odd in ({"client_secret": ""}, {"client_secret": "x" * 40}):
        answer = await refresh(server, first["refresh_token"], by="portal", more=odd)
        assert_refused(answer, "invalid_client", status=401)
    assert (await refresh(server, first["refresh_token"], by="portal")).status_code == 200


@pytest.mark.parametrize("token", ["unknown", "x" * 9000, "\0"])
async def test_an_unknown_token_is_refused(server: RunningServer, token: str) -> None:
    """What was never given is no grant."""
    assert_refused(await refresh(server, token), "invalid_grant")


async def test_a_token_must_be_there(server: RunningServer) -> None:
    """Without a refresh token, or with two, the request is malformed."""
    assert_refused(await refresh(server, ""), "invalid_request")
    body = "grant_type=refresh_token&client_id=desk-app&refresh_token=a&refresh_token=b"
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert_refused(await server.http.post("/token", content=body, headers=headers), "invalid_request")


async def test_an_access_token_is_no_refresh_token(server: RunningServer) -> None:
    """Neither of the two can be used as the other."""
    first = await allowed(server)
    assert_refused(await refresh(server, first["access_token"]), "invalid_grant")
    with pytest.raises(BearerRefused):
        server.permit(first["refresh_token"])


async def test_scopes_may_be_narrowed_for_one_token(server: RunningServer) -> None:
    """A refresh may ask for less; the next one gets all that was allowed again.

    Spec: RFC 6749 §6
    """
    first = await allowed_without_pages(server)
    narrow = await refresh(server, first["refresh_token"], by="portal", scope="calendar:read")
    assert claims_of(narrow)["scope"] == "calendar:read"
    again = await refresh(server, narrow.json()["refresh_token"], by="portal")
    assert claims_of(again)["scope"] == "calendar:read calendar:write"


@pytest.mark.parametrize("scope", ["calendar:write", "calendar:read calendar:write", "rooms:read", "offline_access"])
async def test_scopes_are_never_widened(server: RunningServer, scope: str) -> None:
    """What was not allowed is refused, also where the client reaches it by now, and the token is not spent by that.

    Spec: RFC 6749 §6
    """
    first = await allowed_without_pages(server, scopes=READ)
    assert_refused(await refresh(server, first["refresh_token"], by="portal", scope=scope), "invalid_scope")
    assert claims_of(await refresh(server, first["refresh_token"], by="portal"))["scope"] == "calendar:read"


async def test_narrower_reach_narrows(server: RunningServer) -> None:
    """Scopes that the client lost are in no new token; with all of them lost there is none."""
    first = await allowed_without_pages(server)
    server.change_client("portal", reaches={"calendar": ("calendar:read",)})
    second = await refresh(server, first["refresh_token"], by="portal")
    assert claims_of(second)["scope"] == "calendar:read"
    token = second.json()["refresh_token"]
    assert_refused(await refresh(server, token, by="portal", scope="calendar:write"), "invalid_scope")
    server.change_client("portal", reaches={})
    assert_refused(await refresh(server, token, by="portal"), "invalid_target")


@pytest.mark.parametrize(("seconds", "passes"), [(IDLE_LIFETIME - 1, True), (IDLE_LIFETIME, False)])
async def test_an_unused_token_is_good_for_two_weeks(server: RunningServer, seconds: int, passes: bool) -> None:
    """A token that waits for fourteen days has expired."""
    first = await allowed(server)
    server.clock.now += seconds
    answer = await refresh(server, first["refresh_token"])
    assert (answer.status_code == 200) is passes
    if not passes:
        assert server.last_refusal()["reason"] == "token.expired"


async def test_a_family_is_over_after_ninety_days(server: RunningServer) -> None:
    """However busy it is, a family ends, and so do the tokens that are in it then."""
    first = await allowed_without_pages(server)
    server.change_client("portal", expires=date(2040, 1, 1))
    began, token = server.clock.now, first["refresh_token"]
    while server.clock.now + IDLE_LIFETIME < began + FAMILY_LIFETIME:
        server.clock.now += IDLE_LIFETIME - 1
        token = (await refresh(server, token, by="portal")).json()["refresh_token"]
    server.clock.now = began + FAMILY_LIFETIME - 1
    token = (await refresh(server, token, by="portal")).json()["refresh_token"]
    server.clock.now += 1
    assert_refused(await refresh(server, token, by="portal"), "invalid_grant")
    assert server.last_refusal()["reason"] == "token.expired"


async def test_only_who_may_use_it_gets_one(server: RunningServer) -> None:
    """A client without the grant gets no refresh token, and a client for itself never does.

    Spec: RFC 6749 §4.4.3
    """
    assert "refresh_token" not in (await server.planner_token()).json()
    server.change_client("desk-app", grants=frozenset({GrantType.AUTHORIZATION_CODE}))
    assert "refresh_token" not in await allowed(server)


async def test_no_refresh_token_is_kept(server: RunningServer) -> None:
    """Neither the database nor the journal holds a refresh token, spent or not."""
    first = (await allowed(server))["refresh_token"]
    second = (await refresh(server, first)).json()["refresh_token"]
    kept = b"".join(file.read_bytes() for file in server.database.path.parent.glob("*.db*"))
    assert first != second
    assert len(first) == len(second) == 43
    for token in (first, second):
        assert token.encode() not in kept
        assert hash_refresh_token(token).encode() in kept


async def test_a_family_has_what_was_allowed(server: RunningServer) -> None:
    """A code redeemed for less begins a family with all that the person allowed, and no more than that."""
    first = await allowed_without_pages(server, scopes=BOTH)
    stored = await server.stores.refresh_tokens.find(hash_refresh_token(first["refresh_token"]))
    assert stored is not None
    assert (stored.family.scopes, stored.family.resource, stored.family.subject) == (BOTH, CALENDAR, PERSON)
    assert stored.family.tenant == "acme"
