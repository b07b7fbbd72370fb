"""Three ways to the everything-server, on free loopback ports, in one installation; a shim before each.

The gateway with a token for each upstream, the gateway with a token for each call, and the guarded server alone. A
relay before each upstream keeps what the gateway sent.
"""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx2

from tests.support.processes import LOOPBACK, Running, free_ports, started
from tests.support.recordings import Recordings
from tests.support.relay import Relayed, relayed

CLIENT = "conformance-suite"
BROWSER_CLIENT = "conformance-browser"
EMAIL, PASSWORD = "ann@example.com", "a long passphrase of ann"
EXCHANGE, CALL, ALONE = "gateway", "call tokens", "guard alone"
WAYS = (EXCHANGE, CALL, ALONE)
_RESOURCES = {EXCHANGE: "everything", CALL: "single-use", ALONE: "alone"}
_KINDS = {EXCHANGE: "exchange", CALL: "call"}
_REFUSED_TOKEN = ("token.", "audience.", "sender.", "client.", "scope.", "call.")
_REFUSED_BY_GUARD = re.compile(r"refused: ((?:token|audience|sender|scope|call)\..*)")
_SELF_TEST = re.compile(r"token.malformed: 'no Authorization header'|audience.mismatch: 'addressed to `[^`]+/canary/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Where the suite goes in, which tokens the shim has presented, and what came out behind the gateway."""

    name: str
    url: str
    server: Running
    presented: Path
    recordings: Recordings | None

    def refused_by_guard(self) -> list[str]:
        """What the server's guard has refused for its token, but for what a self-test of the gateway sends."""
        refused = _REFUSED_BY_GUARD.findall(self.server.output())
        return [each for each in refused if self.recordings is None or not _SELF_TEST.match(each)]

    def tokens(self) -> list[str]:
        """Every token that went in."""
        return self.presented.read_text(encoding="ascii").split()


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """The running whole."""

    folder: Path
    ways: Mapping[str, Way]
    issuer: str
    resource: str
    callback_port: int

    def records(self) -> list[dict[str, Any]]:
        """Every record of the journal."""
        printed = _perhop(self.folder, "journal", "query", "--json")
        return [json.loads(line) for line in printed.splitlines() if line]


def refused_tokens(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Records that say a token was refused, here or behind: a scenario must not pass on a 401.

    A revocation has a reason, too, and refuses nobody: the server revokes a token of its own to see how long it takes.
    """
    return [
        record
        for record in records
        if record.get("event") != "revocation"
        and (
            str(record.get("reason", "")).startswith(_REFUSED_TOKEN)
            or (record.get("result") or {}).get("error") == "upstream.unavailable"
        )
    ]


def permitted_calls(records: Iterable[dict[str, Any]], way: str) -> int:
    """How many calls the gateway has let through on a way."""
    suffix = f"/mcp/{_RESOURCES[way]}"
    return sum(record["event"] == "call.permitted" and record["in"]["aud"].endswith(suffix) for record in records)


@contextmanager
def bare_server() -> Iterator[str]:
    """The everything-server with nothing in front: URL of its endpoint."""
    (port,) = free_ports(1)
    with started(_everything(port, "--bare"), ports=[port], folder=_HERE):
        yield f"http://localhost:{port}/mcp"


@contextmanager
def guarded_installation(folder: Path) -> Iterator[Installation]:
    """Servers guarded by our library, a gateway before two of them, shims before it all; all end with the block."""
    traffic, console, ops, callback, *servers = free_ports(4 + len(WAYS))
    issuer = f"http://{LOOPBACK}:{traffic}"
    urls = {way: f"http://{LOOPBACK}:{port}/mcp" for way, port in zip(WAYS, servers, strict=True)}
    folder.mkdir(parents=True)
    secret = secrets.token_urlsafe(32)
    with ExitStack() as lifetimes:
        relays = {way: lifetimes.enter_context(relayed(urls[way], folder / f"sent to {way}")) for way in _KINDS}
        installed = folder / "installation"
        _write_configuration(installed, issuer, (traffic, console, ops), urls, relays, secret, callback)
        _perhop(installed, "init", str(installed))
        (installed / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
        _perhop(installed, "account", "add", EMAIL, "--password-file", "password")
        guarded = {
            way: lifetimes.enter_context(
                started(_everything(port, "--issuer", issuer, "--resource", urls[way]), ports=[port], folder=_HERE)
            )
            for way, port in zip(WAYS, servers, strict=True)
        }
        gateway = lifetimes.enter_context(started([*_PERHOP, "serve"], ports=[traffic, ops], folder=installed))
        _await_enforcing(ops, gateway)
        ways = {}
        for way in WAYS:
            resource = urls[way] if way == ALONE else f"{issuer}/mcp/{_RESOURCES[way]}"
            presented = folder / f"presented on {way}"
            url = lifetimes.enter_context(_shim(resource, f"{issuer}/token", f"{CLIENT}:{secret}", presented))
            recordings = relays[way].recordings if way in relays else None
            ways[way] = Way(name=way, url=url, server=guarded[way], presented=presented, recordings=recordings)
        yield Installation(
            folder=installed,
            ways=ways,
            issuer=issuer,
            resource=f"{issuer}/mcp/{_RESOURCES[EXCHANGE]}",
            callback_port=callback,
        )


_PERHOP = (str(Path(sys.executable).with_name("perhop")),)
_SELF_TEST_S = 60.0
_PAUSE_S = 0.05
_HERE = Path(__file__).resolve().parent.parent


@contextmanager
def _shim(resource: str, token_endpoint: str, client: str, presented: Path) -> Iterator[str]:
    """A shim before what answers at the resource's URI; the URL at which the suite goes in."""
    (port,) = free_ports(1)
    there = httpx2.URL(resource)
    words = ["--to", f"{there.host}:{there.port}", "--token-endpoint", token_endpoint, "--resource", resource]
    words += ["--client", client, "--port", str(port), "--presented", str(presented)]
    with started([sys.executable, "-m", "conformance.shim", *words], ports=[port], folder=_HERE):
        yield f"http://localhost:{port}{there.path}"


def _await_enforcing(ops: int, gateway: Running) -> None:
    """The gateway lets nothing pass until its self-tests have seen the servers refuse a token for somebody else."""
    deadline = time.monotonic() + _SELF_TEST_S
    verdicts: dict[str, str] = {}
    while set(verdicts.values()) != {"enforces"}:
        if time.monotonic() > deadline:
            raise RuntimeError(f"the self-tests say {verdicts} after {_SELF_TEST_S:g} s\n{gateway.output()}")
        verdicts = httpx2.get(f"http://{LOOPBACK}:{ops}/readyz").json()["upstreams"]
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


def _write_configuration(
    folder: Path,
    issuer: str,
    ports: tuple[int, int, int],
    servers: Mapping[str, str],
    relays: Mapping[str, Relayed],
    secret: str,
    callback: int,
) -> None:
    traffic, console, ops = (f"{LOOPBACK}:{port}" for port in ports)
    expires = date.today() + timedelta(days=7)  # noqa: DTZ011 - a day, and any zone will do
    (folder / "policies").mkdir(parents=True)
    (folder / "policies" / "everything.cedar").write_text(_POLICY, encoding="utf-8")
    behind = "".join(
        f"""\
  {_RESOURCES[way]}:
    uri: {issuer}/mcp/{_RESOURCES[way]}
    owner: protocol-team
    scopes: {{{_RESOURCES[way]}:use: {{says: Use every fixture, tools: ["*"]}}}}
    upstream:
      url: {relays[way].url}
      resource: {servers[way]}
      credential: {{kind: {kind}}}
"""
        for way, kind in _KINDS.items()
    )
    (folder / "perhop.yaml").write_text(
        f"""\
issuer: {issuer}
listen: {{traffic: "{traffic}", console: "{console}", ops: "{ops}"}}
owners:
  protocol-team: {{contact: protocol@example.com}}
resources:
{behind}\
  alone:
    uri: {servers[ALONE]}
    owner: protocol-team
    scopes: {{alone:use: {{says: Use every fixture}}}}
clients:
  {CLIENT}:
    owner: protocol-team
    purpose: runs the conformance suite
    expires: {expires}
    authentication: {{method: client_secret_basic, secret: {secret}}}
    reaches: {{{", ".join(f'{name}: ["{name}:use"]' for name in _RESOURCES.values())}}}
  {BROWSER_CLIENT}:
    owner: protocol-team
    purpose: lets people in for the conformance suite
    expires: {expires}
    authentication: {{method: none}}
    redirect_uris: ["http://{LOOPBACK}:{callback}/callback"]
    reaches: {{{_RESOURCES[EXCHANGE]}: ["{_RESOURCES[EXCHANGE]}:use"]}}
client_documents:
  - host: apps.example.com
    owner: protocol-team
    expires: {expires}
    reaches: {{{_RESOURCES[EXCHANGE]}: ["{_RESOURCES[EXCHANGE]}:use"]}}
""",
        encoding="utf-8",
    )


_POLICY = f"""\
@id("conformance.everything")
permit (
    principal == MCP::Agent::"{CLIENT}",
    action in [MCP::Action::"call_tool", MCP::Action::"get_prompt", MCP::Action::"read_resource"],
    resource
);
"""
