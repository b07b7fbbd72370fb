"""MCP servers that check tokens themselves: the official SDK's and FastMCP's, and FastMCP's proxy.

Each with the verifier that it comes with, or that its documentation shows, for the same tokens that Perhop takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.peers.environment import bin_of
from bench.processes import SUBJECT_CORE, on_core
from tests.support.processes import LOOPBACK, Running, free_port

PROGRAMS = Path(__file__).parent / "programs"
SDK_SETUP = "the server itself, one tool; `TokenVerifier` with PyJWT: ES256, issuer, audience; stateless, JSON, uvloop"
FASTMCP_SETUP = "the server itself, one tool; `JWTVerifier`: ES256, issuer, audience; stateless, JSON, uvloop"
PROXY_SETUP = "`create_proxy` before the server, with `JWTVerifier`; stateless, JSON, uvloop"


@contextmanager
def sdk_server(key: Path, *, issuer: str, audience: str, tell: Callable[[str], None]) -> Iterator[tuple[Running, str]]:
    """The official SDK's server, on the subjects' core; and its URL."""
    with _program("mcp_sdk", "mcp_sdk_server.py", [str(key), issuer, audience], tell) as found:
        yield found


@contextmanager
def fastmcp_server(
    key: Path, *, issuer: str, audience: str, tell: Callable[[str], None], behind: str = ""
) -> Iterator[tuple[Running, str]]:
    """FastMCP's server, or its proxy before the server `behind`, on the subjects' core; and its URL."""
    with _program("fastmcp", "fastmcp_server.py", [str(key), issuer, audience, behind], tell) as found:
        yield found


@contextmanager
def _program(name: str, file: str, words: list[str], tell: Callable[[str], None]) -> Iterator[tuple[Running, str]]:
    port = free_port()
    command = [str(bin_of(name, tell) / "python"), str(PROGRAMS / file), str(port), *words]
    with on_core(SUBJECT_CORE, command, ports=[port]) as process:
        yield process, f"http://{LOOPBACK}:{port}/mcp"
