"""Small issuers of one's own: an identity provider and a platform that runs workloads, with their keys on the wire.

Each signs what it is told to; the authorization server reaches their metadata and keys over an HTTP client that leads
nowhere else.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2

from perhop.client.connections import Connections
from perhop.core.assertion import AssertionIssuer, AssertionKind, KeysAt, KeysByDiscovery, KeySource, WorkloadRule
from perhop.core.client import ClientSecret, GrantType, NoAuthentication
from perhop.core.secret import Secret
from perhop.tokens.jwks import render_jwks
from perhop.tokens.keys import SigningKey
from tests.support.authorization_servers import (
    CALENDAR,
    ISSUER,
    NOTES,
    NOW,
    SECRET,
    RunningServer,
    a_client,
    running_server,
)
from tests.support.forge import ABSENT, sign

IDP = "https://idp.example.com"
OTHER_IDP = "https://other-idp.example.com"
CLUSTER = "https://cluster.example.com"
OTHER_CLUSTER = "https://other-cluster.example.com"
JWT_BEARER = GrantType.JWT_BEARER.value
ID_JAG = "oauth-id-jag+jwt"
WORKLOAD = "system:serviceaccount:prod:trip-runner"


@dataclass(slots=True)
class SmallIssuer:
    """An issuer with one key, which it publishes; `is_up` says whether it answers."""

    url: str
    key: SigningKey = field(default_factory=SigningKey.generate)
    is_up: bool = True
    fetches: int = 0
    body: bytes | None = None

    def answer(self, path: str) -> httpx2.Response:
        """Its metadata, or its keys."""
        if not self.is_up:
            return httpx2.Response(503)
        if path == "/keys":
            self.fetches += 1
            return httpx2.Response(200, content=self.body or json.dumps(render_jwks([self.key.public()])))
        if path == "/.well-known/oauth-authorization-server":
            return httpx2.Response(200, json={"issuer": self.url, "jwks_uri": f"{self.url}/keys"})
        return httpx2.Response(404)

    def id_jag(
        self,
        *,
        typ: object = ID_JAG,
        key: SigningKey | None = None,
        header: dict[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """An identity assertion for the poster, for the calendar; ABSENT leaves a claim out."""
        claims = {
            "iss": self.url,
            "sub": "U019488227",
            "aud": ISSUER,
            "client_id": "poster",
            "resource": CALENDAR,
            "scope": "calendar:read",
            "iat": NOW,
            "exp": NOW + 300,
            "jti": os.urandom(8).hex(),
        }
        return sign(_present(claims | changes), key or self.key, typ=typ, **(header or {}))

    def workload_token(
        self,
        *,
        typ: object = ABSENT,
        key: SigningKey | None = None,
        header: dict[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """What a platform leaves beside a workload: an audience in a list, and claims of its own."""
        claims = {
            "iss": self.url,
            "sub": WORKLOAD,
            "aud": [ISSUER],
            "iat": NOW - 60,
            "nbf": NOW - 60,
            "exp": NOW + 3000,
            "jti": "one-for-all-requests",
            "kubernetes.io": {"namespace": "prod", "serviceaccount": {"name": "trip-runner"}},
        }
        return sign(_present(claims | changes), key or self.key, typ=typ, **(header or {}))


def _present(claims: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in claims.items() if value is not ABSENT}


@dataclass(slots=True)
class World:
    """The authorization server, and the issuers around it."""

    server: RunningServer
    issuers: dict[str, SmallIssuer]

    @property
    def idp(self) -> SmallIssuer:
        return self.issuers[IDP]

    @property
    def cluster(self) -> SmallIssuer:
        return self.issuers[CLUSTER]

    async def ask(self, assertion: str, **changes: str) -> httpx2.Response:
        """The poster brings an identity assertion."""
        usual = {"grant_type": JWT_BEARER, "assertion": assertion, "client_id": "poster", "client_secret": SECRET}
        return await self.server.ask(**(usual | changes))

    async def ask_alone(self, assertion: str, **changes: str) -> httpx2.Response:
        """A workload asks for the calendar, with nothing but its token."""
        usual = {"grant_type": JWT_BEARER, "assertion": assertion, "resource": CALENDAR}
        return await self.server.ask(**(usual | changes))

    def trust(self, name: str, **changes: Any) -> None:
        """Change what is trusted of an issuer, as a reload does."""
        trusted = self.server.issuer.registry.trusted_issuers
        self.server.change_registry(trusted_issuers={**trusted, name: replace(trusted[name], **changes)})


def a_trusted_issuer(name: str, issuer: str, kind: AssertionKind, **changes: Any) -> AssertionIssuer:
    """An issuer that the travel team answers for; its keys are where its metadata says."""
    is_identity = kind is AssertionKind.IDENTITY_ASSERTION
    usual: dict[str, Any] = {"owner": "travel-team", "keys": KeysByDiscovery(), "max_lifetime": 3600}
    return AssertionIssuer(name=name, issuer=issuer, kind=kind, **({"single_use": is_identity} | usual | changes))


@asynccontextmanager
async def a_world(folder: Path) -> AsyncIterator[World]:
    """Two identity providers and two clusters are trusted, each for its own."""
    issuers = {url: SmallIssuer(url) for url in (IDP, OTHER_IDP, CLUSTER, OTHER_CLUSTER)}

    def reach(request: httpx2.Request) -> httpx2.Response:
        return issuers[f"{request.url.scheme}://{request.url.host}"].answer(request.url.path)

    async with (
        httpx2.AsyncClient(transport=httpx2.MockTransport(reach)) as http,
        running_server(folder, connections=Connections(http)) as server,
    ):
        _configure(server)
        yield World(server, issuers)


def _configure(server: RunningServer) -> None:
    reaches = {"calendar": ("calendar:read", "calendar:write"), "notes": ("notes:read",)}
    secret = ClientSecret("client_secret_post", Secret(SECRET))
    clients = [
        a_client("poster", secret, GrantType.CLIENT_CREDENTIALS, GrantType.JWT_BEARER, reaches=reaches),
        a_client("second", secret, GrantType.JWT_BEARER, reaches=reaches),
        a_client("unnamed", secret, GrantType.JWT_BEARER, reaches=reaches),
        a_client("trip-runner", NoAuthentication(), GrantType.JWT_BEARER, reaches=reaches),
        a_client("note-runner", NoAuthentication(), GrantType.JWT_BEARER, reaches=reaches),
        a_client("notes-server", secret, serves=("notes",)),
    ]
    identity = AssertionKind.IDENTITY_ASSERTION
    trusted = [
        a_trusted_issuer("staff", IDP, identity, clients=("poster", "second", "trip-runner")),
        a_trusted_issuer("guests", OTHER_IDP, identity, clients=("poster",), keys=_keys_of(OTHER_IDP)),
        a_trusted_issuer("cluster", CLUSTER, AssertionKind.WORKLOAD, workloads=_RULES),
        a_trusted_issuer(
            "other-cluster",
            OTHER_CLUSTER,
            AssertionKind.WORKLOAD,
            workloads=(WorkloadRule(subject="spiffe://other.example/runner", claims={}, client="note-runner"),),
        ),
    ]
    server.change_registry(
        clients={**server.issuer.registry.clients, **{each.id: each for each in clients}},
        trusted_issuers={each.name: each for each in trusted},
    )


def _keys_of(issuer: str) -> KeySource:
    return KeysAt(f"{issuer}/keys")


_RULES = (
    WorkloadRule(
        subject=WORKLOAD,
        claims={"/kubernetes.io/namespace": "prod"},
        client="trip-runner",
        reaches={"calendar": ("calendar:read",)},
    ),
    WorkloadRule(subject="system:serviceaccount:prod:*", claims={}, client="note-runner"),
)

__all__ = ["CALENDAR", "CLUSTER", "IDP", "NOTES", "OTHER_CLUSTER", "OTHER_IDP", "SmallIssuer", "World", "a_world"]
