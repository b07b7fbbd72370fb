"""`/records`: who may report, and that a report is in the journal once, whatever is sent again."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from perhop.authorization_server.reports import Reports
from perhop.core.client import GrantType
from perhop.journal.keys import load_journal_key
from perhop.journal.record import CallFacts, Event, Outbound, Record
from perhop.storage.journal_db import open_journal
from tests.support.authorization_servers import (
    CALENDAR,
    CALENDAR_SERVER,
    ROOMS_SERVER,
    RunningServer,
    assert_refused,
    claims_in,
    claims_of,
    running_server,
)

SERVING = frozenset({GrantType.CLIENT_CREDENTIALS, GrantType.TOKEN_EXCHANGE})
CALL = "0123456789abcdef"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    """The calendar's server may ask for a token of its own."""
    async with running_server(tmp_path) as running:
        running.change_client("calendar-server", grants=SERVING)
        yield running


def records_of(server: RunningServer) -> str:
    return f"{server.issuer.url}/records"


async def ask(server: RunningServer, client: str = "calendar-server", **changes: str) -> httpx2.Response:
    usual = {"grant_type": "client_credentials", "resource": records_of(server), **server.proof(client)}
    return await server.ask(**(usual | changes))


async def token(server: RunningServer) -> str:
    return str((await ask(server)).json()["access_token"])


async def send(server: RunningServer, *reports: Any, raw: str | None = None) -> httpx2.Response:
    headers = {"authorization": f"Bearer {raw or await token(server)}"}
    return await server.http.post("/records", json={"records": list(reports)}, headers=headers)


def admitted(jti: str = "hop-1", *, call: str = CALL, **changes: Any) -> dict[str, Any]:
    """The report of a call that the calendar's server admitted."""
    usual = {
        "id": secrets.token_hex(16),
        "time": "2027-01-15T08:00:00.000000Z",
        "event": "call.admitted",
        "resource": CALENDAR_SERVER,
        "txn": "txn-1",
        "hop": 2,
        "in": {"jti": jti, "aud": CALENDAR_SERVER, "sub": "trip-planner", "client_id": "gateway:calendar"},
        "call": {"id": call, "method": "tools/call", "name": "list_events"},
        "request": {"ip": "192.0.2.7", "user_agent": "curl/8"},
    }
    return usual | changes


async def test_a_client_that_serves_gets_a_token_for_reports_and_for_nothing_else(server: RunningServer) -> None:
    """One audience, one scope, no refresh; the same client reaches no other resource with that grant."""
    claims = claims_of(await ask(server))
    assert (claims["aud"], claims["scope"], claims["sub"]) == (records_of(server), "records:write", "calendar-server")
    assert_refused(await ask(server, resource=CALENDAR), "invalid_target")
    assert_refused(await ask(server, scope="calendar:read"), "invalid_scope")


async def test_a_client_that_serves_nothing_gets_none(server: RunningServer) -> None:
    """An agent asks for the audience of reports: there is no such resource for it, by any grant."""
    assert_refused(await ask(server, "trip-planner"), "invalid_target")
    agent = claims_of(await server.planner_token())
    assert agent["aud"] == CALENDAR
    hop = await server.through_gateway((await server.planner_token()).json()["access_token"])
    assert_refused(await server.exchange(hop, resource=records_of(server)), "invalid_target")


async def test_a_report_is_recorded_as_the_word_of_the_client_that_answers_for_the_server(
    server: RunningServer,
) -> None:
    """Resource, owner and tenant are ours to say; the rest is the server's, and who said it stands beside it."""
    report = admitted()
    assert (await send(server, report)).json() == {"recorded": 1, "known": 0, "refused": {}}
    (record,) = server.records("call.admitted")
    assert record["report"] == {"by": "calendar-server", "id": report["id"], "time": report["time"]}
    assert (record["resource"], record["owner"], record["tenant"]) == ("calendar", "travel-team", "acme")
    assert record["in"] == report["in"]
    assert record["call"] == report["call"]
    assert record["request"] == report["request"]


