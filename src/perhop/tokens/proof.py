"""DPoP proofs: the one place that makes a CheckedProof.

Spec: RFC 9449 §4.3
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from perhop.core.proof import CheckedProof
from perhop.errors import BearerRefused, KeyUnusable, ProofRefused
from perhop.rules.dpop import (
    MAX_PROOF_BYTES,
    PROOF_SECONDS,
    PROOF_TYPE,
    check_method,
    check_time,
    check_token_hash,
    check_uri,
)
from perhop.rules.dpop_nonce import Nonces
from perhop.tokens.claims import MAX_ID_LENGTH, parse_name, parse_time
from perhop.tokens.keys import VerifyKey, parse_jwk
from perhop.tokens.parse import CompactJws, parse_self_keyed
from perhop.tokens.signature import check_signature_under, parse_algorithm


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofFor:
    """The request that a proof must be for. `uri` is configured; `token` is the access token that comes along, if one
    does: at a token endpoint none does."""

    method: str
    uri: str
    nonces: Nonces
    token: str | None


def check_proof(raw: str, wanted: ProofFor, *, now: int) -> CheckedProof:
    """Check a proof, in this order: form -> type -> algorithm -> key -> signature -> `jti` -> method -> URI -> token ->
    time -> nonce. Whoever hears that only the nonce is wrong has made a good proof.

    Does NOT check that it did not come before: that is `use_once`; nor whose key it is.

    Spec: RFC 9449 §4.3
    Raises: ProofRefused, ProofNonceNeeded
    """
    try:
        jws = parse_self_keyed(raw, max_bytes=MAX_PROOF_BYTES)
        _check_type(jws)
        algorithm = parse_algorithm(jws)
        key = _parse_key(jws.header.get("jwk"))
        check_signature_under(jws, algorithm, key)
        jti = parse_name(jws.payload, "jti", MAX_ID_LENGTH)
        issued_at = parse_time(jws.payload, "iat")
    except ProofRefused:
        raise
    except BearerRefused as fact:
        raise ProofRefused(f"the proof: {fact.detail}") from None
    check_method(jws.payload, wanted.method)
    check_uri(jws.payload, wanted.uri)
    if wanted.token is not None:
        check_token_hash(jws.payload, wanted.token)
    check_time(issued_at, now)
    wanted.nonces.check(jws.payload, now)
    return CheckedProof(key=key.kid, jti=jti, until=issued_at + PROOF_SECONDS)


def _check_type(jws: CompactJws) -> None:
    if jws.media_type != PROOF_TYPE:
        raise ProofRefused(f"the proof: `typ` is not `{PROOF_TYPE}`")


def _parse_key(jwk: Any) -> VerifyKey:
    """The proof's own key, public and strong, under its thumbprint: what name it gives itself is nothing to us."""
    if not isinstance(jwk, dict):
        raise ProofRefused("the proof: `jwk` is not an object")
    try:
        return parse_jwk({name: value for name, value in jwk.items() if name != "kid"})
    except KeyUnusable as error:
        raise ProofRefused(f"the proof: {error.problem}") from None
