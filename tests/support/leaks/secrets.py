"""What must not leak, as far as the run knows it, and how it is found: by value, tokens and keys also by form."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, quote_plus

from tests.support.needles import SHORTEST, Needles, base64_forms, forms_of, readings_of


class Kind(StrEnum):
    """What kind of thing a secret is."""

    TOKEN = "token"
    REFRESH_TOKEN = "refresh token"
    ASSERTION = "client assertion"
    CLIENT_SECRET = "client secret"
    PASSWORD = "password"
    PRIVATE_KEY = "private key"
    CODE = "authorization code"
    VERIFIER = "code verifier"
    COOKIE = "cookie"
    SEAL = "form seal"
    SESSION = "session id"
    ARGUMENT = "argument value"


RANDOM = {
    Kind.TOKEN,
    Kind.REFRESH_TOKEN,
    Kind.ASSERTION,
    Kind.PRIVATE_KEY,
    Kind.CODE,
    Kind.COOKIE,
    Kind.SEAL,
    Kind.SESSION,
}
"""Of these a piece is as good as the whole. Of what people choose, a piece may be an ordinary word."""

COMPACT = re.compile(rb"eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}")
"""The form of a token: three parts, of which the first is a JSON object."""

_PEM = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----")
_JWK = re.compile(rb'"d":\s*"[A-Za-z0-9_-]{40,}"')
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]+")
_OPENINGS = (b'{"alg":"', b'{"typ":"', b'{"kid":"')
_ENCODED = re.compile(rb"%[0-9A-Fa-f]{2}|\\u[0-9a-fA-F]{4}")
_WORD = re.compile(rb"[^\s\"'<>]+")
_WRAPPED = "a token's beginning, in base64"
_CUT = 100
_DIVERSE = 6
"""What has fewer different octets may be anywhere: the signature of a forged token may be zeros."""


@dataclass(frozen=True, slots=True)
class Found:
    """A secret that is in a text, from this octet on. It is never shown itself."""

    kind: Kind
    fingerprint: str
    place: int

    def __str__(self) -> str:
        return f"{self.kind} {self.fingerprint}"


def fingerprint(secret: str | bytes) -> str:
    """What stands for a secret where it is spoken of."""
    octets = secret.encode("utf-8", "replace") if isinstance(secret, str) else secret
    return f"sha256:{hashlib.sha256(octets).hexdigest()[:12]} ({len(octets)} octets)"


class Secrets:
    """Every secret that the run knows. What is shorter than `SHORTEST` could be anything, and is not looked for."""

    def __init__(self) -> None:
        self._kinds: dict[str, Kind] = {}
        self._waiting: list[tuple[str, Kind]] = []
        self._needles: Needles[tuple[Kind, str]] = Needles()
        for opening in _OPENINGS:
            for form in set(base64_forms(base64.b64encode(opening)[:10] + b"J")):
                self._needles.add(form, (Kind.TOKEN, _WRAPPED))

    def note(self, secret: str, kind: Kind) -> None:
        """Look for this from now on."""
        if len(secret) >= SHORTEST and secret not in self._kinds:
            self._kinds[secret] = kind
            self._waiting.append((secret, kind))

    def known(self) -> Counter[Kind]:
        """How many of each kind are looked for."""
        return Counter(self._kinds.values())

    def found_in(self, text: bytes, *, is_decoded: bool = True) -> list[Found]:
        """Every secret in this text, each once, where it begins first; also in what it says once it is decoded."""
        for secret, kind in self._waiting:
            name = kind, fingerprint(secret)
            for form in _forms(secret, kind):
                self._needles.add(form, name)
        self._waiting.clear()
        found: dict[tuple[Kind, str], Found] = {}
        for each in self._seen_in(text):
            found.setdefault((each.kind, each.fingerprint), each)
        if is_decoded and (encoded := _encoded_words(text)):
            for reading in readings_of(encoded) - {encoded}:
                for each in self._seen_in(reading):
                    found.setdefault((each.kind, each.fingerprint), Found(each.kind, each.fingerprint, -1))
        return list(found.values())

    def _seen_in(self, text: bytes) -> Iterator[Found]:
        if b"eyJ" in text:
            yield from (Found(self._kind_of(each), fingerprint(each), place) for place, each in _tokens_in(text))
        for key in (*_PEM.finditer(text), *_JWK.finditer(text)):
            yield Found(Kind.PRIVATE_KEY, fingerprint(text[key.start() : key.end() + _CUT]), key.start())
        for place, (kind, name) in self._needles.found_in(text):
            if name is not _WRAPPED:
                yield Found(kind, name, place)
                continue
            for token in _wrapped_at(text, place):
                yield Found(self._kind_of(token), f"{fingerprint(token)} in base64", place)

    def _kind_of(self, token: bytes) -> Kind:
        return self._kinds.get(token.decode("ascii"), Kind.TOKEN)


def _tokens_in(text: bytes) -> Iterator[tuple[int, bytes]]:
    """What has the form of a token, and a first part that can be read."""
    for match in COMPACT.finditer(text):
        first = match[0].partition(b".")[0]
        try:
            header = json.loads(base64.urlsafe_b64decode(first + b"=" * (-len(first) % 4)))
        except ValueError:
            continue
        if isinstance(header, dict):
            yield match.start(), match[0]


def _wrapped_at(text: bytes, place: int) -> Iterator[bytes]:
    """The tokens in the base64 that begins somewhere before this place, and goes on after it."""
    start = place
    while start > 0 and _BASE64.match(text[start - 1 : start]) and place - start < 1024:
        start -= 1
    run = _BASE64.match(text, start)
    if run is None:
        return
    coded = run[0].replace(b"-", b"+").replace(b"_", b"/")
    for offset in range(4):
        whole = coded[offset:]
        for _, token in _tokens_in(base64.b64decode(whole[: len(whole) // 4 * 4])):
            yield token


def _encoded_words(text: bytes) -> bytes:
    """The words in which something is percent-encoded, or escaped as JSON does."""
    if (b"%" not in text and b"\\u" not in text) or not _ENCODED.search(text):
        return b""
    return b"\n".join(word for word in _WORD.findall(text) if _ENCODED.search(word))


def _forms(secret: str, kind: Kind) -> set[bytes]:
    """The octets that give this secret away."""
    whole = secret.encode("utf-8", "replace")
    forms = {
        whole,
        html.escape(secret).encode("utf-8", "replace"),
        json.dumps(secret)[1:-1].encode(),
        json.dumps(secret, ensure_ascii=False)[1:-1].encode("utf-8", "replace"),
        quote(secret, errors="replace").encode(),
        quote_plus(secret, errors="replace").encode(),
    }
    if kind in RANDOM:
        pieces = dict.fromkeys(octets for _, octets in forms_of(secret, disguised_in_part=False))
        forms |= {piece[:_CUT] for piece in pieces}
    else:
        forms |= {whole.hex().encode(), *base64_forms(whole)}
    return {form for form in forms if len(form) >= SHORTEST and len(set(form)) >= _DIVERSE}
