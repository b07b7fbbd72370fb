"""What a guard saw reaches the journal: on disk before a request is served, delivered at least once, recorded once."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from perhop.client import TokenSource
from perhop.core.client import GrantType
from perhop.demo.scene import MODERN
from perhop.demo.scene import call as tool_call
from perhop.errors import JournalUnavailable, SettingsError
from perhop.resource_server import Admitted, Challenge, Guard, ServerRecords, SqliteReplay
from perhop.resource_server.mcp_sdk import GuardVerifier
from perhop.rules.trace_context import render_traceparent
from tests.support.authorization_servers import CALENDAR_SERVER, RunningServer, claims_in, running_server
from tests.support.sources import ROOT

SERVING = frozenset({GrantType.CLIENT_CREDENTIALS, GrantType.TOKEN_EXCHANGE})
PATIENCE_SECONDS = 15.0
SENT_BY_GATEWAY = "00112233445566ff"


class Line:
    """The way to the authorization server: HTTP without sockets, which a test can cut."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self.is_cut = False
        self.loses_answers = False
        self.posted = 0

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if self.is_cut:
            raise httpx2.ConnectError("nobody listens", request=request)
        answer = await self._server.http.send(
            httpx2.Request(request.method, request.url, headers=request.headers, content=await request.aread())
        )
        if request.url.path == "/records":
            self.posted += 1
            if self.loses_answers:
                raise httpx2.ReadError("the answer was lost", request=request)
        return answer


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        running.change_client("calendar-server", grants=SERVING)
        yield running


@pytest.fixture
async def line(server: RunningServer) -> Line:
    return Line(server)


@pytest.fixture
async def guard(server: RunningServer, line: Line, tmp_path: Path) -> AsyncIterator[Guard]:
    """The guard of the calendar's server, which keeps records."""
    made = make_guard(server, line, tmp_path / "records.db")
    async with made.running():
        yield made


def make_guard(server: RunningServer, line: Line, path: Path, **changes: int) -> Guard:
    http = httpx2.AsyncClient(transport=httpx2.MockTransport(line))
    tokens = TokenSource(
        issuer=server.issuer.url,
        client_id="calendar-server",
        private_key=server.keys.calendar_server,
        http=http,
        clock=server.clock,
    )
    records = ServerRecords(tokens, path, http=http, clock=server.clock, **changes)
    return Guard(
        resource=CALENDAR_SERVER,
        issuers=[server.issuer.url],
        replay=SqliteReplay(path.with_suffix(".replay")),
        records=records,
        http=http,
        clock=server.clock,
    )


async def hop_token(server: RunningServer) -> str:
    raw = str((await server.planner_token()).json()["access_token"])
    return await server.through_gateway(raw)


async def call(
    guard: Guard, token: str, *, call_id: str | None = SENT_BY_GATEWAY, address: str = "192.0.2.7"
) -> Admitted | Challenge:
    """One call of a tool, as the gateway sends it, or without its header."""
    headers = {
        "authorization": f"Bearer {token}",
        "content-type": "application/json",
        "user-agent": "perhop-gateway/1",
        "mcp-protocol-version": MODERN,
        "mcp-method": "tools/call",
        "mcp-name": "list_events",
    }
    body = json.dumps(tool_call("list_events", {"day": "monday"})).encode()
    if call_id is not None:
        headers["traceparent"] = render_traceparent(str(claims_in(token)["txn"]), call_id)
    return await guard.check(method="POST", path="/mcp", headers=headers.items(), body=body, address=address)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def kept(path: Path) -> list[dict[str, Any]]:
    """The reports that wait in a guard's file."""
    with closing(sqlite3.connect(path)) as connection:
        return [json.loads(body) for (body,) in connection.execute("SELECT body FROM report ORDER BY number")]


async def test_an_admitted_call_is_recorded_under_the_gateways_id(guard: Guard, server: RunningServer) -> None:
    """Token, call, tool, who connected: the report joins the permit by (`jti`, `call.id`)."""
    token = await hop_token(server)
    assert isinstance(await call(guard, token), Admitted)
    await until(lambda: server.records("call.admitted"))
    (record,) = server.records("call.admitted")
    claims = claims_in(token)
    assert record["in"] == {
        **{name: claims[name] for name in ("jti", "aud", "sub", "agent", "client_id", "scope", "exp")}
    }
    assert record["call"] == {
        "id": SENT_BY_GATEWAY,
        "method": "tools/call",
        "name": "list_events",
        "revision": "2026-07-28",
    }
    assert (record["txn"], record["hop"]) == (claims["txn"], claims["hop"])
    assert record["request"] == {"ip": "192.0.2.7", "user_agent": "perhop-gateway/1"}
    assert record["report"]["by"] == "calendar-server"
    assert "monday" not in json.dumps(record)


