"""The revocation feed: what it revokes is refused, and a stale one closes where the risk is high."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perhop.resource_server import Admitted, Challenge, Guard
from perhop.resource_server.testing.loopback_http import Reply, json_reply
from perhop.rules.revocation import RevocationKind, revocation_digest
from perhop.tokens.keys import SigningKey
from perhop.tokens.statement import sign_statement
from tests.support.offline_issuer import Clock, OfflineIssuer

RESOURCE = "https://mcp.example.com/mcp"
FEED = "/revocations"


class Door:
    """A guard on the same clock as its issuer, closed at the end."""

    def __init__(self, risk: str = "medium") -> None:
        self.clock = Clock()
        self.issuer = OfflineIssuer(clock=self.clock)
        self.guard = Guard(
            resource=RESOURCE, issuers=[self.issuer.url], risk=risk, http=self.issuer.http(), clock=self.clock
        )

    async def __aenter__(self) -> Door:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.guard.aclose()

    async def knock(self, token: str) -> str:
        """`admitted`, or status and reason."""
        outcome = await self.guard.check_token((("authorization", f"Bearer {token}"),))
        match outcome:
            case Admitted():
                return "admitted"
            case Challenge():
                return f"{outcome.status} {outcome.reason}"

    def reply(self, *, key: SigningKey | None = None, typ: str = "revocations+jwt", **changes: Any) -> None:
        """Answer every poll with one statement; `changes` are made to a good, empty one."""
        payload = {"iss": self.issuer.url, "iat": int(self.clock.now), "after": 0, "next": 0, "entries": []} | changes
        statement = sign_statement(payload, typ=typ, key=key or self.issuer.key)
        self.issuer.replies[FEED] = Reply(200, (), statement.encode())


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (RevocationKind.TOKEN, None),
        (RevocationKind.SUBJECT, "user:ann"),
        (RevocationKind.AGENT, "trip-planner"),
        (RevocationKind.AGENT, "calendar-server"),
        (RevocationKind.RESOURCE, RESOURCE),
        (RevocationKind.TENANT, "acme"),
        (RevocationKind.TASK, "task-1"),
    ],
)
async def test_what_was_revoked_before_the_start_is_refused_from_the_first_request(
    kind: RevocationKind, value: str | None
) -> None:
    """The first request waits for the feed's first answer; every name of a token can be revoked."""
    async with Door() as door:
        claims = door.issuer.claims(RESOURCE, subject="user:ann", client_id="calendar-server") | {
            "agent": "trip-planner",
            "tenant": "acme",
            "authorization_details": [{"type": "agent_task", "id": "task-1"}],
        }
        door.issuer.revoke(kind, value or claims["jti"])
        assert await door.knock(door.issuer.sign(claims)) == "401 token.revoked"
        other = door.issuer.claims(RESOURCE, subject="user:bob") | {"aud": RESOURCE}
        expected = "401 token.revoked" if kind is RevocationKind.RESOURCE else "admitted"
        assert await door.knock(door.issuer.sign(other)) == expected


async def test_a_revocation_arrives_while_the_guard_runs() -> None:
    """A token that was taken is refused once the issuer has revoked it, and a later one passes."""
    async with Door() as door:
        token = door.issuer.mint(RESOURCE)
        assert await door.knock(token) == "admitted"
        await door.issuer.asked(FEED, times=2)
        polls = door.issuer.requests[FEED]
        door.issuer.revoke(RevocationKind.SUBJECT, "user:throwaway")
        await door.issuer.asked(FEED, times=polls + 1)
        assert await door.knock(token) == "401 token.revoked"
        door.clock.now += 1
        assert await door.knock(door.issuer.mint(RESOURCE)) == "admitted"


