"""Single use: what is asked of a store that remembers which call tokens, and which proofs of possession, were used. One
for all processes of a resource.

A token is known by its issuer and `jti`, never by its text: one ES256 signature can be written in two ways.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

from perhop.core.proof import CheckedProof
from perhop.core.resource import ResourceUri
from perhop.core.token import VerifiedToken
from perhop.rules.lifetime import MAX_SKEW

TIDY_EVERY = 1000
"""How many uses go by between two looks for what may be forgotten."""


class ReplayStore(Protocol):
    """Remembers what was used. Write one of your own for servers on several machines."""

    def start(self, resource: ResourceUri) -> None:
        """Called before the first use, in a thread: it may wait for a disk.

        Raises: SettingsError, where single use cannot be kept
        """
        ...

    async def use(self, token: VerifiedToken) -> None:
        """Use this token up; atomic over all processes, and remembered until the token has expired.

        Raises: TokenReplayed, ReplayUnavailable
        """
        ...

    async def use_proof(self, proof: CheckedProof) -> None:
        """Use this proof of possession up; atomic over all processes, and remembered until `proof.until` has passed.

        Raises: ProofReplayed, ReplayUnavailable
        """
        ...

    def nonce_key(self) -> bytes:
        """32 random bytes, the same for all processes that remember proofs together, and for nobody else.

        INVARIANT: whoever takes a nonce of this key remembers the proofs that came with it. A store that forgets
        proofs when it starts anew must come back with another key.

        Must not wait for a disk or a network: it is called on the event loop. It is asked for again after `use_proof`,
        and where it is another one by then the proof is refused.

        Raises: ReplayUnavailable, also where it is not known before `start`
        """
        ...

    def stop(self) -> None:
        """Called when the guard stops, in a thread; it may start again."""
        ...


def use_key(token: VerifiedToken) -> str:
    """By what a used token is known."""
    return hashlib.sha256(f"{token.issuer}\n{token.jti}".encode()).hexdigest()


def last_use(token: VerifiedToken) -> int:
    """A second after which no guard takes the token, whatever its leeway and its clock."""
    return token.expires_at + 2 * MAX_SKEW


def is_forgotten_at(token: VerifiedToken) -> int:
    """What was to be remembered until here may go: `iat` of a token that was verified is the time, or a minute more."""
    return token.issued_at - MAX_SKEW
