"""What a relay kept of a run: requests as a server got them, and whether anything of a token is in them.

A token is looked for in every form that `tests.support.needles` knows; in target, headers and body, which is all there
is in a connection; as they came, percent-decoded, and with JSON's escapes undone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.needles import PIECE, Needles, forms_of, readings_of

FULL = "full"
"""A file of this name says that a relay had to stop."""

_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*([0-9]+)[ \t]*\r?$")
_CHUNKED = re.compile(rb"(?im)^transfer-encoding:[^\r]*chunked[ \t]*\r?$")
_ENCODED = re.compile(rb"(?im)^content-encoding:")
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
        looked_for: Needles[tuple[str, str]] = Needles()
        for token in tokens:
            for form, needle in forms_of(token):
                if len(needle) >= PIECE:
                    looked_for.add(needle, (token, form))
        found = [
            Trace(token, form, where)
            for number, octets in enumerate(self._connections())
            for where, text in _places(number, octets)
            for reading in readings_of(text)
            for _, (token, form) in looked_for.found_in(reading)
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
