"""A Perhop in front of the everything-server, and the shim in front of that, on free loopback ports."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx2

from tests.support.processes import Running, free_ports, started

CLIENT = "conformance-suite"
_REFUSED_TOKEN = ("token.", "audience.", "sender.", "client.", "scope.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Where the suite goes in, and where the records are."""

    url: str
    folder: Path
    gateway: Running

    def records(self) -> list[dict[str, Any]]:
        """Every record of the journal."""
        printed = _perhop(self.folder, "journal", "query", "--json")
        return [json.loads(line) for line in printed.splitlines() if line]


def refused_tokens(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records that say a token was refused: a scenario must not pass on a 401."""
    return [record for record in records if str(record.get("reason", "")).startswith(_REFUSED_TOKEN)]


def permitted_calls(records: Iterable[dict[str, Any]]) -> int:
    """How many calls the gateway has let through."""
    return sum(record["event"] == "call.permitted" for record in records)


@contextmanager
def bare_server() -> Iterator[str]:
    """The everything-server with nothing in front: URL of its endpoint."""
    (port,) = free_ports(1)
    with started(_everything(port, "--bare"), ports=[port], folder=_HERE):
        yield f"http://localhost:{port}/mcp"


@contextmanager
def guarded_installation(folder: Path) -> Iterator[Installation]:
    """Server guarded by our library, gateway before it, shim before that; all end with the block."""
    traffic, console, ops, upstream, shim = free_ports(5)
    issuer, server = f"http://127.0.0.1:{traffic}", f"http://127.0.0.1:{upstream}/mcp"
    resource = f"{issuer}/mcp/everything"
    secret = secrets.token_urlsafe(32)
    _write_configuration(folder, issuer, (traffic, console, ops), server, secret)
    _perhop(folder, "init", str(folder))
    with ExitStack() as lifetimes:
        guarded = _everything(upstream, "--issuer", issuer, "--resource", server)
        lifetimes.enter_context(started(guarded, ports=[upstream], folder=_HERE))
        gateway = lifetimes.enter_context(started([*_PERHOP, "serve"], ports=[traffic, ops], folder=folder))
        _await_enforcing(ops, gateway)
        words = ["--to", f"127.0.0.1:{traffic}", "--token-endpoint", f"{issuer}/token", "--resource", resource]
        words += ["--client", f"{CLIENT}:{secret}", "--port", str(shim)]
        lifetimes.enter_context(started([sys.executable, "-m", "conformance.shim", *words], ports=[shim], folder=_HERE))
        yield Installation(url=f"http://localhost:{shim}/mcp/everything", folder=folder, gateway=gateway)


_PERHOP = (str(Path(sys.executable).with_name("perhop")),)
_SELF_TEST_S = 60.0
_PAUSE_S = 0.05
_HERE = Path(__file__).resolve().parent.parent


def _await_enforcing(ops: int, gateway: Running) -> None:
    """The gateway lets nothing pass until its self-test has seen the server refuse a token for somebody else."""
    deadline = time.monotonic() + _SELF_TEST_S
    verdict = ""
    while verdict != "enforces":
        if time.monotonic() > deadline:
            raise RuntimeError(f"the self-test says `{verdict}` after {_SELF_TEST_S:g} s\n{gateway.output()}")
        verdict = httpx2.get(f"http://127.0.0.1:{ops}/readyz").json()["upstreams"]["everything"]
        time.sleep(_PAUSE_S)


def _everything(port: int, *options: str) -> list[str]:
    return [sys.executable, "-m", "conformance.everything_server", "--port", str(port), *options]


def _perhop(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [*_PERHOP, *words], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"perhop {' '.join(words)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def _write_configuration(folder: Path, issuer: str, ports: tuple[int, int, int], server: str, secret: str) -> None:
    traffic, console, ops = (f"127.0.0.1:{port}" for port in ports)
    expires = date.today() + timedelta(days=7)  # noqa: DTZ011 - a day, and any zone will do
    (folder / "policies").mkdir(parents=True)
    (folder / "policies" / "everything.cedar").write_text(_POLICY, encoding="utf-8")
    (folder / "perhop.yaml").write_text(
        f"""\
issuer: {issuer}
listen: {{traffic: "{traffic}", console: "{console}", ops: "{ops}"}}
owners:
  protocol-team: {{contact: protocol@example.com}}
resources:
  everything:
    uri: {issuer}/mcp/everything
    owner: protocol-team
    scopes:
      everything:use: {{says: Use every fixture, tools: ["*"]}}
    upstream:
      url: {server}
      resource: {server}
      credential: {{kind: exchange}}
clients:
  {CLIENT}:
    owner: protocol-team
    purpose: runs the conformance suite
    expires: {expires}
    authentication: {{method: client_secret_basic, secret: {secret}}}
    reaches: {{everything: ["everything:use"]}}
""",
        encoding="utf-8",
    )


_POLICY = f"""\
@id("conformance.everything")
permit (
    principal == MCP::Agent::"{CLIENT}",
    action in [MCP::Action::"call_tool", MCP::Action::"get_prompt", MCP::Action::"read_resource"],
    resource in MCP::Server::"everything"
);
"""
