"""Issuer identifiers: written once, and compared byte for byte. And which addresses leave this machine.

Spec: RFC 8414 §2
"""

from __future__ import annotations

import ipaddress

from perhop.errors import SettingsError, TargetInvalid
from perhop.rules.resource_uri import HttpUri, parse_http_uri


def parse_issuer(text: str) -> str:
    """Accept an issuer identifier as it is written, or refuse it; tokens and metadata must repeat it byte for byte.

    Spec: RFC 8414 §2
    Raises: SettingsError
    """
    try:
        uri = parse_http_uri(text)
    except TargetInvalid as error:
        raise SettingsError(f"`{text}` is not an issuer: {error.detail}") from error
    # The lone `/` of a bare origin is part of some issuers' names, and never dropped here.
    if uri.query is not None or str(uri) not in (text, text.removesuffix("/")):
        raise SettingsError(f"`{text}` is not an issuer", advice=f"write it as its metadata does, perhaps `{uri}`")
    if not is_private(uri):
        raise SettingsError(f"issuer `{text}` is not https", advice="http is for loopback addresses only")
    return text


def is_private(uri: HttpUri) -> bool:
    """True if nobody on the network can read along: TLS, or this machine itself."""
    return uri.scheme == "https" or is_loopback(uri.host)


def is_loopback(host: str) -> bool:
    """True for `localhost` and for loopback addresses; no name is resolved."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
