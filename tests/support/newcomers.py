"""An authorization server to which clients come that nobody wrote into its configuration."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2

from perhop.authorization_server.newcomers.directory import Newcomers
from perhop.authorization_server.newcomers.guarded_fetch import GuardedFetch
from perhop.core.newcomer import Admission, TrustRule
from perhop.policy.engine import PolicyEngine
from perhop.policy.policy_set import parse_policies
from tests.support.authorization_servers import CALENDAR, RunningServer, running_server
from tests.support.browsers import Browser, a_request, redeem
from tests.support.client_documents import HOSTED_CALLBACK, Site, a_site


@dataclass(slots=True)
class Place:
    """The server, its newcomers, and the site where they publish what they are."""

    server: RunningServer
    site: Site
    fetch: GuardedFetch

    @property
    def newcomers(self) -> Newcomers:
        return self.server.issuer.newcomers

    def admit(self, *rules: TrustRule, registers: bool = False) -> None:
        """Go by these rules, as a reload does."""
        admission = Admission(rules={rule.host: rule for rule in rules}, registers=registers)
        self.newcomers.take(admission, defined=set(self.server.issuer.registry.clients.maps[0]))  # type: ignore[attr-defined]

    async def restart(self) -> None:
        """What another process would know: the newcomers, from the database alone."""
        issuer = self.server.issuer
        admission, defined = issuer.newcomers.admission, issuer.registry.clients.maps[0]  # type: ignore[attr-defined]
        newcomers = Newcomers(
            rows=self.server.stores.newcomer_rows, journal=issuer.journal, clock=self.server.clock, fetch=self.fetch
        )
        await newcomers.load()
        newcomers.take(admission, defined=set(defined))
        registry = replace(issuer.registry, clients=ChainMap(defined, newcomers.clients))
        keys = ChainMap(issuer.client_keys.maps[0], newcomers.client_keys)  # type: ignore[attr-defined]
        policy = PolicyEngine(parse_policies({}), registry)
        self.server.change(newcomers=newcomers, registry=registry, client_keys=keys, policy=policy)

    def request(self, client_id: str, **changes: str | None) -> str:
        """An authorization request of this client."""
        return a_request(**({"client_id": client_id, "redirect_uri": HOSTED_CALLBACK} | changes))

    async def page(self, client_id: str, **changes: str | None) -> httpx2.Response:
        """What a person who is not signed in comes to."""
        return await Browser(self.server).open(self.request(client_id, **changes))

    async def token(self, client_id: str, **changes: str) -> httpx2.Response:
        """The whole way to a token: a person signs in and allows it, and the client redeems the code."""
        redirect_uri = changes.get("redirect_uri", HOSTED_CALLBACK)
        code = await Browser(self.server).code(self.request(client_id, redirect_uri=redirect_uri))
        return await redeem(self.server, code, **({"client_id": client_id, "redirect_uri": redirect_uri} | changes))

    async def register(self, **changes: Any) -> httpx2.Response:
        """A client registers itself; None leaves a member out."""
        usual: dict[str, Any] = {
            "client_name": "Journey",
            "redirect_uris": [HOSTED_CALLBACK],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "none",
        }
        members = {name: value for name, value in (usual | changes).items() if value is not None}
        return await self.server.http.post("/register", json=members)

    def refusal(self) -> dict[str, Any]:
        return self.server.last_refusal()


@asynccontextmanager
async def a_place(folder: Path) -> AsyncIterator[Place]:
    """A server and a site; nobody is admitted yet."""
    async with a_site(folder) as site, running_server(folder) as server:
        fetch = GuardedFetch(resolve=site.resolve)
        issuer = server.issuer
        newcomers = Newcomers(rows=server.stores.newcomer_rows, journal=issuer.journal, clock=server.clock, fetch=fetch)
        defined = dict(issuer.registry.clients)
        registry = replace(issuer.registry, clients=ChainMap(defined, newcomers.clients))
        keys = ChainMap(dict(issuer.client_keys), newcomers.client_keys)
        policy = PolicyEngine(parse_policies({}), registry)
        server.change(newcomers=newcomers, registry=registry, client_keys=keys, policy=policy)
        yield Place(server, site, fetch)


__all__ = ["CALENDAR", "Place", "a_place"]
