"""A scanner of others, mcp-authlab, finds no fault: a resource behind the gateway, and two that only the guard guards.

It signs in as a person's application, tries the authorization server on the way, gets a second token for another
resource, and then tries everything at the MCP endpoint.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from perhop.control.accounts import account_add
from perhop.founding import found
from perhop.gateway.readiness import Verdict
from perhop.resource_server import Guard
from perhop.serving.serve import serving as serving_perhop
from perhop.settings import load
from perhop.wiring.plane import Plane
from tests.support.asgi_server import serving
from tests.support.gateways import PERMIT_ALL
from tests.support.guarded_servers import APPS, SCOPE, Kind
from tests.support.processes import end_group, free_ports
from tests.support.recordings import Recordings
from tests.support.relay import relaying
from tests.support.walkthrough import decide_as_person

pytestmark = pytest.mark.asyncio(loop_scope="module")

EMAIL, PASSWORD = "ann@example.com", "a long passphrase of ann"
AUTHLAB = str(Path(sys.executable).with_name("mcp-authlab"))
PATIENCE = 120.0
PLACES = ("gateway", "fastmcp", "sdk")

ACCEPTED = {
    "TLS-01": "warn",  # plain http, on loopback: there is no certificate here
    "ASM-05": "warn",  # clients are registered by their owner here, by hand: nobody else may
}
"""Every check that is not passed, and why that is right."""
CRITICAL = {"TOK-02", "TOK-03", "SESS-01"}
ROTATION = "ASF-05"
"""Refreshes, and sees that the old refresh token is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The installation, the endpoints that are scanned, and what the gateway sent to its upstream meanwhile."""

    issuer: str
    urls: Mapping[str, str]
    redirect_port: int
    recordings: Recordings
    presented: list[str] = field(default_factory=list)

    def scan(self, place: str, folder: Path) -> dict[str, dict[str, Any]]:
        """Sign in and scan one endpoint; the results by check. What is presented is kept."""
        scanner = _Scanner(self, folder)
        others = [url for name, url in self.urls.items() if name != place]
        scanner.log_in(self.urls[place], foreign=others[0])
        report = scanner.scan(self.urls[place])
        self.presented.extend(scanner.tokens())
        return {result["id"]: result for result in report["results"]}


@dataclass(frozen=True, slots=True)
class _Scanner:
    site: Site
    folder: Path

    @property
    def _environment(self) -> dict[str, str]:
        # `true` stands for the browser: the address is read from what is printed, and a person goes there.
        store = {"MCP_AUTHLAB_TOKENS": str(self.folder / "tokens.json")}
        return {**os.environ, **store, "BROWSER": "true", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}

    def log_in(self, url: str, *, foreign: str) -> None:
        """`login`, in which a person signs in as often as is asked for."""
        words = ["login", url, "--client-id", "desk-app", "--redirect-port", str(self.site.redirect_port)]
        words += ["--foreign-resource", foreign, "--thorough", "--timeout", "60", "--http-timeout", "30"]
        with subprocess.Popen(
            [AUTHLAB, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment,
            start_new_session=True,
        ) as process:
            assert process.stderr is not None
            said = []
            try:
                for line in process.stderr:
                    said.append(line)
                    if line.strip().startswith(f"{self.site.issuer}/authorize?"):
                        decide_as_person(line.strip(), EMAIL, PASSWORD, "allow")
                assert process.wait(timeout=PATIENCE) == 0, "".join(said)
            finally:
                end_group(process)

    def scan(self, url: str) -> dict[str, Any]:
        """`scan`: the report."""
        done = subprocess.run(
            [AUTHLAB, "scan", url, "--format", "json", "--timeout", "30"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=self._environment,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def tokens(self) -> list[str]:
        """The tokens that the scanner has presented: the right one, and the one for another resource."""
        (stored,) = json.loads((self.folder / "tokens.json").read_text(encoding="utf-8")).values()
        return [stored["access_token"], stored["foreign"]["access_token"]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A gateway before a guarded server of the SDK, and beside it one guarded server of each framework alone."""
    folder = tmp_path_factory.mktemp("authlab")
    traffic, console, ops, redirect = free_ports(4)
    issuer = f"http://127.0.0.1:{traffic}"
    async with AsyncExitStack() as stack:
        behind, fast, sdk = [
            await stack.enter_async_context(_guarded(kind, issuer)) for kind in ("sdk", "fastmcp", "sdk")
        ]
        relay = await stack.enter_async_context(relaying(behind, folder / "sent"))
        urls = dict(zip(PLACES, (f"{issuer}/mcp/calendar", fast, sdk), strict=True))
        installed = folder / "perhop"
        (installed / "policies").mkdir(parents=True)
        (installed / "policies" / "all.cedar").write_text(PERMIT_ALL, encoding="utf-8")
        (installed / "perhop.yaml").write_text(
            f"""\
issuer: {issuer}
listen: {{traffic: "127.0.0.1:{traffic}", console: "127.0.0.1:{console}", ops: "127.0.0.1:{ops}"}}
owners:
  testers: {{contact: testers@example.com}}
resources:
  gateway:
    uri: {urls["gateway"]}
    owner: testers
    scopes: {{{SCOPE}: {{says: Use every tool, tools: ["*"]}}}}
    upstream: {{url: "{relay.url}", resource: "{behind}", credential: {{kind: exchange}}}}
  fastmcp:
    uri: {fast}
    owner: testers
    scopes: {{{SCOPE}: {{says: Use every tool}}}}
  sdk:
    uri: {sdk}
    owner: testers
    scopes: {{{SCOPE}: {{says: Use every tool}}}}
clients:
  desk-app:
    owner: testers
    purpose: shows people what the servers can do
    expires: 2099-12-31
    authentication: {{method: none}}
    redirect_uris: ["http://127.0.0.1:{redirect}/callback"]
    reaches: {{gateway: ["{SCOPE}"], fastmcp: ["{SCOPE}"], sdk: ["{SCOPE}"]}}
""",
            encoding="utf-8",
        )
        await found(installed, environ={}, clock=time.time)
        settings = load(installed / "perhop.yaml", {})
        running = await stack.enter_async_context(serving_perhop(settings, clock=time.time, control=_no_control))
        await account_add(running.plane, email=EMAIL, password=PASSWORD)
        async with asyncio.timeout(30):
            while running.traffic.verdicts() != {"gateway": Verdict.ENFORCES}:
                await asyncio.sleep(0.05)
        yield Site(issuer=issuer, urls=urls, redirect_port=redirect, recordings=relay.recordings)


