"""Which client a kept document or a registration stands for, by the admission of now. No I/O, and loads little."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from perhop.authorization_server.newcomers.key_set import Keys, read_key_set
from perhop.core.client import Authentication, Client, HashedSecret, NoAuthentication, Origin, PrivateKeyJwt
from perhop.core.newcomer import Admission, Adoption, ClientMetadata, Registration, StoredDocument, TrustRule
from perhop.errors import ClientDocumentRefused, ClientMetadataInvalid
from perhop.rules.client_id_url import host_of, is_client_id_url, parse_client_id_url
from perhop.rules.client_metadata import BY_KEY, BY_SECRET, parse_members, read_document, read_registration
from perhop.tokens.jwks import MAX_JWKS_BYTES

MAX_DOCUMENT_BYTES = 5 * 1024
MAX_REGISTRATION_BYTES = 16 * 1024


def read_stored(stored: StoredDocument, rule: TrustRule) -> tuple[Client, Keys]:
    """The client that a document describes, by the rule of now, and its keys. Raises: ClientDocumentRefused."""
    try:
        members = parse_members(stored.document.encode(), max_bytes=MAX_DOCUMENT_BYTES)
        metadata = read_document(members, client_id=stored.client_id)
        keys = _keys(metadata, stored.key_set)
    except ClientMetadataInvalid as error:
        raise ClientDocumentRefused(f"the document at `{stored.client_id}`: {error.detail}") from None
    authentication: Authentication = NoAuthentication() if keys is None else PrivateKeyJwt(keys.members)
    client = Client(
        id=stored.client_id,
        owner=rule.owner,
        purpose=metadata.name,
        expires=rule.expires,
        authentication=authentication,
        grants=metadata.grants,
        redirect_uris=metadata.redirect_uris,
        reaches=rule.reaches,
        origin=Origin.DOCUMENT,
    )
    return client, keys or Keys((), {})


def _keys(metadata: ClientMetadata, key_set: str | None) -> Keys | None:
    """Raises: ClientMetadataInvalid."""
    if metadata.method != BY_KEY:
        return None
    document = metadata.jwks
    if document is None:
        document = parse_members((key_set or "").encode(), max_bytes=MAX_JWKS_BYTES)
    return read_key_set(document)


def metadata_of(registration: Registration) -> ClientMetadata:
    """What the client said when it registered. Raises: ClientMetadataInvalid."""
    members = parse_members(registration.metadata.encode(), max_bytes=MAX_REGISTRATION_BYTES)
    return read_registration(members)


def client_of(registration: Registration, adoption: Adoption) -> tuple[Client, Keys]:
    """The client that an owner adopted, and its keys. Raises: ClientMetadataInvalid."""
    metadata = metadata_of(registration)
    keys = read_key_set(metadata.jwks) if metadata.jwks is not None else Keys((), {})
    client = Client(
        id=registration.client_id,
        owner=adoption.owner,
        purpose=adoption.purpose,
        expires=adoption.expires,
        authentication=_authentication(metadata, registration, keys),
        grants=metadata.grants,
        redirect_uris=metadata.redirect_uris,
        reaches=adoption.reaches,
        origin=Origin.REGISTRATION,
    )
    return client, keys


def _authentication(metadata: ClientMetadata, registration: Registration, keys: Keys) -> Authentication:
    if metadata.method in BY_SECRET:
        # INVARIANT: a client that has a secret is never taken for one that has none.
        return HashedSecret(metadata.method, registration.secret_sha256 or "")
    return PrivateKeyJwt(keys.members) if metadata.method == BY_KEY else NoAuthentication()


@dataclass(frozen=True, slots=True)
class Known:
    """A client and its keys."""

    client: Client
    keys: Keys


def rule_for(client_id: str, admission: Admission) -> TrustRule | None:
    """The rule that admits the host of this client's document; None if there is none, or the id is no such URL."""
    if not is_client_id_url(client_id):
        return None
    try:
        return admission.rules.get(host_of(parse_client_id_url(client_id)))
    except ClientDocumentRefused:
        return None


def know_document(stored: StoredDocument, admission: Admission) -> Known | None:
    """None where no rule admits it, or where another version of ours kept what this one would not."""
    rule = rule_for(stored.client_id, admission)
    if rule is None:
        return None
    try:
        return Known(*read_stored(stored, rule))
    except ClientDocumentRefused:
        return None


def know_registration(registration: Registration) -> Known | None:
    """None while nobody has adopted it."""
    if registration.adoption is None:
        return None
    try:
        return Known(*client_of(registration, registration.adoption))
    except ClientMetadataInvalid:
        return None


def known_clients(
    documents: Iterable[StoredDocument], registrations: Iterable[Registration], admission: Admission
) -> dict[str, Client]:
    """All of them, by id."""
    found = (
        *(know_document(each, admission) for each in documents),
        *(know_registration(each) for each in registrations),
    )
    return {each.client.id: each.client for each in found if each is not None}
