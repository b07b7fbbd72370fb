"""HTTP itself: framing, targets, hosts, origins, headers that proxies act on, and limits."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

from perhop.core.call import Headers
from perhop.rules.header_bounds import MAX_HEADER_BYTES
from tests.attacks.row import PASSES_GATEWAY, PASSES_GUARD, Door, Expected, Row, Seen
from tests.attacks.tries import BOTH, message, message_each, refused, tried, tried_at
from tests.attacks.world import ARGUMENT, Entrance, World, a_call, with_token
from tests.support.doors import Wire, send

SILENT = Expected("400", None, records=0)
"""Refused before any of our code runs: there is nothing to write down yet."""

THE_FRAMEWORKS = "behind a guard the framework looks at `Host` and `Origin`, after the token, in its own words"


def _call(*headers: tuple[str, str]) -> Wire:
    call = a_call("list_events", {"day": ARGUMENT})
    return dataclasses.replace(call, headers=(*call.headers, *headers))


def _authorized(world: World, entrance: Entrance) -> Wire:
    return with_token(_call(), world.forge(entrance.audience))


def _head(entrance: Entrance, wire: Wire, framing: str, *, version: str = "1.1", close: bool = True) -> bytes:
    fields = "".join(f"{name}: {value}\r\n" for name, value in wire.headers)
    end = "connection: close\r\n" if close else ""
    head = f"POST {entrance.path} HTTP/{version}\r\nhost: {entrance.address}\r\n{end}{fields}{framing}\r\n"
    return head.encode("latin-1")


async def _framed(door: Door, world: World) -> dict[str, Seen]:
    """Each of these would let two readers of one connection see two different requests."""
    entrance = world.entrance(door)
    wire = _authorized(world, entrance)
    body, length = wire.body, len(wire.body)
    smuggled = b"0\r\n\r\n" + _head(entrance, wire, f"content-length: {length}\r\n") + body
    framings = {
        "two lengths": (f"content-length: {length}\r\ncontent-length: {length + 5}\r\n", body),
        "one length twice": (f"content-length: {length}\r\ncontent-length: {length}\r\n", body),
        "a list of lengths": (f"content-length: {length}, {length}\r\n", body),
        "length and chunks": (f"content-length: {length}\r\ntransfer-encoding: chunked\r\n", smuggled),
        "chunks and length": (f"transfer-encoding: chunked\r\ncontent-length: {length}\r\n", smuggled),
        "chunks, then identity": ("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", smuggled),
        "tab before chunks": (f"transfer-encoding:\tchunked\r\ncontent-length: {length}\r\n", smuggled),
        "space before the colon": ("transfer-encoding : chunked\r\n", smuggled),
        "length with a sign": (f"content-length: +{length}\r\n", body),
        "negative length": ("content-length: -1\r\n", body),
        "length in hex": (f"content-length: 0x{length:x}\r\n", body),
        "folded line": (f"x-a: b\r\n c\r\ncontent-length: {length}\r\n", body),
        "bare line feed": (f"x-a: b\ncontent-length: {length}\r\n", body),
        "bare carriage return": (f"x-a: b\rcontent-length: {length}\r\n", body),
        "chunks before something": ("transfer-encoding: chunked, gzip\r\n", smuggled),
        "NUL in a header": (f"x-a: b\0\r\ncontent-length: {length}\r\n", body),
        "line end in a mirrored header": (f"mcp-param-day: x\n y\r\ncontent-length: {length}\r\n", body),
    }
    return {
        name: await world.knock_raw(entrance, _head(entrance, wire, framing) + octets)
        for name, (framing, octets) in framings.items()
    }


async def _chunked(door: Door, world: World) -> dict[str, Seen]:
    """Chunks that end otherwise than they say, found when part of the body is already here."""
    entrance = world.entrance(door)
    wire = _authorized(world, entrance)
    body, size = wire.body, f"{len(wire.body):x}".encode()
    bodies = {
        "no size": b"zz\r\n" + body,
        "more than the size": size + b"\r\n" + body + b"XX0\r\n\r\n",
        "bare line feeds": size + b"\n" + body + b"\n0\n\n",
        "line feed in an extension": size + b";\nx\r\n" + body + b"\r\n0\r\n\r\n",
        "negative size": b"-1\r\n" + body,
        "size in two bases": b"0x" + size + b"\r\n" + body + b"\r\n0\r\n\r\n",
    }
    raws = {name: _head(entrance, wire, "transfer-encoding: chunked\r\n") + each for name, each in bodies.items()}
    sights = {}
    for name, raw in raws.items():
        sights[name] = await world.knock_raw(entrance, raw, is_written_late=door is Door.GATEWAY)
    return sights


async def _second_request(door: Door, world: World) -> dict[str, Seen]:
    """Two requests on one connection: the first is authorized, the second has no token of its own."""
    entrance = world.entrance(door)
    wire = _authorized(world, entrance)
    length = f"content-length: {len(wire.body)}\r\n"
    raw = _head(entrance, wire, length, close=False) + wire.body
    raw += _head(entrance, _call(), length) + wire.body
    world.tick()
    size, lines = world.reader.size(), len(world.log.refusals)
    answers = await send(entrance.address, raw)
    assert [each.status for each in answers] == [200, 401]
    written = [each.text("reason") for each in world.records_since(size)] if door is Door.GATEWAY else []
    reasons = [each for each in (*written, *world.log.refusals[lines:]) if each]
    return {"second": Seen(observed=answers[1].observed, reason=reasons[-1], records=len(reasons), answer=answers[1])}


async def _coded(door: Door, world: World) -> dict[str, Seen]:
    """A body in chunks that is coded besides, or said to be: somebody on the way may have read it decoded."""
    entrance = world.entrance(door)
    codings = (
        "gzip, chunked",
        "identity, chunked",
        "xchunked",
        "identity",
        "chunked;q=1, chunked",
        "x-anything,chunked",
    )
    sights = {}
    for coding in codings:
        wire = _authorized(world, entrance)
        chunks = f"{len(wire.body):x}\r\n".encode() + wire.body + b"\r\n0\r\n\r\n"
        raw = _head(entrance, wire, f"transfer-encoding: {coding}\r\n") + chunks
        sights[coding] = await world.knock_raw(entrance, raw)
    return sights


async def _token_behind_the_body(door: Door, world: World) -> Seen:
    """A token in a trailer is no header: it came after the decision who is calling."""
    entrance = world.entrance(door)
    wire, authorization = _call(), f"authorization: Bearer {world.forge(entrance.audience)}\r\n"
    chunks = f"{len(wire.body):x}\r\n".encode() + wire.body + f"\r\n0\r\n{authorization}\r\n".encode()
    raw = _head(entrance, wire, "transfer-encoding: chunked\r\ntrailer: authorization\r\n") + chunks
    return await world.knock_raw(entrance, raw)


async def _upgraded(door: Door, world: World) -> dict[str, Seen]:
    """Another protocol is not changed to, so nothing on the connection is out of sight afterwards."""
    entrance = world.entrance(door)
    protocols = {
        "h2c": "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
        "WebSocket": "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    }
    sights = {}
    for name, fields in protocols.items():
        wire = _authorized(world, entrance)
        raw = _head(entrance, wire, f"{fields}content-length: {len(wire.body)}\r\n", close=False) + wire.body
        sights[name] = await world.knock_raw(entrance, raw + _head(entrance, _call(), "content-length: 0\r\n"))
    return sights


def _targets(door: Door, make: Callable[[Entrance], dict[str, str]]) -> Any:
    async def attempt(world: World) -> dict[str, Seen]:
        entrance = world.entrance(door)
        wire = _authorized(world, entrance)
        targets = make(entrance).items()
        return {name: await world.knock(entrance, dataclasses.replace(wire, target=each)) for name, each in targets}

    return attempt


def _other_paths(entrance: Entrance) -> dict[str, str]:
    path = entrance.path
    return {
        "dots": f"/x/..{path}",
        "dots after": f"{path}/../calendar",
        "encoded dots": f"/x/%2e%2e{path}",
        "encoded letter": path.replace("m", "%6D", 1),
        "encoded slash": f"{path}%2F",
        "two slashes": f"/{path}",
        "parameter": f"{path};x",
        "another case": path.upper(),
        "a slash more": f"{path}/",
        "backslash": path.replace("/c", "\\c"),
        "a resource without gateway": "/mcp/notes",
        "administration": "/admin",
        "metrics": "/metrics",
        "readiness": "/readyz",
        "a file": "/../../etc/passwd",
    }


def _other_targets(entrance: Entrance) -> dict[str, str]:
    return {
        "another host": f"http://evil.example{entrance.path}",
        "user information": f"http://{entrance.address}@evil.example{entrance.path}",
        "host and port alone": "evil.example:443",
        "fragment": f"{entrance.path}#x",
        "fragment hides the query": f"{entrance.path}#?x",
    }


def _hosts(values: dict[str, Headers]) -> Any:
    """The call under each of these."""
    return lambda: {name: _call(*fields) for name, fields in values.items()}


ODD_HOSTS: dict[str, Headers] = {
    "path": (("host", "127.0.0.1/x"),),
    "query": (("host", "127.0.0.1?x"),),
    "fragment": (("host", "127.0.0.1#x"),),
    "user": (("host", "127.0.0.1@evil.example"),),
    "space": (("host", "127.0.0.1 evil.example"),),
    "list": (("host", "127.0.0.1, evil.example"),),
    "two": (("host", "127.0.0.1"), ("host", "evil.example")),
    "the same twice": (("host", "127.0.0.1"), ("host", "127.0.0.1")),
    "empty": (("host", ""),),
}
OTHER_HOSTS: dict[str, Headers] = {
    "rebound": (("host", "evil.example"),),
    "ours as prefix": (("host", "127.0.0.1.evil.example"),),
    "ours as suffix": (("host", "evil.example.127.0.0.1"),),
    "any address": (("host", "0.0.0.0"),),
}
OTHER_ORIGINS: dict[str, Headers] = {
    "stranger": (("origin", "http://evil.example"),),
    "ours as prefix": (("origin", "http://127.0.0.1.evil.example"),),
    "opaque": (("origin", "null"),),
    "file": (("origin", "file://"),),
    "two": (("origin", "http://127.0.0.1"), ("origin", "http://evil.example")),
    "list": (("origin", "http://127.0.0.1 http://evil.example"),),
    "extension": (("origin", "chrome-extension://abcdef"),),
    "user": (("origin", "http://127.0.0.1@evil.example"),),
}
CONNECTION_NAMES: dict[str, Headers] = {
    name: (("connection", f"close, {name}"),)
    for name in ("authorization", "Authorization", "dpop", "mcp-name", "content-length", "x-anything")
}


async def _forwarded(door: Door, world: World) -> dict[str, Seen]:
    """Who is not a listed proxy says in vain where the request came from and went to."""
    entrance = world.entrance(door)
    origin, _, path = entrance.audience.partition("//")[2].partition("/")
    metadata = f"http://{origin}/.well-known/oauth-protected-resource/{path}"
    spoofs: dict[str, Headers] = {
        "each": (
            ("x-forwarded-for", "198.51.100.7"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-proto", "https"),
            ("x-real-ip", "198.51.100.7"),
        ),
        "standard": (("forwarded", "for=198.51.100.7;host=evil.example;proto=https"),),
        "rewriting": (("x-original-url", "/mcp/rooms"), ("x-rewrite-url", "/mcp/rooms")),
        "method": (("x-http-method-override", "GET"),),
    }
    sights = {}
    for name, fields in spoofs.items():
        sights[name] = seen = await world.knock(entrance, _call(*fields))
        assert seen.answer is not None
        assert seen.answer.challenge["resource_metadata"] == metadata
        if door is Door.GATEWAY:
            assert world.last_record().part("request")["ip"] == "127.0.0.1"
    return sights


async def _trusted_headers(world: World) -> dict[str, Seen]:
    """What a server might believe of a proxy does not come from a caller."""
    entrance = world.entrance(Door.GATEWAY)
    spoofs = {
        "x-user": "admin",
        "x-forwarded-user": "admin",
        "x-forwarded-for": "198.51.100.7",
        "x-authenticated-scope": "*",
        "router-key": "secret",
        "mcp-init-host": "evil.example",
        "cookie": "session=1",
        "proxy-authorization": "Basic eDp5",
        "traceparent": "00-11111111111111111111111111111111-2222222222222222-01",
        "baggage": "user=admin",
        "te": "trailers",
        "mcp-session-id": "stolen",
        "last-event-id": "7",
    }
    wire = with_token(_call(*spoofs.items()), world.forge(entrance.audience))
    seen = await world.knock(entrance, wire)
    arrived = world.calendar.from_gateway.arrived[-1]
    assert not {name for name, _ in arrived.headers} & (spoofs.keys() - {"traceparent"})
    assert arrived.header("traceparent") not in (None, spoofs["traceparent"])
    return {"": seen}


async def _trusted_headers_at_guard(world: World) -> Seen:
    """Who called stands in the token, and the application finds nobody else there."""
    entrance = world.entrance(Door.GUARD)
    wire = with_token(_call(("x-user", "admin"), ("x-forwarded-user", "admin")), world.forge(entrance.audience))
    return await world.knock(entrance, wire)


def _large_headers() -> dict[str, Wire]:
    return {
        "one": _call(("x-filler", "x" * MAX_HEADER_BYTES)),
        "many": _call(*((f"x-{number}", "x" * 100) for number in range(170))),
        "token": _call(("authorization", "Bearer " + "x" * 64 * 1024)),
    }


async def _dripped(world: World) -> Seen:
    """Headers that never end are given up; the connection was opened when the installation came up."""
    answers = await asyncio.shield(world.dripping)
    return Seen(observed=answers[0].observed)


ROWS: tuple[Row, ...] = (
    tried_at(
        "request-smuggling",
        "a length stated twice, in two ways, or in an odd way",
        "RFC 9112 §6.3; RFC 9112 §11.2",
        {door: (partial(_framed, door), SILENT) for door in BOTH},
    ),
    tried_at(
        "broken-chunks",
        "chunks that are not as long as they say",
        "RFC 9112 §7.1; CVE-2025-43859",
        {
            Door.GATEWAY: (partial(_chunked, Door.GATEWAY), refused("request.malformed", "400")),
            Door.GUARD: (partial(_chunked, Door.GUARD), SILENT),
        },
    ),
    tried_at(
        "other-transfer-coding",
        "a body in another transfer coding beside chunks",
        "RFC 9112 §6.1; RFC 9112 §11.2",
        {door: (partial(_coded, door), Expected("501", None, records=0)) for door in BOTH},
    ),
    tried_at(
        "connection-is-no-credential",
        "a second request on an authorized connection, without a token",
        "RFC 9110 §3.3",
        {door: (partial(_second_request, door), refused("token.malformed", "401")) for door in BOTH},
    ),
    tried(
        "other-path",
        "paths that a lenient router takes for a resource's, or for an inner one",
        "RFC 3986 §6.2.2; CVE-2026-9800",
        Door.GATEWAY,
        _targets(Door.GATEWAY, _other_paths),
        Expected("404", None, records=0),
        only="every path behind a guard wants the token, and what it leads to is the application's",
    ),
    tried_at(
        "target-of-another-host",
        "a request target that names another host than `Host`, or has a fragment",
        "RFC 9112 §3.2; CVE-2026-34525",
        {door: (_targets(door, _other_targets), SILENT) for door in BOTH},
    ),
    message_each(
        "odd-host",
        "`Host` with a path, a user, twice, or empty",
        "RFC 9110 §7.2; CVE-2026-48710",
        _hosts(ODD_HOSTS),
        gateway=refused("request.malformed", "400 -32600"),
        guard=Expected("421", None, records=0, passed=1),
        differs=THE_FRAMEWORKS,
    ),
    message_each(
        "rebound-host",
        "the name of a stranger's host that leads to this machine",
        "MCP 2025-11-25 transports; CVE-2025-66416",
        _hosts(OTHER_HOSTS),
        gateway=refused("request.malformed", "403"),
        guard=Expected("421", None, records=0, passed=1),
        differs=THE_FRAMEWORKS,
    ),
    message_each(
        "foreign-origin",
        "a web page of a stranger's",
        "MCP 2025-11-25 transports; CVE-2025-66416",
        _hosts(OTHER_ORIGINS),
        gateway=refused("request.malformed", "403"),
        guard=Expected("403", None, records=0, passed=1),
        differs=THE_FRAMEWORKS,
    ),
    message_each(
        "hop-by-hop-strip",
        "`Connection` that names a header, so that the next hop drops it",
        "RFC 9110 §7.6.1",
        _hosts(CONNECTION_NAMES),
        gateway=refused("request.malformed", "400 -32600"),
        guard=PASSES_GUARD,
        differs="a guard sends no request on, so nothing is dropped behind it",
    ),
    tried_at(
        "token-behind-the-body",
        "a token in a trailer",
        "RFC 9110 §6.5.1",
        {door: (partial(_token_behind_the_body, door), refused("token.malformed", "401")) for door in BOTH},
    ),
    tried_at(
        "upgrade-to-another-protocol",
        "a request that wants to go on in a protocol that nobody here looks into, and one more behind it",
        "RFC 9110 §7.8",
        {door: (partial(_upgraded, door), SILENT) for door in BOTH},
    ),
    tried_at(
        "spoofed-forwarding",
        "forwarded headers from somebody who is no proxy of ours",
        "RFC 7239 §8.1",
        {door: (partial(_forwarded, door), refused("token.malformed", "401")) for door in BOTH},
    ),
    tried_at(
        "spoofed-trust-headers",
        "headers that a server behind a gateway might believe",
        "GHSA-g53w-w6mj-hrpp",
        {
            Door.GATEWAY: (_trusted_headers, PASSES_GATEWAY),
            Door.GUARD: (_trusted_headers_at_guard, PASSES_GUARD),
        },
        differs="a guard hands its application the request as it is; who calls stands in the token alone",
    ),
    message(
        "large-header-section",
        "more than 16 KiB of headers",
        "RFC 6585 §5",
        _large_headers,
        Expected("431", None, records=0),
    ),
    tried(
        "dripping-headers",
        "headers that come a little at a time and never end",
        "CWE-400",
        Door.GATEWAY,
        _dripped,
        Expected("408", None, records=0),
        only="the listener before a guard is the application's",
    ),
)
