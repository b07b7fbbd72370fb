"""Resource URIs: one resource has one spelling.

At input, scheme and host are lowered, the default port and the lone `/` of a bare origin are dropped. Everything
else that is not canonical is refused, never repaired: a repair here and none there is a second identity.
Says nothing of whether a resource is registered.

Spec: RFC 8707 §2
Spec: RFC 3986 §6.2
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address

from perhop.core.resource import ResourceUri
from perhop.errors import TargetInvalid

_SHORT_URI = 256
MAX_URI_LENGTH = 2048
_MAX_HOST_LENGTH = 253  # RFC 1035 §2.3.4, without the trailing dot
_DEFAULT_PORTS = {"http": 80, "https": 443}

_VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")
# RFC 3986 §3: URI = scheme ":" "//" authority path-abempty [ "?" query ] [ "#" fragment ]
_SHAPE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?")
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::(.*))?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?!\Z)|\Z)){4}")
# pchar of RFC 3986 §3.3 without `;`, which parsers treat as parameters, and `*`, which reads as a wildcard
_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()+,=:@%-]+)*/?")
_QUERY = re.compile(r"[A-Za-z0-9._~!$&'()+,=:@%/?-]+")
_ESCAPES = re.compile(r"(?:%[0-9A-F]{2})+")
# What may stand escaped: ASCII that a URI cannot hold literally and that no decoder takes for a delimiter.
_ESCAPABLE = frozenset(' "<>[]^`{|}')


@dataclass(frozen=True, slots=True)
class HttpUri:
    """The parts of an absolute http or https URI, each canonical; `port` is None for the scheme's default."""

    scheme: str
    host: str
    port: int | None
    path: str
    query: str | None

    @property
    def origin(self) -> str:
        """Scheme, host and port. Spec: RFC 6454 §6.2."""
        return f"{self.scheme}://{self.host}" + (f":{self.port}" if self.port is not None else "")

    def __str__(self) -> str:
        return self.origin + self.path + (f"?{self.query}" if self.query is not None else "")


def parse_resource_uri(text: str) -> ResourceUri:
    """The canonical form of a resource URI.

    Does not look whether the resource is registered.

    Spec: RFC 8707 §2
    Spec: MCP 2026-07-28 authorization
    Raises: TargetInvalid
    """
    return _parse_short(text) if len(text) <= _SHORT_URI else ResourceUri(str(parse_http_uri(text)))


# The same few come with every request; what is refused is not kept.
@lru_cache(maxsize=1024)
def _parse_short(text: str) -> ResourceUri:
    return ResourceUri(str(parse_http_uri(text)))


def parse_http_uri(text: str) -> HttpUri:
    """Split an absolute http or https URI, refusing every spelling that is not canonical.

    Spec: RFC 3986 §3
    Raises: TargetInvalid
    """
    if len(text) > MAX_URI_LENGTH:
        raise TargetInvalid(f"the URI is longer than {MAX_URI_LENGTH} characters")
    if _VISIBLE_ASCII.fullmatch(text) is None:
        raise TargetInvalid("the URI is empty or holds a space, a control or a non-ASCII character")
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise TargetInvalid("the URI is not absolute")
    scheme, authority, path, query, fragment = shape.groups()
    if fragment is not None:
        raise TargetInvalid("the URI has a fragment")
    scheme = scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        raise TargetInvalid("the scheme is neither http nor https")
    host, port = _parse_authority(authority, scheme)
    _check_path(path)
    if query is None:
        # The lone `/` of a bare origin. Spec: RFC 3986 §6.2.3
        path = "" if path == "/" else path
    elif path == "":
        raise TargetInvalid("the URI has a query and no path")
    else:
        _check_query(query)
    return HttpUri(scheme=scheme, host=host, port=port, path=path, query=query)


def _parse_authority(authority: str, scheme: str) -> tuple[str, int | None]:
    if "@" in authority:
        raise TargetInvalid("the URI has user information")
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise TargetInvalid("the host is not well formed")
    host, port_text = match.groups()
    port = None if port_text is None else _parse_port(port_text)
    return _parse_host(host.lower()), None if port == _DEFAULT_PORTS[scheme] else port


def _parse_port(text: str) -> int:
    if _PORT.fullmatch(text) is None or int(text) > 65535:
        raise TargetInvalid("the port is empty, zero, too large or has leading zeros")
    return int(text)


def _parse_host(host: str) -> str:
    if host.startswith("["):
        return _parse_ipv6(host)
    if len(host) > _MAX_HOST_LENGTH:
        raise TargetInvalid("the host is too long")
    labels = host.split(".")
    if any(_LABEL.fullmatch(label) is None for label in labels):
        raise TargetInvalid("the host is empty, ends in a dot or is not a DNS name")
    # Anything whose last label is a number is an IPv4 address to some resolver. Spec: RFC 3986 §7.4
    if _NUMERIC_LABEL.fullmatch(labels[-1]) is not None and _IPV4.fullmatch(host) is None:
        raise TargetInvalid("the host is an odd form of an IPv4 address")
    return host


def _parse_ipv6(host: str) -> str:
    """Only the form of RFC 5952 §4, and no IPv4 address in IPv6 clothes, which would be its second spelling."""
    literal = host[1:-1]
    try:
        address = IPv6Address(literal)
    except ValueError:
        raise TargetInvalid("the host is not an IPv6 address") from None
    if "%" in literal or "." in literal or address.ipv4_mapped is not None or str(address) != literal:
        raise TargetInvalid("the host is an odd form of an IPv6 address")
    return host


def _check_path(path: str) -> None:
    if _PATH.fullmatch(path) is None:
        raise TargetInvalid("the path holds `//`, `;`, `*` or a character that no path holds")
    if any(segment in (".", "..") for segment in path.split("/")):
        raise TargetInvalid("the path holds a dot segment")
    _check_escapes(path)


def _check_query(query: str) -> None:
    if _QUERY.fullmatch(query) is None:
        raise TargetInvalid("the query is empty or holds a character that is refused")
    _check_escapes(query)


def _check_escapes(part: str) -> None:
    """Refuse percent-encoding that is needless, lower case, double, not UTF-8, or that hides a delimiter.

    Spec: RFC 3986 §6.2.2
    """
    if "%" in _ESCAPES.sub("", part):
        raise TargetInvalid("percent-encoding is incomplete or lower case")
    for match in _ESCAPES.finditer(part):
        try:
            decoded = bytes.fromhex(match[0].replace("%", "")).decode("utf-8")
        except UnicodeDecodeError:
            raise TargetInvalid("percent-encoding is not UTF-8") from None
        if any(not (char.isprintable() if char > "\x7f" else char in _ESCAPABLE) for char in decoded):
            raise TargetInvalid("percent-encoding is needless or hides a delimiter or a control character")