async def test_a_long_feed_is_read_to_its_end_before_the_first_token_passes() -> None:
    """An answer that holds entries is followed by another question until nothing is new."""
    async with Door(risk="high") as door:
        issuer, asked = door.issuer, []  # type: OfflineIssuer, list[int]
        original = issuer._revocations

        async def page(query: Any) -> Reply:
            after = int(query["after"][0])
            asked.append(after)
            entry = {
                "seq": after + 1,
                "kind": "jti",
                "digest": revocation_digest(f"token-{after + 1}"),
                "not_before": int(door.clock.now),
                "exp": int(door.clock.now) + 900,
            }
            if after >= 3:
                return await original(query)
            payload = {
                "iss": issuer.url,
                "iat": int(door.clock.now),
                "after": after,
                "next": after + 1,
                "entries": [entry],
            }
            return Reply(200, (), sign_statement(payload, typ="revocations+jwt", key=issuer.key).encode())

        issuer._revocations = page  # type: ignore[method-assign]
        claims = issuer.claims(RESOURCE) | {"jti": "token-3"}
        assert await door.knock(issuer.sign(claims)) == "401 token.revoked"
        assert asked[:4] == [0, 1, 2, 3]
        assert await door.knock(issuer.mint(RESOURCE)) == "admitted"


@pytest.mark.parametrize(("age", "outcome"), [(10, "admitted"), (11, "503 upstream.unavailable")])
async def test_a_stale_feed_closes_where_the_risk_is_high(age: int, outcome: str) -> None:
    """Ten seconds after the last statement was signed tokens pass, later they do not; after a new one they do."""
    async with Door(risk="high") as door:
        token = door.issuer.mint(RESOURCE)
        assert await door.knock(token) == "admitted"
        door.issuer.is_down = True
        door.clock.now += age
        assert await door.knock(token) == outcome


async def test_a_feed_that_comes_back_opens_again() -> None:
    """No restart is needed after the issuer was away."""
    async with Door(risk="high") as door:
        door.issuer.replies[FEED] = Reply(500, (), b"")
        token = door.issuer.mint(RESOURCE)
        assert await door.knock(token) == "503 upstream.unavailable"
        del door.issuer.replies[FEED]
        await door.issuer.asked(FEED, times=door.issuer.requests[FEED] + 2)
        assert await door.knock(token) == "admitted"


async def test_a_stale_feed_lets_other_tokens_live_until_they_expire() -> None:
    """Where the risk is not high, what is known to be revoked stays refused and the rest passes."""
    async with Door() as door:
        revoked, token = door.issuer.mint(RESOURCE, subject="user:eve"), door.issuer.mint(RESOURCE)
        door.issuer.revoke(RevocationKind.SUBJECT, "user:eve")
        assert await door.knock(revoked) == "401 token.revoked"
        door.issuer.is_down = True
        door.clock.now += 250
        assert await door.knock(token) == "admitted"
        assert await door.knock(revoked) == "401 token.revoked"


async def test_an_issuer_without_feed_is_stale_for_ever() -> None:
    """Where the risk is high, tokens of an issuer that publishes no feed do not pass at all."""
    for risk, outcome in (("high", "503 upstream.unavailable"), ("medium", "admitted")):
        async with Door(risk=risk) as door:
            document = {"issuer": door.issuer.url, "jwks_uri": f"{door.issuer.url}/jwks"}
            door.issuer.replies["/.well-known/oauth-authorization-server"] = json_reply(document)
            assert await door.knock(door.issuer.mint(RESOURCE)) == outcome
            assert door.issuer.requests[FEED] == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"iat": -1},
        {"iat": "now"},
        {"after": 5},
        {"next": -1},
        {"entries": None},
        {"entries": [{"seq": 1, "kind": "everything", "digest": "x", "not_before": 1, "exp": 2}], "next": 1},
        {"entries": [{"seq": 1, "kind": "jti", "digest": 7, "not_before": 1, "exp": 2}], "next": 1},
        {"entries": ["x"], "next": 1},
        {"typ": "at+jwt"},
        {"key": SigningKey.generate()},
    ],
)
async def test_a_statement_that_is_not_the_issuers_is_no_answer(changes: dict[str, Any]) -> None:
    """Another issuer, type, key or question, and entries that are not understood, leave the feed stale."""
    async with Door(risk="high") as door:
        door.reply(**changes)
        assert await door.knock(door.issuer.mint(RESOURCE)) == "503 upstream.unavailable"


async def test_an_old_statement_is_no_fresh_answer() -> None:
    """What counts is when the issuer signed: a statement played back does not keep the feed fresh."""
    async with Door(risk="high") as door:
        door.reply(iat=int(door.clock.now) - 11)
        assert await door.knock(door.issuer.mint(RESOURCE)) == "503 upstream.unavailable"


