"""The headers that mirror an MCP body: read, compared with the body, and written anew.

A decision is made on the body; a header only may agree with it. Of `Mcp-Param-*` only repeats are looked at here:
whoever knows the tool's schema compares them, with `mcp_param_headers`.

Spec: MCP 2026-07-28 transports
"""

from __future__ import annotations

import base64
import binascii
import re

from perhop.core.call import HeaderFields, Headers, values_of
from perhop.errors import HeaderMismatch

VERSION = "mcp-protocol-version"
METHOD = "mcp-method"
NAME = "mcp-name"
PARAM_PREFIX = "mcp-param-"
SESSION = "mcp-session-id"
LAST_EVENT = "last-event-id"

_MIRRORED = (VERSION, METHOD, NAME, PARAM_PREFIX)
_SENTINEL = re.compile(r"=\?base64\?(.*)\?=", re.DOTALL)
_LOOKS_LIKE_SENTINEL = re.compile(r"=\?base64\?.*\?=", re.DOTALL | re.IGNORECASE)
_PLAIN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
# A tab may stand in a field's value, and is not written there by us.
_READABLE = re.compile(r"[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?")


def single_header(headers: Headers, name: str) -> str | None:
    """The value of a header that may come once, without the optional white space around it; None if absent.

    Spec: RFC 9110 §5.5
    Raises: HeaderMismatch
    """
    values = values_of(headers, name)
    if len(values) > 1:
        raise HeaderMismatch(f"{len(values)} `{name}` headers")
    return values[0].strip(" \t") if values else None


def decode_mirrored(value: str) -> str:
    """The text that a mirrored header stands for: plain, or base64 of UTF-8 between the sentinels.

    Spec: MCP 2026-07-28 transports
    Raises: HeaderMismatch
    """
    sentinel = _SENTINEL.fullmatch(value)
    if sentinel is None:
        if not _READABLE.fullmatch(value):
            raise HeaderMismatch("a mirrored header holds characters that must be encoded")
        return value
    try:
        octets = base64.b64decode(sentinel[1], validate=True)
        text = octets.decode("utf-8")
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise HeaderMismatch("a mirrored header is not base64 of UTF-8") from error
    # One text has one encoding, or two readers could see two names.
    if base64.b64encode(octets).decode() != sentinel[1]:
        raise HeaderMismatch("a mirrored header is not canonical base64")
    return text


def encode_mirrored(text: str) -> str:
    """How a text is written into a mirrored header.

    Spec: MCP 2026-07-28 transports
    """
    if _PLAIN.fullmatch(text) and not _LOOKS_LIKE_SENTINEL.fullmatch(text):
        return text
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def check_method_header(headers: Headers, method: str, *, required: bool) -> None:
    """Compare `Mcp-Method` with the body's method; where it is not required it may be absent, but not wrong.

    Spec: MCP 2026-07-28 transports
    Raises: HeaderMismatch
    """
    written = single_header(headers, METHOD)
    if (written is not None or required) and written != method:
        raise HeaderMismatch("`Mcp-Method` does not match the body")


def check_name_header(headers: Headers, name: str) -> None:
    """Compare `Mcp-Name` with what the body names.

    Spec: MCP 2026-07-28 transports
    Raises: HeaderMismatch
    """
    mirrored = single_header(headers, NAME)
    if mirrored is None or decode_mirrored(mirrored) != name:
        raise HeaderMismatch("`Mcp-Name` does not match the body")


def check_no_repeats(headers: Headers) -> None:
    """Refuse a mirrored header that came twice: two readers could take two values.

    Spec: MCP 2026-07-28 transports
    Raises: HeaderMismatch
    """
    if type(headers) is HeaderFields and len(headers) == len(headers.by_name):
        return  # nothing at all came twice
    names = [name for name, _ in headers if name.startswith(_MIRRORED)]
    if len(set(names)) != len(names):
        raise HeaderMismatch("a mirrored header came more than once")


def mirrored_headers(*, revision: str, method: str, name: str | None) -> Headers:
    """The mirrored headers of a body, written from the body alone.

    Spec: MCP 2026-07-28 transports
    """
    written = ((VERSION, revision), (METHOD, method))
    return written if name is None else (*written, (NAME, encode_mirrored(name)))
