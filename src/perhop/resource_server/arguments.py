"""What a guard is made with, read: a guard that could not guard is not made."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from urllib.parse import unquote

from perhop.core.resource import ResourceUri, Risk
from perhop.errors import SettingsError, TargetInvalid
from perhop.resource_server.server_records import ServerRecords
from perhop.rules.issuer_uri import parse_issuer
from perhop.rules.resource_uri import parse_http_uri, parse_resource_uri


def parse_resource(text: str) -> tuple[ResourceUri, str, str]:
    """The audience, its origin, and the path at which an ASGI server sees it. Raises: SettingsError."""
    try:
        uri = parse_http_uri(text)
        return parse_resource_uri(text), uri.origin, unquote(uri.path) or "/"
    except TargetInvalid as error:
        raise SettingsError(f"`{text}` is not a resource URI: {error.detail}") from error


def parse_issuers(issuers: Sequence[str]) -> tuple[str, ...]:
    """The issuers that are trusted. Raises: SettingsError."""
    if isinstance(issuers, str) or not issuers:
        raise SettingsError("a guard trusts at least one issuer", advice="give a list of issuer URLs")
    return tuple(parse_issuer(each) for each in issuers)


def checked_records(records: ServerRecords | None, issuers: Collection[str]) -> ServerRecords | None:
    """The records, which go to an issuer whose tokens are taken. Raises: SettingsError."""
    if records is not None and records.issuer not in issuers:
        raise SettingsError(
            f"the records go to `{records.issuer}`, whose tokens are not taken here", advice="add it to `issuers`"
        )
    return records


def parse_risk(risk: Risk | str) -> Risk:
    """Raises: SettingsError."""
    try:
        return Risk(risk)
    except ValueError as error:
        raise SettingsError(f"`{risk}` is not a risk", advice="write low, medium or high") from error
