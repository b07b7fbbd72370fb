"""Tokens that were verified, kept so that the next request with the same token costs no signature.

What is kept is found by the SHA-256 of the whole token as it came, so one octet more or less is another token; and it
is used only while everything holds that verification looked at. The text of a token is not kept, and no refusal is.

Spec: RFC 9068 §4
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from perhop.core.token import VerifiedToken
from perhop.rules.lifetime import MAX_LIFETIME, Leeway, seconds_accepted
from perhop.tokens.keys import VerifyKey
from perhop.tokens.parse import CompactJws, parse_compact
from perhop.tokens.verify import IssuerKeys, verify_parsed

GENERATION = 25_000
"""Tokens that are kept at the most are twice as many: those that came lately, and those that came before these."""


@dataclass(frozen=True, slots=True)
class _Kept:
    token: VerifiedToken
    key_id: str
    key: VerifyKey
    seconds: range


class ReadToken:
    """A token as it came. Nothing in it is verified, also where it has been before."""

    __slots__ = ("_jws", "digest", "kept", "raw")

    def __init__(self, raw: str, digest: bytes, kept: _Kept | None) -> None:
        self.raw = raw
        self.digest = digest
        self.kept = kept
        self._jws: CompactJws | None = None

    def __repr__(self) -> str:
        return f"ReadToken(sha256:{self.digest.hex()[:12]})"

    @property
    def claimed_issuer(self) -> object:
        """What stands as `iss`: good for choosing among the issuers that are trusted, and for nothing else.

        Raises: TokenMalformed
        """
        return self.jws.payload.get("iss") if self.kept is None else self.kept.token.issuer

    @property
    def jws(self) -> CompactJws:
        """Its parts, read once. Raises: TokenMalformed."""
        if self._jws is None:
            self._jws = parse_compact(self.raw)
        return self._jws


class KeptTokens:
    """Verified tokens of one place, which takes all of them with the same leeway. Their number has an end.

    INVARIANT: a token is taken without its signature only if this very text was verified under this very key, the key
    still is the one that its issuer has under this name, and the second is one in which its times let it pass.
    """

    def __init__(self, leeway: Leeway, *, generation: int = GENERATION) -> None:
        self._leeway = leeway
        self._generation = generation
        self._young: dict[bytes, _Kept] = {}
        self._old: dict[bytes, _Kept] = {}
        self._began = 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def read(self, raw: str) -> ReadToken:
        """Look whether this token is kept. Does not refuse anything."""
        digest = hashlib.sha256(raw.encode("utf-8", "surrogatepass")).digest()
        return ReadToken(raw, digest, self._young.get(digest) or self._old.get(digest))

    def verify(self, read: ReadToken, *, keys: IssuerKeys, now: int) -> VerifiedToken:
        """Verify a token as `tokens.verify.verify` does, with the same answers; its signature once only.

        Does NOT check what `verify` does not.

        Spec: RFC 9068 §4
        Raises: TokenMalformed, TokenTypeWrong, TokenSignatureInvalid, TokenIssuerUnknown, TokenKeyUnknown,
            TokenNotYetValid, TokenLifetimeTooLong, TokenExpired, AudienceMissing, AudienceMultiple
        """
        kept = read.kept
        if kept is not None and now in kept.seconds:
            of_issuer = keys.get(kept.token.issuer)
            # The same object, not one that looks alike: keys that were fetched or loaded anew verify anew.
            if of_issuer is not None and of_issuer.get(kept.key_id) is kept.key:
                if read.digest not in self._young:
                    self._keep(read.digest, kept, now=now)
                return kept.token
        return self._verify_anew(read, keys=keys, now=now)

    def _verify_anew(self, read: ReadToken, *, keys: IssuerKeys, now: int) -> VerifiedToken:
        jws = read.jws
        found = verify_parsed(read.raw, jws, keys=keys, now=now, leeway=self._leeway)
        token = found.token
        seconds = seconds_accepted(
            issued_at=token.issued_at,
            not_before=found.not_before,
            expires_at=token.expires_at,
            leeway=self._leeway,
        )
        assert jws.key_id is not None, "a key was found by it"
        self._keep(read.digest, _Kept(token, jws.key_id, found.key, seconds), now=now)
        return token

    def _keep(self, digest: bytes, kept: _Kept, *, now: int) -> None:
        """Those of before go when these are too many, or so long ago that none of those can still be good."""
        if len(self._young) >= self._generation or not 0 <= now - self._began <= MAX_LIFETIME:
            self._old, self._young, self._began = self._young, {}, now
        self._young[digest] = kept
