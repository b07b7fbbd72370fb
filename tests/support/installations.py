"""A whole installation for tests: `perhop init` and `perhop serve` as real processes, in a folder of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx2

from perhop.journal.keys import VKEY_FILE, load_vkey
from perhop.journal.query import Filter
from perhop.journal.verify import verify_journal
from perhop.storage.journal_reader import JournalQueries, JournalSnapshot
from tests.support.commands import perhop
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind
from tests.support.processes import Running, free_ports, started
from tests.support.settled import settle

PERHOP = str(Path(sys.executable).with_name("perhop"))
READY_SECONDS = 60.0
_READ_THE_JOURNAL = frozenset({"journal", "trace", "blast-radius", "incident", "policy"})
SECRET = THE_SCAN.note("a-secret-of-a-test-that-is-long-enough-1", Kind.CLIENT_SECRET)

SCOPES = '{"everything:use": {says: Use every tool, tools: ["*"]}}'
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

    async def token_for(self, http: httpx2.AsyncClient) -> str:
        """A token for the resource, asked for as the client does."""
        asked = {"grant_type": "client_credentials", "resource": self.url}
        answer = await http.post(f"{self.issuer}/token", data=asked, auth=("agent", SECRET))
        return str(answer.raise_for_status().json()["access_token"])

    def written(self) -> list[dict[str, Any]]:
        """Every record of the journal, once it was verified in this process."""
        journal = self.folder / "journal.db"
        settle(journal)
        with JournalSnapshot(journal) as snapshot:
            found = verify_journal(snapshot, load_vkey(self.folder / "keys" / VKEY_FILE))
        assert found.ok, found.problem
        with JournalQueries(journal) as reader:
            return [dict(entry.fields) for entry in reader.find(Filter())]

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
    """Run one command to its end, and hold it to its exit code.

    In this process, where that is possible: starting another one takes longer than most commands. A command has an
    event loop, a folder and streams of its own, so beside a loop or in a thread it gets a process.
    """
    if words[0] in _READ_THE_JOURNAL:
        settle(folder / "journal.db")
    if threading.current_thread() is threading.main_thread() and not _has_loop():
        ran = perhop(*words, folder=folder)
        assert ran.code == code, f"perhop {' '.join(words)}: {ran.code}\n{ran.out}\n{ran.err}"
        return ran.out
    done = subprocess.run(
        [PERHOP, *words], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == code, f"perhop {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def at_a_url(
    upstream: str,
    *,
    audience: str | None = None,
    credential: Literal["exchange", "call"] = "exchange",
    unsafe_open: bool = False,
) -> Mapping[str, Any]:
    """An upstream that runs, and is given a token of ours; `audience` is how it is addressed, if not by its URL."""
    switch = {"unsafe_open_upstream": True} if unsafe_open else {}
    return {"url": upstream, "resource": audience or upstream, "credential": {"kind": credential}, **switch}


def run_by(*command: str | Path, environment: Mapping[str, str] | None = None) -> Mapping[str, Any]:
    """An upstream that the gateway runs."""
    words = [str(word) for word in command]
    return {"command": words, "environment": dict(environment or {}), "credential": {"kind": "none"}}


@contextmanager
def installed(
    folder: Path,
    upstream: str | Mapping[str, Any],
    *,
    traffic_port: int | None = None,
    unsafe_open: bool = False,
    more_clients: str = "",
    scopes: str = SCOPES,
    policy: str = POLICY,
    reaches: Sequence[str] = ("everything:use",),
    members: Sequence[str] = (),
    drain: int = 8,
) -> Iterator[Installation]:
    """Init and serve with this upstream, at a URL or as its section says; ends with the block.

    `more_clients` is YAML, indented by two, `scopes` a mapping; `traffic_port` is for a server that was told before who
    its issuer will be.
    """
    section = at_a_url(upstream, unsafe_open=unsafe_open) if isinstance(upstream, str) else upstream
    traffic, console, ops = (f"127.0.0.1:{port}" for port in free_ports(3))
    if traffic_port is not None:
        traffic = f"127.0.0.1:{traffic_port}"
    issuer = f"http://{traffic}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policies").mkdir()
    (folder / "policies" / "tests.cedar").write_text(policy, encoding="utf-8")
    (folder / "perhop.yaml").write_text(
        f"""\
issuer: {issuer}
listen: {{traffic: "{traffic}", console: "{console}", ops: "{ops}"}}
drain: {drain}
owners:
  testers: {{contact: testers@example.com, members: {json.dumps(list(members))}}}
resources:
  everything:
    uri: {issuer}/mcp/everything
    owner: testers
    scopes: {scopes}
    upstream: {json.dumps(section)}
clients:
  agent:
    owner: testers
    purpose: calls in tests
    expires: 2099-12-31
    authentication: {{method: client_secret_basic, secret: {SECRET}}}
    reaches: {{everything: {json.dumps(list(reaches))}}}
{more_clients}""",
        encoding="utf-8",
    )
    run_perhop(folder, "init", str(folder))
    with started([PERHOP, "serve"], ports=_ports(traffic, ops), folder=folder) as process:
        yield Installation(folder=folder, issuer=issuer, ops=ops, process=process)


@asynccontextmanager
async def installed_beside(
    folder: Path, upstream: str, *, unsafe_open: bool = False, drain: int = 8
) -> AsyncIterator[Installation]:
    """As `installed`, for tests whose upstream lives on their own event loop, once the self-test has been made."""
    lifetime = installed(folder, upstream, unsafe_open=unsafe_open, drain=drain)
    installation = await asyncio.to_thread(lifetime.__enter__)
    try:
        await asyncio.to_thread(await_verdict, installation, ["open", "inconclusive", "enforces"])
        yield installation
    finally:
        await asyncio.to_thread(lifetime.__exit__, None, None, None)


def await_verdict(installation: Installation, verdicts: Sequence[str]) -> str:
    """Wait until the self-test has come to one of these."""
    deadline = time.monotonic() + READY_SECONDS
    while (seen := installation.verdict()) not in verdicts:
        assert time.monotonic() < deadline, f"the self-test says `{seen}`\n{installation.process.output()}"
        time.sleep(0.05)
    return seen


def await_revocation_check(ops: str) -> dict[str, Any]:
    """Wait until the server's first check of the revocation bound has ended; returns what it found."""
    deadline = time.monotonic() + READY_SECONDS
    while (told := httpx2.get(f"http://{ops}/readyz", timeout=10).json()["revocation"])["ended_at"] is None:
        assert time.monotonic() < deadline, "the check does not end"
        time.sleep(0.05)
    return dict(told)


def _ports(*addresses: str) -> list[int]:
    return [int(address.rpartition(":")[2]) for address in addresses]
