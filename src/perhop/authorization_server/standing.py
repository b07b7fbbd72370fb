"""Standing: who is disabled, expired or without an owner, looked at per request.

The file defines objects, the database owns their standing; this is the database's side in memory, and the questions
that endpoints, exchange and gateway ask of both. Does not revoke tokens: see `revocation`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

from perhop.authorization_server.store import Standings
from perhop.core.client import Client
from perhop.core.registry import Registry
from perhop.core.resource import Resource
from perhop.core.token import VerifiedToken
from perhop.errors import (
    AgentDisabled,
    AgentExpired,
    ClientDisabled,
    ClientExpired,
    OwnerMissing,
    TargetInvalid,
    TokenRevoked,
)
from perhop.rules.delegation import GATEWAY_PREFIX


def ends_at(client: Client) -> int:
    """The moment at which a client expires: the end of its last day, UTC."""
    return _end_of(client.expires)


@lru_cache(maxsize=1024)
def _end_of(day: date) -> int:
    return int(datetime.combine(day + timedelta(days=1), time.min, UTC).timestamp())


class Standing:
    """What is disabled now. Holds what the database holds, since every change goes through it.

    `disabled` is all of it, as kind and name: another object whenever it may have changed. For reading only.
    """

    def __init__(self, rows: Standings) -> None:
        self._rows = rows
        self.disabled: frozenset[tuple[str, str]] = frozenset()

    async def load(self) -> None:
        """Read what is disabled; before the first request, and after another process may have changed it."""
        self.disabled = await self._rows.disabled()

    async def disable(self, kind: str, name: str, *, why: str, now: int) -> None:
        """Disable a `client`, `resource`, `owner` or `issuer`. Its tokens are the caller's to revoke."""
        await self._rows.disable(kind, name, why=why, now=now)
        await self.load()

    async def enable(self, kind: str, name: str, *, now: int) -> bool:
        """Lift a disabling; True if there was one."""
        lifted = await self._rows.enable(kind, name, now=now)
        await self.load()
        return lifted

    async def reconcile(self, registry: Registry, *, now: int) -> frozenset[tuple[str, str]]:
        """Tell the database what the configuration defines; returns what it no longer does, now disabled."""
        defined = frozenset(
            (kind, name)
            for kind, names in (
                ("client", registry.clients),
                ("resource", registry.resources),
                ("owner", registry.owners),
                ("issuer", registry.trusted_issuers),
            )
            for name in names
        )
        removed = await self._rows.reconcile(defined, now=now)
        await self.load()
        return removed

    def is_disabled(self, kind: str, name: str) -> bool:
        return bool(self.disabled) and (kind, name) in self.disabled

    def check_owner(self, registry: Registry, owner: str) -> None:
        """Refuse where nobody answers for an object.

        Raises: OwnerMissing
        """
        if owner not in registry.owners or self.is_disabled("owner", owner):
            raise OwnerMissing(f"owner `{owner}` is not in force")

    def check_client(self, client: Client, registry: Registry, *, now: int) -> None:
        """Refuse a client that may get nothing now.

        Raises: ClientDisabled, ClientExpired, OwnerMissing
        """
        if self.is_disabled("client", client.id):
            raise ClientDisabled(f"client `{client.id}` is disabled")
        if now >= ends_at(client):
            raise ClientExpired(f"client `{client.id}` expired on {client.expires.isoformat()}")
        self.check_owner(registry, client.owner)

    def check_target(self, resource: Resource, registry: Registry) -> None:
        """Refuse a resource for which nothing is issued now.

        Raises: TargetInvalid, OwnerMissing
        """
        if self.is_disabled("resource", resource.name):
            raise TargetInvalid(f"resource `{resource.name}` is disabled")
        self.check_owner(registry, resource.owner)

    def check_token(self, token: VerifiedToken, resource: Resource, registry: Registry, *, now: int) -> None:
        """Refuse a token whose agent, presenter or resource has lost its standing since it was issued.

        Raises: AgentDisabled, AgentExpired, TokenRevoked, OwnerMissing
        """
        self.check_caller(token.agent, token.client_id, resource, registry, now=now)

    def check_caller(self, agent: str, client_id: str, resource: Resource, registry: Registry, *, now: int) -> None:
        """The same for a caller whose token is elsewhere.

        Raises: AgentDisabled, AgentExpired, TokenRevoked, OwnerMissing
        """
        # A gateway presents and is never the agent: its self-test's token, which is nobody's, leads no further.
        self._check_agent(agent, registry, now=now)
        if client_id != agent and not client_id.startswith(GATEWAY_PREFIX):
            self._check_agent(client_id, registry, now=now)
        if self.is_disabled("resource", resource.name):
            raise TokenRevoked(f"resource `{resource.name}` is disabled")
        self.check_owner(registry, resource.owner)

    def _check_agent(self, client_id: str, registry: Registry, *, now: int) -> None:
        client = registry.clients.get(client_id)
        if client is None or self.is_disabled("client", client_id):
            raise AgentDisabled(f"client `{client_id}` is disabled or not defined")
        if now >= ends_at(client):
            raise AgentExpired(f"client `{client_id}` expired on {client.expires.isoformat()}")
        self.check_owner(registry, client.owner)
