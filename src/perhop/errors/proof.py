"""What is wrong with the proof of possession that comes with a request.

Spec: RFC 9449 §7.1
Spec: RFC 9449 §5
"""

from __future__ import annotations

from perhop.errors.bearer import BearerRefused
from perhop.errors.token_endpoint import CodeInvalid, RefreshInvalid, TokenRefused


class SenderMismatch(BearerRefused):
    """The token is bound to a key, and the request does not prove possession of it. Spec: RFC 9449 §7.1.

    `key` is the thumbprint of the key whose possession was proved instead, if one was.
    """

    reason = "sender.mismatch"

    def __init__(self, detail: str = "", *, key: str | None = None) -> None:
        super().__init__(detail)
        self.key = key


class ProofRefused(BearerRefused):
    """The proof is missing, malformed, or not of this request. Spec: RFC 9449 §4.3."""

    error = "invalid_dpop_proof"
    description = "the proof of possession is not valid here"
    reason = "sender.mismatch"


class ProofReplayed(ProofRefused):
    """The proof came before. Spec: RFC 9449 §11.1."""

    reason = "token.replayed"


class ProofNonceNeeded(ProofRefused):
    """The proof is good but for its nonce: none, an old one, or another server's. Spec: RFC 9449 §8."""

    error = "use_dpop_nonce"
    description = "the proof of possession needs a nonce of this server"


class TokenProofRefused(TokenRefused):
    """The token endpoint does not take the proof, or wants one; carries the reason. Spec: RFC 9449 §5."""

    error = "invalid_dpop_proof"
    description = ProofRefused.description
    reason = "sender.mismatch"

    def __init__(self, fact: ProofRefused) -> None:
        super().__init__(fact.detail)
        self.fact = fact


class TokenNonceNeeded(TokenProofRefused):
    """The same, for a nonce. Spec: RFC 9449 §8."""

    error = "use_dpop_nonce"
    description = ProofNonceNeeded.description


class CodeOfAnotherKey(CodeInvalid):
    """The code is bound to another key than the request proves, if it proves one. Spec: RFC 9449 §10."""

    reason = "sender.mismatch"


class RefreshOfAnotherKey(RefreshInvalid):
    """The refresh token is bound to another key than the request proves, if it proves one. Spec: RFC 9449 §5."""

    reason = "sender.mismatch"
