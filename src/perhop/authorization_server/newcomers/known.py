"""Which client a kept document or a registration stands for, by the admission of now. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from perhop.authorization_server.newcomers.documents import read_stored
from perhop.authorization_server.newcomers.key_set import Keys
from perhop.authorization_server.newcomers.registrations import client_of
from perhop.core.client import Client
from perhop.core.newcomer import Admission, Registration, StoredDocument, TrustRule
from perhop.errors import ClientDocumentRefused, ClientMetadataInvalid
from perhop.rules.client_id_url import host_of, is_client_id_url, parse_client_id_url


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