async def test_a_statement_of_the_future_counts_from_now() -> None:
    """A clock that is ahead makes no feed fresher than it is, and one far ahead is refused."""
    async with Door(risk="high") as door:
        door.reply(iat=int(door.clock.now) + 60)
        token = door.issuer.mint(RESOURCE)
        assert await door.knock(token) == "admitted"
        door.issuer.is_down = True
        door.clock.now += 11
        assert await door.knock(token) == "503 upstream.unavailable"
    async with Door(risk="high") as door:
        door.reply(iat=int(door.clock.now) + 61)
        assert await door.knock(door.issuer.mint(RESOURCE)) == "503 upstream.unavailable"


async def _heard_again(door: Door, token: str, outcome: str) -> None:
    """Wait until the guard says this of a token."""
    async with asyncio.timeout(15):
        while await door.knock(token) != outcome:
            await asyncio.sleep(0.01)


async def test_a_clock_that_was_ahead_forgets_nothing_that_is_needed() -> None:
    """An hour ahead for some polls, the guard's own clock ends no revocation: the issuer's has not come so far."""
    async with Door() as door:
        token = door.issuer.mint(RESOURCE)
        door.issuer.revoke(RevocationKind.SUBJECT, "user:throwaway")
        assert await door.knock(token) == "401 token.revoked"
        before = int(door.clock.now)
        door.clock.now += 3600
        door.reply(iat=before, after=1, next=1)
        polls = door.issuer.requests[FEED]
        await door.issuer.asked(FEED, times=polls + 2)
        door.clock.now -= 3600
        del door.issuer.replies[FEED]
        assert await door.knock(token) == "401 token.revoked"


async def test_a_feed_begins_anew_when_the_clocks_went_back() -> None:
    """Both were an hour ahead, and what was forgotten by them is asked for again; high risk is closed until it came."""
    async with Door(risk="high") as door:
        revoked, good = door.issuer.mint(RESOURCE, subject="user:eve"), door.issuer.mint(RESOURCE)
        door.issuer.revoke(RevocationKind.SUBJECT, "user:eve")
        assert await door.knock(revoked) == "401 token.revoked"
        door.clock.now += 3600
        await door.issuer.asked(FEED, times=door.issuer.requests[FEED] + 2)
        ahead = door.issuer.mint(RESOURCE)
        await _heard_again(door, ahead, "admitted")
        door.clock.now -= 3600
        assert await door.knock(good) == "503 upstream.unavailable"
        assert await door.knock(revoked) != "admitted"
        await _heard_again(door, good, "admitted")
        assert await door.knock(revoked) == "401 token.revoked"


async def test_a_clock_that_was_set_back_makes_no_feed_fresh() -> None:
    """The last statement was signed in a time that has yet to come, and says nothing of now."""
    async with Door(risk="high") as door:
        token = door.issuer.mint(RESOURCE)
        assert await door.knock(token) == "admitted"
        door.issuer.is_down = True
        for back, outcome in ((10, "admitted"), (1, "503 upstream.unavailable")):
            door.clock.now -= back
            assert await door.knock(token) == outcome


async def test_a_feed_under_a_new_key_is_read() -> None:
    """A statement under a key that is not held yet makes the guard look for newer keys."""
    async with Door(risk="high") as door:
        token = door.issuer.mint(RESOURCE, lifetime=900)
        await door.guard._issuers[door.issuer.url].keys()
        door.issuer.rotate()
        assert await door.knock(token) == "admitted"
        assert door.issuer.requests["/jwks"] == 2


async def test_the_feed_is_followed_by_one_task_and_ends_with_the_guard() -> None:
    """Many requests start one follower, closing ends it, and a later request starts it again."""
    before = asyncio.all_tasks()
    async with Door() as door:
        token = door.issuer.mint(RESOURCE)
        await asyncio.gather(*(door.knock(token) for _ in range(20)))
        feed = door.guard._feeds[door.issuer.url]
        assert len(feed._following) == 1
        await door.guard.aclose()
        assert {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()} == set()
        assert await door.knock(token) == "admitted"
        assert len(feed._following) == 1


def test_a_guard_serves_one_event_loop_after_the_other() -> None:
    """Nothing that belongs to a loop that has ended is used in the next."""
    door = Door()

    async def knock() -> str:
        try:
            return await door.knock(door.issuer.mint(RESOURCE))
        finally:
            await door.guard.aclose()

    assert [asyncio.run(knock()) for _ in range(2)] == ["admitted", "admitted"]
