"""The key that a client's tokens are bound to, and the nonces that servers gave for its proofs.

Spec: RFC 9449 §4.2
Spec: RFC 9449 §8
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable

import httpx2

from perhop.core.secret import Secret
from perhop.tokens.keys import SigningKey
from perhop.tokens.proof_signing import sign_proof

NEEDS_NONCE = "use_dpop_nonce"

# RFC 9449 §8.1: nonce = 1*NQCHAR
_NONCE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,1024}")


class ProofKey:
    """Makes a fresh proof for each request. One server's nonce is never shown to another."""

    def __init__(self, key: SigningKey | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._key = SigningKey.generate() if key is None else key
        self._clock = clock
        self._nonces: dict[str, str] = {}

    @property
    def algorithm(self) -> str:
        """How proofs are signed, as metadata spells it."""
        return self._key.algorithm.value

    @property
    def thumbprint(self) -> str:
        """What names the key. Spec: RFC 7638 §3."""
        return self._key.kid

    def as_pem(self) -> Secret:
        """The private key, for a file of mode 0600."""
        return self._key.as_pem()

    def proof(self, method: str, url: httpx2.URL, *, token: Secret | None = None) -> str:
        """A proof for one request, with the newest nonce of its server.

        Spec: RFC 9449 §4.2
        """
        return sign_proof(
            key=self._key,
            method=method,
            url=str(url.copy_with(query=None, fragment=None)),
            jti=secrets.token_urlsafe(16),
            now=int(self._clock()),
            token=token,
            nonce=self._nonces.get(_origin(url)),
        )

    def hear(self, url: httpx2.URL, headers: httpx2.Headers) -> bool:
        """Keep the nonce of an answer; true if there is one, and it is new.

        Spec: RFC 9449 §8.2
        """
        nonces = headers.get_list("dpop-nonce")
        if len(nonces) != 1 or _NONCE.fullmatch(nonces[0]) is None or self._nonces.get(_origin(url)) == nonces[0]:
            return False
        self._nonces[_origin(url)] = nonces[0]
        return True


def _origin(url: httpx2.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode('ascii')}"
