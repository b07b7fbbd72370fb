"""Perhop under load: an installation with everything on, served on the subjects' core, and tokens for it.

Four resources before one server, which differ in what is worked out for each call:

- `work`: 20 policies, which hold an argument against constants of theirs, so that a decision is kept for all values
  between two of these; each caller's token is exchanged for a hop token;
- `cached`: 20 policies that read neither arguments nor counters, so that a decision may be kept;
- `asked`: 20 policies that look into a text, so that nothing may be kept and Cedar is asked for every call;
- `single`: as `work`, and every call gets a token of its own, good for that call once.

The journal is on disk, and a call's permit is durable before the call is forwarded, as always.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from bench.load import Ask
from bench.peers.environment import PLACE
from bench.processes import LOAD_CORE, SUBJECT_CORE, on_core
from perhop.core.resource import ResourceUri
from perhop.core.token import TokenDraft
from perhop.tokens.mint import mint
from perhop.wiring.keys import load_signing_key
from tests.support.processes import LOOPBACK, Running, free_ports

PERHOP = str(Path(sys.executable).with_name("perhop"))
AGENT = "bench-agent"
_CONDITIONS = {
    "work": "context.arguments has amount && context.arguments.amount > {0}",
    "cached": "context.token.hop > {0}",
    "asked": 'context.arguments has text && context.arguments.text like "*unwanted-{0}*"',
    "single": "context.arguments has amount && context.arguments.amount > {0}",
}
RESOURCES = tuple(_CONDITIONS)
POLICIES = 20
TOKEN_SECONDS = 300
MODERN, LEGACY = "2026-07-28", "2025-11-25"
_READY_SECONDS = 60.0


def policies(resource: str, *, like: str, count: int = POLICIES) -> str:
    """So many policies about one resource: a permit for its tools, and forbids, a quarter of them about `echo`."""
    when = _CONDITIONS[like]
    written = [f'@id("{resource}-permit") permit (principal, action, resource in MCP::Server::"{resource}");']
    for number in range(count - 1):
        tool = "echo" if number % 4 == 0 else f"other-{number}"
        what = f'action == MCP::Action::"call_tool", resource == MCP::Tool::"{resource}/{tool}"'
        written.append(
            f'@id("{resource}-{number}") forbid (principal, {what}) when {{ {when.format(1000 + number)} }};'
        )
    return "\n".join(written) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A running installation; `server` is the URL of the server behind, without a path."""

    folder: Path
    issuer: str
    ops: str
    server: str
    secret: str
    process: Running

    @property
    def pid(self) -> int:
        return self.process.pid

    def uri(self, resource: str) -> str:
        return f"{self.issuer}/mcp/{resource}"

    def tokens(self, resource: str, count: int = 1) -> list[str]:
        """So many different access tokens, signed with the installation's key, good for five minutes."""
        return mint_tokens(self.folder, self.issuer, self.uri(resource), f"{resource}:use", count)

    def asks(
        self, resource: str, *, tokens: Sequence[str], era: str = MODERN, tool: str = "echo", body_bytes: int = 1024
    ) -> Ask:
        """A call of a tool, with these tokens in turn."""
        return a_call(self.uri(resource), tokens=tokens, era=era, tool=tool, body_bytes=body_bytes)


def mint_tokens(folder: Path, issuer: str, audience: str, scope: str, count: int) -> list[str]:
    """As the token endpoint would issue them to the agent."""
    (file,) = (folder / "keys").glob("signing-*.pem")
    key, now = load_signing_key(file), int(time.time())
    drafts = (
        TokenDraft(
            issuer=issuer,
            subject=AGENT,
            client_id=AGENT,
            audience=ResourceUri(audience),
            scopes=frozenset({scope}),
            issued_at=now,
            expires_at=now + TOKEN_SECONDS,
            jti=secrets.token_urlsafe(16),
            agent=AGENT,
            txn=secrets.token_urlsafe(16),
            hop=1,
        )
        for _ in range(count)
    )
    return [mint(draft, key).raw.reveal() for draft in drafts]


def a_call(url: str, *, tokens: Sequence[str], era: str = MODERN, tool: str = "echo", body_bytes: int = 1024) -> Ask:
    """A `tools/call` whose body has about so many bytes."""
    params: dict[str, Any] = {"name": tool, "arguments": {"amount": 5, "text": ""}}
    headers = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    headers["mcp-protocol-version"] = era
    if era == MODERN:
        headers |= {"mcp-method": "tools/call", "mcp-name": tool}
        params["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    params["arguments"]["text"] = "t" * max(0, body_bytes - len(written(message)))
    values = [f"Bearer {token}" for token in tokens]
    return Ask(url=url, body=written(message), headers=headers, values=values)


def written(message: Mapping[str, Any]) -> bytes:
    """A message as the official SDKs write it: no white space, UTF-8."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def on_disk() -> tempfile.TemporaryDirectory[str]:
    """A folder that goes when it is left; never in memory, as the system's own may be: a journal is on disk."""
    PLACE.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="run-", dir=PLACE)