@asynccontextmanager
async def _guarded(kind: Kind, issuer: str) -> AsyncIterator[str]:
    """A guarded server of this framework; its endpoint."""
    guards: list[Guard] = []

    def make(url: str) -> Any:
        guards.append(Guard(resource=f"{url}/mcp", issuers=[issuer], scopes=[SCOPE]))
        return APPS[kind](guards[0])

    async with serving(make) as url:
        yield f"{url}/mcp"
        # The server would wait for the guard's poll of the feed, and that for the server.
        await guards[0].aclose()


@asynccontextmanager
async def _no_control(_: Plane) -> AsyncIterator[None]:
    """Operators of this installation are in this process."""
    yield


@pytest.mark.parametrize("place", PLACES)
async def test_no_check_fails(site: Site, place: str, tmp_path: Path) -> None:
    """Every check of the scanner passes, but for those that are named above with a reason; the critical ones ran."""
    results = await asyncio.to_thread(site.scan, place, tmp_path)
    assert results.keys() >= CRITICAL | {ROTATION}
    not_passed = {name: result["status"] for name, result in results.items() if result["status"] != "pass"}
    said = {name: results[name]["message"] for name in not_passed}
    assert not_passed == ACCEPTED, said
    assert {name: results[name]["evidence"].get("http_status") for name in CRITICAL} == dict.fromkeys(CRITICAL, 401)


async def test_nothing_that_the_scanner_presented_went_on(site: Site, tmp_path: Path) -> None:
    """The server behind the gateway was called, and has seen nothing of the scanner's tokens."""
    if not site.presented:
        await asyncio.to_thread(site.scan, "gateway", tmp_path)
    assert any(sent.bearer for sent in site.recordings.requests())
    assert site.recordings.traces(site.presented) == []
