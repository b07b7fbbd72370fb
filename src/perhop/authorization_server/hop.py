"""The gateway's own exchange, in process: from a token for a resource's `uri` to one for its `upstream.resource`.

The only place that makes a HopToken, and the only one that mints for an `upstream.resource`: nothing on HTTP leads
here. The gateway's permit is the durable record of a hop token, so nothing is written for it.

Spec: RFC 8693 §1.1
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from perhop.authorization_server.canary import is_canary, new_canary
from perhop.authorization_server.drafts import draft_child, draft_first
from perhop.authorization_server.issue import Authorized, issue, question_of
from perhop.authorization_server.issuer import CurrentIssuer, Issuer
from perhop.authorization_server.kept_hop_tokens import HopKey, KeptHopTokens
from perhop.core.authentication import AuthenticationWanted
from perhop.core.call import Action, CallBinding
from perhop.core.decision import Allow, Deny, NeedsApproval, Permit
from perhop.core.resource import CredentialKind, Resource, ResourceUri
from perhop.core.token import HopToken, TokenDraft
from perhop.errors import AuthenticationInsufficient, PolicyDenied, PolicyUndecidable, ScopeInsufficient
from perhop.rules.delegation import GATEWAY_PREFIX, check_may_act
from perhop.rules.lifetime import CALL_LIFETIME, HOP_LIFETIME
from perhop.tokens.mint import mint


class HopExchanger:
    """Exchanges for the gateway, presenting as `gateway:NAME`."""

    def __init__(self, issuer: CurrentIssuer) -> None:
        self._issuer = issuer
        self._kept = KeptHopTokens()

    def forget(self) -> None:
        """Hand out no token again: something was revoked, and it may be one of these."""
        self._kept = KeptHopTokens()

    async def exchange(self, permit: Permit) -> HopToken:
        """A token of at most 60 s for the upstream of the permitted call's resource, with the same scopes.

        Where the upstream takes call tokens: of at most 30 s, good for this call alone, and never kept.

        Does not look at sender, revocation or standing: a permit is proof that the gateway has. INVARIANT: no cycle can
        close here. An `upstream.resource` is reached from its own `uri` only, and a `uri` only once in a chain.

        Spec: RFC 8693 §2.2
        Raises: PresenterMismatch, ChainTooDeep, TokenExpired, ScopeInsufficient, PolicyDenied,
            AuthenticationInsufficient, PolicyUndecidable
        """
        issuer, resource, parent = self._issuer(), permit.resource, permit.bound.token
        is_call = _takes_call_tokens(resource)
        presenter = GATEWAY_PREFIX + resource.name
        check_may_act(parent, presenter, issuer.url)
        scopes = parent.scopes & frozenset(resource.scopes)
        if not scopes:
            raise ScopeInsufficient(resource.advertised_scopes()[0], "the token has no scope of this resource")
        draft = draft_child(
            issuer,
            parent,
            presenter=presenter,
            audience=_upstream(resource),
            resource=resource,
            scopes=scopes,
            lifetime=CALL_LIFETIME if is_call else HOP_LIFETIME,
            now=issuer.now(),
        )
        _check_exchange(issuer, draft, resource, parent.scopes)
        signing_key = issuer.keyring.active
        if is_call:
            return HopToken(mint(_bound_to(permit.call.binding, draft), signing_key))
        key = HopKey.of(
            parent, draft, kid=signing_key.kid, policy=issuer.policy.version, configuration=issuer.registry.version
        )
        return self._kept.get_or_make(key, lambda: HopToken(mint(draft, signing_key)), now=draft.issued_at)

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
            draft = _bound_to(call, draft)
        minted = await issue(Authorized(draft=draft, resource=resource), issuer, about={"self_test": resource.name})
        return HopToken(minted)


def _takes_call_tokens(resource: Resource) -> bool:
    return resource.upstream is not None and resource.upstream.credential is CredentialKind.CALL


def _bound_to(call: CallBinding | None, draft: TokenDraft) -> TokenDraft:
    """The draft of a call token. INVARIANT: where call tokens are taken, none leaves unbound."""
    if call is None:
        raise RuntimeError("a call token for no call")
    return replace(draft, call=call)


def _upstream(resource: Resource) -> ResourceUri:
    if resource.upstream is None or resource.upstream.resource is None:
        raise ValueError(f"`{resource.name}` has no upstream that takes our tokens")
    return resource.upstream.resource


def _check_exchange(issuer: Issuer, draft: TokenDraft, resource: Resource, scopes: frozenset[str]) -> None:
    """`scopes` are those of the caller's own token.

    Raises: AuthenticationInsufficient, PolicyDenied, PolicyUndecidable
    """
    question = question_of(draft, resource, Action.EXCHANGE, task=issuer.tasks.find(draft.task))
    match decision := issuer.policy.decide(question):
        case Allow():
            return
        case NeedsApproval():  # an exchange needs no permit, so that no permit can want anything for it
            raise PolicyDenied(f"the exchange wants an approval: {', '.join(decision.asking)}")
        case Deny(failed=True):
            raise PolicyUndecidable(decision.detail)
        case Deny(wanted=AuthenticationWanted() as wanted):
            raise AuthenticationInsufficient(
                max_age=wanted.max_age,
                acr_values=wanted.acr_values,
                scopes=tuple(sorted(scopes)),
                policies=decision.policies,
                policy_version=decision.policy_version,
            )
        case Deny():
            raise PolicyDenied(f"the exchange is forbidden by {', '.join(decision.policies) or 'policy'}")
        case _:
            assert_never(decision)
