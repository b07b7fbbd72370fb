"""Canaries: audiences that are registered nowhere, so that a token for one is good nowhere."""

from __future__ import annotations

from perhop.authorization_server.issuer import Issuer
from perhop.core.resource import ResourceUri
from perhop.rules.resource_uri import parse_resource_uri

_PLACE = "/canary/"
"""No resource of the configuration can lie under it: see `settings.agreement`."""


def new_canary(issuer: Issuer) -> ResourceUri:
    """A fresh canary."""
    return parse_resource_uri(f"{issuer.endpoint(_PLACE)}{issuer.new_id()}")


def is_canary(audience: str, issuer: Issuer) -> bool:
    """True of an audience that no resource can have."""
    return audience.startswith(issuer.endpoint(_PLACE))
