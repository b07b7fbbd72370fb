"""Tokens whose only durable record is the journal's: a client's own, got by a secret, but for the first of a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from perhop.authorization_server.revocation import RevokedObject
from perhop.authorization_server.store import TokenRecord
from perhop.errors import StorageUnavailable
from perhop.journal.record import Event
from perhop.storage.schema import token_record
from tests.support.authorization_servers import (
    CALENDAR,
    CALENDAR_SERVER,
    ROOMS,
    SECRET,
    RunningServer,
    assert_refused,
    claims_in,
    claims_of,
    naming,
    running_server,
)
from tests.support.dpop import ProofKey, a_proof


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        yield running


async def _get(server: RunningServer, **changes: str) -> str:
    """A token that `poster` gets for itself."""
    usual = {"grant_type": "client_credentials", "client_id": "poster", "client_secret": SECRET, "resource": CALENDAR}
    answer = await server.ask(**(usual | changes))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


async def _jtis_with_row(server: RunningServer) -> set[str]:
    return {row.jti for row in await server.database.rows(select(token_record.c.jti))}


def _jti(token: str) -> str:
    return str(claims_in(token)["jti"])


async def _kept_in_journal(server: RunningServer, **changes: str) -> str:
    """A token without a row: the second of its second."""
    await _get(server)
    token = await _get(server, **changes)
    assert _jti(token) not in await _jtis_with_row(server)
    return token


async def test_one_token_of_each_second_has_a_row(server: RunningServer) -> None:
    """The others say in their record that there is none; each has a record, and is found by it."""
    tokens = []
    for _ in range(3):
        tokens += [await _get(server) for _ in range(3)]
        server.clock.now += 1
    jtis = [_jti(each) for each in tokens]
    assert await _jtis_with_row(server) == {jtis[0], jtis[3], jtis[6]}
    records = {each["out"]["jti"]: each["about"] for each in server.records("token.issued")}
    assert list(records) == jtis
    kept = {jti for jti, about in records.items() if about.get("kept") == "journal"}
    assert kept == {*jtis} - {jtis[0], jtis[3], jtis[6]}
    for jti in jtis:
        assert await server.stores.lineage.audiences(jti) == {CALENDAR}


async def test_the_record_says_what_a_row_says(server: RunningServer) -> None:
    """Of a token with a row and one without, everything is known but what is each one's own."""
    await _kept_in_journal(server)
    live = await server.stores.lineage.live("agent", "poster", now=server.issuer.now())
    with_row, without = sorted(live, key=lambda each: each.jti, reverse=live[0].jti < live[1].jti)
    assert replace(without, jti=with_row.jti, txn=with_row.txn) == with_row
    assert (without.subject, without.client_id, without.agent, without.scope) == (*["poster"] * 3, "calendar:read")
    assert (without.expires_at - without.issued_at, without.tenant, without.parent_jti) == (300, "acme", None)


async def test_a_token_that_rests_on_more_has_a_row(server: RunningServer) -> None:
    """An assertion or a proof that was used up, a task, a parent: then there is a row, whatever else came before."""
    await _get(server)
    key = ProofKey()
    by_assertion = claims_of(await server.planner_token())
    asked = {"grant_type": "client_credentials", "client_id": "poster", "client_secret": SECRET, "resource": CALENDAR}
    refused = await server.http.post("/token", data=asked, headers={"dpop": _proof(server, key, None)})
    nonce = refused.headers["dpop-nonce"]
    bound = claims_of(await server.http.post("/token", data=asked, headers={"dpop": _proof(server, key, nonce)}))
    assert bound["cnf"] == {"jkt": key.thumbprint}
    task = await server.task_id(by="trip-planner")
    of_task = claims_of(await server.planner_token(**naming(task)))
    inner = await server.through_gateway(await _kept_in_journal(server))
    exchanged = claims_of(await server.exchange(inner))
    for claims in (by_assertion, bound, of_task, exchanged):
        assert claims["jti"] in await _jtis_with_row(server)


def _proof(server: RunningServer, key: ProofKey, nonce: str | None) -> str:
    return a_proof(key, "POST", f"{server.issuer.url}/token", now=server.clock.now, nonce=nonce)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (RevokedObject.AGENT, "poster"),
        (RevokedObject.SUBJECT, "poster"),
        (RevokedObject.RESOURCE, "calendar"),
        (RevokedObject.TENANT, "acme"),
        (RevokedObject.ALL, ""),
        (RevokedObject.TOKEN, None),
    ],
)
async def test_revocation_finds_it_and_what_came_of_it(
    server: RunningServer, kind: RevokedObject, value: str | None
) -> None:
    """It is counted among the tokens that end, and so is its child: the hop token, by whatever the parent is named."""
    token = await _kept_in_journal(server)
    child = await server.through_gateway(token)
    named = _jti(token) if value is None else value
    assert {_jti(token), _jti(child)} <= {*(await server.issuer.revoker.preview(kind, named)).jtis}
    revoked = await server.issuer.revoker.revoke(kind, named, why="", by="tests")
    assert {_jti(token), _jti(child)} <= {*revoked.jtis}
    (record,) = server.records("revocation")
    assert {_jti(token), _jti(child)} <= {*record["about"]["tokens"]}
    assert_refused(await server.exchange(child), "invalid_request")


async def test_an_expired_one_is_not_counted(server: RunningServer) -> None:
    """What has expired is not live, however short ago."""
    await _kept_in_journal(server)
    server.clock.now += 300
    assert await server.stores.lineage.live("agent", "poster", now=server.issuer.now()) == []


async def test_a_chain_does_not_come_back_to_where_it_began(server: RunningServer) -> None:
    """The first audience is known for a chain whose first token has no row: no hop leads back to it."""
    inner = await server.through_gateway(await _kept_in_journal(server))
    assert claims_in(inner)["aud"] == CALENDAR_SERVER
    onward = (await server.exchange(inner)).json()["access_token"]
    assert claims_in(onward)["aud"] == ROOMS
    second = await server.through_gateway(onward, "rooms")
    back = await server.exchange(second, by="rooms-server", resource=CALENDAR)
    assert_refused(back, "invalid_request")
    assert server.last_refusal()["reason"] == "chain.cycle"


async def test_the_database_has_to_answer_in_every_second(server: RunningServer) -> None:
    """A second without a row gives no token at all, so a database that is gone is noticed as before."""
    records = server.stores.token_records

    class Gone:
        async def add(self, record: TokenRecord) -> None:
            raise StorageUnavailable("gone")

    await _get(server)
    stores = server.stores
    server.change(stores=replace(stores, token_records=Gone()))  # type: ignore[arg-type]
    server.clock.now += 1
    usual = {"grant_type": "client_credentials", "client_id": "poster", "client_secret": SECRET, "resource": CALENDAR}
    for _ in range(3):
        assert (await server.ask(**usual)).status_code == 503
    assert len(server.records("token.issued")) == 1
    server.change(stores=replace(stores, token_records=records))
    await _get(server)


async def test_many_at_once_in_a_new_second_all_get_a_row(server: RunningServer) -> None:
    """No token goes without before another one of its second has its row and its record on disk."""
    tokens = await asyncio.gather(*(_get(server) for _ in range(5)))
    assert await _jtis_with_row(server) == {_jti(each) for each in tokens}
    assert all("kept" not in each["about"] for each in server.records(Event.TOKEN_ISSUED.value))
