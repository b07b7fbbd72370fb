"""The octets of a request: what is the same for every call to one upstream is rendered once.

Spec: RFC 9112 §3
Spec: RFC 9112 §5
"""

from __future__ import annotations

import re

from yarl import URL

from perhop.core.call import Headers
from perhop.rules.mcp_headers import LAST_EVENT, PARAM_PREFIX, SESSION
from perhop.rules.trace_context import TRACEPARENT

_METHODS = ("POST", "GET", "DELETE")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2: token
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"})
"""Where a request ends, and what becomes of the connection, is nobody's to say but ours."""

MOST_KEPT = 256
LONGEST_KEPT = 2048
"""Callers choose what stands in headers: neither how many are kept nor how long they are may fill our memory."""

_NEVER_KEPT = ("authorization", SESSION, LAST_EVENT, TRACEPARENT, PARAM_PREFIX)

_MOST_NAMES = 1024
"""Of names that were looked at and are remembered."""


class RequestForm:
    """Renders the requests to one URL."""

    def __init__(self, url: URL) -> None:
        target, host = url.raw_path_qs, url.host_port_subcomponent
        if url.raw_user is not None or host is None:
            raise ValueError("a URL of an upstream names a host, and no user")
        begun = f"{_checked(target)} HTTP/1.1\r\nhost: {_checked(host)}\r\n"
        self._begun = {each: f"{each} {begun}".encode() for each in _METHODS}
        self._known_names: set[str] = set()
        self._kept: dict[Headers, bytes] = {}

    def render(self, http_method: str, headers: Headers, body: bytes, own: Headers = ()) -> bytes:
        """The whole request, its own headers last; only a POST has a body.

        Raises: ValueError for a method, a name or a value that cannot stand in a request
        """
        begun = self._begun.get(http_method)
        if begun is None:
            raise ValueError("no method that an MCP server knows")
        lines = self._kept.get(headers)
        if lines is None:
            lines = self._lines(headers)
            self._keep(headers, lines)
        if http_method != "POST":
            return b"%b%b%b\r\n" % (begun, lines, self._lines(own))
        return b"%b%b%bcontent-length: %d\r\n\r\n%b" % (begun, lines, self._lines(own), len(body), body)

    def _lines(self, headers: Headers) -> bytes:
        lines = ""
        for name, value in headers:
            if name not in self._known_names:
                self._check_name(name)
            # INVARIANT: one line for each header. A value that ends a line would begin another header, or another
            # request.
            if "\r" in value or "\n" in value or "\x00" in value:
                raise ValueError("a header's value ends its line")
            lines += f"{name}: {value}\r\n"
        return lines.encode("latin-1")

    def _keep(self, headers: Headers, lines: bytes) -> None:
        """For the next call that has the same; never what is secret, or of one call alone."""
        if len(lines) <= LONGEST_KEPT and not any(name.startswith(_NEVER_KEPT) for name, _ in headers):
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[headers] = lines

    def _check_name(self, name: str) -> None:
        if _NAME.fullmatch(name) is None:
            raise ValueError("not a header's name")
        if name.lower() in _OURS:
            raise ValueError("a header that is written by the connection")
        if len(self._known_names) < _MOST_NAMES:
            self._known_names.add(name)


def _checked(text: str) -> str:
    """Part of a URL as it goes into the head: printable ASCII without a space."""
    if re.fullmatch(r"[\x21-\x7e]+", text) is None:
        raise ValueError("a URL of an upstream is printable ASCII")
    return text
