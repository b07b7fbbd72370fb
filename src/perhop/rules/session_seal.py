"""Sealed session and event ids: the upstream's own values, readable by nobody else and good for one principal.

A value is encrypted under a key that is derived from the principal and the purpose, so that a value of another
principal, another purpose or another session does not open at all. It opens for 24 hours.

Spec: MCP 2025-11-25 transports
Spec: NIST SP 800-38D
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from perhop.core.token import BoundToken
from perhop.errors import SessionMismatch
from perhop.rules import base64url

KEY_BYTES = 32
NONCE_BYTES = 12
SEAL_SECONDS = 24 * 3600
MAX_SEALED_LENGTH = 8 * 1024

_TIME_BYTES = 8


class SealPurpose(StrEnum):
    """What a sealed value is; one never opens as the other."""

    SESSION = "session"
    EVENT = "event"


@dataclass(frozen=True, slots=True)
class Principal:
    """Whom a session belongs to: everything of a token that must not change within it."""

    issuer: str
    subject: str
    agent: str
    audience: str
    tenant: str | None

    @classmethod
    def of(cls, bound: BoundToken) -> Principal:
        return cls(bound.issuer, bound.subject, bound.agent, bound.resource, bound.tenant)


def seal(
    value: str, principal: Principal, *, purpose: SealPurpose, within: str, key: bytes, nonce: bytes, now: int
) -> str:
    """Seal a value for a principal. `within` is the session that an event id belongs to, else empty.

    `nonce` must be random and used once.

    Spec: NIST SP 800-38D
    """
    cipher = AESGCM(_derive(key, principal, purpose, within))
    text = (now + SEAL_SECONDS).to_bytes(_TIME_BYTES, "big") + value.encode()
    return base64url.encode(nonce + cipher.encrypt(nonce, text, None))


def unseal(
    sealed: str, principal: Principal, *, purpose: SealPurpose, within: str, keys: Sequence[bytes], now: int
) -> str:
    """Open a sealed value. Whatever is wrong with it, the answer is the same.

    Raises: SessionMismatch
    """
    if len(sealed) > MAX_SEALED_LENGTH:
        raise SessionMismatch("too long for a sealed value")
    try:
        octets = base64url.decode(sealed)  # one sealed value has one spelling
    except ValueError:
        raise SessionMismatch("not a sealed value") from None
    nonce, text = octets[:NONCE_BYTES], octets[NONCE_BYTES:]
    for key in keys:
        try:
            opened = AESGCM(_derive(key, principal, purpose, within)).decrypt(nonce, text, None)
        except (InvalidTag, ValueError):
            continue
        if int.from_bytes(opened[:_TIME_BYTES], "big") <= now:
            raise SessionMismatch("the sealed value is too old")
        return opened[_TIME_BYTES:].decode()
    raise SessionMismatch("the value was not sealed by us for this principal")


def _derive(key: bytes, principal: Principal, purpose: SealPurpose, within: str) -> bytes:
    bound_to = [
        "perhop session seal 1",
        purpose.value,
        principal.issuer,
        principal.subject,
        principal.agent,
        principal.audience,
        principal.tenant,
        within,
    ]
    return hmac.new(key, json.dumps(bound_to).encode(), hashlib.sha256).digest()
