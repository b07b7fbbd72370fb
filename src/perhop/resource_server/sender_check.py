"""The sender of a token at one guard: what is asked of it, and the nonces for its proofs.

Spec: RFC 9449 §7
Spec: RFC 9449 §9
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from perhop.core.call import Headers
from perhop.core.proof import CheckedProof
from perhop.core.resource import ResourceUri, SenderConstraint
from perhop.core.token import BoundToken, ProvedToken
from perhop.errors import ProofNonceNeeded, ReplayUnavailable, SettingsError
from perhop.resource_server.single_use import SingleUse
from perhop.rules.bearer import Presented, uses_dpop
from perhop.rules.dpop_nonce import Nonces
from perhop.rules.sender import check_scheme, prove_sender
from perhop.tokens.possession import ProofDesk, check_sender

NONCE_HEADER = "dpop-nonce"


class SenderCheck:
    """Raises: SettingsError, for a `sender` that is neither `any` nor `dpop`."""

    def __init__(
        self,
        resource: ResourceUri,
        *,
        sender: SenderConstraint | str,
        used: SingleUse,
        clock: Callable[[], float],
    ) -> None:
        self.must_be_bound = _parse_sender(sender) is SenderConstraint.DPOP
        self._resource = resource
        self._used = used
        self._clock = clock

    def prove_bearer(self, bound: BoundToken, presented: Presented) -> ProvedToken:
        """A token that is bound to no key, from anybody, unless none is taken here without a proof.

        Raises: SenderMismatch
        """
        due = check_scheme(bound.token, presented.scheme, must_be_bound=self.must_be_bound)
        return prove_sender(bound, due, None)

    async def prove(self, bound: BoundToken, headers: Headers, *, method: str, uri: str) -> ProvedToken:
        """The token, from whoever may send it. A bearer token needs no store, so it passes where there is none.

        Raises: SenderMismatch, ProofRefused, ProofNonceNeeded, ProofReplayed, ReplayUnavailable
        """
        await self._used.start_late()
        return await check_sender(
            headers, bound, self._desk, method=method, uri=uri, must_be_bound=self.must_be_bound, now=self._now()
        )

    def nonce_for(self, headers: Headers) -> Headers:
        """Whoever speaks of proofs hears the nonce for the next one. Spec: RFC 9449 §9."""
        if not uses_dpop(headers):
            return ()
        try:
            return ((NONCE_HEADER, self._desk().nonces.current(self._now())),)
        except ReplayUnavailable:
            return ()  # no proof is taken now, with whatever nonce

    def _desk(self) -> ProofDesk:
        """Raises: ReplayUnavailable."""
        key = self._used.nonce_key()
        return ProofDesk(nonces=Nonces(key, self._resource), memory=_UnderKey(key, self._used))

    def _now(self) -> int:
        return int(self._clock())


@dataclass(frozen=True, slots=True)
class _UnderKey:
    """Remembers proofs that came with nonces of this key."""

    key: bytes = field(repr=False)
    used: SingleUse

    async def use_proof(self, proof: CheckedProof) -> None:
        """Raises: ProofReplayed, ProofNonceNeeded, ReplayUnavailable."""
        await self.used.use_proof(proof)
        if self.used.nonce_key() != self.key:
            # The store was lost meanwhile, and what it is by now may not know of a first use.
            raise ProofNonceNeeded("the nonce is of a memory that is gone")


def _parse_sender(sender: SenderConstraint | str) -> SenderConstraint:
    try:
        return SenderConstraint(sender)
    except ValueError as error:
        raise SettingsError(f"`{sender}` is not what a guard asks of senders", advice="write any or dpop") from error