@contextmanager
def served_upstream() -> Iterator[str]:
    """The server behind, on the load's core; its URL without a path."""
    (port,) = free_ports(1)
    with on_core(LOAD_CORE, [sys.executable, "-m", "bench.upstream", str(port)], ports=[port]):
        yield f"http://{LOOPBACK}:{port}"


@contextmanager
def loaded(
    folder: Path,
    server: str,
    *,
    more: str = "",
    pool: str = "own",
    extra: int = 0,
    policies_of: dict[str, str] | None = None,
    serve: Sequence[str] = (PERHOP, "serve"),
) -> Iterator[Loaded]:
    """Init and serve before this server, on the subjects' core; ready, and the self-test made.

    `more` is YAML at the end of the configuration, where its clients are; `pool` keeps the connections to the server;
    `extra` is the number of resources besides,
    each with a policy of its own; `serve` is the command that serves.
    """
    traffic, console, ops = (f"{LOOPBACK}:{port}" for port in free_ports(3))
    issuer, secret = f"http://{traffic}", secrets.token_urlsafe(32)
    folder.mkdir(parents=True)
    (folder / "policies").mkdir()
    for resource in RESOURCES:
        text = (policies_of or {}).get(resource) or policies(resource, like=resource)
        (folder / "policies" / f"{resource}.cedar").write_text(text, encoding="utf-8")
    extras = [f"extra-{number}" for number in range(extra)]
    if extras:
        text = "".join(policies(name, like="cached", count=1) for name in extras)
        (folder / "policies" / "extra.cedar").write_text(text, encoding="utf-8")
    (folder / "perhop.yaml").write_text(
        _configuration(issuer, (traffic, console, ops), server, secret, extras) + more + f"upstream_pool: {pool}\n",
        encoding="utf-8",
    )
    made = subprocess.run([PERHOP, "init", str(folder)], capture_output=True, text=True, cwd=folder, check=False)
    if made.returncode:
        raise RuntimeError(f"`perhop init` ended with {made.returncode}: {made.stderr}")
    ports = [int(address.rpartition(":")[2]) for address in (traffic, ops)]
    with on_core(SUBJECT_CORE, serve, ports=ports, folder=folder) as process:
        _await_ready(ops, process)
        yield Loaded(folder=folder, issuer=issuer, ops=ops, server=server, secret=secret, process=process)


def _configuration(
    issuer: str, listen: tuple[str, str, str], server: str, secret: str, extras: Sequence[str] = ()
) -> str:
    def resource(name: str) -> str:
        kind = "call" if name == "single" else "exchange"
        return f"""\
  {name}:
    uri: {issuer}/mcp/{name}
    owner: bench
    scopes: {{"{name}:use": {{says: Use every tool, tools: ["*"]}}}}
    upstream: {{url: "{server}/{name}", resource: "{server}/{name}", credential: {{kind: {kind}}}}}
"""

    traffic, console, ops = listen
    reaches = ", ".join(f'{name}: ["{name}:use"]' for name in RESOURCES)
    return f"""\
issuer: {issuer}
listen: {{traffic: "{traffic}", console: "{console}", ops: "{ops}"}}
# What is measured is a call, not the refusal of one too many.
limits: {{requests_per_address: 1000000000, requests_per_client: 1000000000, calls_per_agent: 1000000000}}
owners:
  bench: {{contact: bench@example.com}}
resources:
{"".join(map(resource, (*RESOURCES, *extras)))}clients:
  {AGENT}:
    owner: bench
    purpose: calls as fast as it can
    expires: 2099-12-31
    authentication: {{method: client_secret_basic, secret: {secret}}}
    reaches: {{{reaches}}}
"""


def _await_ready(ops: str, process: Running) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        told = httpx2.get(f"http://{ops}/readyz", timeout=10).json()
        if told.get("revocation", {}).get("ended_at") and set(told["upstreams"].values()) <= {"enforces"}:
            return
        if time.monotonic() > deadline:
            raise RuntimeError(f"not ready: {json.dumps(told)}\n{process.output()[-2000:]}")
        time.sleep(0.05)
