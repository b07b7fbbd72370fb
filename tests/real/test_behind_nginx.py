"""Debian's nginx carries the calls, with `deploy/nginx/perhop.conf`, and Perhop decides what passes.

The attacks on tokens are those of the table, sent to nginx instead of to our gateway, and must be answered alike.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from perhop.journal.query import Filter
from perhop.rules.mcp_message import MAX_BODY_BYTES
from perhop.tokens.keys import SigningKey
from scripts.fetch_debian import environment
from tests.attacks.configuration import Addresses, write_configuration
from tests.attacks.row import PASSES_GATEWAY, Door, Row
from tests.attacks.rows import audiences, proofs, signatures
from tests.attacks.rows import claims as claim_rows
from tests.attacks.servers import Arrived
from tests.attacks.world import Entrance, World, a_call, a_request, attacked, claims_in, with_token
from tests.support.doors import Answer, Wire, send
from tests.support.nginx import PERHOP_CONF, TLS, command, nginx_with, perhop_conf, write_conf
from tests.support.processes import free_port
from tests.support.upstreams import Scripted, event, legacy, recording_upstream, stream_answer

pytestmark = pytest.mark.asyncio(loop_scope="module")

POLICY = """\
@id("tools") permit (principal, action == MCP::Action::"call_tool", resource);
@id("no-coups") forbid (principal, action, resource == MCP::Tool::"scripted/list_events")
when { context.arguments has title && context.arguments.title == "coup" };
"""
ROWS = [row for room in (audiences, signatures, claim_rows, proofs) for row in room.ROWS if Door.GATEWAY in row.doors]
PASSED_ON = {
    *("host", "authorization", "traceparent", "accept", "accept-encoding", "content-type", "content-length"),
    *("user-agent", "mcp-protocol-version", "mcp-method", "mcp-name"),
}


@dataclass(kw_only=True)
class Behind(World):
    """The attacked installation, whose calendar is behind nginx."""

    proxy: str
    tested: int

    def entrance(self, door: Door, resource: str = "calendar") -> Entrance:
        ours = super().entrance(door, resource)
        if door is not Door.GATEWAY:
            return ours
        audience = f"http://{self.proxy}/mcp/{resource}"
        return Entrance(door=door, address=self.proxy, path=ours.path, audience=audience, passed=ours.passed)

    async def send(self, wire: Wire, *, address: str | None = None, path: str = "/mcp/calendar") -> Answer:
        """Send one request to nginx, or to another one."""
        self.tick()
        (answer,) = await send(address or self.proxy, wire.render(path=path, host=self.proxy))
        return answer

    def good(self, wire: Wire | None = None, resource: str = "calendar", **claims: Any) -> Wire:
        """A call that is permitted, or this request, with a good token."""
        token = self.forge(self.entrance(Door.GATEWAY, resource).audience, iat=self.now + 1, **claims)
        return with_token(wire or a_call("list_events", {"day": "monday"}), token)

    @property
    def arrived(self) -> list[Arrived]:
        """What nginx has sent to the calendar's server; what came before is Perhop's self-test."""
        return self.calendar.from_gateway.arrived[self.tested :]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Behind]:
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    proxy = f"127.0.0.1:{port}"

    def configure(place: Path, at: Addresses) -> dict[str, SigningKey]:
        keys = write_configuration(place, at)
        text = (place / "perhop.yaml").read_text(encoding="utf-8").replace("listen: {", "listen: {authz: unix:a.sock, ")
        for name in ("calendar", "scripted", "open"):
            line = f"    uri: {at.uri(name)}\n"
            assert text.count(line) == 1
            text = text.replace(line, f"    uri: http://{proxy}/mcp/{name}\n    data_plane: forward_auth\n")
        (place / "perhop.yaml").write_text(text, encoding="utf-8")
        (place / "policies" / "attacks.cedar").write_text(POLICY, encoding="utf-8")
        return keys

    (folder / "p").mkdir()
    async with attacked(folder / "p", configure=configure) as made:
        tested = len(made.calendar.from_gateway.arrived)
        behind = Behind(**{each.name: getattr(made, each.name) for each in fields(World)}, proxy=proxy, tested=tested)
        async with nginx_with(folder / "n", _conf(behind, listen=proxy), port=port):
            yield behind


def _conf(world: World, *, listen: str, server: str | None = None, authz: Path | None = None) -> str:
    scripted = f"http://{world.at.scripted}"
    return perhop_conf(
        listen=listen,
        authz=authz or world.folder / "a.sock",
        traffic=world.at.traffic,
        server=server or f"http://{world.at.calendar}/mcp",
        more={"scripted": f"{scripted}/mcp", "open": f"{scripted}/open"},
    )


@asynccontextmanager
async def another_nginx(world: World, folder: Path, **changes: Any) -> AsyncIterator[str]:
    """A second one before the same Perhop, with this changed; yields its address."""
    port = free_port()
    async with nginx_with(folder / "n", _conf(world, listen=f"127.0.0.1:{port}", **changes), port=port):
        yield f"127.0.0.1:{port}"


async def test_the_official_client_calls_through_nginx(world: Behind) -> None:
    """The SDK's client lists and calls on 2026-07-28; each call has a permit that says who carried it."""
    size = world.reader.size()
    token = world.forge(f"http://{world.proxy}/mcp/calendar")
    async with (
        httpx2.AsyncClient(headers={"authorization": f"Bearer {token}"}, timeout=15) as http,
        Client(streamable_http_client(f"http://{world.proxy}/mcp/calendar", http_client=http)) as client,
    ):
        assert client.protocol_version == "2026-07-28"
        assert "list_events" in {tool.name for tool in (await client.list_tools()).tools}
        assert "stand-up" in str(await client.call_tool("list_events", {"day": "monday"}))
    permits = [each for each in world.records_since(size) if each.fields["event"] == "call.permitted"]
    assert "tools/call" in {each.part("call")["method"] for each in permits}
    assert {each.part("call")["data_plane"] for each in permits} == {"forward_auth"}
    assert {each.part("out")["aud"] for each in permits} == {f"http://{world.at.calendar_past}/mcp"}
    assert {each.part("request")["ip"] for each in permits} == {"127.0.0.1"}


