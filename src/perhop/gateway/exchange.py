"""Exchange: what the upstream gets to see instead of the caller's token."""

from __future__ import annotations

from perhop.core.decision import Permit
from perhop.core.resource import CredentialKind, Upstream
from perhop.core.token import NoCredential, Onward
from perhop.gateway.gate import Gate


def exchange(permit: Permit, gate: Gate) -> Onward:
    """Get the token for this permit's upstream, or nothing where the upstream takes none.

    No token is made for an upstream that has not been shown to refuse one that is addressed elsewhere.

    Spec: RFC 8693 §2
    Raises: UpstreamOpen, TokenRefused, Unavailable
    """
    gate.readiness.check()
    match upstream_of(permit).credential:
        case CredentialKind.NONE:
            return NoCredential()
        case CredentialKind.EXCHANGE | CredentialKind.CALL:
            return gate.exchanger.exchange(permit)


def upstream_of(permit: Permit) -> Upstream:
    """The upstream of the permit's resource; a resource without one has no gate."""
    upstream = permit.resource.upstream
    if upstream is None:
        raise RuntimeError(f"resource `{permit.resource.name}` has no upstream, and yet a gate")
    return upstream
