"""The authorization server's standing, as the gateway asks for it: now, and whether it is still what it was."""

from __future__ import annotations

from dataclasses import dataclass

from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.standing import ends_at
from perhop.core.client import Client
from perhop.core.resource import Resource
from perhop.core.token import BoundToken, VerifiedToken
from perhop.wiring.plane import Plane


@dataclass(frozen=True, slots=True)
class Seen:
    """What was in force at one look at one token, and the times from which and until which that can count.

    The issuer stands for keys and configuration: it is replaced whole when one of these changes. Clients that nobody
    wrote there come and go without that, and so do revocations and disablings.
    """

    issuer: Issuer
    revocations: int
    disabled: frozenset[tuple[str, str]]
    agent: Client
    presenter: Client
    since: int
    until: int


@dataclass(frozen=True, slots=True)
class StandingNow:
    """Of one plane."""

    plane: Plane

    def check(self, bound: BoundToken, resource: Resource) -> None:
        """Raises: AgentDisabled, AgentExpired, TokenRevoked, OwnerMissing"""
        issuer = self.plane.issuer
        issuer.standing.check_token(bound.token, resource, issuer.registry, now=issuer.now())

    def look(self, token: VerifiedToken) -> Seen | None:
        """What the answers about this token rest on now; None where one of its clients is not known by its name."""
        issuer = self.plane.issuer
        clients = issuer.registry.clients
        agent, presenter = clients.get(token.agent), clients.get(token.client_id)
        if agent is None or presenter is None:
            return None
        return Seen(
            issuer,
            issuer.revocations.added,
            issuer.standing.disabled,
            agent,
            presenter,
            since=issuer.now(),
            until=min(token.expires_at, ends_at(agent), ends_at(presenter)),
        )

    def holds(self, seen: object) -> bool:
        """True only if everything is the very same, and not over. Told by the object, never by what is equal to it."""
        if type(seen) is not Seen:
            return False
        issuer = self.plane.issuer
        if seen.issuer is not issuer or seen.disabled is not issuer.standing.disabled:
            return False
        clients, agent, presenter = issuer.registry.clients, seen.agent, seen.presenter
        return (
            seen.revocations == issuer.revocations.added
            and clients.get(agent.id) is agent
            and (presenter is agent or clients.get(presenter.id) is presenter)
            and seen.since <= issuer.clock() < seen.until
        )
