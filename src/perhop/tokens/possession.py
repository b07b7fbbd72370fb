"""Possession: a proof is used up, and what it stands for holds. The one place that makes a UsedProof.

Spec: RFC 9449 §7.1
Spec: RFC 9449 §11.1
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from perhop.core.call import Headers
from perhop.core.proof import CheckedProof, UsedProof
from perhop.core.token import BoundToken, ProvedToken
from perhop.rules.bearer import parse_presented, parse_scheme
from perhop.rules.dpop import single_proof
from perhop.rules.dpop_nonce import Nonces
from perhop.rules.sender import check_key, check_scheme, prove_sender
from perhop.tokens.proof import ProofFor, check_proof


class ProofMemory(Protocol):
    """Remembers which proofs came."""

    async def use_proof(self, proof: CheckedProof) -> None:
        """Use this proof up; atomic over all who take nonces of one key, remembered for as long as it is taken.

        Raises: ProofReplayed, Unavailable
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofDesk:
    """Where one server takes proofs: its nonces, and who remembers what came with them."""

    nonces: Nonces
    memory: ProofMemory


async def use_once(proof: CheckedProof, memory: ProofMemory) -> UsedProof:
    """The proof, if it comes for the first time.

    Spec: RFC 9449 §11.1
    Raises: ProofReplayed, Unavailable
    """
    await memory.use_proof(proof)
    return UsedProof(proof.key)


async def check_sender(
    headers: Headers,
    bound: BoundToken,
    open_desk: Callable[[], ProofDesk],
    *,
    method: str,
    uri: str,
    must_be_bound: bool,
    now: int,
) -> ProvedToken:
    """Scheme -> one proof -> its checks -> the token's key -> once. A bearer token needs none of it but the scheme.

    `open_desk` is called for a token that is bound to a key; `uri` is the configured URI of the request. A proof is
    used up only if it is good and of the token's own key.

    Spec: RFC 9449 §7.1
    Raises: TokenMissing, TokenMalformed, SenderMismatch, ProofRefused, ProofNonceNeeded, ProofReplayed, Unavailable
    """
    due = check_scheme(bound.token, parse_scheme(headers), must_be_bound=must_be_bound)
    if due is None:
        return prove_sender(bound, None, None)  # for most tokens all of it
    presented, desk = parse_presented(headers), open_desk()
    wanted = ProofFor(method=method, uri=uri, nonces=desk.nonces, token=presented.token)
    proof = check_proof(single_proof(headers), wanted, now=now)
    check_key(due, proof.key)
    return prove_sender(bound, due, await use_once(proof, desk.memory))
