"""Passwords of local accounts: argon2id, one amount of work whether the account exists or not."""

from __future__ import annotations

import asyncio
import base64
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from perhop.authorization_server.store import Account

MAX_PASSWORD_BYTES = 1024
MAX_EMAIL_CHARACTERS = 254
_PARALLEL_CHECKS = 2


def parse_email(text: str) -> str:
    """The one spelling under which an account is kept and looked up."""
    # Cut first: what it takes to normalise a text grows with the square of its length, and everybody waits meanwhile.
    return unicodedata.normalize("NFC", text[:MAX_EMAIL_CHARACTERS]).strip().lower()[:MAX_EMAIL_CHARACTERS]


def typed_email(text: str | None) -> str:
    """What stands as the address in a form that is shown again: as it was typed, no longer than an address is."""
    return (text or "")[:MAX_EMAIL_CHARACTERS]


class Passwords:
    """Hashes and checks passwords in threads, a few at a time, so that sign-ins cannot take all memory."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._nobodys_hash = _nobodys_hash(self._hasher)
        self._turn = asyncio.Semaphore(_PARALLEL_CHECKS)

    def hash(self, password: str) -> str:
        """The hash to keep; blocks for as long as a check takes."""
        return self._hasher.hash(_prepare(password))

    async def is_right(self, account: Account | None, password: str) -> bool:
        """True if this is the account's password. Does not look whether the account may sign in."""
        kept = account.password_hash if account is not None else self._nobodys_hash
        async with self._turn:
            right = await asyncio.to_thread(self._is_match, kept, password)
        return right and account is not None

    def _is_match(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, _prepare(password))
        except (VerificationError, InvalidHashError):
            return False


def _nobodys_hash(hasher: PasswordHasher) -> str:
    """The hash of no password, as much work to check as a real one. Written, not computed: commands make this too."""
    salt, digest = (base64.b64encode(bytes(size)).rstrip(b"=").decode() for size in (hasher.salt_len, hasher.hash_len))
    costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v=19${costs}${salt}${digest}"


def _prepare(password: str) -> bytes:
    """Normalized, since keyboards differ; cut, never refused, at a bound that nobody types.

    Spec: RFC 8265 §4.2.2
    """
    return unicodedata.normalize("NFC", password[:MAX_PASSWORD_BYTES]).encode()[:MAX_PASSWORD_BYTES]
