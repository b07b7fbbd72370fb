"""The Authorization header: where an access token is read, and the only place where it is read.

A token in the query string or in a form is never looked at.

Spec: RFC 6750 §2.1
Spec: RFC 9449 §7.1
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from perhop.core.call import HeaderFields, Headers, values_of
from perhop.errors import TokenMalformed, TokenMissing

MAX_TOKEN_BYTES = 8 * 1024

# RFC 6750 §2.1: credentials = "Bearer" 1*SP b64token. RFC 9110 §11.4 has one space, and one is all that we take, so
# that no two parsers on the way can cut the value in different places.
_CREDENTIALS = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?: (.*))?", re.ASCII | re.DOTALL)
_B64TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*", re.ASCII)


class Scheme(StrEnum):
    """How a token is presented: alone, or with a proof of possession. Spec: RFC 6750 §2.1, RFC 9449 §7.1."""

    BEARER = "Bearer"
    DPOP = "DPoP"


@dataclass(frozen=True, slots=True)
class Presented:
    """The one token of a request, as it came; `token` does not print."""

    scheme: Scheme
    token: str

    def __repr__(self) -> str:
        return f"Presented({self.scheme})"


_SCHEMES = {scheme.value.lower(): scheme for scheme in Scheme}


def parse_presented(headers: Headers) -> Presented:
    """Read the one token of a request, and the scheme under which it comes. Does not look into the token.

    Another scheme is an unsupported way to authenticate, so no token came (RFC 6750 §3.1): the challenge then carries
    no `error`.

    Spec: RFC 6750 §2.1
    Spec: RFC 6750 §3.1
    Spec: RFC 9449 §7.1
    Raises: TokenMissing, TokenMalformed
    """
    values = _authorization(headers)
    if not values:
        raise TokenMissing("no Authorization header")
    if len(values) > 1:
        raise TokenMalformed(f"{len(values)} Authorization headers")
    named, space, token = values[0].partition(" ")
    scheme = _SCHEMES.get(named.lower()) if named.isascii() else None
    if scheme is None:
        if _CREDENTIALS.fullmatch(values[0]) is None:
            raise TokenMalformed("the Authorization header is not `scheme SP token`")
        raise TokenMissing("the Authorization header uses another scheme")
    if not space or not is_b64token(token):
        raise TokenMalformed(f"what follows `{scheme}` is not one token of at most {MAX_TOKEN_BYTES} bytes")
    return Presented(scheme, token)


def parse_scheme(headers: Headers) -> Scheme:
    """The scheme of a request whose token has been read, under the same rules; the token is not looked at again.

    Spec: RFC 6750 §2.1
    Spec: RFC 9449 §7.1
    Raises: TokenMissing, TokenMalformed
    """
    values = _authorization(headers)
    scheme = _SCHEMES.get(values[0].partition(" ")[0].lower()) if len(values) == 1 else None
    return parse_presented(headers).scheme if scheme is None else scheme


def _authorization(headers: Headers) -> Sequence[str]:
    if type(headers) is HeaderFields:
        return values_of(headers, "authorization")
    # No other length can become this name, so that most names cost a look at their length.
    return [value for name, value in headers if len(name) == 13 and name.lower() == "authorization"]


def uses_dpop(headers: Headers) -> bool:
    """True for a request whose sender speaks of proofs, in a good way or not: it is answered in these words.

    Spec: RFC 9449 §7.1
    """
    if type(headers) is HeaderFields:
        by_name = headers.by_name
        if "dpop" in by_name:
            return True
        return any(value[:5].lower() == "dpop " for value in by_name.get("authorization", ()))
    for name, value in headers:
        length = len(name)
        if length == 4 and name.lower() == "dpop":
            return True
        if length == 13 and value[:5].lower() == "dpop " and name.lower() == "authorization":
            return True
    return False


def is_b64token(text: str) -> bool:
    """True for a text that may stand as a bearer token, and is not longer than we take.

    Spec: RFC 6750 §2.1
    """
    return len(text) <= MAX_TOKEN_BYTES and _B64TOKEN.fullmatch(text) is not None