async def test_what_is_sent_again_is_recorded_once(server: RunningServer) -> None:
    """In the same batch, in a later one, and in two at the same time: the journal has one record of it."""
    report, raw = admitted(), await token(server)
    assert (await send(server, report, report, raw=raw)).json()["known"] == 1
    assert (await send(server, report, raw=raw)).json() == {"recorded": 0, "known": 1, "refused": {}}
    other = admitted("hop-2", call="f" * 16)
    answers = await asyncio.gather(*(send(server, other, raw=raw) for _ in range(8)))
    assert sorted(answer.json()["recorded"] for answer in answers) == [0] * 7 + [1]
    assert len(server.records("call.admitted")) == 2


async def test_another_clients_report_of_the_same_id_is_another_report(server: RunningServer) -> None:
    """What one server sends cannot keep out what another one says."""
    server.change_client("rooms-server", grants=SERVING)
    report = admitted()
    await send(server, report)
    mine = admitted("hop-9", id=report["id"], resource=ROOMS_SERVER)
    mine["in"] = {**mine["in"], "aud": ROOMS_SERVER}
    raw = str((await ask(server, "rooms-server")).json()["access_token"])
    assert (await send(server, mine, raw=raw)).json()["recorded"] == 1


async def test_a_server_speaks_of_itself_only(server: RunningServer) -> None:
    """A report for another server, and one that admits what is addressed elsewhere, are named and not recorded."""
    for_rooms, strange = admitted(resource=ROOMS_SERVER), admitted()
    strange["in"] = {**strange["in"], "aud": ROOMS_SERVER}
    answer = await send(server, for_rooms, strange, admitted())
    assert answer.json() == {
        "recorded": 1,
        "known": 0,
        "refused": {for_rooms["id"]: "not served", strange["id"]: "malformed"},
    }
    assert len(server.records("call.admitted")) == 1


async def test_what_the_journal_contradicts_is_not_recorded(server: RunningServer) -> None:
    """The token of a permit has the subject that we gave it, whatever a server says of it."""
    hop = claims_in(await server.through_gateway((await server.planner_token()).json()["access_token"]))
    await server.issuer.journal.append(_permit(hop))
    lie = admitted(hop["jti"])
    lie["in"] = {**lie["in"], "sub": "user:somebody-else"}
    assert (await send(server, lie)).json()["refused"] == {lie["id"]: "contradicted"}
    truth = admitted(hop["jti"])
    truth["in"] = {**truth["in"], "sub": hop["sub"], "scope": hop["scope"]}
    assert (await send(server, truth)).json()["recorded"] == 1


def _permit(hop: dict[str, Any]) -> Record:
    outbound = Outbound(jti=hop["jti"], aud=hop["aud"], scope=hop["scope"], exp=hop["exp"], sub=hop["sub"])
    return Record(event=Event.CALL_PERMITTED, outbound=outbound, call=CallFacts(id=CALL, method="tools/call"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"event": "call.permitted"},
        {"event": "revocation"},
        {"time": "yesterday"},
        {"reason": "token.revoked"},
        {"in": {"unverified": "0" * 64}},
        {"in": {"jti": "j"}},
        {"in": {"jti": 7, "aud": CALENDAR_SERVER}},
        {"call": {"id": "short", "method": "ping"}},
        {"call": {"id": CALL}},
        {"hop": "2"},
        {"hop": 65},
        {"resource": "x" * 2049},
        {"request": "here"},
    ],
)
async def test_a_report_that_cannot_be_read_is_named_and_holds_up_no_other(
    server: RunningServer, wrong: dict[str, Any]
) -> None:
    """The one is refused for good, so that its server does not send it for ever; the other one is taken."""
    bad = admitted(**wrong)
    answer = await send(server, bad, admitted(call="f" * 16))
    assert answer.json() == {"recorded": 1, "known": 0, "refused": {bad["id"]: "malformed"}}


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"records": {}}', b'{"records": [7]}', b'{"records": [{}], "a": 1, "a": 2}']
)
async def test_what_names_no_report_is_refused_as_a_whole(server: RunningServer, body: bytes) -> None:
    """400, and nothing is recorded."""
    headers = {"authorization": f"Bearer {await token(server)}", "content-type": "application/json"}
    assert_refused(await server.http.post("/records", content=body, headers=headers), "invalid_request")
    assert server.records("call.admitted") == []


