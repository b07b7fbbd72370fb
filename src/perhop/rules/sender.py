"""Sender: a token that is bound to a key counts with proof of that key only, and every other one without.

Spec: RFC 9449 §7
"""

from __future__ import annotations

from typing import assert_never

from perhop.core.proof import UsedProof
from perhop.core.token import BoundToken, ProvedToken, SenderKey, SenderUnprovable, VerifiedToken
from perhop.errors import SenderMismatch
from perhop.rules.bearer import Scheme


def check_scheme(token: VerifiedToken, scheme: Scheme, *, must_be_bound: bool) -> SenderKey | None:
    """The key of which a proof is due; None for a bearer token, which comes as such.

    `must_be_bound` is for a resource that takes no bearer tokens at all.

    Spec: RFC 9449 §7.1
    Spec: RFC 9449 §7.2
    Raises: SenderMismatch
    """
    match token.sender:
        case SenderUnprovable():
            raise SenderMismatch("the token is bound to what is not taken here as a proof")
        case SenderKey() if scheme is Scheme.DPOP:
            return token.sender
        case SenderKey():
            raise SenderMismatch("the token is bound to a key, and comes as a mere bearer token")
        case None if scheme is Scheme.DPOP:
            raise SenderMismatch("the token is bound to no key, and comes as if it were")
        case None if must_be_bound:
            raise SenderMismatch("the token is bound to no key, and no other is taken here")
        case None:
            return None
        case _:
            assert_never(token.sender)


def check_key(sender: SenderKey, key: str) -> None:
    """Refuse a proof under another key than the one that the token is bound to.

    Spec: RFC 9449 §4.3
    Raises: SenderMismatch
    """
    if key != sender.thumbprint:
        raise SenderMismatch("the token is bound to another key", key=key)


def prove_sender(bound: BoundToken, due: SenderKey | None, proof: UsedProof | None) -> ProvedToken:
    """The token, from whoever may send it. `due` is what `check_scheme` gave, `proof` what was used up for it.

    Raises: SenderMismatch
    """
    if due != bound.token.sender or (due is None) != (proof is None):
        raise SenderMismatch("possession of the token's key is not proved")
    if due is not None and proof is not None:
        check_key(due, proof.key)
    return ProvedToken(bound)