@pytest.mark.parametrize("row", ROWS, ids=[row.slug for row in ROWS])
async def test_attack_on_tokens(row: Row, world: Behind) -> None:
    """What our gateway's door says of a token, nginx says as well, and what is refused never reaches the server."""
    expected = row.expected[Door.GATEWAY]
    # What passes has no second record: Perhop does not see the answer.
    if expected == PASSES_GATEWAY:
        expected = replace(expected, records=1)
    seen = await row.attempts[Door.GATEWAY](world)
    assert {name: each.outcome for name, each in seen.items() if each.outcome != expected.outcome} == {}


async def test_a_body_that_says_something_else_is_refused_by_the_server(world: Behind) -> None:
    """nginx and Perhop see headers that are good; the guard holds the body against them, and the tool is not run."""
    served, reached = len(world.calendar.served.arrived), len(world.arrived)
    for tool, method in (("drop_calendar", "tools/call"), ("list_events", "prompts/get")):
        body = a_request(method, {"name": tool, "arguments": {}}).body
        answer = await world.send(replace(world.good(), body=body))
        assert answer.observed == "400 -32020"
    assert len(world.arrived) == reached + 2
    assert len(world.calendar.served.arrived) == served


async def test_what_headers_do_not_tell_never_reaches_the_server(world: Behind) -> None:
    """Sessions, streams, other spellings of the path and what names no tool are refused with Perhop's own words."""
    reached = len(world.arrived)
    old_headers, old_body = legacy("tools/call", {"name": "list_events", "arguments": {}})
    old = Wire(headers=tuple(old_headers.items()), body=old_body)
    nameless = a_call("list_events", {})
    nameless = replace(nameless, headers=tuple(each for each in nameless.headers if each[0] != "mcp-name"))
    listen = a_request("subscriptions/listen", {"notifications": {}})
    asked: list[tuple[Wire, str, str]] = [
        (world.good(old), "/mcp/calendar", "400 -32022"),
        (world.good(nameless), "/mcp/calendar", "400 -32020"),
        (world.good(listen), "/mcp/calendar", "404 -32601"),
        (replace(world.good(), method="GET", body=b""), "/mcp/calendar", "405"),
        (replace(world.good(), method="DELETE", body=b""), "/mcp/calendar", "405"),
        (world.good(), "/mcp/calendar?x=y", "400 -32600"),
        (world.good(), "/mcp/%63alendar", "400 -32600"),
        (world.good(), "/mcp//calendar", "400 -32600"),
        (world.good(), "/mcp/x/../calendar", "400 -32600"),
        (world.good(), "/mcp/calendar/", "404"),
        (world.good(), "/mcp/Calendar", "404"),
        (world.good(a_call("drop_calendar", {})), "/mcp/calendar", "403 -31403"),
        (world.good(a_call("create_event", {}), scope="calendar:read"), "/mcp/calendar", "403 insufficient_scope"),
    ]
    seen = [(await world.send(wire, path=path)).observed for wire, path, _ in asked]
    assert seen == [expected for _, _, expected in asked]
    assert len(world.arrived) == reached


