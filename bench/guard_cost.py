"""What the guard costs a server: `python -m bench.guard_cost [ROUNDS]`.

CPU time of one request in one process without a socket, beside one raw ECDSA P-256 verification in the same rounds:
the guard's whole middleware around an application that does nothing, less that application alone; of that, the check
of the token by itself; each with a token that came before, and with one that did not. And how many functions a request
calls.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from bench.installation import written
from bench.measured import Measured, in_rounds
from perhop.resource_server import Guard
from perhop.resource_server.asgi import AsgiApp, AsgiMessage, AsgiScope, Receive, Send, read_headers
from tests.support.offline_issuer import Clock, OfflineIssuer

RESOURCE = "https://calendar.example.com/mcp"
SCENARIO = "guard"
RAW, CACHED, COLD = "one raw ECDSA P-256 verification", "guard, the token came before", "guard, a new token"
TOKEN_CACHED, TOKEN_COLD = "check of a token that came before", "check of a new token"
CALLS = 400
"""Requests of each kind in one round."""

_MESSAGE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {
        "name": "find",
        "arguments": {"from": "2026-05-01", "to": "2026-05-02"},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    },
}
_BODY = written(_MESSAGE)
_HEADERS = {
    "host": "calendar.example.com",
    "user-agent": "bench/1",
    "accept": "application/json, text/event-stream",
    "accept-encoding": "gzip, deflate",
    "connection": "keep-alive",
    "content-type": "application/json",
    "content-length": str(len(_BODY)),
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/call",
    "mcp-name": "find",
}


async def _nothing(_: AsgiScope, receive: Receive, send: Send) -> None:
    """An application that reads its request and answers without a body."""
    await receive()
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def _scope(token: str) -> AsgiScope:
    fields = [*_HEADERS.items(), ("authorization", f"Bearer {token}")]
    return {
        "type": "http",
        "method": "POST",
        "path": "/mcp",
        "headers": [(name.encode(), value.encode()) for name, value in fields],
        "client": ("127.0.0.1", 1),
    }


async def _serve(app: AsgiApp, scopes: Sequence[AsgiScope]) -> None:
    statuses: set[int] = set()

    async def receive() -> AsgiMessage:
        return {"type": "http.request", "body": _BODY, "more_body": False}

    async def send(message: AsgiMessage) -> None:
        if message["type"] == "http.response.start":
            statuses.add(message["status"])

    for asgi_scope in scopes:
        await app(dict(asgi_scope), receive, send)
    if statuses != {204}:
        raise AssertionError(f"answers were {sorted(statuses)}")


async def _check(guard: Guard, scopes: Sequence[AsgiScope]) -> None:
    for asgi_scope in scopes:
        outcome = await guard.check_token(read_headers(asgi_scope), method="POST", path="/mcp")
        if not hasattr(outcome, "proved"):
            raise AssertionError(f"refused: {outcome}")


async def _us(work: Callable[[], Awaitable[None]], count: int = CALLS) -> float:
    before = time.process_time()
    await work()
    return 1e6 * (time.process_time() - before) / count


async def measure(rounds: int) -> list[Measured]:
    """Every subject in every round, one after the other."""
    clock = Clock()
    issuer = OfflineIssuer(clock=clock)
    guard = Guard(resource=RESOURCE, issuers=[issuer.url], http=issuer.http(), clock=clock)
    app = guard.asgi(_nothing)
    key = ec.generate_private_key(ec.SECP256R1())
    signed, public, algorithm = b"x" * 450, key.public_key(), ec.ECDSA(SHA256())
    signature = key.sign(signed, algorithm)

    async def raw() -> None:
        for _ in range(CALLS):
            public.verify(signature, signed, algorithm)

    taken: dict[str, list[dict[str, float]]] = {each: [] for each in (RAW, CACHED, COLD, TOKEN_CACHED, TOKEN_COLD)}
    one = [_scope(issuer.mint(RESOURCE, scopes=["tools:use"]))] * CALLS
    await _serve(app, one)
    for _ in range(rounds):
        new, other = ([_scope(issuer.mint(RESOURCE, scopes=["tools:use"])) for _ in range(CALLS)] for _ in range(2))
        bare = await _us(lambda: _serve(_nothing, one))
        found = {
            RAW: await _us(raw),
            CACHED: await _us(lambda: _serve(app, one)) - bare,
            COLD: await _us(lambda new=new: _serve(app, new)) - bare,  # type: ignore[misc]
            TOKEN_CACHED: await _us(lambda: _check(guard, one)),
            TOKEN_COLD: await _us(lambda other=other: _check(guard, other)),  # type: ignore[misc]
        }
        for subject, us in found.items():
            taken[subject].append({"cpu_us": us})
    _profiled = await _count(app, one)
    sys.stderr.write(_profiled)
    await guard.aclose()
    setup = "in one process, no socket; keys and revocation feed read before"
    return [each for subject, got in taken.items() for each in in_rounds(SCENARIO, subject, setup, got)]


async def _count(app: AsgiApp, scopes: Sequence[AsgiScope]) -> str:
    """How many functions a cached request calls, and which most; the application's own few are among them."""
    profile = cProfile.Profile()
    profile.enable()
    await _serve(app, scopes)
    profile.disable()
    stats: Any = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    rows = sorted(((row[0] / len(scopes), row[2], where) for where, row in stats.items()), reverse=True)
    lines = [f"{sum(each[0] for each in rows):.0f} calls of functions a request\n"]
    lines += [
        f"{calls:7.1f} {1e6 * own / len(scopes):7.2f} us  {where[0].rpartition('/')[2]}:{where[1]} {where[2]}\n"
        for calls, own, where in rows[:45]
    ]
    return "".join(lines)


def show(measured: Sequence[Measured]) -> str:
    """The figures, and what each is to the raw verification of its round."""
    by_subject = {each.subject: each for each in measured}
    raw = by_subject[RAW].rounds
    lines = [
        f"{each.median:8.1f} us  {statistics.median(a / b for a, b in zip(each.rounds, raw, strict=True)):6.2f} x raw"
        f"  {each.subject}\n"
        for each in measured
    ]
    return "".join(lines)


if __name__ == "__main__":
    sys.stdout.write(show(asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 15))))
