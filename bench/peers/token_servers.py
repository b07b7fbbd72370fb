"""Authorization servers that are measured beside ours: Authlib, the official SDK's routes, `oidc-provider`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.peers.environment import bin_of
from bench.processes import SUBJECT_CORE, on_core
from scripts.fetch_real import PLACE, fetch, node
from tests.support.processes import LOOPBACK, Running, free_port

PROGRAMS = Path(__file__).parent / "programs"
CLIENT, SECRET, RESOURCE = (
    "bench-agent",
    "a-secret-of-the-bench-for-its-peers-0123456789",
    "http://127.0.0.1:9/mcp/work",
)
AUTHLIB_SETUP = "AuthorizationServer on Starlette; one client in memory, client_secret_post; an ES256 JWT, not stored"
SDK_SETUP = "the SDK's routes; families in memory, client_secret_post; an ES256 JWT by PyJWT, not stored"
OIDC_SETUP = "`oidc-provider` on Node; memory, client_secret_post; an ES256 JWT for a resource indicator"


@contextmanager
def authlib_server(tell: Callable[[str], None]) -> Iterator[tuple[Running, str]]:
    """Authlib's server, on the subjects' core; and the URL of its token endpoint."""
    program = [bin_of("authlib", tell) / "python", PROGRAMS / "authlib_tokens.py"]
    with _serving([str(each) for each in program], []) as found:
        yield found


@contextmanager
def sdk_server(first: Sequence[str], tell: Callable[[str], None]) -> Iterator[tuple[Running, str]]:
    """The SDK's routes, with these refresh tokens; and the URL of the token endpoint."""
    program = [bin_of("mcp_sdk", tell) / "python", PROGRAMS / "sdk_tokens.py"]
    with _serving([str(each) for each in program], first) as found:
        yield found


@contextmanager
def oidc_server() -> Iterator[tuple[Running, str]]:
    """`oidc-provider`, on the subjects' core; and the URL of its token endpoint. Raises: RealSoftwareMissing."""
    fetch()
    package = PLACE / "node_modules" / "oidc-provider" / "lib" / "index.js"
    with _serving([str(node()), str(PROGRAMS / "oidc_tokens.mjs"), str(package)], []) as found:
        yield found


@contextmanager
def _serving(command: list[str], more: Sequence[str]) -> Iterator[tuple[Running, str]]:
    port = free_port()
    with on_core(SUBJECT_CORE, [*command, str(port), CLIENT, SECRET, RESOURCE, *more], ports=[port]) as process:
        yield process, f"http://{LOOPBACK}:{port}/token"
