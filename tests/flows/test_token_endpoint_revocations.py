"""Revocation and its feed: in force at once, descendants along, told to whoever waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perhop.authorization_server.revocation import RevokedObject, Revoker
from perhop.authorization_server.store import TokenRecord, TokenRecords
from perhop.errors import JournalUnavailable
from perhop.rules.revocation import Revocation, RevocationKind, Revocations, revocation_digest
from perhop.tokens.statement import read_statement
from tests.support.authorization_servers import (
    CALENDAR,
    CALENDAR_SERVER,
    NOW,
    RunningServer,
    assert_refused,
    claims_in,
    claims_of,
    running_server,
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        yield running


async def _feed(server: RunningServer, **parameters: int) -> Mapping[str, Any]:
    answer = await server.http.get("/revocations", params={name: str(value) for name, value in parameters.items()})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/jwt"
    assert answer.headers["cache-control"] == "no-store"
    return read_statement(answer.text, typ="revocations+jwt", keys=server.issuer.keyring.verify_keys())


async def test_an_empty_feed_says_so_when_the_wait_is_over(server: RunningServer) -> None:
    """Without news the answer comes when `wait` ends, signed, dated and empty."""
    assert await _feed(server, after=0, wait=0) == {
        "iss": server.issuer.url,
        "iat": NOW,
        "after": 0,
        "next": 0,
        "entries": [],
    }


async def test_a_waiting_reader_is_told_at_once(server: RunningServer) -> None:
    """A poll that is being held answers as soon as something is revoked."""
    waiting = asyncio.create_task(_feed(server, after=0, wait=25))
    await _feed(server, after=0, wait=0)
    assert not waiting.done()
    await server.issuer.revoker.revoke(RevokedObject.AGENT, "trip-planner", why="test", by="test")
    async with asyncio.timeout(5):
        statement = await waiting
    (entry,) = statement["entries"]
    assert (entry["kind"], entry["digest"]) == ("agent", revocation_digest("trip-planner"))
    assert (entry["not_before"], entry["exp"] > NOW + 900) == (NOW, True)
    assert statement["next"] == entry["seq"]


async def test_a_reader_goes_on_from_where_it_was(server: RunningServer) -> None:
    """`after` leaves out what was told; beyond the last number the feed begins again."""
    for name in ("one", "two"):
        await server.issuer.revoker.revoke(RevokedObject.AGENT, name, why="test", by="test")
    first = await _feed(server, wait=0)
    assert len(first["entries"]) == 2
    second = await _feed(server, after=first["entries"][0]["seq"], wait=0)
    assert [entry["digest"] for entry in second["entries"]] == [revocation_digest("two")]
    assert (await _feed(server, after=first["next"], wait=0))["entries"] == []
    again = await _feed(server, after=first["next"] + 1000, wait=0)
    assert (again["after"], len(again["entries"])) == (0, 2)


async def test_rows_that_are_over_are_not_asked_for_again(server: RunningServer) -> None:
    """When every newer row has lapsed, the feed moves its reader past them."""
    await server.issuer.revoker.revoke(RevokedObject.AGENT, "one", why="test", by="test")
    server.clock.now += 2000
    statement = await _feed(server, after=0, wait=0)
    assert (statement["entries"], statement["next"]) == ([], server.issuer.revocations.seq)


ODD_QUESTIONS: list[str] = [
    "after=x",
    "after=-1",
    "after=1&after=2",
    "wait=1.5",
    "after=%ff",
    "after=9" * 30,
]


async def test_an_odd_question_is_refused(server: RunningServer, subtests: pytest.Subtests) -> None:
    """Anything but whole numbers is malformed."""
    for query in ODD_QUESTIONS:
        with subtests.test(query=query):
            assert (await server.http.get(f"/revocations?{query}")).status_code == 400


async def test_a_wait_is_bounded(server: RunningServer) -> None:
    """However long a reader wants to wait, a poll that has news does not."""
    await server.issuer.revoker.revoke(RevokedObject.AGENT, "one", why="test", by="test")
    async with asyncio.timeout(5):
        assert (await _feed(server, after=0, wait=10**9))["entries"]


async def _chain(server: RunningServer) -> list[str]:
    """Four tokens: for the calendar, its server, the rooms, their server."""
    first = (await server.planner_token()).json()["access_token"]
    second = await server.through_gateway(first)
    third = (await server.exchange(second)).json()["access_token"]
    return [first, second, third, await server.through_gateway(third, "rooms")]


@pytest.mark.parametrize(
    ("kind", "value", "taken"),
    [
        (RevokedObject.AGENT, "trip-planner", [0, 1, 2, 3]),
        (RevokedObject.SUBJECT, "trip-planner", [0, 1, 2, 3]),
        (RevokedObject.RESOURCE, "calendar", [0, 1, 2, 3]),
        (RevokedObject.RESOURCE, CALENDAR_SERVER, [0, 1, 2, 3]),
        (RevokedObject.RESOURCE, "rooms", [2, 3]),
        (RevokedObject.TENANT, "acme", [0, 1, 2, 3]),
        (RevokedObject.AGENT, "calendar-server", [2, 3]),
    ],
)
async def test_descendants_go_along(server: RunningServer, kind: RevokedObject, value: str, taken: list[int]) -> None:
    """Whatever is revoked takes every live token that came from it, whether in the database or in the journal."""
    chain = await _chain(server)
    revoked = await server.issuer.revoker.revoke(kind, value, why="test", by="test")
    assert set(revoked.jtis) == {claims_in(chain[index])["jti"] for index in taken}
    assert revoked.live == len(taken)
    for index, raw in enumerate(chain):
        jti = claims_in(raw)["jti"]
        covered = any(
            server.issuer.revocations.covers(name, each, issued_at=NOW) for name, each in _names(claims_in(raw))
        )
        assert covered is (index in taken), jti


def _names(claims: Mapping[str, Any]) -> list[tuple[Any, str]]:
    return [
        (RevocationKind.TOKEN, claims["jti"]),
        (RevocationKind.SUBJECT, claims["sub"]),
        (RevocationKind.AGENT, claims.get("agent", claims["client_id"])),
        (RevocationKind.AGENT, claims["client_id"]),
        (RevocationKind.RESOURCE, claims["aud"]),
        (RevocationKind.TENANT, claims.get("tenant", "")),
    ]


@pytest.mark.parametrize(("index", "taken"), [(0, [0, 1, 2, 3]), (1, [1, 2, 3]), (2, [2, 3]), (3, [3])])
async def test_one_token_takes_those_below_it(server: RunningServer, index: int, taken: list[int]) -> None:
    """Revoking one token ends it and what came from it, and nothing above it."""
    chain = [claims_in(raw)["jti"] for raw in await _chain(server)]
    revoked = await server.issuer.revoker.revoke(RevokedObject.TOKEN, chain[index], why="test", by="test")
    assert set(revoked.jtis) == {chain[each] for each in taken}
    told = {entry["digest"] for entry in (await _feed(server, wait=0))["entries"]}
    assert told == {revocation_digest(chain[each]) for each in taken}


async def test_tokens_issued_later_are_good(server: RunningServer) -> None:
    """Revoking an agent ends what it has, not what it gets from the next second on."""
    await server.issuer.revoker.revoke(RevokedObject.RESOURCE, "calendar", why="test", by="test")
    server.clock.now += 1
    later = (await server.planner_token()).json()["access_token"]
    claims_of(await server.exchange(await server.through_gateway(later)))


class _RevokedMeanwhile:
    """The real token records; while one is being written, its parent is revoked."""

    def __init__(self, server: RunningServer, records: TokenRecords) -> None:
        self._server = server
        self._records = records

    async def add(self, record: TokenRecord) -> None:
        assert record.parent_jti is not None
        await self._server.issuer.revoker.revoke(RevokedObject.TOKEN, record.parent_jti, why="test", by="test")
        await self._records.add(record)

    async def add_for_code(self, record: TokenRecord, code_hash: str) -> None:
        await self._records.add_for_code(record, code_hash)


async def test_a_parent_revoked_while_its_child_is_recorded(server: RunningServer) -> None:
    """A revocation that came too early to list the child is seen before the child leaves."""
    records = _RevokedMeanwhile(server, server.issuer.stores.token_records)
    server.change(stores=replace(server.issuer.stores, token_records=records))
    assert_refused(await server.exchange(server.forged()), "invalid_request")
    assert server.last_refusal()["reason"] == "token.revoked"
    assert server.records("token.issued") == []


async def test_no_child_of_a_revoked_parent_stays_good(server: RunningServer) -> None:
    """Of exchanges and a revocation of their parent at the same time, every child is refused or revoked."""
    parent = server.forged()
    exchanges = [asyncio.create_task(server.exchange(parent)) for _ in range(10)]
    await asyncio.wait(exchanges, return_when=asyncio.FIRST_COMPLETED)
    await server.issuer.revoker.revoke(RevokedObject.TOKEN, "token-1", why="test", by="test")
    answers = await asyncio.gather(*exchanges)
    told = {entry["digest"] for entry in (await _feed(server, wait=0))["entries"]}
    children = [claims_of(answer)["jti"] for answer in answers if answer.status_code == 200]
    assert children
    assert {revocation_digest(jti) for jti in children} <= told


async def test_listeners_are_told_until_they_leave(server: RunningServer) -> None:
    """Whoever subscribed hears of every revocation, already in force, until it unsubscribes."""
    heard: list[str] = []

    def listen(revocations: Any) -> None:
        each: Revocation
        for each in revocations:
            assert server.issuer.revocations.seq >= each.seq
            heard.append(each.digest)

    leave = server.issuer.revoker.subscribe(listen)
    await server.issuer.revoker.revoke(RevokedObject.SUBJECT, "user:ann", why="test", by="test")
    leave()
    await server.issuer.revoker.revoke(RevokedObject.SUBJECT, "user:bob", why="test", by="test")
    assert heard == [revocation_digest("user:ann")]


async def test_a_revocation_holds_even_if_it_cannot_be_recorded(server: RunningServer) -> None:
    """With the journal down the operator hears of it, and the token is refused all the same."""
    await server.issuer.journal.close()
    with pytest.raises(JournalUnavailable):
        await server.issuer.revoker.revoke(RevokedObject.AGENT, "trip-planner", why="test", by="test")
    assert len((await _feed(server, wait=0))["entries"]) == 1


async def test_revocations_outlive_a_restart(server: RunningServer) -> None:
    """What the database holds is in force again after `load`."""
    await server.issuer.revoker.revoke(RevokedObject.RESOURCE, CALENDAR, why="test", by="test")
    fresh = Revocations()
    restarted = Revoker(
        rows=server.stores.revocation_rows,
        lineage=server.stores.lineage,
        journal=server.issuer.journal,
        revocations=fresh,
        registry=lambda: server.issuer.registry,
        clock=server.clock,
    )
    await restarted.load()
    assert fresh.covers(RevocationKind.RESOURCE, CALENDAR_SERVER, issued_at=NOW)
