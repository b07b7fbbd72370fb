"""Tokens that a guard has admitted: the next request with one costs a look at what can have changed, and no check.

What is kept is found by the token's fingerprint, which is the SHA-256 of its whole text; the text is not kept. Only
bearer tokens that are bound to no call are: all else is used up, and comes once.

Spec: RFC 9068 §4
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from perhop.core.token import ProvedToken, VerifiedToken
from perhop.errors import Refused, Unavailable
from perhop.resource_server.revocation_feed import RevocationFeed
from perhop.resource_server.trusted_issuer import TrustedIssuer
from perhop.rules.lifetime import MAX_LIFETIME
from perhop.tokens.keys import VerifyKey

MOST_KNOWN = 16_384
_BEARER = b"Bearer "
"""As clients write it; under another spelling the token is read by the full rule."""


class _Known:
    """One token, and what its admission followed from. `since` and `until` are seconds since the epoch."""

    __slots__ = ("feed", "issuer", "keys", "proved", "since", "token", "until")

    def __init__(
        self, proved: ProvedToken, issuer: TrustedIssuer, feed: RevocationFeed, keys: Mapping[str, VerifyKey], now: int
    ) -> None:
        self.proved = proved
        self.token = proved.bound.token
        self.issuer = issuer
        self.feed = feed
        self.keys = keys
        # Times that let it pass at this second let it pass until it expires. What the leeway gives beyond, and clocks
        # that were set back, are for the full rule.
        self.since = now
        self.until = self.token.expires_at


class KnownTokens:
    """The tokens of one guard: of one audience, and of one rule for senders. Their number and their age have an end.

    INVARIANT: a token counts as admitted only if this very text was admitted here, its issuer's keys at hand are the
    very set under which it was verified, its times let it pass in this second, and its feed, heard, refuses it now as
    little as any other.
    """

    def __init__(self, *, most: int = MOST_KNOWN) -> None:
        self._most = most
        self._by_fingerprint: dict[str, _Known] = {}
        self._began = 0

    def __len__(self) -> int:
        return len(self._by_fingerprint)

    def keep(
        self,
        proved: ProvedToken,
        *,
        issuer: TrustedIssuer,
        feed: RevocationFeed,
        keys: Mapping[str, VerifyKey],
        now: int,
    ) -> None:
        """The token was admitted. `keys` are those of its issuer under which it was verified, at the second `now`."""
        token = proved.bound.token
        if token.sender is not None or token.call is not None:
            return
        if len(self._by_fingerprint) >= self._most or not 0 <= now - self._began <= MAX_LIFETIME:
            self._by_fingerprint, self._began = {}, now
        self._by_fingerprint[token.fingerprint] = _Known(proved, issuer, feed, keys, now)

    def find(self, authorization: bytes, *, now: int, must_be_fresh: bool) -> ProvedToken | None:
        """The token of an `Authorization` header, where it would be admitted at once; None says nothing.

        Does NOT look whether a proof came beside it.
        """
        if authorization[:7] != _BEARER:
            return None
        known = self._by_fingerprint.get(sha256(authorization[7:]).hexdigest())
        if (
            known is None
            or not known.since <= now < known.until
            # The same object, not one that looks alike: keys that were fetched anew verify anew.
            or known.issuer.keys_at_hand(now) is not known.keys
            or not known.feed.is_heard()
            or not _is_in_force(known.feed, known.token, must_be_fresh=must_be_fresh)
        ):
            return None
        return known.proved


def _is_in_force(feed: RevocationFeed, token: VerifiedToken, *, must_be_fresh: bool) -> bool:
    """Why not is for the full rule to say."""
    try:
        feed.check(token, must_be_fresh=must_be_fresh)
    except (Refused, Unavailable):
        return False
    return True
