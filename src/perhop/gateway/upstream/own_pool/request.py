"""The octets of a request: what is the same for every call to one upstream is rendered once.

Spec: RFC 9112 §3
Spec: RFC 9112 §5
"""

from __future__ import annotations

import re

from yarl import URL

from perhop.core.call import Headers

_METHODS = ("POST", "GET", "DELETE")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2: token
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"})
"""Where a request ends, and what becomes of the connection, is nobody's to say but ours."""

_MOST_NAMES = 1024
"""Of names that were looked at and are remembered."""


class RequestForm:
    """Renders the requests to one URL."""

    def __init__(self, url: URL) -> None:
        target, host = url.raw_path_qs, url.host_port_subcomponent
        if url.raw_user is not None or host is None:
            raise ValueError("a URL of an upstream names a host, and no user")
        self._begun = {each: f"{each} {_checked(target)} HTTP/1.1\r\nhost: {_checked(host)}\r\n" for each in _METHODS}
        self._known_names: set[str] = set()

    def render(self, http_method: str, headers: Headers, body: bytes) -> bytes:
        """The whole request; only a POST has a body.

        Raises: ValueError for a method, a name or a value that cannot stand in a request
        """
        begun = self._begun.get(http_method)
        if begun is None:
            raise ValueError("no method that an MCP server knows")
        for name, _ in headers:
            if name not in self._known_names:
                self._check_name(name)
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
        # INVARIANT: one line for each header. A value that ends a line would begin another header, or another request.
        if lines.count("\r") != len(headers) or lines.count("\n") != len(headers) or "\x00" in lines:
            raise ValueError("a header's value ends its line")
        if http_method != "POST":
            return f"{begun}{lines}\r\n".encode("latin-1")
        return f"{begun}{lines}content-length: {len(body)}\r\n\r\n".encode("latin-1") + body

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