async def test_the_bounds_of_one_request(server: RunningServer) -> None:
    """500 reports are taken and 501 are not; a body of more than a mebibyte is not read."""
    many = [admitted(f"hop-{number}", call=f"{number:016x}") for number in range(501)]
    raw = await token(server)
    assert (await send(server, *many, raw=raw)).status_code == 400
    assert (await send(server, *many[:500], raw=raw)).json()["recorded"] == 500
    headers = {"authorization": f"Bearer {raw}", "content-type": "application/json"}
    padded = json.dumps({"records": []}).encode() + b" " * (1024 * 1024 - 15)
    assert len(padded) == 1024 * 1024
    assert (await server.http.post("/records", content=padded, headers=headers)).status_code == 200
    assert (await server.http.post("/records", content=padded + b" ", headers=headers)).status_code == 413


async def test_a_token_for_anything_else_is_refused_here_and_recorded(server: RunningServer) -> None:
    """An agent's token at `/records`: 401 with a challenge, no body, and a record that says where it was tried."""
    raw = str((await server.planner_token()).json()["access_token"])
    answer = await send(server, admitted(), raw=raw)
    assert (answer.status_code, answer.content) == (401, b"")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    refusal = server.last_refusal()
    assert (refusal["reason"], refusal["resource"], refusal["in"]["jti"]) == (
        "audience.mismatch",
        "perhop:records",
        claims_in(raw)["jti"],
    )


async def test_no_token_and_a_forged_one_are_refused(server: RunningServer) -> None:
    """Without a token there is a challenge without `error`; of a forged one the journal has a digest alone."""
    bare = await server.http.post("/records", json={"records": []})
    assert (bare.status_code, "error" in bare.headers["www-authenticate"]) == (401, False)
    assert (await send(server, raw=(await token(server))[:-8] + "AAAAAAAA")).status_code == 401
    refusal = server.last_refusal()
    assert set(refusal["in"]) == {"unverified"}


async def test_a_client_that_lost_its_standing_reports_no_more(server: RunningServer) -> None:
    """Its token is good by itself, and refused: it serves nothing any more, is disabled, or was revoked."""
    raw = await token(server)
    served = server.issuer.registry.clients["calendar-server"].serves
    server.change_client("calendar-server", serves=())
    assert (await send(server, admitted(), raw=raw)).status_code == 401
    server.change_client("calendar-server", serves=served)
    assert (await send(server, admitted(), raw=raw)).status_code == 200
    await server.issuer.standing.disable("client", "calendar-server", why="test", now=server.issuer.now())
    assert (await send(server, admitted(), raw=raw)).status_code == 401


async def test_a_journal_that_does_not_write_takes_nothing_and_says_so(server: RunningServer, tmp_path: Path) -> None:
    """503: the server keeps its reports and sends all of them again, and none of them is there twice."""
    raw, batch = await token(server), [admitted(call=f"{number:016x}") for number in range(3)]
    assert (await send(server, *batch[:2], raw=raw)).json()["recorded"] == 2
    await server.issuer.journal.close()
    answer = await send(server, *batch, admitted(), raw=raw)
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
    journal = open_journal(tmp_path / "journal.db", key=load_journal_key(tmp_path / "keys"), clock=server.clock)
    server.change(journal=journal, reports=Reports(journal=journal, calls=server.queries))
    assert (await send(server, *batch, raw=raw)).json() == {"recorded": 1, "known": 2, "refused": {}}
    await journal.close()


async def test_the_resource_says_where_its_tokens_come_from(server: RunningServer) -> None:
    """The metadata of RFC 9728 is where the challenge points, and names itself, its issuer and its scope."""
    answer = await server.http.get("/.well-known/oauth-protected-resource/records")
    assert answer.json() == {
        "resource": records_of(server),
        "authorization_servers": [server.issuer.url],
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": ["ES256", "Ed25519", "RS256", "PS256"],
        "scopes_supported": ["records:write"],
    }
    challenge = (await server.http.post("/records")).headers["www-authenticate"]
    assert f'resource_metadata="{server.issuer.url}/.well-known/oauth-protected-resource/records"' in challenge
    metadata = (await server.http.get("/.well-known/oauth-authorization-server")).json()
    assert metadata["perhop_records_endpoint"] == records_of(server)
