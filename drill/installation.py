"""The installation of the drill: many tenants behind one hub, made by `perhop init`, served by `perhop serve`."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from drill.servers import Told
from tests.support.processes import Running, started
from tests.support.sources import ROOT

PERHOP = str(Path(sys.executable).with_name("perhop"))
TENANTS = ("acme", "globex", "initech", "umbrella", "hooli", "stark", "wayne", "tyrell")
INTEGRATION = "crm-sync"
SECRET = "the-secret-of-an-integration-in-a-drill-1"
HUB_SERVER = "hub-server"
HUB_SECRET = "the-secret-of-the-server-of-the-hub-in-it"
ENFORCING_SECONDS = 120.0

POLICY = '@id("drill-permit") permit (principal, action, resource);\n'


class DrillFailed(Exception):
    """Something did not happen that must; the message says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One installation, whose addresses stay the same as long as it lives: the journal's name has one in it."""

    folder: Path
    traffic: str
    console: str
    ops: str
    hub: str
    tenants: Mapping[str, str] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return f"http://{self.traffic}"

    @property
    def log(self) -> Path:
        """What the servers ran."""
        return self.folder / "servers.log"

    @property
    def received(self) -> Path:
        """The last token that the hub got."""
        return self.folder / "received"

    def uri(self, resource: str) -> str:
        """Where clients call a resource, and the audience of their tokens."""
        return f"{self.issuer}/mcp/{resource}"

    def moved(self, folder: Path) -> Site:
        """The same installation in another folder."""
        return Site(
            folder=folder,
            traffic=self.traffic,
            console=self.console,
            ops=self.ops,
            hub=self.hub,
            tenants=self.tenants,
        )

    def ran_tools(self) -> list[dict[str, Any]]:
        """Every tool that a server ran, in the order of their answers."""
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]


def free_site(folder: Path, tenants: Sequence[str] = ()) -> Site:
    """A site on loopback addresses that are free now, below the ports that systems give to outgoing connections."""
    wanted = 4 + len(tenants)
    free: list[str] = []
    for port in random.SystemRandom().sample(range(20_000, 32_000), 1000):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            free.append(f"127.0.0.1:{port}")
        if len(free) == wanted:
            break
    traffic, console, ops, hub, *rest = free
    at = dict(zip(tenants, rest, strict=True))
    return Site(folder=folder, traffic=traffic, console=console, ops=ops, hub=hub, tenants=at)


def found(site: Site) -> None:
    """Write the configuration, and let `perhop init` make keys, database and journal."""
    (site.folder / "policies").mkdir(parents=True)
    (site.folder / "policies" / "drill.cedar").write_text(POLICY, encoding="utf-8")
    (site.folder / "perhop.yaml").write_text(json.dumps(_configuration(site), indent=1), encoding="utf-8")
    perhop(site.folder, "init", str(site.folder))


def _configuration(site: Site) -> dict[str, Any]:
    """JSON is YAML, too."""
    hub = {
        "uri": site.uri("hub"),
        "owner": "integrations",
        "tenant": "vendor",
        "scopes": {
            "hub:read": {"says": "Search the hub", "tools": ["search"], "default": True},
            "hub:write": {"says": "Export contacts of tenants", "tools": ["export_*"]},
        },
        "upstream": _upstream(site.hub),
    }
    tenants = {
        f"crm-{tenant}": {
            "uri": site.uri(f"crm-{tenant}"),
            "owner": "integrations",
            "tenant": tenant,
            "scopes": {f"crm-{tenant}:read": {"says": "Read contacts", "tools": ["list_*", "get_*"]}},
            "upstream": _upstream(address),
        }
        for tenant, address in site.tenants.items()
    }
    return {
        "issuer": site.issuer,
        "listen": {"traffic": site.traffic, "console": site.console, "ops": site.ops},
        "forwarded_from": ["127.0.0.1"],
        "owners": {"integrations": {"contact": "integrations@example.com"}},
        "resources": {"hub": hub, **tenants},
        "clients": {
            INTEGRATION: _client("copies contacts", SECRET, reaches={"hub": ["hub:read", "hub:write"]}),
            HUB_SERVER: _client("the server of the hub, when it calls on", HUB_SECRET, serves=["hub"]),
        },
        "hops": [
            {"from": "hub", "to": f"crm-{tenant}", "scopes": {"hub:write": [f"crm-{tenant}:read"]}}
            for tenant in site.tenants
        ],
    }


def _upstream(address: str) -> dict[str, Any]:
    url = f"http://{address}/mcp"
    return {"url": url, "resource": url, "credential": {"kind": "exchange"}}


def _client(purpose: str, secret: str, **rights: Any) -> dict[str, Any]:
    authentication = {"method": "client_secret_basic", "secret": secret}
    return {
        "owner": "integrations",
        "purpose": purpose,
        "expires": "2099-12-31",
        "authentication": authentication,
        **rights,
    }


def clean_environment() -> dict[str, str]:
    """The environment without anything that configures Perhop."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PERHOP_")}


def perhop(folder: Path, *words: str, code: int = 0, prefix: Sequence[str] = ()) -> str:
    """Run one command in a folder to its end, and hold it to its exit code; gives what it printed.

    Raises: DrillFailed
    """
    done = subprocess.run(
        [*prefix, PERHOP, *words],
        cwd=folder,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != code:
        raise DrillFailed(f"perhop {' '.join(words)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


@contextmanager
def serving_tools(site: Site) -> Iterator[Running]:
    """The MCP servers, as a process of their own."""
    told = Told(
        issuer=site.issuer,
        hub=site.hub,
        tenants=dict(site.tenants),
        resources={tenant: site.uri(f"crm-{tenant}") for tenant in site.tenants},
        client=HUB_SERVER,
        secret=HUB_SECRET,
        log=str(site.log),
        received=str(site.received),
    )
    file = site.folder / "servers.json"
    told.write(file)
    ports = [port_of(address) for address in (site.hub, *site.tenants.values())]
    with started([sys.executable, "-m", "drill.servers", file], ports=ports, folder=ROOT, within=120) as running:
        yield running


@contextmanager
def serving(site: Site, *, prefix: Sequence[str | Path] = ()) -> Iterator[Running]:
    """`perhop serve`, once every server was seen to check tokens. `prefix` runs it under another program."""
    ports = [port_of(site.traffic), port_of(site.ops)]
    with started([*prefix, PERHOP, "serve"], ports=ports, folder=site.folder, within=120) as running:
        await_enforcing(site, running)
        yield running


def await_enforcing(site: Site, running: Running) -> None:
    """Return once the self-test says `enforces` of every server.

    Raises: DrillFailed
    """
    deadline = time.monotonic() + ENFORCING_SECONDS
    while True:
        said = httpx2.get(f"http://{site.ops}/readyz", timeout=10).json().get("upstreams", {})
        if len(said) == 1 + len(site.tenants) and set(said.values()) == {"enforces"}:
            return
        if time.monotonic() > deadline:
            raise DrillFailed(f"the self-test says {said}\n{running.output()}")
        time.sleep(0.05)


async def get_token(http: httpx2.AsyncClient, site: Site, *, forwarded_for: str | None = None) -> str:
    """The integration's token for the hub, from the token endpoint."""
    answer = await http.post(
        f"{site.issuer}/token",
        data={"grant_type": "client_credentials", "resource": site.uri("hub"), "scope": "hub:read hub:write"},
        auth=(INTEGRATION, SECRET),
        headers={"x-forwarded-for": forwarded_for} if forwarded_for else {},
    )
    return str(answer.raise_for_status().json()["access_token"])


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])