async def test_a_refusal_says_what_our_gateway_would_say(world: Behind) -> None:
    """Challenge, reason and record pass nginx; of the id of the request nobody knows."""
    missing = await world.send(a_call("list_events", {}))
    assert (missing.status, missing.body) == (401, b"")
    metadata = f"http://{world.proxy}/.well-known/oauth-protected-resource/mcp/calendar"
    assert missing.challenge["resource_metadata"] == metadata
    assert [name for name, _ in missing.headers].count("www-authenticate") == 1
    unscoped = await world.send(world.good(a_call("create_event", {}), scope="calendar:read"))
    assert unscoped.challenge["scope"] == "calendar:write"
    denied = await world.send(world.good(a_request("prompts/get", {"name": "summary"})))
    assert (denied.status, denied.header("cache-control")) == (403, "no-store")
    record = world.last_record()
    assert denied.message["id"] is None
    assert denied.message["error"]["data"] == {"reason": "policy.denied", "record": record.part("call")["id"]}


async def test_the_metadata_passes_nginx(world: Behind) -> None:
    """A client finds the authorization server where the challenge sends it."""
    wire = Wire(method="GET")
    answer = await world.send(wire, path="/.well-known/oauth-protected-resource/mcp/calendar")
    assert answer.message["resource"] == f"http://{world.proxy}/mcp/calendar"
    assert answer.message["authorization_servers"] == [world.issuer]


async def test_a_resource_that_headers_cannot_decide_is_closed(world: Behind) -> None:
    """A policy reads arguments: 503 with fixed text, the reason in the journal, and nothing reaches the server."""
    reached = len(world.scripted.received)
    answer = await world.send(world.good(resource="scripted", scope="scripted:use"), path="/mcp/scripted")
    assert answer.observed == "503 -31503"
    assert answer.message["error"]["data"]["reason"] == "policy.error"
    assert answer.header("retry-after") == "30"
    assert "no-coups" in (world.last_record().text("detail") or "")
    assert len(world.scripted.received) == reached


async def test_a_server_that_checks_no_audience_gets_no_token(world: Behind) -> None:
    """The self-test says `open`, so nginx gets no token for it."""
    answer = await world.send(world.good(resource="open", scope="open:use"), path="/mcp/open")
    assert (answer.observed, answer.message["error"]["data"]["reason"]) == ("503 -31503", "upstream.open")


async def test_a_client_cannot_reach_the_question(world: Behind) -> None:
    """Neither nginx's inner location nor Perhop's listener is there for a client, and a client's words do not count."""
    reached, size = len(world.arrived), world.reader.size()
    for path in ("/.perhop/authz/calendar", "/authz/calendar", "/.perhop/authz/calendar/", "/.perhop%2Fauthz/calendar"):
        answer = await world.send(replace(world.good(), method="GET", body=b""), path=path)
        assert answer.status == 404
        assert answer.header("x-perhop-authorization") is None
    assert (await world.send(world.good(), address=world.at.traffic, path="/authz/calendar")).status == 404
    assert world.reader.size() == size
    (socket,) = world.folder.glob("*.sock")
    assert socket.stat().st_mode & 0o777 == 0o660
    forged = (
        ("x-original-method", "POST"),
        ("x-original-uri", "/mcp/calendar"),
        ("x-original-address", "10.0.0.1"),
        ("x-perhop-proxy-secret", "x" * 40),
        ("x-perhop-authorization", "Bearer x"),
    )
    wire = world.good()
    assert (await world.send(replace(wire, headers=(*wire.headers, *forged)), path="/mcp/%63alendar")).status == 400
    assert len(world.arrived) == reached
    assert (await world.send(replace(wire, headers=(*wire.headers, *forged)))).status == 200
    assert world.last_record().part("request")["ip"] == "127.0.0.1"
    assert not [name for name, _ in world.arrived[-1].headers if name.startswith(("x-original-", "x-perhop-"))]


async def test_two_lengths_two_tokens_and_too_much_do_not_pass(world: Behind) -> None:
    """nginx itself refuses what could be read in two ways, and what is too large; at the bound it passes."""
    reached = len(world.arrived)
    chunked = (("transfer-encoding", "chunked"), ("content-length", "5"))
    wire = world.good()
    assert (await world.send(replace(wire, headers=(*wire.headers, *chunked), body=b"0\r\n\r\n"))).status == 400
    twice = (*wire.headers, ("authorization", "Bearer x"))
    assert (await world.send(replace(wire, headers=twice))).status in (400, 401)
    named = (*wire.headers, ("mcp-name", "drop_calendar"))
    assert (await world.send(replace(wire, headers=named))).observed == "400 -32020"
    assert (await world.send(replace(wire, headers=(*wire.headers, ("x-fill", "a" * 17_000))))).status in (400, 431)
    assert (await world.send(replace(wire, body=b" " * (MAX_BODY_BYTES + 1)))).status == 413
    assert len(world.arrived) == reached
    filled = wire.body + b" " * (MAX_BODY_BYTES - len(wire.body))
    assert (await world.send(replace(wire, body=filled))).status == 200


