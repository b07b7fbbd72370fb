"""The door of the gateway: host, origin, framing, size; all before a decision is made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from perhop.gateway.gate import Limits
from perhop.rules.resource_uri import parse_resource_uri
from tests.support.gateways import World, gateway
from tests.support.upstreams import modern


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway(tmp_path) as made:
        yield made


async def raw(world: World, head: str, body: bytes = b"") -> int:
    """Send these very octets; returns the status."""
    address = httpx2.URL(world.url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body)
    status = int((await reader.readline()).split()[1])
    writer.close()
    return status


def message(world: World, *lines: str, host: str = "127.0.0.1") -> tuple[str, bytes]:
    headers, body = modern("tools/list")
    fields = [f"{name}: {value}" for name, value in {**headers, **world.bearer()}.items()]
    head = ["POST /mcp/calendar HTTP/1.1", *([f"host: {host}"] if host else []), f"content-length: {len(body)}"]
    return "\n".join([*head, *fields, *lines]), body


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:1", 200),
        ("localhost:3911", 200),
        ("LOCALHOST", 200),
        ("[::1]:80", 200),
        ("app.localhost", 200),
        ("evil.example.com", 403),
        ("127.0.0.1.evil.example.com", 403),
        ("localhost.evil.example.com:8420", 403),
        ("127.0.0.1/x", 400),
        ("127.0.0.1?x", 400),
        ("a@127.0.0.1", 400),
        ("", 400),
    ],
)
async def test_the_host_must_be_the_resources_own(world: World, host: str, status: int) -> None:
    """On loopback any name of loopback is taken; a name that was rebound to it is not."""
    head, body = message(world, host=host)
    if not host:
        head = head.replace("HTTP/1.1", "HTTP/1.0", 1)
    assert await raw(world, head, body) == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:3000", 200),
        ("http://127.0.0.1", 200),
        ("https://evil.example.com", 403),
        ("http://localhost.evil.example.com", 403),
        ("null", 403),
        ("file://", 403),
        ("", 403),
    ],
)
async def test_the_origin_must_be_ours(world: World, origin: str, status: int) -> None:
    """A page of another origin is refused before its token is looked at; no origin is no browser."""
    head, body = message(world, f"origin: {origin}")
    assert await raw(world, head, body) == status
    assert len(world.upstream.received) == (status == 200)


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("mcp.example.com", None, 200),
        ("MCP.example.com:443", "https://mcp.example.com", 200),
        ("mcp.example.com", "https://mcp.example.com:443", 200),
        ("mcp.example.com", "http://mcp.example.com", 403),
        ("mcp.example.com:8443", None, 403),
        ("localhost", None, 403),
        ("mcp.example.com", "http://localhost:3000", 403),
    ],
)
async def test_a_public_resource_takes_its_own_authority_only(
    world: World, host: str, origin: str | None, status: int
) -> None:
    """Away from loopback, host and origin are compared with the resource's URI."""
    resource = replace(world.gate.resource, uri=parse_resource_uri("https://mcp.example.com/mcp/calendar"))
    world.replace_gate(resource=resource)
    head, body = message(world, *([f"origin: {origin}"] if origin else []), host=host)
    assert await raw(world, head, body) == status


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("connection: authorization", 400),
        ("connection: keep-alive, Authorization", 400),
        ("connection: mcp-session-id", 400),
        ("host: 127.0.0.1", 400),
        ("transfer-encoding: chunked", 400),
        ("content-length: 5", 400),
        ("connection: keep-alive", 200),
    ],
)
async def test_tricks_with_framing_and_hops(world: World, line: str, status: int) -> None:
    """A request that means two things to two readers is refused, and no second one is seen."""
    head, body = message(world, line)
    assert await raw(world, head, body) == status
    assert len(world.upstream.received) == (status == 200)


async def test_two_authorization_headers_are_none(world: World) -> None:
    """Of two credentials neither is chosen."""
    head, body = message(world, "authorization: Bearer x")
    assert await raw(world, head, body) == 401


@pytest.mark.parametrize(("excess", "status"), [(0, 200), (1, 413)])
@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_has_a_bound(world: World, excess: int, status: int, announced: bool) -> None:
    """1 MiB passes, one octet more does not, whether its length was stated or not."""
    headers, body = modern("tools/list")
    padded = body[:-1] + b" " * (1024 * 1024 - len(body) + excess) + body[-1:]

    async def chunks() -> AsyncIterator[bytes]:
        yield padded

    content = padded if announced else chunks()
    answer = await world.http.post(world.url, headers={**headers, **world.bearer()}, content=content)
    assert answer.status_code == status


async def test_a_body_must_come_in_time(tmp_path: Path) -> None:
    """A body that trickles is given up on."""
    async with gateway(tmp_path, limits=Limits(body_seconds=0.1)) as world:
        head, body = message(world)
        assert await raw(world, head, body[:-1]) == 408