async def test_a_call_without_the_gateways_id_has_one_of_its_own(guard: Guard, server: RunningServer) -> None:
    """Whoever comes past the gateway names no call of it, or one of another transaction: nothing joins by accident."""
    token = await hop_token(server)
    await call(guard, token, call_id=None)
    await until(lambda: server.records("call.admitted"))
    (record,) = server.records("call.admitted")
    assert len(record["call"]["id"]) == 16
    assert record["call"]["id"] != SENT_BY_GATEWAY


async def test_a_refusal_is_reported_with_what_is_proved(guard: Guard, server: RunningServer) -> None:
    """Of a token for another audience the claims, of a forged one its digest; without one there is nothing to tell."""
    elsewhere = str((await server.planner_token()).json()["access_token"])
    await call(guard, elsewhere)
    await call(guard, (await hop_token(server))[:-8] + "AAAAAAAA")
    assert isinstance(await guard.check(method="POST", path="/mcp", headers=[], body=b"{}"), Challenge)
    await until(lambda: len(server.records("call.refused")) == 2)
    mismatch, forged = server.records("call.refused")
    assert (mismatch["reason"], mismatch["in"]["jti"], mismatch["resource"]) == (
        "audience.mismatch",
        claims_in(elsewhere)["jti"],
        "calendar",
    )
    assert forged["reason"] == "token.signature"
    assert set(forged["in"]) == {"unverified"}


async def test_a_flood_of_strangers_becomes_one_counted_report(guard: Guard, server: RunningServer) -> None:
    """Ten refusals of one address and reason in a second are told one by one, the rest as a number."""
    forged = (await hop_token(server))[:-8] + "AAAAAAAA"
    for _ in range(25):
        await call(guard, forged)
    server.clock.now += 1
    await until(lambda: server.records("journal.suppressed"))
    (counted,) = server.records("journal.suppressed")
    assert (counted["reason"], counted["about"]["count"]) == ("token.signature", 15)
    assert (counted["report"]["by"], counted["resource"], counted["request"]["ip"]) == (
        "calendar-server",
        "calendar",
        "192.0.2.7",
    )
    await until(lambda: len(server.records("call.refused")) == 10)


async def test_whatever_a_proxy_says_of_who_connected_the_report_is_taken(guard: Guard, server: RunningServer) -> None:
    """No address, or one that is much too long, is no reason for a call to be missing in the journal."""
    token = await hop_token(server)
    for address in ("", "2001:db8::1%" + "x" * 4000):
        assert isinstance(await call(guard, token, address=address), Admitted)
    await until(lambda: len(server.records("call.admitted")) == 2)
    said = [record["request"].get("ip") for record in server.records("call.admitted")]
    assert said == [None, "2001:db8::1%" + "x" * 52]


async def test_strangers_are_counted_under_the_address_that_is_recorded(guard: Guard, server: RunningServer) -> None:
    """A header of a proxy that lets anything pass makes nobody a new address beyond what is kept of it."""
    forged = (await hop_token(server))[:-8] + "AAAAAAAA"
    for number in range(12):
        await call(guard, forged, address="x" * 64 + str(number))
    server.clock.now += 1
    await until(lambda: server.records("journal.suppressed"))
    (counted,) = server.records("journal.suppressed")
    assert (counted["about"]["count"], counted["request"]["ip"]) == (2, "x" * 64)


async def test_while_the_authorization_server_is_away_reports_wait_on_disk(
    guard: Guard, server: RunningServer, line: Line, tmp_path: Path
) -> None:
    """Calls go on, since keys are held; when the way is open again everything is delivered, once and in order."""
    token = await hop_token(server)
    assert isinstance(await call(guard, token), Admitted)
    await until(lambda: len(server.records("call.admitted")) == 1)
    line.is_cut = True
    for number in range(20):
        assert isinstance(await call(guard, token, call_id=f"{number:016x}"), Admitted)
    assert [report["call"]["id"] for report in kept(tmp_path / "records.db")] == [f"{n:016x}" for n in range(20)]
    line.is_cut = False
    await until(lambda: len(server.records("call.admitted")) == 21)
    await until(lambda: not kept(tmp_path / "records.db"))
    delivered = [record["call"]["id"] for record in server.records("call.admitted")]
    assert delivered == [SENT_BY_GATEWAY, *(f"{n:016x}" for n in range(20))]


async def test_an_answer_that_was_lost_doubles_nothing(guard: Guard, server: RunningServer, line: Line) -> None:
    """The journal has the report, the guard does not know, and sends it again: there is one record."""
    line.loses_answers = True
    await call(guard, await hop_token(server))
    await until(lambda: line.posted >= 2)
    line.loses_answers = False
    await until(lambda: guard_is_empty(guard))
    assert len(server.records("call.admitted")) == 1


def guard_is_empty(guard: Guard) -> bool:
    assert guard.records is not None
    return guard.records.waiting() == 0


