"""Misuse that must fail to type-check.

Every line with an ignore is a mistake that the types forbid; mypy reports an ignore that is not needed, so the build
fails on the day such a mistake type-checks. Nothing here is ever run.
"""

from __future__ import annotations

from perhop.core.call import Call
from perhop.core.decision import Allowed, Covered, InForce
from perhop.core.proof import CheckedProof, UsedProof
from perhop.core.resource import Hop, Resource, ResourceUri
from perhop.core.secret import Secret
from perhop.core.token import BoundToken, HopToken, MintedToken, Onward, SenderKey, TokenDraft, VerifiedToken
from perhop.gateway.authenticate import check_standing
from perhop.gateway.count import count
from perhop.gateway.cover import cover
from perhop.gateway.decide import decide
from perhop.gateway.exchange import exchange
from perhop.gateway.gate import Gate
from perhop.gateway.request import Request
from perhop.resource_server import Admitted
from perhop.rules.audience import bind_audience
from perhop.rules.resource_indicators import resolve_granted_target
from perhop.rules.resource_uri import parse_resource_uri
from perhop.rules.revocation import Revocations
from perhop.rules.scope import check_tool_scope, map_through_hop
from perhop.rules.sender import prove_sender
from perhop.tokens.keys import SigningKey, VerifyKey
from perhop.tokens.mint import mint
from perhop.tokens.possession import use_once
from perhop.tokens.proof import ProofFor, check_proof
from perhop.tokens.verify import Leeway, verify


def audience_is_bound_to_a_canonical_uri(token: VerifiedToken, raw: str, bound: BoundToken) -> None:
    bind_audience(token, raw)  # type: ignore[arg-type]
    bind_audience(token, None)  # type: ignore[arg-type]
    bind_audience(token)  # type: ignore[call-arg]
    bind_audience(bound, parse_resource_uri(raw))  # type: ignore[arg-type]
    bind_audience(raw, parse_resource_uri(raw))  # type: ignore[arg-type]


def only_a_bound_token_is_asked_for_scopes(token: VerifiedToken, raw: str, resource: Resource) -> None:
    check_tool_scope(token, resource, "get_event")  # type: ignore[arg-type]
    check_tool_scope(raw, resource, "get_event")  # type: ignore[arg-type]
    check_tool_scope({"scope": raw}, resource, "get_event")  # type: ignore[arg-type]


def verifying_cannot_be_softened(raw: str, keys: dict[str, dict[str, VerifyKey]]) -> None:
    verify(raw, keys=keys, now=0)  # type: ignore[call-arg]
    verify(raw, keys=keys, now=0, leeway=300)  # type: ignore[arg-type]
    verify(raw, keys=keys, now=None, leeway=Leeway.NONE)  # type: ignore[arg-type]
    verify(raw, keys={"kid": "secret"}, now=0, leeway=Leeway.NONE)  # type: ignore[dict-item]
    verify(raw, now=0, leeway=Leeway.NONE)  # type: ignore[call-arg]


def a_token_is_drafted_for_one_canonical_uri(raw: str, draft: TokenDraft, key: VerifyKey) -> None:
    TokenDraft(
        issuer=raw,
        jti=raw,
        subject=raw,
        client_id=raw,
        audience=raw,  # type: ignore[arg-type]
        scopes=frozenset(),
        issued_at=0,
        expires_at=1,
        txn=raw,
    )
    mint(draft, key)  # type: ignore[arg-type]
    mint({"aud": raw}, SigningKey.generate())  # type: ignore[arg-type]


def several_audiences_cannot_be_written(uris: list[ResourceUri], token: VerifiedToken) -> None:
    bind_audience(token, uris)  # type: ignore[arg-type]
    resolve_granted_target([], granted=uris)  # type: ignore[arg-type]


def the_callers_token_is_never_the_one_that_goes_on(
    caller: VerifiedToken, bound: BoundToken, minted: MintedToken, raw: str
) -> None:
    onward: Onward
    onward = caller  # type: ignore[assignment]
    onward = bound  # type: ignore[assignment]
    onward = minted  # type: ignore[assignment]
    onward = raw  # type: ignore[assignment]
    HopToken(bound)  # type: ignore[arg-type]
    HopToken(raw)  # type: ignore[arg-type]
    del onward


async def a_sender_is_proved_before_a_token_is_admitted(
    request: Request, bound: BoundToken, due: SenderKey, checked: CheckedProof, used: UsedProof, gate: Gate
) -> None:
    await check_standing(request, bound, gate)  # type: ignore[arg-type]
    prove_sender(bound, due, checked)  # type: ignore[arg-type]
    prove_sender(bound, due)  # type: ignore[call-arg]
    Admitted(proved=bound, presented=Secret(""))  # type: ignore[arg-type]
    await use_once(used, gate.proofs.memory)  # type: ignore[arg-type]
    check_proof("", ProofFor(method="", uri="", nonces=gate.proofs.nonces), now=0)  # type: ignore[call-arg]


async def the_order_of_the_gateway_is_the_only_one(
    request: Request, gate: Gate, bound: BoundToken, call: Call, held: InForce, covered: Covered, allowed: Allowed
) -> None:
    cover(bound, call, gate)  # type: ignore[arg-type]
    decide(request, bound, gate)  # type: ignore[arg-type]
    decide(request, held, gate)  # type: ignore[arg-type]
    await count(covered, gate)  # type: ignore[arg-type]
    exchange(covered, gate)  # type: ignore[arg-type]
    exchange(allowed, gate)  # type: ignore[arg-type]


def guarantees_do_not_change_afterwards(bound: BoundToken, token: VerifiedToken, uri: ResourceUri) -> None:
    bound.resource = uri  # type: ignore[misc]
    token.audience = uri  # type: ignore[misc]


def secrets_are_not_text(secret: Secret, hop: Hop) -> None:
    header: str = secret  # type: ignore[assignment]
    map_through_hop(frozenset({secret}), hop)  # type: ignore[arg-type]
    del header


def revocation_is_asked_with_a_verified_token(revocations: Revocations, raw: str) -> None:
    revocations.check(raw)  # type: ignore[arg-type]
