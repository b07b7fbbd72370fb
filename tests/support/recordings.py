"""What a relay kept of a run: requests as a server got them, and whether anything of a token is in them.

A token is looked for by its parts, as they are and as they might be disguised: its signature, also cut, in base64 at
any offset, in hexadecimal and as octets; its claims, as they stand in the token and as JSON. It is looked for in
target, headers and body, which is all there is in a connection; as they came, percent-decoded, and with JSON's escapes
undone. The first part of a token is not looked for: it is the same for all tokens under one key.
"""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

FULL = "full"
"""A file of this name says that a relay had to stop."""

_GRAM = 16
_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*([0-9]+)[ \t]*\r?$")
_CHUNKED = re.compile(rb"(?im)^transfer-encoding:[^\r]*chunked[ \t]*\r?$")
_ENCODED = re.compile(rb"(?im)^content-encoding:")
_ESCAPE = re.compile(rb"\\u([0-9a-fA-F]{4})")
_BEARER = re.compile(rb"(?im)^authorization:[ \t]*bearer[ \t]+([^\r\n \t]+)[ \t]*\r?$")


class RecordingUnreadable(AssertionError):
    """Something was sent in which a token could not be found."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One request: its head as it came, and its body without framing. The last one of a connection may be cut."""

    head: bytes
    body: bytes

    @property
    def bearer(self) -> str | None:
        """The token that it carries."""
        found = _BEARER.search(self.head)
        return found[1].decode("latin-1") if found else None


@dataclass(frozen=True, slots=True)
class Trace:
    """Something of a token, and where it was found."""

    token: str
    form: str
    where: str

    def __str__(self) -> str:
        return f"the {self.form} of a token that ends in `…{self.token[-12:]}`: {self.where}"


@dataclass(frozen=True, slots=True)
class Recordings:
    """The folder into which a relay writes."""

    folder: Path

    def requests(self) -> list[Sent]:
        """Everything that was sent. Raises: RecordingUnreadable."""
        return [sent for octets in self._connections() for sent in parse_requests(octets)]

    def traces(self, tokens: Iterable[str]) -> list[Trace]:
        """What is found of these tokens: empty, where none of them has gone this way. Raises: RecordingUnreadable."""
        looked_for = _Needles(tokens)
        found = [
            trace
            for number, octets in enumerate(self._connections())
            for where, text in _places(number, octets)
            for trace in looked_for.found_in(text, where)
        ]
        return sorted(set(found), key=str)

    def _connections(self) -> Iterator[bytes]:
        if (self.folder / FULL).exists():
            raise RecordingUnreadable(f"more was sent than {self.folder} may hold")
        for file in sorted(self.folder.iterdir()):
            yield file.read_bytes()


def parse_requests(octets: bytes) -> Iterator[Sent]:
    """The requests of one connection. Raises: RecordingUnreadable."""
    while octets:
        head, separator, octets = octets.partition(b"\r\n\r\n")
        if not re.match(rb"[A-Z]+ \S+ HTTP/1\.1(\r\n|$)", head):
            raise RecordingUnreadable(f"no request of HTTP/1.1: {head[:80]!r}")
        if _ENCODED.search(head):
            raise RecordingUnreadable(f"a body that is encoded: {head[:80]!r}")
        body = b""
        if separator and _CHUNKED.search(head):
            body, octets = _unchunked(octets)
        elif separator and (length := _LENGTH.search(head)):
            body, octets = octets[: int(length[1])], octets[int(length[1]) :]
        yield Sent(head, body)


def _unchunked(octets: bytes) -> tuple[bytes, bytes]:
    body = b""
    while octets:
        line, _, octets = octets.partition(b"\r\n")
        try:
            size = int(line.partition(b";")[0] or b"0", 16)
        except ValueError:
            raise RecordingUnreadable(f"no size of a chunk: {line[:40]!r}") from None
        body, octets = body + octets[:size], octets[size + 2 :] if size else octets
        if not size:
            break
    _, _, rest = octets.partition(b"\r\n")
    return body, rest


def _places(number: int, octets: bytes) -> Iterator[tuple[str, bytes]]:
    if _CHUNKED.search(octets):
        yield f"connection {number}, its chunks' framing included", octets
    for sent in parse_requests(octets):
        request_line, _, headers = sent.head.partition(b"\r\n")
        yield f"target of {request_line[:60]!r}", request_line
        yield f"headers of {request_line[:60]!r}", headers
        yield f"body of {request_line[:60]!r}", sent.body


def _readings(text: bytes) -> set[bytes]:
    """The text, and what it says once it is decoded, also several times over."""
    seen = {text}
    for _ in range(3):
        seen |= {unquote_to_bytes(each) for each in seen}
        seen |= {_ESCAPE.sub(lambda found: chr(int(found[1], 16)).encode("utf-8", "replace"), each) for each in seen}
    return seen


class _Needles:
    """All forms of all tokens, by how they begin and how long they are: one look at each place of a text finds any."""

    def __init__(self, tokens: Iterable[str]) -> None:
        self._named: dict[bytes, tuple[str, str]] = {}
        self._lengths: dict[bytes, set[int]] = defaultdict(set)
        for token in set(tokens):
            for form, octets in _forms(token):
                if len(octets) >= _GRAM:
                    self._named[octets] = token, form
                    self._lengths[octets[:_GRAM]].add(len(octets))

    def found_in(self, text: bytes, where: str) -> Iterator[Trace]:
        for reading in _readings(text):
            for start in range(len(reading) - _GRAM + 1):
                for length in self._lengths.get(reading[start : start + _GRAM], ()):
                    if named := self._named.get(reading[start : start + length]):
                        yield Trace(*named, where)


def _forms(token: str) -> Iterator[tuple[str, bytes]]:
    whole = token.encode("latin-1")
    parts = whole.split(b".")
    if len(parts) != 3:
        yield from _pieces("text", whole)
        return
    # A whole token holds its claims and its signature: it is found by these.
    _, claims, signature = parts
    yield "claims", claims
    yield from (("claims in base64", each) for each in _base64_forms(claims))
    yield "claims as JSON", _octets(claims)
    yield from _pieces("signature's octets", _octets(signature))
    yield from _pieces("signature", signature)


def _pieces(form: str, secret: bytes) -> Iterator[tuple[str, bytes]]:
    """What is random is looked for in pieces, so that half of it is found as well."""
    spellings = {
        form: [secret, secret.translate(bytes.maketrans(b"-_", b"+/"))],
        f"{form} in base64": list(_base64_forms(secret)),
        f"{form} in hexadecimal": [secret.hex().encode(), secret.hex().upper().encode()],
    }
    for name, texts in spellings.items():
        for text in texts:
            for start in range(0, len(text) - _GRAM + 1, _GRAM):
                yield name, text[start : start + _GRAM]


def _base64_forms(text: bytes) -> Iterator[bytes]:
    """The text within any longer text, in base64: at each of three offsets, in both alphabets."""
    for offset in range(3):
        whole = text[offset:]
        coded = base64.b64encode(whole[: len(whole) // 3 * 3])
        yield coded
        yield coded.translate(bytes.maketrans(b"+/", b"-_"))


def _octets(part: bytes) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except ValueError:
        return b""
