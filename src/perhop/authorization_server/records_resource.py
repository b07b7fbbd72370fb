"""The one resource that is built in: where servers report what they saw. A token for it is good for nothing else.

It stands in no registry, so no hop leads to it, nobody reaches it by configuration, and no person consents to it.

Spec: RFC 8707 §2
"""

from __future__ import annotations

from perhop.core.client import Client
from perhop.core.resource import Resource, ResourceUri, Scope
from perhop.rules.resource_uri import parse_resource_uri

RECORDS_PATH = "/records"
RECORDS_NAME = "perhop:records"
"""Its name in the journal. No resource of a configuration can have one with a colon."""
RECORDS_SCOPE = "records:write"


def records_uri(issuer: str) -> ResourceUri:
    """The audience of tokens for it."""
    return parse_resource_uri(issuer + RECORDS_PATH)


def records_resource(issuer: str, client: Client) -> Resource:
    """The resource as this client may write to it: who answers for the client answers for what it reports."""
    scope = Scope(name=RECORDS_SCOPE, says="Report what a server saw")
    return Resource(name=RECORDS_NAME, uri=records_uri(issuer), owner=client.owner, scopes={RECORDS_SCOPE: scope})
