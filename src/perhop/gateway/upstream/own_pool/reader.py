"""Reads the answers of one connection, one after another: llhttp says where each part begins and ends.

Beyond what llhttp refuses by itself, an answer is refused whose end could be read in two ways, or could not be told
from a connection that broke. Octets that belong to no answer are noticed and given to nobody.

Spec: RFC 9112 §6.3
Spec: RFC 9112 §9.8
Spec: RFC 9112 §11.2
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NoReturn

import httptools

from perhop.errors import UpstreamUnavailable
from perhop.gateway.upstream.interface import OF_THE_BODY
from perhop.gateway.upstream.own_pool.answer import Answer

MAX_HEAD_BYTES = 64 * 1024
"""Of an answer's head, the heads of the interim answers before it included."""

MAX_FIELDS = 256
"""Headers of an answer."""

MAX_INTERIM_ANSWERS = 8
MAX_DRY_BYTES = 64 * 1024
"""Of a body in chunks without anything of the body among them: extensions and trailers."""

_MOST_NAMES = 512
_names: dict[bytes, str] = {}


class _Framing(Enum):
    """How the end of a body is told."""

    NO_BODY = auto()
    LENGTH = auto()
    CHUNKS = auto()
    CLOSE = auto()


class _Stop(Exception):
    """What is wrong, out of the parser's callbacks."""


