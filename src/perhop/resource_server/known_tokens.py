"""Tokens that a guard has admitted: the next request with one costs a look at what can have changed, and no check.

What is kept is found by the token's fingerprint, which is the SHA-256 of its whole text; the text is not kept. Only
bearer tokens that are bound to no call are: all else is used up, and comes once.

Spec: RFC 9068 §4
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from perhop.core.token import ProvedToken
from perhop.resource_server.revocation_feed import RevocationFeed
from perhop.resource_server.trusted_issuer import TrustedIssuer
from perhop.rules.lifetime import MAX_LIFETIME
from perhop.tokens.keys import VerifyKey

MOST_KNOWN = 16_384
_BEARER = b"Bearer "
"""As clients write it; under another spelling the token is read by the full rule."""


class _Known:
    """One token, and what its admission followed from. `since` and `until` are seconds since the epoch."""

    __slots__ = ("feed", "heard", "issuer", "keys", "proved", "since", "until")

    def __init__(
        self,
        proved: ProvedToken,
        issuer: TrustedIssuer,
        keys: Mapping[str, VerifyKey],
        feed: RevocationFeed,
        heard: int,
        now: int,
    ) -> None:
        self.proved = proved
        self.issuer = issuer
        self.keys = keys
        self.feed = feed
        self.heard = heard
        # Times that let it pass at this second let it pass until it expires. What the leeway gives beyond, and clocks
        # that were set back, are for the full rule.
        self.since = now
        self.until = proved.bound.token.expires_at


class KnownTokens:
    """The tokens of one guard: of one audience, and of one rule for senders. Their number and their age have an end.

    INVARIANT: a token counts as admitted only if this very text was admitted here, its issuer's keys at hand are the
    very set under which it was verified, its times let it pass in this second, and its feed has told nothing since it
    passed.
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
        keys: Mapping[str, VerifyKey],
        feed: RevocationFeed,
        heard: int,
        now: int,
    ) -> None:
        """The token was admitted: verified under these keys of its issuer at the second `now`, and refused by none of
        so many revocations of the feed."""
        token = proved.bound.token
        if token.sender is not None or token.call is not None:
            return
        if len(self._by_fingerprint) >= self._most or not 0 <= now - self._began <= MAX_LIFETIME:
            self._by_fingerprint, self._began = {}, now
        self._by_fingerprint[token.fingerprint] = _Known(proved, issuer, keys, feed, heard, now)

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
            or known.feed.heard() != known.heard
            or (must_be_fresh and not known.feed.is_fresh)
        ):
            return None
        return known.proved
