"""What a check of tokens inside a server costs: with it minus without it, of the same server, in the same round.

Perhop's guard before a bare ASGI application; the official SDK's server with a `TokenVerifier` on PyJWT and FastMCP's
with its `JWTVerifier`. `cpu_us` is the check's own part, `whole_us` all that the server does for a request. The guard
checks more than they do: revocation, single use, and the MCP message. The quick form has no servers beside it.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from joserfc.jwk import ECKey

from bench.installation import a_call
from bench.load import LoadFailed, closed_loop
from bench.measured import Measured, Size, in_rounds
from bench.peers.environment import bin_of
from bench.peers.mcp_servers import PROGRAMS
from bench.processes import SUBJECT_CORE, on_core
from perhop.resource_server.testing import ThrowawayIssuer, throwaway_issuer
from tests.support.processes import LOOPBACK, Running, free_ports

NAME = "guard"
RESOURCE = "http://127.0.0.1:8000/mcp"
"""One audience for all, wherever they listen."""
ROUNDS = {Size.QUICK: 2, Size.FULL: 7}
SECONDS = {Size.QUICK: 2.0, Size.FULL: 2.0}
NEW_TOKENS_A_SECOND = 16_000
"""More than any of them can check; each is sent once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    """A server without the check, and what stands before it with the check. `is_cold`: no token comes twice."""

    name: str
    plain: str
    setup: str
    is_cold: bool = False


SUBJECTS = (
    _Subject(
        name="perhop guard, cached",
        plain="bare ASGI application",
        setup="before a bare ASGI application on uvicorn; one token that is known",
    ),
    _Subject(
        name="perhop guard, cold",
        plain="bare ASGI application",
        setup="the same; every token comes for the first time",
        is_cold=True,
    ),
    _Subject(
        name="mcp SDK TokenVerifier",
        plain="mcp SDK server",
        setup="a verifier on PyJWT: ES256, issuer, audience; keeps nothing; stateless, JSON, uvloop",
    ),
    _Subject(
        name="FastMCP JWTVerifier",
        plain="FastMCP server",
        setup="its own verifier: ES256, issuer, audience; keeps nothing; stateless, JSON, uvloop",
    ),
)
_BARE = "bare ASGI application"
_PEERS = {"mcp SDK server": ("mcp_sdk", "mcp_sdk_server.py"), "FastMCP server": ("fastmcp", "fastmcp_server.py")}
"""The environment and the program of each."""
_PLAIN = (_BARE, *_PEERS)


@dataclass(frozen=True, slots=True)
class _Server:
    process: Running
    url: str


def measure(size: Size, tell: Callable[[str], None]) -> list[Measured]:
    """Every server, with its check and without, in each round."""
    with ExitStack() as up:
        folder = Path(up.enter_context(tempfile.TemporaryDirectory(prefix="perhop-bench-")))
        issuer = up.enter_context(_issuing())
        names = _PLAIN if size is Size.FULL else (_BARE,)
        tell(f"starting {2 * len(names)} servers")
        plain = {name: up.enter_context(_serving(name, issuer, folder, tell, checks=False)) for name in names}
        checking = {name: up.enter_context(_serving(name, issuer, folder, tell, checks=True)) for name in names}
        for name in names:
            _prove(plain[name], checking[name], issuer)
        return _in_turn(size, plain, checking, issuer, tell)


def own_part(whole: float, plain: float) -> float:
    """What the check adds; below the noise of both, less than nothing may come out, and is told as it is."""
    return whole - plain


def _in_turn(
    size: Size,
    plain: dict[str, _Server],
    checking: dict[str, _Server],
    issuer: ThrowawayIssuer,
    tell: Callable[[str], None],
) -> list[Measured]:
    subjects = [each for each in SUBJECTS if each.plain in plain]
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in (*plain, *(each.name for each in subjects))}
    for number in range(ROUNDS[size]):
        tell(f"round {number + 1} of {ROUNDS[size]}")
        for name, server in plain.items():
            without = _cpu_us(server, [issuer.mint(RESOURCE)], SECONDS[size])
            seen[name].append({"whole_us": without})
            # Right behind each other: their difference is the figure.
            for each in (subject for subject in subjects if subject.plain == name):
                count = round(NEW_TOKENS_A_SECOND * SECONDS[size]) if each.is_cold else 1
                tokens = [issuer.mint(RESOURCE) for _ in range(count)]
                whole = _cpu_us(checking[name], tokens, SECONDS[size], once=each.is_cold)
                seen[each.name].append({"cpu_us": own_part(whole, without), "whole_us": whole})
    setups = {each.name: each.setup for each in SUBJECTS}
    return [
        found
        for name, rounds in seen.items()
        for found in in_rounds(NAME, name, setups.get(name, "the same server without a check"), rounds)
    ]


def _cpu_us(server: _Server, tokens: Sequence[str], seconds: float, *, once: bool = False) -> float:
    found = closed_loop(a_call(server.url, tokens=tokens), server.process.pid, seconds=seconds)
    if once and found.requests > len(tokens):
        raise LoadFailed(f"{found.requests} requests, but only {len(tokens)} tokens that were new")
    return found.figures["cpu_us"]


def _prove(plain: _Server, checking: _Server, issuer: ThrowawayIssuer) -> None:
    """Both answer a good token alike, and the one that checks refuses another's. Raises: LoadFailed."""
    good, wrong = issuer.mint(RESOURCE), issuer.mint("http://127.0.0.1:8000/elsewhere")
    for server, token, wanted in ((plain, good, 200), (checking, good, 200), (checking, wrong, 401)):
        ask = a_call(server.url, tokens=[token])
        headers = {**ask.headers, "authorization": ask.values[0]}
        answer = httpx2.post(server.url, content=ask.body, headers=headers, timeout=30)
        if answer.status_code != wanted or (wanted == 200 and "x" * 89 not in answer.text):
            raise LoadFailed(f"{server.process.command} answered {answer.status_code}: {answer.text[:300]}")


@contextmanager
def _serving(
    name: str, issuer: ThrowawayIssuer, folder: Path, tell: Callable[[str], None], *, checks: bool
) -> Iterator[_Server]:
    (port,) = free_ports(1)
    key = folder / "issuer.pem"
    key.write_bytes(ECKey.import_key(issuer.key.public().as_jwk()).as_pem(private=False))
    if name == _BARE:
        command = [sys.executable, "-m", "bench.guarded_app", str(port), issuer.url if checks else "-", RESOURCE]
    else:
        environment, program = _PEERS[name]
        python = bin_of(environment, tell) / "python"
        command = [str(python), str(PROGRAMS / program), str(port), str(key) if checks else "-", issuer.url, RESOURCE]
    with on_core(SUBJECT_CORE, command, ports=[port]) as process:
        yield _Server(process, f"http://{LOOPBACK}:{port}/mcp")


@contextmanager
def _issuing() -> Iterator[ThrowawayIssuer]:
    """An issuer that answers from a thread of its own while the load runs."""
    there: list[ThrowawayIssuer] = []
    is_up = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def live() -> None:
        async with throwaway_issuer() as issuer:
            there.append(issuer)
            is_up.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(live(),), name="bench-issuer")
    thread.start()
    try:
        if not is_up.wait(30):
            raise RuntimeError("the issuer did not come up")
        yield there[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