class Reader:
    """`expect` names the answer that the next octets belong to, `feed` takes them.

    `has_tls`: asyncio does not say whether the other end has closed a connection in order, or somebody between cut it.
    """

    def __init__(self) -> None:
        self.has_tls = False
        self._parser = httptools.HttpResponseParser(self)
        self._answer: Answer | None = None
        self._problem = ""
        self.is_whole = False
        self._begin()

    def _begin(self) -> None:
        self._framing: _Framing | None = None
        self._fields: list[tuple[bytes, bytes]] = []
        self._head_left = MAX_HEAD_BYTES
        self._interim = 0
        self._is_interim = False
        self._keeps_alive = False
        self._has_more = False
        self._piece = b""
        self._tail = b""
        self._dry = 0

    def expect(self, answer: Answer) -> None:
        """What is fed from now on is this answer's, and all that has come of it."""
        if self._answer is not None:
            self._begin()
        self._answer = answer
        self.is_whole = False

    def feed(self, data: bytes) -> None:
        """Read on. What has come of the answer is in it when this returns, or raises.

        Raises: UpstreamUnavailable
        """
        if self._framing is None:
            # However the octets were cut on their way, the head ends within its bound or it does not.
            left = self._head_left
            self._head_left = left - len(data)
            if self._head_left < 0:
                self._feed(data[:left])
                self._check_that_the_head_has_come()
                if self.is_whole:
                    self._has_more = True
                    return
                data = data[left:]
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        is_all_body = self._framing is not None
        self._piece = b""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.is_whole:
                raise UpstreamUnavailable(f"upstream: {self._problem or 'no answer of HTTP/1.1'}") from error
            # The answer stands: what is wrong is behind it.
            self._has_more = True
        if self.is_whole:
            self._has_more = self._has_more or not self._ends_with(data, is_all_body)
        else:
            self._tail = (self._tail + data[-5:])[-5:]
            if self._framing is _Framing.CHUNKS:
                self._bound_what_is_no_body(len(data))

    def ends_with_the_connection(self) -> bool:
        """True if the end of the connection is the end of the answer."""
        return self._framing is _Framing.CLOSE

    @property
    def may_go_on(self) -> bool:
        """True if the answer is whole, the server keeps the connection, and nothing has come behind the answer."""
        return self.is_whole and self._keeps_alive and not self._has_more

    @property
    def is_plain(self) -> bool:
        """True if the answer is whole, its head gave the length of its body, and nothing came before or behind it."""
        return self.is_whole and self._framing is _Framing.LENGTH and not self._has_more and not self._interim

    def _check_that_the_head_has_come(self) -> None:
        if self._framing is None:
            raise UpstreamUnavailable(f"upstream: a head of more than {MAX_HEAD_BYTES} bytes")

    def _ends_with(self, data: bytes, is_all_body: bool) -> bool:
        """False if empty lines follow the answer: llhttp passes over those without a word."""
        piece = b""
        if self._framing is _Framing.LENGTH:
            piece = self._piece
            if is_all_body:
                return len(piece) == len(data)
            if not data.endswith(piece):
                return False
            if piece.strip(b"\r\n"):
                return True
        # All is line ends from the end of the head or of the last chunk on: two of them, and a body of line ends.
        ended = self._tail + data
        return len(ended) - len(ended.rstrip(b"\r\n")) == 4 + len(piece)

    def _bound_what_is_no_body(self, octets: int) -> None:
        self._dry = 0 if self._piece else self._dry + octets
        if self._dry > MAX_DRY_BYTES:
            raise UpstreamUnavailable(f"upstream: more than {MAX_DRY_BYTES} bytes of chunks that hold nothing")

    # What llhttp calls.

    def on_message_begin(self) -> None:
        if self.is_whole:
            raise _Stop

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers come here, too, and are nobody's: the headers are made when the head ends.
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        status = parser.get_status_code()
        fields, self._fields = self._fields, []
        if len(fields) > MAX_FIELDS:
            self._stop(f"more than {MAX_FIELDS} headers")
        if status < 200:
            self._pass_over(status)
            return
        version = parser.get_http_version()
        if version != "1.1" and version != "1.0":
            self._stop("no answer of HTTP/1.1")
        headers = []
        framing, says_close = None, version == "1.0"
        for octets, value in fields:
            name = _names.get(octets) or _named(octets)
            text = value.decode("latin-1").rstrip(" \t")
            if name in OF_THE_BODY:
                framing = self._framing_by(name, text.lower(), framing, version)
                continue
            headers.append((name, text))
            if name == "connection":
                says_close = says_close or "close" in text.lower()
        if status == 204 or status == 304:
            framing = _Framing.NO_BODY
        elif framing is None:
            if not says_close:
                self._stop("an answer that does not say where it ends")
            if self.has_tls:
                # RFC 9112 §9.8: it would be whole only with TLS's own word that it has ended.
                self._stop("an answer over TLS that only the end of its connection ends")
            framing = _Framing.CLOSE
        self._framing = framing
        self._keeps_alive = parser.should_keep_alive()
        if self._answer is not None:
            self._answer.begin(status, tuple(headers))

    def on_body(self, piece: bytes) -> None:
        self._piece = piece
        answer = self._answer
        if answer is not None:
            answer.add(piece)

    def on_message_complete(self) -> None:
        if self._is_interim:
            self._is_interim = False
        else:
            self.is_whole = True

    def _pass_over(self, status: int) -> None:
        """An interim answer: the one that was asked for is still to come."""
        self._interim += 1
        if status < 100 or status == 101:
            self._stop(f"it answered with {status}")
        if self._interim > MAX_INTERIM_ANSWERS:
            self._stop(f"more than {MAX_INTERIM_ANSWERS} interim answers")
        self._is_interim = True

    def _framing_by(self, name: str, value: str, before: _Framing | None, version: str) -> _Framing:
        if name == "content-length" and before is None:
            return _Framing.LENGTH
        if before is not None or value != "chunked" or version == "1.0":
            self._stop("a transfer coding that is not `chunked` alone")
        return _Framing.CHUNKS

    def _stop(self, problem: str) -> NoReturn:
        self._problem = problem
        raise _Stop(problem)


def _named(octets: bytes) -> str:
    """A header's name in lower case, remembered for the next answer."""
    name = octets.lower().decode("ascii")
    if len(_names) < _MOST_NAMES:
        _names[octets] = name
    return name
