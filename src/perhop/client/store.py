"""Where the tokens of a person and the registrations of a program are kept between requests: in memory, by default."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from perhop.client.registered_client import RegisteredClient
from perhop.client.token_request import AccessToken
from perhop.core.resource import ResourceUri
from perhop.core.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """What one sign-in has brought. The refresh token goes back to this issuer, as this client, and nowhere else.

    `asked` are the scopes that were asked for, which may be more than were given.
    """

    issuer: str
    client_id: str
    indicator: str
    access: AccessToken
    refresh: Secret | None
    asked: frozenset[str]


class Store(Protocol):
    """Keeps sign-ins by server, and registrations by issuer."""

    def signed_in(self, server: ResourceUri) -> SignedIn | None:
        """What is kept for this server."""

    def keep(self, server: ResourceUri, signed_in: SignedIn) -> None:
        """Keep this and forget what was there."""

    def forget(self, server: ResourceUri) -> None:
        """Keep nothing for this server."""

    def client(self, issuer: str) -> RegisteredClient | None:
        """The client that was registered here."""

    def keep_client(self, client: RegisteredClient) -> None:
        """Keep a registration, for its issuer alone."""

    def forget_client(self, issuer: str) -> None:
        """Forget the registration at this issuer."""

    def alone(self) -> AbstractAsyncContextManager[None]:
        """While the block runs, nobody else who uses this store asks a token endpoint. No person is awaited in it."""

    def asking(self) -> AbstractAsyncContextManager[None]:
        """While the block runs, nobody else who uses this store asks a person. `alone` may be entered in it."""


class MemoryStore:
    """Kept as long as the process lives. Those who share it in one process wait for each other elsewhere."""

    def __init__(self) -> None:
        self._signed_in: dict[ResourceUri, SignedIn] = {}
        self._clients: dict[str, RegisteredClient] = {}

    def signed_in(self, server: ResourceUri) -> SignedIn | None:
        return self._signed_in.get(server)

    def keep(self, server: ResourceUri, signed_in: SignedIn) -> None:
        self._signed_in[server] = signed_in

    def forget(self, server: ResourceUri) -> None:
        self._signed_in.pop(server, None)

    def client(self, issuer: str) -> RegisteredClient | None:
        return self._clients.get(issuer)

    def keep_client(self, client: RegisteredClient) -> None:
        self._clients[client.issuer] = client

    def forget_client(self, issuer: str) -> None:
        self._clients.pop(issuer, None)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        yield

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        yield
