"""The gateway's own exchange, in process: from a token for a resource's `uri` to one for its `upstream.resource`.

The only place that makes a HopToken, and the only one that mints for an `upstream.resource`: nothing on HTTP leads
here. The gateway's permit is the durable record of a hop token, so nothing is written for it.

Spec: RFC 8693 §1.1
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, assert_never

from perhop.authorization_server.canary import is_canary, new_canary
from perhop.authorization_server.drafts import child_of, draft_first
from perhop.authorization_server.issue import PERSON_PREFIX, Authorized, issue
from perhop.authorization_server.issuer import CurrentIssuer, Issuer
from perhop.authorization_server.kept_hop_tokens import MAX_KEPT, HopKey, Kept, KeptHopTokens
from perhop.core.authentication import AuthenticationWanted
from perhop.core.call import Action, CallBinding, Target
from perhop.core.decision import Allow, Deny, NeedsApproval, Permit, Question
from perhop.core.resource import CredentialKind, Resource, ResourceUri
from perhop.core.token import HopToken, VerifiedToken
from perhop.errors import AuthenticationInsufficient, PolicyDenied, PolicyUndecidable, ScopeInsufficient
from perhop.rules.delegation import GATEWAY_PREFIX, check_may_act
from perhop.rules.lifetime import CALL_LIFETIME, HOP_LIFETIME, check_parent_lives
from perhop.tokens.keys import SigningKey
from perhop.tokens.mint import mint

_EXCHANGE = Target(Action.EXCHANGE)
_NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What is the same for every exchange at one resource under one configuration, one key and one set of policies."""

    issuer: Issuer
    resource: Resource
    presenter: str
    audience: ResourceUri
    scopes: frozenset[str]
    signing_key: SigningKey
    policy_version: str
    is_call: bool

    @classmethod
    def of(cls, issuer: Issuer, resource: Resource) -> Way:
        return cls(
            issuer=issuer,
            resource=resource,
            presenter=GATEWAY_PREFIX + resource.name,
            audience=_upstream(resource),
            scopes=frozenset(resource.scopes),
            signing_key=issuer.keyring.active,
            policy_version=issuer.policy.version,
            is_call=_takes_call_tokens(resource),
        )

    def key_of(self, parent: VerifiedToken) -> HopKey:
        """What the tokens of this parent are kept under."""
        return HopKey(
            parent.fingerprint,
            self.presenter,
            self.audience,
            parent.scopes & self.scopes,
            self.signing_key.kid,
            self.policy_version,
            self.issuer.registry.version,
            parent.sender,
            self.resource.tenant,
        )


class HopExchanger:
    """Exchanges for the gateway, presenting as `gateway:NAME`."""

    def __init__(self, issuer: CurrentIssuer) -> None:
        self._issuer = issuer
        self._kept = KeptHopTokens()
        self._ways: dict[str, Way] = {}
        self._again: dict[int, tuple[VerifiedToken, Way, Kept]] = {}

    def forget(self) -> None:
        """Hand out no token again: something was revoked, and it may be one of these."""
        self._kept = KeptHopTokens()
        self._again = {}

    def exchange(self, permit: Permit) -> HopToken:
        """A token of at most 60 s for the upstream of the permitted call's resource, with the same scopes.

        Where the upstream takes call tokens: of at most 30 s, good for this call alone, and never kept.

        Does not look at sender, revocation or standing: a permit is proof that the gateway has. INVARIANT: no cycle can
        close here. An `upstream.resource` is reached from its own `uri` only, and a `uri` only once in a chain.

        Spec: RFC 8693 §2.2
        Raises: PresenterMismatch, ChainTooDeep, TokenExpired, ScopeInsufficient, PolicyDenied,
            AuthenticationInsufficient, PolicyUndecidable
        """
        issuer, parent = self._issuer(), permit.bound.token
        way = self._way(issuer, permit.resource)
        again = self._again.get(id(parent))
        if again is None or again[0] is not parent or again[1] is not way:
            again = self._find(parent, way)
        kept = again[2]
        now = issuer.now()
        check_parent_lives(now=now, parent_expires_at=parent.expires_at)
        _check_exchange(issuer, kept, way.resource, now=now)
        if way.is_call:
            binding = _for_this(permit.call.binding)
            draft = kept.child.draft(issuer, lifetime=CALL_LIFETIME, now=now, call=binding)
            return HopToken(mint(draft, way.signing_key))
        token = kept.good_token(now=now)
        if token is None:
            draft = kept.child.draft(issuer, lifetime=HOP_LIFETIME, now=now)
            token = kept.token = HopToken(mint(draft, way.signing_key))
        return token

    def _find(self, parent: VerifiedToken, way: Way) -> tuple[VerifiedToken, Way, Kept]:
        """What is kept of this parent's exchange, or begins to be; found at once the next time, by the same objects.

        Raises: PresenterMismatch, ScopeInsufficient, ChainTooDeep
        """
        check_may_act(parent, way.presenter, way.issuer.url)
        key = way.key_of(parent)
        kept = self._kept.find(key) or self._keep(key, parent, way)
        if len(self._again) >= MAX_KEPT:
            self._again = {}
        found = self._again[id(parent)] = parent, way, kept
        return found

    def _way(self, issuer: Issuer, resource: Resource) -> Way:
        """INVARIANT: an issuer is replaced whole when a key, the policies or the configuration change."""
        way = self._ways.get(resource.name)
        if way is None or way.issuer is not issuer or way.resource is not resource:
            way = self._ways[resource.name] = Way.of(issuer, resource)
        return way

    def _keep(self, key: HopKey, parent: VerifiedToken, way: Way) -> Kept:
        """Raises: ScopeInsufficient, ChainTooDeep."""
        if not key.scopes:
            raise ScopeInsufficient(way.resource.advertised_scopes()[0], "the token has no scope of this resource")
        child = child_of(
            parent, presenter=way.presenter, audience=way.audience, resource=way.resource, scopes=key.scopes
        )
        return self._kept.keep(key, child)

    def canary(self) -> ResourceUri:
        """A fresh audience that is registered nowhere, so that a token for it is good nowhere."""
        return new_canary(self._issuer())

    async def self_test_token(self, resource: Resource, audience: ResourceUri, call: CallBinding) -> HopToken:
        """A token with which the gateway tests whether an upstream looks at audiences: the right one, or a canary.

        Bound to `call` where the upstream takes call tokens.

        Of both every claim but the audience is alike, and both are recorded as issued.

        Raises: StorageUnavailable, JournalUnavailable
        """
        issuer = self._issuer()
        if audience != _upstream(resource) and not is_canary(audience, issuer):
            raise ValueError("the self-test asks for its own upstream or for a canary")
        presenter = GATEWAY_PREFIX + resource.name
        right = draft_first(
            issuer,
            client_id=presenter,
            subject=presenter,
            resource=resource,
            scopes=frozenset(resource.scopes),
            now=issuer.now(),
        )
        lifetime = CALL_LIFETIME if _takes_call_tokens(resource) else HOP_LIFETIME
        draft = replace(right, audience=audience, expires_at=right.issued_at + lifetime)
        if _takes_call_tokens(resource):
            draft = replace(draft, call=_for_this(call))
        minted = await issue(Authorized(draft=draft, resource=resource), issuer, about={"self_test": resource.name})
        return HopToken(minted)


