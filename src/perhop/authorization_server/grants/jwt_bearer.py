"""The JWT bearer grant: an issuer that we trust asserts who a person is, or which workload speaks.

Which of the two it is say the assertion's `typ` and its issuer together; each has its own file beside this one.

Spec: RFC 7523 §2.1
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from perhop.authorization_server.form import Form
from perhop.authorization_server.grants import identity_assertion, workload
from perhop.authorization_server.grants.asked import Asked
from perhop.authorization_server.issue import Authorized
from perhop.authorization_server.issuer import Issuer
from perhop.core.assertion import AssertionIssuer, AssertionKind, VerifiedAssertion
from perhop.core.client import GrantType
from perhop.errors import AssertionRefused, BearerRefused, TokenIssuerUnknown, TokenKeyUnknown
from perhop.tokens.authorization_grant import PresentedAssertion, parse_assertion, verify_assertion


async def authorize(asked: Asked, issuer: Issuer) -> Authorized:
    """Authorize what the assertion's kind gives.

    Spec: RFC 7523 §2.1
    Raises: AssertionInvalid, TargetMissing, TargetMultiple, TargetInvalid, ScopeInvalid, OwnerMissing,
        GrantTypeNotAllowed, DetailsMalformed, TaskRefused, TargetOutsideTask, StorageUnavailable, JournalUnavailable
    """
    assert asked.assertion is not None, "the endpoint verifies the assertion of every such request"
    match asked.assertion.issuer.kind:
        case AssertionKind.IDENTITY_ASSERTION:
            return await identity_assertion.authorize(asked, asked.assertion, issuer)
        case AssertionKind.WORKLOAD:
            return await workload.authorize(asked, asked.assertion, issuer)
        case _:
            assert_never(asked.assertion.issuer.kind)


async def find_assertion(form: Form, issuer: Issuer, *, now: int) -> VerifiedAssertion:
    """Verify the assertion of a request: one of an issuer that is trusted for its kind, made for us, and in time.

    Does not look who brings it, or whether it was used before.

    Spec: RFC 7523 §3
    Raises: TokenRequestMalformed, AssertionRefused, OwnerMissing, KeysUnavailable
    """
    try:
        presented = parse_assertion(form.required("assertion"))
        trusted = _trusted(presented, issuer)
        return await _verify(presented, trusted, issuer, now=now)
    except BearerRefused as fact:
        raise AssertionRefused(fact) from None


def is_workload_alone(authorization: Sequence[str], form: Form, issuer: Issuer) -> bool:
    """True if nothing in a request proves a client but, perhaps, a workload's assertion.

    Where no issuer is trusted for workloads, no assertion proves a client.

    Spec: RFC 7521 §4.1
    """
    if form.one("grant_type") != GrantType.JWT_BEARER or not issuer.registry.trusts(AssertionKind.WORKLOAD):
        return False
    proofs = ("client_secret", "client_assertion", "client_assertion_type")
    if authorization or any(form.one(name) is not None for name in proofs):
        return False
    try:
        return parse_assertion(form.one("assertion") or "").kind is AssertionKind.WORKLOAD
    except BearerRefused:
        return True  # it proves nothing, and is refused as what it is


def _trusted(presented: PresentedAssertion, issuer: Issuer) -> AssertionIssuer:
    """The issuer that the assertion names, if it is trusted now. Compared byte for byte. Spec: RFC 9207 §2.4."""
    trusted = issuer.registry.trusted_issuer(presented.issuer)
    if trusted is None:
        raise TokenIssuerUnknown("`iss` is not an issuer that is trusted here")
    if issuer.standing.is_disabled("issuer", trusted.name):
        raise TokenIssuerUnknown(f"issuer `{trusted.name}` is disabled")
    issuer.standing.check_owner(issuer.registry, trusted.owner)
    return trusted


async def _verify(
    presented: PresentedAssertion, trusted: AssertionIssuer, issuer: Issuer, *, now: int
) -> VerifiedAssertion:
    source = issuer.assertion_keys.of(trusted)
    try:
        return verify_assertion(presented, trusted, keys=await source.keys(), audience=issuer.url, now=now)
    except TokenKeyUnknown:
        return verify_assertion(presented, trusted, keys=await source.newer_keys(), audience=issuer.url, now=now)
