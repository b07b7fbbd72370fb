"""Sender: the key that a token request proves, and the token that is bound to it.

Spec: RFC 9449 §5
"""

from __future__ import annotations

from dataclasses import replace

from starlette.requests import Request

from perhop.authorization_server.issue import Authorized
from perhop.authorization_server.issuer import Issuer
from perhop.core.call import Headers
from perhop.core.client import Client
from perhop.core.proof import CheckedProof, UsedProof
from perhop.core.resource import SenderConstraint
from perhop.core.token import SenderKey
from perhop.errors import ProofNonceNeeded, ProofRefused, TokenNonceNeeded, TokenProofRefused
from perhop.rules.bearer import uses_dpop
from perhop.rules.dpop import single_proof
from perhop.tokens.possession import use_once
from perhop.tokens.proof import ProofFor, check_proof

TOKEN_PATH = "/token"
NONCE_HEADER = "dpop-nonce"


def dpop_headers(request: Request) -> Headers:
    """The header fields of a request that are about proofs of possession."""
    return tuple(("dpop", value) for value in request.headers.getlist("dpop"))


def check_sent_proof(headers: Headers, issuer: Issuer, *, now: int) -> CheckedProof | None:
    """The proof that comes with a token request, if one does; whether it came before is not looked at.

    Before the client is authenticated: to be told a nonce costs it neither an assertion nor a code.

    Spec: RFC 9449 §5
    Raises: TokenProofRefused, TokenNonceNeeded
    """
    if not uses_dpop(headers):
        return None
    desk = issuer.proof_desk(TOKEN_PATH)
    wanted = ProofFor(method="POST", uri=issuer.endpoint(TOKEN_PATH), nonces=desk.nonces, token=None)
    try:
        return check_proof(single_proof(headers), wanted, now=now)
    except ProofNonceNeeded as fact:
        raise TokenNonceNeeded(fact) from None
    except ProofRefused as fact:
        raise TokenProofRefused(fact) from None


async def use_sent_proof(proof: CheckedProof | None, client: Client, issuer: Issuer) -> UsedProof | None:
    """Use the proof up; a client that is given bound tokens only must have brought one.

    Spec: RFC 9449 §5.2
    Raises: TokenProofRefused, StorageUnavailable
    """
    try:
        if proof is not None:
            return await use_once(proof, issuer.stores.proofs)
        if client.sender is SenderConstraint.DPOP:
            raise ProofRefused(f"client `{client.id}` gets bound tokens only, and proves no key")
    except ProofRefused as fact:
        raise TokenProofRefused(fact) from None
    return None


def bind_sender(authorized: Authorized, proof: UsedProof | None) -> Authorized:
    """What was authorized, bound to the key that was proved. INVARIANT: never to one that was only named.

    Spec: RFC 9449 §6
    Raises: TokenProofRefused
    """
    if proof is None:
        if authorized.resource.must_be_bound:
            raise TokenProofRefused(ProofRefused(f"resource `{authorized.resource.name}` takes bound tokens only"))
        return authorized
    return replace(authorized, draft=replace(authorized.draft, sender=SenderKey(proof.key)))
