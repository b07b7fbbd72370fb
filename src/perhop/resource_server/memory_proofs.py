"""Used proofs of possession in the memory of one process.

Their nonces are made with a key of this process, so a proof that another process has seen, or this one before it began,
carries a nonce that is not taken here: nothing needs to be remembered of it.

Spec: RFC 9449 §11.1
"""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Callable

from perhop.core.proof import CheckedProof
from perhop.errors import ProofReplayed, ReplayUnavailable

MAX_PROOFS = 200_000
"""Proofs that are remembered: some 50 MB. A proof counts for two minutes, so this is 1,600 requests in a second."""
MAX_OF_ONE_KEY = MAX_PROOFS // 2
"""No sender can fill the memory alone for everybody."""
NONCE_KEY_BYTES = 32


class MemoryProofs:
    """Bounded by the time for which a proof counts, and by numbers: beyond `most`, or beyond `most_of_one` of one key,
    nothing is taken."""

    def __init__(
        self, *, clock: Callable[[], float], most: int = MAX_PROOFS, most_of_one: int = MAX_OF_ONE_KEY
    ) -> None:
        self._clock = clock
        self._most = most
        self._most_of_one = most_of_one
        self._used: set[str] = set()
        self._of_key: Counter[str] = Counter()
        # By the last second in which they are taken, and by key: what is over goes without a walk over the rest.
        self._ending: dict[int, dict[str, list[str]]] = {}
        self._looked_at = 0
        self._forgotten = 0
        self._process = os.getpid()
        self._nonce_key = secrets.token_bytes(NONCE_KEY_BYTES)

    def nonce_key(self) -> bytes:
        """Of this process: one that was forked has a memory of its own from then on, and so another key."""
        if self._process != os.getpid():
            self._process, self._nonce_key = os.getpid(), secrets.token_bytes(NONCE_KEY_BYTES)
        return self._nonce_key

    def use(self, proof: CheckedProof) -> None:
        """Use this proof up. Nothing is awaited, so no second use can come between.

        Raises: ProofReplayed, ReplayUnavailable
        """
        now = int(self._clock())
        if now != self._looked_at:
            self._forget(now)
        # INVARIANT: what came is known, or is older than what was forgotten; no clock can bring it back.
        digest = proof.digest
        if digest in self._used or proof.until <= self._forgotten:
            raise ProofReplayed("the proof came before")
        if len(self._used) >= self._most:
            raise ReplayUnavailable(f"{self._most} proofs came within two minutes")
        if self._of_key[proof.key] >= self._most_of_one:
            raise ReplayUnavailable(f"{self._most_of_one} proofs of one key came within two minutes")
        self._used.add(digest)
        self._of_key[proof.key] += 1
        self._ending.setdefault(proof.until, {}).setdefault(proof.key, []).append(digest)

    def _forget(self, now: int) -> None:
        """Once a second: there are as many ends as seconds in which a proof may end, so two minutes of them."""
        self._looked_at = now
        for until in [each for each in self._ending if each < now]:
            self._forgotten = max(self._forgotten, until)
            for key, digests in self._ending.pop(until).items():
                self._used.difference_update(digests)
                self._of_key[key] -= len(digests)
                if not self._of_key[key]:
                    del self._of_key[key]
