"""Sessions of the handshake revisions: the upstream's ids, sealed for the client that they belong to.

A session is never authentication: every request brings its own token, and a sealed id opens for its principal only.

Spec: MCP 2025-11-25 transports
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from perhop.core.token import BoundToken
from perhop.errors import OperatorError
from perhop.gateway.open_requests import SessionKey
from perhop.rules.session_seal import KEY_BYTES, NONCE_BYTES, Principal, SealPurpose, seal, unseal


class SessionSealer:
    """Seals with the first key, opens with each: the key in use and at most one predecessor."""

    def __init__(
        self, keys: Sequence[bytes], *, clock: Callable[[], float], random_bytes: Callable[[int], bytes]
    ) -> None:
        if not 1 <= len(keys) <= 2 or any(len(key) != KEY_BYTES for key in keys):
            raise OperatorError(f"session keys: one or two, of {KEY_BYTES} bytes each")
        self._keys = tuple(keys)
        self._clock = clock
        self._random_bytes = random_bytes

    def seal_session(self, upstream_id: str, bound: BoundToken) -> str:
        """The `Mcp-Session-Id` that the client gets."""
        return self._seal(upstream_id, bound, SealPurpose.SESSION, "")

    def seal_event(self, upstream_id: str, bound: BoundToken, session: str | None) -> str:
        """The SSE event id that the client gets; it resumes a stream of this session only."""
        return self._seal(upstream_id, bound, SealPurpose.EVENT, session or "")

    def unseal_session(self, sealed: str, bound: BoundToken) -> str:
        """The upstream's session id.

        Raises: SessionMismatch
        """
        return self._unseal(sealed, bound, SealPurpose.SESSION, "")

    def unseal_event(self, sealed: str, bound: BoundToken, session: str | None) -> str:
        """The upstream's event id.

        Raises: SessionMismatch
        """
        return self._unseal(sealed, bound, SealPurpose.EVENT, session or "")

    def _seal(self, value: str, bound: BoundToken, purpose: SealPurpose, within: str) -> str:
        return seal(
            value,
            Principal.of(bound),
            purpose=purpose,
            within=within,
            key=self._keys[0],
            nonce=self._random_bytes(NONCE_BYTES),
            now=int(self._clock()),
        )

    def _unseal(self, sealed: str, bound: BoundToken, purpose: SealPurpose, within: str) -> str:
        principal = Principal.of(bound)
        now = int(self._clock())
        return unseal(sealed, principal, purpose=purpose, within=within, keys=self._keys, now=now)


def session_key(bound: BoundToken, session: str | None) -> SessionKey:
    """What the open requests of one client's session are kept under."""
    return SessionKey((bound.issuer, bound.subject, bound.agent, bound.resource, bound.tenant or "", session or ""))


def session_fingerprint(session: str) -> str:
    """What the journal keeps of a session: enough to join its records, of no use to open it."""
    return hashlib.sha256(session.encode()).hexdigest()[:16]