def _takes_call_tokens(resource: Resource) -> bool:
    return resource.upstream is not None and resource.upstream.credential is CredentialKind.CALL


def _for_this(call: CallBinding | None) -> CallBinding:
    """The call of a call token. INVARIANT: where call tokens are taken, none leaves unbound."""
    if call is None:
        raise RuntimeError("a call token for no call")
    return call


def _upstream(resource: Resource) -> ResourceUri:
    if resource.upstream is None or resource.upstream.resource is None:
        raise ValueError(f"`{resource.name}` has no upstream that takes our tokens")
    return resource.upstream.resource


def _question(issuer: Issuer, kept: Kept, resource: Resource, *, now: int) -> Question:
    """What policy is asked about the exchange: the token as it would be. The same within a second."""
    child, asked = kept.child, kept.question
    parent = child.parent
    task = issuer.tasks.find(parent.task) if parent.task is not None else None
    if asked is None or asked.now != now or asked.task is not task:
        asked = kept.question = Question(
            target=_EXCHANGE,
            agent=parent.agent or child.presenter,
            server=resource.name,
            subject=parent.subject if parent.subject.startswith(PERSON_PREFIX) else None,
            client_id=child.presenter,
            actors=tuple(child.actor.chain()),
            scopes=child.scopes,
            hop=parent.hop + 1,
            now=now,
            arguments=_NO_ARGUMENTS,
            tenant=child.tenant,
            task=task,
            authentication=parent.authentication,
        )
    return asked


def _check_exchange(issuer: Issuer, kept: Kept, resource: Resource, *, now: int) -> None:
    """Raises: AuthenticationInsufficient, PolicyDenied, PolicyUndecidable."""
    if kept.under is issuer and kept.permitted is not None and kept.permitted.find(_NO_ARGUMENTS) is not None:
        return
    question = _question(issuer, kept, resource, now=now)
    match decision := issuer.policy.decide(question):
        case Allow():
            if question.task is None:  # a task changes by itself
                kept.permitted, kept.under = issuer.policy.lasting(question), issuer
                if kept.permitted is not None:
                    kept.permitted.keep(_NO_ARGUMENTS, decision)
            return
        case NeedsApproval():  # an exchange needs no permit, so that no permit can want anything for it
            raise PolicyDenied(f"the exchange wants an approval: {', '.join(decision.asking)}")
        case Deny(failed=True):
            raise PolicyUndecidable(decision.detail)
        case Deny(wanted=AuthenticationWanted() as wanted):
            raise AuthenticationInsufficient(
                max_age=wanted.max_age,
                acr_values=wanted.acr_values,
                scopes=tuple(sorted(kept.child.parent.scopes)),  # those of the caller's own token
                policies=decision.policies,
                policy_version=decision.policy_version,
            )
        case Deny():
            raise PolicyDenied(f"the exchange is forbidden by {', '.join(decision.policies) or 'policy'}")
        case _:
            assert_never(decision)
