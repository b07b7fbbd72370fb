"""A token's way through Perhop, as types: VerifiedToken -> BoundToken -> ProvedToken -> HopToken.

Each type is made in one place only (a house test holds that), so holding one is proof of the check that made it.
"""

from __future__ import annotations

from dataclasses import dataclass

from perhop.core.actor import Actor, MayAct
from perhop.core.authentication import UNKNOWN, Authentication
from perhop.core.call import CallBinding
from perhop.core.resource import ResourceUri
from perhop.core.secret import Secret


@dataclass(frozen=True, slots=True)
class SenderKey:
    """The key that a token is bound to, by its RFC 7638 thumbprint: `cnf.jkt`. Spec: RFC 9449 §6.1."""

    thumbprint: str


@dataclass(frozen=True, slots=True)
class SenderUnprovable:
    """The token is bound to what nobody can prove here: a certificate, or a member of `cnf` that we do not know."""


Sender = SenderKey | SenderUnprovable
"""Who alone may send a token that says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedToken:
    """Signature, type, issuer, required claims and times hold. Says nothing of who may take it: see BoundToken.

    Times are seconds since the epoch. `audience` is as received. `fingerprint` is the hex SHA-256 of the token.
    `authentication` is that of the person for whom the token is, at the beginning of its chain.
    Made by `perhop.tokens.verify` only.
    """

    issuer: str
    jti: str
    subject: str
    client_id: str
    audience: str
    scopes: frozenset[str]
    issued_at: int
    expires_at: int
    agent: str
    fingerprint: str
    actor: Actor | None = None
    may_act: MayAct | None = None
    txn: str | None = None
    hop: int = 1
    tenant: str | None = None
    task: str | None = None
    call: CallBinding | None = None
    sender: Sender | None = None
    authentication: Authentication = UNKNOWN


@dataclass(frozen=True, slots=True)
class BoundToken:
    """A verified token that is addressed to this one resource. Made by `perhop.rules.audience` only."""

    token: VerifiedToken
    resource: ResourceUri

    @property
    def issuer(self) -> str:
        return self.token.issuer

    @property
    def jti(self) -> str:
        return self.token.jti

    @property
    def subject(self) -> str:
        return self.token.subject

    @property
    def agent(self) -> str:
        """Client id of the first token of the chain: who the agent is."""
        return self.token.agent

    @property
    def client_id(self) -> str:
        """Who presented this token's request at the authorization server."""
        return self.token.client_id

    @property
    def actors(self) -> tuple[str, ...]:
        """The `act` chain, outermost first; only the first is authoritative. Spec: RFC 8693 §4.1."""
        return tuple(self.token.actor.chain()) if self.token.actor else ()

    @property
    def tenant(self) -> str | None:
        return self.token.tenant

    @property
    def scopes(self) -> frozenset[str]:
        return self.token.scopes

    @property
    def task(self) -> str | None:
        return self.token.task

    @property
    def txn(self) -> str | None:
        return self.token.txn

    @property
    def authentication(self) -> Authentication:
        """When and how the person signed in for whom the token is, as far as it says so."""
        return self.token.authentication

    @property
    def expires_at(self) -> int:
        return self.token.expires_at

    @property
    def sender_key(self) -> str | None:
        """Thumbprint of the key that the token is bound to; None for a bearer token. Spec: RFC 9449 §6.1."""
        return self.token.sender.thumbprint if isinstance(self.token.sender, SenderKey) else None


@dataclass(frozen=True, slots=True)
class ProvedToken:
    """A bound token that came from whoever may send it: it is bound to no key, or possession of the key was proved,
    with a proof that is used up. Made by `perhop.rules.sender` only."""

    bound: BoundToken


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenDraft:
    """Everything that a token will say, before it is signed. One audience, by type."""

    issuer: str
    jti: str
    subject: str
    client_id: str
    audience: ResourceUri
    scopes: frozenset[str]
    issued_at: int
    expires_at: int
    txn: str
    hop: int = 1
    agent: str | None = None
    actor: Actor | None = None
    tenant: str | None = None
    task: str | None = None
    call: CallBinding | None = None
    parent_jti: str | None = None
    sender: SenderKey | None = None
    authentication: Authentication = UNKNOWN


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A signed token and what it says. Made by `perhop.tokens.mint` only."""

    raw: Secret
    draft: TokenDraft


@dataclass(frozen=True, slots=True)
class HopToken:
    """A token whose audience is the upstream: the only token that `forward` takes. Made by the exchange only."""

    minted: MintedToken

    @property
    def jti(self) -> str:
        return self.minted.draft.jti

    @property
    def audience(self) -> ResourceUri:
        return self.minted.draft.audience


@dataclass(frozen=True, slots=True)
class NoCredential:
    """The upstream takes no token at all."""


Onward = HopToken | NoCredential
