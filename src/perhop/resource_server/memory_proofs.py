"""Used proofs of possession in the memory of one process.

Their nonces are made with a key of this process, so a proof that another process has seen, or this one before it began,
carries a nonce that is not taken here: nothing needs to be remembered of it.

Spec: RFC 9449 §11.1
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable

from perhop.core.proof import CheckedProof
from perhop.errors import ProofReplayed, ReplayUnavailable
from perhop.resource_server.replay import TIDY_EVERY

MAX_PROOFS = 200_000
"""Proofs that are remembered: some 50 MB. A proof counts for two minutes, so this is 1,600 requests in a second."""
NONCE_KEY_BYTES = 32


class MemoryProofs:
    """Bounded by the time for which a proof counts, and by a number: beyond `most` nothing is taken."""

    def __init__(self, *, clock: Callable[[], float], most: int = MAX_PROOFS) -> None:
        self._clock = clock
        self._most = most
        self._used: dict[str, int] = {}
        self._forgotten = 0
        self._uses = 0
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
        # INVARIANT: what came is known, or is older than what was forgotten; no clock can bring it back.
        if proof.digest in self._used or proof.until <= self._forgotten:
            raise ProofReplayed("the proof came before")
        if len(self._used) >= self._most:
            self._forget()
            if len(self._used) >= self._most:
                raise ReplayUnavailable(f"{self._most} proofs came within two minutes")
        self._used[proof.digest] = proof.until
        self._uses += 1
        if self._uses % TIDY_EVERY == 0:
            self._forget()

    def _forget(self) -> None:
        now = self._clock()
        old = [until for until in self._used.values() if until < now]
        self._forgotten = max([self._forgotten, *old])
        self._used = {digest: until for digest, until in self._used.items() if until >= now}
