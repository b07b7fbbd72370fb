"""Redirect URIs: a code goes to exactly the address that was registered.

Spec: RFC 9700 §2.1
Spec: RFC 8252 §7.3
"""

from __future__ import annotations

import re
from collections.abc import Collection

from perhop.errors import RedirectRefused, TargetInvalid
from perhop.rules.resource_uri import HttpUri, parse_http_uri

_LOOPBACK_HOSTS = ("127.0.0.1", "[::1]", "localhost")
_LOOPBACK = re.compile(r"(http://(?:127\.0\.0\.1|\[::1\]|localhost))(?::([1-9][0-9]{0,4}))?(/.*)?")
_MAX_PORT = 65535


def parse_redirect_uri(text: str) -> str:
    """A redirect URI that may be registered: https, or http to this machine; kept as it is written.

    Refuses custom schemes, fragments, user information and every spelling that is not canonical.

    Spec: RFC 6749 §3.1.2
    Spec: MCP 2026-07-28 authorization
    Raises: RedirectRefused
    """
    uri = _parse(text)
    if uri.scheme != "https" and uri.host not in _LOOPBACK_HOSTS:
        raise RedirectRefused("the redirect URI is neither https nor http to a loopback address")
    return text


def _parse(text: str) -> HttpUri:
    try:
        return parse_http_uri(text)
    except TargetInvalid as error:
        raise RedirectRefused(f"the redirect URI: {error.detail}") from None


def check_redirect_uri(uri: str, registered: Collection[str]) -> None:
    """Refuse a redirect URI that is not, byte for byte, one that was registered.

    The one exception: of an http loopback address the port is free, since an application on a person's machine
    takes the one that it gets. Host and path are not.

    Spec: RFC 6749 §3.1.2.3
    Spec: RFC 8252 §7.3
    Raises: RedirectRefused
    """
    if uri in registered:
        return
    asked = _without_port(uri)
    if asked is None or asked not in {_without_port(each) for each in registered}:
        raise RedirectRefused("the redirect URI is not registered for this client")


def _without_port(uri: str) -> tuple[str, str] | None:
    """Host and path of an http loopback URI, None for any other."""
    match = _LOOPBACK.fullmatch(uri)
    if match is None:
        return None
    host, port, path = match.groups()
    return (host, path or "") if port is None or int(port) <= _MAX_PORT else None


def is_loopback_only(uris: Collection[str]) -> bool:
    """True if every redirect URI leads to the person's own machine: then anybody there may pose as the client.

    Spec: RFC 8252 §8.6
    """
    return bool(uris) and all(_parse(each).host in _LOOPBACK_HOSTS for each in uris)