async def test_nothing_else_of_a_caller_reaches_the_server(world: Behind) -> None:
    """After all that was tried: every request that nginx sent has a token for its server, and headers by name only."""
    wire = world.good()
    odd = (("cookie", "a=b"), ("x-user", "root"), ("forwarded", "for=::1"), ("mcp-session-id", "s"), ("te", "trailers"))
    assert (await world.send(replace(wire, headers=(*wire.headers, *odd)))).status == 200
    assert {name for name, _ in world.arrived[-1].headers} <= PASSED_ON
    permits = world.reader.find(Filter(event="call.permitted", resource="calendar"))
    handed_out = {permit.part("out")["jti"] for permit in permits}
    audience = f"http://{world.at.calendar_past}/mcp"
    assert world.arrived
    for each in world.arrived:
        claims = claims_in(each.bearer)
        assert claims["aud"] == audience
        assert claims["jti"] in handed_out
        assert {name for name, _ in each.headers} <= PASSED_ON


async def test_events_pass_as_they_come(world: Behind, tmp_path: Path) -> None:
    """The first event of a stream is here while the server has not sent the second."""
    go_on = asyncio.Event()

    async def events() -> AsyncIterator[bytes]:
        yield event({"jsonrpc": "2.0", "method": "notifications/progress", "params": {}})
        await go_on.wait()
        yield event({"jsonrpc": "2.0", "id": 1, "result": {}})

    async with recording_upstream() as (url, upstream), another_nginx(world, tmp_path, server=url) as at:
        upstream.script = lambda _: stream_answer(events())
        wire = world.good()
        async with (
            httpx2.AsyncClient(timeout=15) as http,
            http.stream(
                "POST", f"http://{at}/mcp/calendar", headers=[*wire.headers, ("host", world.proxy)], content=wire.body
            ) as answer,
        ):
            pieces = answer.aiter_bytes()
            assert b"progress" in await anext(pieces)
            go_on.set()
            assert b"result" in b"".join([piece async for piece in pieces])
    assert answer.headers["content-type"] == "text/event-stream"


async def test_what_a_server_says_of_our_token_is_not_for_the_caller(world: Behind, tmp_path: Path) -> None:
    """A 401, a challenge or a redirect of the server is 503; its other answers pass."""
    challenge = {"www-authenticate": "Bearer x", "content-type": "application/json"}
    async with recording_upstream() as (url, upstream), another_nginx(world, tmp_path, server=url) as at:
        for status, seen in ((401, "503 -31503"), (403, "503 -31503"), (302, "503 -31503"), (400, "400"), (404, "404")):
            upstream.script = lambda _, status=status: Scripted(status, {**challenge, "location": "http://x.example/"})
            answer = await world.send(world.good(), address=at)
            assert answer.observed == seen
            # nginx copies the challenge of a 401 whatever it is told, but on a 503 no client asks for a token.
            assert answer.header("www-authenticate") in (None, "Bearer x" if status == 401 else None)
            assert answer.header("location") is None or status in (400, 404)
        assert len(upstream.received) == 5


async def test_without_the_server_the_answer_is_503(world: Behind, tmp_path: Path) -> None:
    """A server that is down is no reason to answer anything else, and the call is authorized, not unfinished."""
    async with another_nginx(world, tmp_path, server=f"http://127.0.0.1:{free_port()}/mcp") as at:
        answer = await world.send(world.good(), address=at)
    assert (answer.observed, answer.header("cache-control")) == ("503 -31503", "no-store")
    permit = world.reader.last(Filter(event="call.permitted"))
    assert permit is not None
    assert permit.seq not in {each.seq for each in world.reader.unfinished()}


async def test_without_perhop_everything_is_closed(world: Behind, tmp_path: Path) -> None:
    """Where nobody answers nginx's question, no call reaches the server."""
    reached = len(world.arrived)
    async with another_nginx(world, tmp_path, authz=tmp_path / "nobody.sock") as at:
        for wire in (world.good(), a_call("list_events", {})):
            answer = await world.send(wire, address=at)
            assert answer.observed == "503 -31503"
    assert len(world.arrived) == reached


async def test_the_file_is_good_as_it_stands(tmp_path: Path) -> None:
    """nginx takes `perhop.conf` with nothing changed but the port and where the certificate lies."""
    text = PERHOP_CONF.read_text(encoding="utf-8").replace("listen 443 ssl", f"listen {free_port()} ssl")
    certificate, key = _certificate(tmp_path)
    for line, file in zip(TLS, (certificate, key), strict=True):
        assert text.count(line) == 1
        text = text.replace(line, f"{line.split()[0]} {file};\n")
    main = write_conf(tmp_path / "n", text)
    tested = [*command(main, "-t")]
    done = await asyncio.to_thread(
        subprocess.run, tested, env=environment(), capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for mcp.example.com that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mcp.example.com")])
    begin = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files
