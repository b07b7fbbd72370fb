"""A whole installation for tests: `perhop init` and `perhop serve` as real processes, in a folder of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx2

from tests.support.processes import Running, free_ports, started

PERHOP = str(Path(sys.executable).with_name("perhop"))
READY_SECONDS = 60.0
SECRET = "a-secret-of-a-test-that-is-long-enough-1"

POLICY = """\
@id("tests-permit") permit (principal, action, resource);
@id("tests-forbid-env") @reason("environment variables are nobody's business")
forbid (principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"everything/get-env");
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A running installation with one resource, `everything`, and one client, `agent`."""

    folder: Path
    issuer: str
    ops: str
    process: Running
    presented: list[str] = field(default_factory=list)
    """Every token that tests got here, and may have sent in."""

    @property
    def url(self) -> str:
        """Where clients call the resource."""
        return f"{self.issuer}/mcp/everything"

    def token(self, *scopes: str) -> str:
        """A token for the resource."""
        asked = [word for scope in scopes for word in ("--scope", scope)]
        token = self.run("token", "issue", "--client", "agent", "--resource", "everything", *asked).strip()
        self.presented.append(token)
        return token

    def run(self, *words: str, code: int = 0) -> str:
        """Run a command in the folder; returns what it printed."""
        return run_perhop(self.folder, *words, code=code)

    def records(self, *filters: str) -> list[dict[str, Any]]:
        """The journal's records that match."""
        return [json.loads(line) for line in self.run("journal", "query", "--json", *filters).splitlines()]

    def verdict(self) -> str:
        """What the self-test has shown of the upstream."""
        answer = httpx2.get(f"http://{self.ops}/readyz", timeout=10).json()
        return str(answer["upstreams"].get("everything", "no token goes there"))


def run_perhop(folder: Path, *words: str, code: int = 0) -> str:
    """Run one command to its end, and hold it to its exit code."""
    done = subprocess.run(
        [PERHOP, *words], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == code, f"perhop {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def installed(
    folder: Path,
    upstream: str,
    *,
    traffic_port: int | None = None,
    audience: str | None = None,
    credential: Literal["exchange", "call"] = "exchange",
    unsafe_open: bool = False,
    more_clients: str = "",
) -> Iterator[Installation]:
    """Init and serve with this upstream; ends with the block. `more_clients` is YAML, indented by two.

    `audience` is how the upstream is addressed, where that is not its URL; `traffic_port` is for a server that was told
    before who its issuer will be.
    """
    traffic, console, ops = (f"127.0.0.1:{port}" for port in free_ports(3))
    if traffic_port is not None:
        traffic = f"127.0.0.1:{traffic_port}"
    issuer = f"http://{traffic}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policies").mkdir()
    (folder / "policies" / "tests.cedar").write_text(POLICY, encoding="utf-8")
    open_upstream = "unsafe_open_upstream: true" if unsafe_open else ""
    (folder / "perhop.yaml").write_text(
        f"""\
issuer: {issuer}
listen: {{traffic: "{traffic}", console: "{console}", ops: "{ops}"}}
owners:
  testers: {{contact: testers@example.com}}
resources:
  everything:
    uri: {issuer}/mcp/everything
    owner: testers
    scopes:
      everything:use: {{says: Use every tool, tools: ["*"]}}
    upstream:
      url: {upstream}
      resource: {audience or upstream}
      credential: {{kind: {credential}}}
      {open_upstream}
clients:
  agent:
    owner: testers
    purpose: calls in tests
    expires: 2099-12-31
    authentication: {{method: client_secret_basic, secret: {SECRET}}}
    reaches: {{everything: ["everything:use"]}}
{more_clients}""",
        encoding="utf-8",
    )
    run_perhop(folder, "init", str(folder))
    with started([PERHOP, "serve"], ports=_ports(traffic, ops), folder=folder) as process:
        yield Installation(folder=folder, issuer=issuer, ops=ops, process=process)


def await_verdict(installation: Installation, verdicts: Sequence[str]) -> str:
    """Wait until the self-test has come to one of these."""
    deadline = time.monotonic() + READY_SECONDS
    while (seen := installation.verdict()) not in verdicts:
        assert time.monotonic() < deadline, f"the self-test says `{seen}`\n{installation.process.output()}"
        time.sleep(0.05)
    return seen


def _ports(*addresses: str) -> list[int]:
    return [int(address.rpartition(":")[2]) for address in addresses]
