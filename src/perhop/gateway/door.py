"""The door: what is looked at before any token, so that a web page cannot reach a gateway on somebody's machine.

Spec: MCP 2026-07-28 transports
Spec: RFC 9110 §7.2
Spec: RFC 9110 §7.6.1
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from perhop.core.call import HeaderFields, values_of
from perhop.core.resource import Resource, ResourceUri
from perhop.errors import HttpMethodNotAllowed, OriginRefused, RequestMalformed
from perhop.gateway.request import Request

HTTP_METHODS = frozenset({"GET", "POST", "DELETE"})

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_LOOPBACK_V4 = re.compile(r"127\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}")
_REMEMBERED = 1024
_REMEMBERED_LENGTH = 256
_DEFAULT_PORTS = {"http": "80", "https": "443"}

# What clients name here in practice. Naming any other header asks the next hop to drop it, and what is dropped may be
# what was just checked.
_CONNECTION_OPTIONS = frozenset({"keep-alive", "close", "upgrade", "http2-settings", "te"})


# Whoever calls sends the same few values with every request.
_let_in_before: set[tuple[object, ...]] = set()


def check_door(request: Request, resource: Resource) -> None:
    """Refuse by method, framing, `Host` and `Origin`; nothing of the caller is known yet.

    Spec: RFC 9110 §7.6.1
    Spec: RFC 9112 §6.3
    Raises: HttpMethodNotAllowed, RequestMalformed, OriginRefused
    """
    if _is_as_before(request, resource):
        return
    if request.http_method not in HTTP_METHODS:
        raise HttpMethodNotAllowed(f"method `{request.http_method[:16]}`")
    _check_framing(request)
    _check_host(request, resource)
    _check_origin(request, resource)
    _let_in(request, resource)


def _is_as_before(request: Request, resource: Resource) -> bool:
    """True for what was let in before by everything that is looked at here; an origin is looked at each time."""
    headers = request.headers
    if type(headers) is not HeaderFields:
        return False
    fields = headers.by_name
    return (
        "origin" not in fields
        and "transfer-encoding" not in fields
        and len(fields.get("content-length", ())) < 2
        and (request.http_method, fields.get("host"), fields.get("connection"), resource.uri) in _let_in_before
    )


def _let_in(request: Request, resource: Resource) -> None:
    headers = request.headers
    if type(headers) is not HeaderFields:
        return
    host, connection = headers.by_name.get("host", ()), headers.by_name.get("connection")
    if sum(map(len, (*host, *(connection or ())))) <= _REMEMBERED_LENGTH:
        if len(_let_in_before) >= _REMEMBERED:
            _let_in_before.clear()
        _let_in_before.add((request.http_method, host, connection, resource.uri))


def is_loopback(host: str) -> bool:
    """True for a name or an address of the machine itself."""
    name = host.lower().strip("[]")
    return name in ("localhost", "::1") or name.endswith(".localhost") or _LOOPBACK_V4.fullmatch(name) is not None


def _check_framing(request: Request) -> None:
    for value in values_of(request.headers, "connection"):
        if not _is_known_connection(value):
            raise RequestMalformed("`Connection` names a header")
    lengths = values_of(request.headers, "content-length")
    if len(lengths) > 1 or (lengths and values_of(request.headers, "transfer-encoding")):
        raise RequestMalformed("the length of the body is stated twice")


def _check_host(request: Request, resource: Resource) -> None:
    hosts = values_of(request.headers, "host")
    if len(hosts) == 1 and _is_host_of(hosts[0], resource.uri):
        return
    if len(hosts) != 1 or _HOST.fullmatch(hosts[0]) is None:
        raise RequestMalformed("no `Host`, several, or none that names a host")
    raise OriginRefused(f"host `{hosts[0][:128]}`")


def _check_origin(request: Request, resource: Resource) -> None:
    """A browser names the page's origin, a client that is none sends no `Origin`."""
    origins = values_of(request.headers, "origin")
    if not origins:
        return
    scheme, separator, authority = origins[0].partition("://")
    match = _HOST.fullmatch(authority) if separator and len(origins) == 1 else None
    is_ours = match is not None and _is_origin(scheme.lower(), match["name"], match["port"], resource.uri)
    if not is_ours:
        raise OriginRefused(f"origin `{origins[0][:128]}`")


def _is_known_connection(value: str) -> bool:
    return {each.strip().lower() for each in value.split(",") if each.strip()} <= _CONNECTION_OPTIONS


def _is_host_of(value: str, resource: ResourceUri) -> bool:
    match = _HOST.fullmatch(value)
    return match is not None and _is_authority(match["name"], match["port"], resource)


def _is_origin(scheme: str, name: str, port: str | None, resource: ResourceUri) -> bool:
    uri = urlsplit(resource)
    if is_loopback(uri.hostname or "") and is_loopback(name):
        return scheme in _DEFAULT_PORTS
    return scheme == uri.scheme and _is_authority(name, port, resource)


def _is_authority(name: str, port: str | None, resource: ResourceUri) -> bool:
    """True for the authority of the resource's own URI; on loopback, for any name and port of loopback."""
    uri = urlsplit(resource)
    host = uri.hostname or ""
    if is_loopback(host):
        return is_loopback(name)
    default = _DEFAULT_PORTS.get(uri.scheme, "")
    return name.lower().strip("[]") == host and (port or default) == str(uri.port or default)
