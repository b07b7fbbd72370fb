"""Client ids that are URLs: https, with a path, in the one spelling that there is.

Spec: draft-ietf-oauth-client-id-metadata-document §3
"""

from __future__ import annotations

from perhop.errors import ClientDocumentRefused, TargetInvalid
from perhop.rules.resource_uri import HttpUri, parse_http_uri

_SCHEME = "https://"


def is_client_id_url(client_id: str) -> bool:
    """True for an id that is looked up as a document, whether or not it is one that may be."""
    return client_id[: len(_SCHEME)].lower() == _SCHEME


def parse_client_id_url(client_id: str) -> HttpUri:
    """The URL of the client's document.

    Refuses a query as well, which the draft only advises against: every one would be another client of the same
    document. Says nothing of where the host leads, nor whether it is admitted.

    Spec: draft-ietf-oauth-client-id-metadata-document §3
    Raises: ClientDocumentRefused
    """
    uri = parse_document_url(client_id, "the client id")
    if uri.query is not None or uri.path in ("", "/"):
        raise ClientDocumentRefused("the client id is a URL with a query, or without a path")
    return uri


def parse_document_url(text: str, what: str) -> HttpUri:
    """An https URL from which a document may be read, as it is written. Raises: ClientDocumentRefused."""
    try:
        uri = parse_http_uri(text)
    except TargetInvalid as error:
        raise ClientDocumentRefused(f"{what} is not a canonical URL: {error.detail}") from None
    if uri.scheme != "https" or str(uri) != text:
        raise ClientDocumentRefused(f"{what} is not https, or is not written in its canonical form")
    return uri


def host_of(uri: HttpUri) -> str:
    """The host, with the port where that is not 443: what rules go by, and what people are shown."""
    return uri.origin.removeprefix(_SCHEME)
