"""The trail of one request: what the journal will say of it, gathered step by step. Every step returns a new trail."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from starlette.requests import Request

from perhop.authorization_server.form import Form
from perhop.authorization_server.refresh_families import RefreshFamily
from perhop.core.assertion import AssertionKind, VerifiedAssertion
from perhop.core.client import Client, GrantType, NoAuthentication
from perhop.core.registry import Registry
from perhop.core.resource import Resource
from perhop.core.token import VerifiedToken
from perhop.errors import (
    AssertionRefused,
    CodeOfTaskOver,
    IdTokenRefused,
    RefreshOfTaskOver,
    Refused,
    SubjectTokenRefused,
    TaskRefused,
    TokenExpired,
    TokenProofRefused,
    Unavailable,
)
from perhop.journal.record import Event, Inbound, Record, RequestFacts, TaskFacts

MAX_USER_AGENT = 256

_CARRYING = (
    SubjectTokenRefused
    | TokenProofRefused
    | TaskRefused
    | CodeOfTaskOver
    | RefreshOfTaskOver
    | AssertionRefused
    | IdTokenRefused
)


def reason_of(fact: Refused | Unavailable) -> str:
    """The dotted reason: of a subject token, proof or task that is not good, the reason of the fact that said so."""
    return fact.fact.reason if isinstance(fact, _CARRYING) else fact.reason


@dataclass(frozen=True, kw_only=True)
class Trail:
    """What is known so far of one request. `is_anonymous` until somebody has proved who asks.

    `place` names the resource that was asked, where that is no resource of the configuration. `event` is that of a
    refusal.
    """

    request: RequestFacts
    event: Event = Event.TOKEN_REFUSED
    is_anonymous: bool = True
    client: Client | None = None
    resource: Resource | None = None
    place: str | None = None
    presented: str | None = None
    verified: VerifiedToken | None = None
    grant: GrantType | None = None
    task: TaskFacts | None = None
    family: str | None = None
    assertion: VerifiedAssertion | None = None

    @classmethod
    def of(cls, request: Request) -> Trail:
        agent, peer = request.headers.get("user-agent"), request.client
        return cls(request=_request_facts(peer.host if peer else None, agent[:MAX_USER_AGENT] if agent else None))

    def naming(self, client: Client) -> Trail:
        """The request names a client, which proves nothing."""
        return self._with(client=client)

    def by(self, client: Client) -> Trail:
        """The client is authenticated; of a public one that means its name only."""
        return self._with(client=client, is_anonymous=isinstance(client.authentication, NoAuthentication))

    def by_assertion(self, assertion: VerifiedAssertion | None) -> Trail:
        """An assertion of an issuer that we trust came, and holds: so somebody has proved something."""
        return self if assertion is None else self._with(assertion=assertion, is_anonymous=False)

    def to(self, resource: Resource) -> Trail:
        return self._with(resource=resource)

    def asking(self, form: Form, registry: Registry) -> Trail:
        """The request is read: a token in it is not verified yet, so only its fingerprint may be kept."""
        first = form.first
        raw = first.get("subject_token") or first.get("token") or first.get("assertion")
        return self._with(
            resource=registry.resource_at(first.get("resource", "")),
            presented=None if raw is None else hashlib.sha256(raw.encode()).hexdigest(),
        )

    def presenting(self, authorization: Sequence[str], *, place: str) -> Trail:
        """A bearer token comes to this place: until it is verified, only its fingerprint may be kept."""
        sent = " ".join(authorization).removeprefix("Bearer ").removeprefix("DPoP ").encode("utf-8", "replace")
        return self._with(place=place, presented=hashlib.sha256(sent).hexdigest() if authorization else None)

    def asking_about_access(self, *, place: str) -> Trail:
        """No token is asked for here: somebody asks what would be decided."""
        return self._with(place=place, event=Event.ACCESS_REFUSED)

    def at(self, *, place: str) -> Trail:
        """It is asked at this place, where there are no tokens."""
        return self._with(place=place)

    def using(self, grant: GrantType) -> Trail:
        """The client may use this grant."""
        return self._with(grant=grant)

    def of_family(self, family: RefreshFamily | None) -> Trail:
        """A refresh token of this family came, or goes out."""
        return self if family is None else self._with(family=family.id)

    def under(self, task: TaskFacts | None) -> Trail:
        """The request, or the token in it, names a task, or none."""
        return self if task is None and self.task is None else self._with(task=task)

    def having_verified(self, token: VerifiedToken | None) -> Trail:
        """The subject token of an exchange holds; other requests have none."""
        return self if token is None and self.verified is None else self._with(verified=token)

    def refused(self, fact: Refused | Unavailable) -> Record:
        """The record of a refusal."""
        token = self.verified
        return Record(
            event=self.event,
            reason=reason_of(fact),
            txn=token.txn if token else None,
            hop=token.hop if token else None,
            inbound=self._inbound(fact),
            task=self.task,
            request=self.request,
            owner=self.resource.owner if self.resource else None,
            tenant=self.resource.tenant if self.resource else None,
            resource=self.resource.name if self.resource else self.place,
            client=self.client.id if self.client else None,
            detail=fact.detail or None,
            about=self.about,
        )

    @property
    def about(self) -> Mapping[str, str] | None:
        """By which grant a token is asked for, once that is clear, and of which refresh family it is.

        Of an assertion: whose it is, by the issuer's name in the configuration, and its id, if it has one. A workload
        is named as its platform names it; a person only by the `sub` that is ours.
        """
        grant = {"grant": self.grant.value} if self.grant is not None else {}
        family = {"family": self.family} if self.family is not None else {}
        return {**grant, **family, **self._about_assertion()} or None

    def _about_assertion(self) -> Mapping[str, str]:
        came = self.assertion
        if came is None:
            return {}
        jti = {"assertion": came.jti} if came.jti is not None else {}
        workload = {"workload": came.subject} if came.issuer.kind is AssertionKind.WORKLOAD else {}
        return {"issuer": came.issuer.name, **jti, **workload}

    def _with(self, **known: Any) -> Trail:
        """A new trail that knows this, too. What `dataclasses.replace` does, for a twentieth of the steps."""
        made = object.__new__(Trail)
        made.__dict__.update(self.__dict__, **known)
        return made

    def _inbound(self, fact: Refused | Unavailable) -> Inbound | None:
        if self.verified is not None:
            return Inbound.of(self.verified)
        expired = fact.fact if isinstance(fact, SubjectTokenRefused) else fact
        if isinstance(expired, TokenExpired) and expired.jti is not None:
            return Inbound(jti=expired.jti)  # its signature held
        is_unverified = self.presented is not None and self.assertion is None
        return Inbound(unverified=self.presented) if is_unverified else None


@lru_cache(maxsize=1024)
def _request_facts(ip: str | None, user_agent: str | None) -> RequestFacts:
    """What a record says of where a request came from, and its text with it: the same few come with every request."""
    return RequestFacts(ip=ip, user_agent=user_agent)