async def test_a_report_that_is_never_taken_is_kept_aside(
    guard: Guard, server: RunningServer, line: Line, tmp_path: Path
) -> None:
    """The client's server is another one by now: the report leaves the queue, and stays in the file with the reason."""
    token = await hop_token(server)
    await call(guard, token)
    await until(lambda: server.records("call.admitted"))
    line.is_cut = True
    await call(guard, token, call_id="f" * 16)
    server.change_client("calendar-server", serves=("rooms",))
    line.is_cut = False
    await until(lambda: guard_is_empty(guard))
    with closing(sqlite3.connect(tmp_path / "records.db")) as connection:
        ((body, why),) = connection.execute("SELECT body, why FROM set_aside").fetchall()
    assert (json.loads(body)["event"], why) == ("call.admitted", "not served")


async def test_a_call_is_not_served_when_its_report_cannot_be_kept(
    server: RunningServer, line: Line, tmp_path: Path
) -> None:
    """A full file is a closed door: 503, and open again when something was delivered."""
    line_token = await hop_token(server)
    guard = make_guard(server, line, tmp_path / "small.db", max_waiting=2)
    async with guard.running():
        assert isinstance(await call(guard, line_token), Admitted)
        await until(lambda: guard_is_empty(guard))
        line.is_cut = True
        for number in range(2):
            assert isinstance(await call(guard, line_token, call_id=f"{number:016x}"), Admitted)
        refused = await call(guard, line_token, call_id="f" * 16)
        assert isinstance(refused, Challenge)
        assert (refused.status, refused.reason) == (503, "journal.unavailable")
        line.is_cut = False
        await until(lambda: guard_is_empty(guard))
        assert isinstance(await call(guard, line_token, call_id="e" * 16), Admitted)


async def test_what_the_message_check_does_not_see_is_not_served(guard: Guard, server: RunningServer) -> None:
    """The SDK's verifier alone sees no message: where records are kept it takes nothing, and says what to do."""
    with pytest.raises(JournalUnavailable, match=r"guard\.asgi"):
        await GuardVerifier(guard).verify_token(await hop_token(server))


async def test_two_workers_of_one_server_share_the_file(server: RunningServer, line: Line, tmp_path: Path) -> None:
    """Both write, one at a time delivers, and the journal has each call once."""
    token = await hop_token(server)
    first, second = (make_guard(server, line, tmp_path / "shared.db") for _ in range(2))
    async with first.running(), second.running():
        answers = [
            call(each, token, call_id=f"{n:015x}{at}") for n in range(15) for at, each in ((1, first), (2, second))
        ]
        assert all(isinstance(each, Admitted) for each in await asyncio.gather(*answers))
        await until(lambda: len(server.records("call.admitted")) == 30)
        await until(lambda: guard_is_empty(first))
    assert len({record["call"]["id"] for record in server.records("call.admitted")}) == 30


async def test_what_is_left_at_the_end_is_delivered_by_the_next_start(
    server: RunningServer, line: Line, tmp_path: Path
) -> None:
    """A server that stops while nobody answers leaves its reports in the file; the next one finds them there."""
    token = await hop_token(server)
    before = make_guard(server, line, tmp_path / "left.db")
    async with before.running():
        assert isinstance(await call(before, token), Admitted)
        await until(lambda: guard_is_empty(before))
        line.is_cut = True
        await call(before, token, call_id="f" * 16)
    assert len(kept(tmp_path / "left.db")) == 1
    line.is_cut = False
    async with make_guard(server, line, tmp_path / "left.db").running():
        await until(lambda: len(server.records("call.admitted")) == 2)


def test_a_file_of_another_program_and_a_folder_that_is_not_there_are_named(
    server_free_tokens: TokenSource, tmp_path: Path
) -> None:
    """Where reports cannot be kept, the server does not start."""
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("PRAGMA application_id = 7")
        connection.execute("CREATE TABLE theirs (x)")
    other.chmod(0o600)
    for path in (other, tmp_path / "nowhere" / "records.db"):
        with pytest.raises(SettingsError, match=str(path)):
            ServerRecords(server_free_tokens, path)
    with pytest.raises(SettingsError, match="not taken here"):
        Guard(
            resource=CALENDAR_SERVER,
            issuers=["https://other.example.com"],
            records=ServerRecords(server_free_tokens, tmp_path / "records.db"),
        )


@pytest.fixture
def server_free_tokens() -> TokenSource:
    return TokenSource(issuer="https://auth.example.com", client_id="calendar-server", client_secret="s" * 40)


_WRITES_FOR_EVER = """
import asyncio, sys
from perhop.resource_server.reports_file import ReportsFile

async def forever():
    file = ReportsFile(sys.argv[1])
    for number in range(1_000_000):
        await file.write(f'{{"number": {number}}}')
        print(number, flush=True)

asyncio.run(forever())
"""


def test_kill_9_loses_no_report_that_was_waited_for(tmp_path: Path) -> None:
    """A process writes reports until it is killed: every one that it was told is on disk is on disk."""
    path = tmp_path / "killed.db"
    words = [sys.executable, "-c", _WRITES_FOR_EVER, str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(50)]
        process.kill()
        told += [line for line in process.stdout if line.endswith("\n")]
    assert [report["number"] for report in kept(path)][: len(told)] == [int(line) for line in told]
