"""How another proxy asks: how it is known, and what it says of the request that it holds."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from perhop.core.call import Headers
from perhop.core.secret import Secret
from perhop.errors import HeaderMismatch, RequestMalformed
from perhop.gateway.request import BodyReader, Request
from perhop.rules.mcp_headers import single_header

SECRET = "x-perhop-proxy-secret"
METHOD = "x-original-method"
TARGET = "x-original-uri"
HOST = "x-original-host"
ADDRESS = "x-original-address"
"""What the proxy says of the request that it holds: its own words, written over whatever the request said there."""

_OF_THE_PROXY = ("x-original-", "x-perhop-")
_OF_THE_CONNECTION = frozenset({"host", "connection", "content-length", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class BySocket:
    """Who may open the socket is the proxy: the mode of the file says who may."""


@dataclass(frozen=True, slots=True)
class BySecret:
    """Who knows the secret is the proxy."""

    secret: Secret


Proxy = BySocket | BySecret


@dataclass(frozen=True, slots=True)
class Held:
    """The request that the proxy holds; `target` is its request target, and `has_body` says if its body came along."""

    request: Request
    target: str
    has_body: bool


def is_asked_by(proxy: Proxy, headers: Headers) -> bool:
    """True if these headers came from the proxy."""
    match proxy:
        case BySocket():
            return True
        case BySecret(secret):
            said = [value for name, value in headers if name == SECRET]
            return len(said) == 1 and hmac.compare_digest(said[0].encode("latin-1"), secret.reveal().encode())


def parse_held(headers: Headers, body: BodyReader, *, has_body: bool) -> Held:
    """Read the request that the proxy holds from the one with which it asks.

    Raises: RequestMalformed
    """
    http_method, target, host, address = (_said(headers, each) for each in (METHOD, TARGET, HOST, ADDRESS))
    kept = [
        (name, value)
        for name, value in headers
        if name not in _OF_THE_CONNECTION and not name.startswith(_OF_THE_PROXY)
    ]
    request = Request(http_method=http_method, headers=(("host", host), *kept), address=address, body=body)
    return Held(request, target, has_body)


def _said(headers: Headers, name: str) -> str:
    try:
        value = single_header(headers, name)
    except HeaderMismatch as error:
        raise RequestMalformed(error.detail) from error
    if not value:
        raise RequestMalformed(f"no `{name}`")
    return value
