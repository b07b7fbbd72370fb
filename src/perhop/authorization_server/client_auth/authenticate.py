"""Which client speaks: the methods as a table of cases.

Spec: RFC 6749 §2.3
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from perhop.authorization_server.client_auth.client_secret import check_secret
from perhop.authorization_server.client_auth.credentials import (
    Credentials,
    PublicId,
    SharedSecret,
    SignedAssertion,
    parse_credentials,
)
from perhop.authorization_server.client_auth.none import check_public
from perhop.authorization_server.client_auth.private_key_jwt import check_assertion
from perhop.authorization_server.form import Form
from perhop.authorization_server.issuer import Issuer
from perhop.core.client import Client
from perhop.tokens.assertion import assertion_client_id


async def prove_client(authorization: Sequence[str], form: Form, issuer: Issuer) -> Client:
    """The client that a request proves, by whichever one method it uses; see `authenticate_client`.

    A secret in the `Authorization` header that proved the same client before is not taken apart again.

    Spec: RFC 6749 §2.3
    Raises: as `parse_credentials` and `authenticate_client`
    """
    only_header = len(authorization) == 1 and not form.first.keys() & _PROOFS
    client = issuer.kept_proofs.find(authorization[0]) if only_header else None
    if client is not None and form.first.get("client_id", client.id) == client.id:
        await issuer.newcomers.resolve(client.id)
        if issuer.registry.clients.get(client.id) is client:
            issuer.standing.check_client(client, issuer.registry, now=issuer.now())
            return client
    credentials = parse_credentials(authorization, form)
    client = await authenticate_client(credentials, issuer)
    if only_header and isinstance(credentials, SharedSecret):
        issuer.kept_proofs.keep(authorization[0], client)
    return client


_PROOFS = frozenset({"client_secret", "client_assertion", "client_assertion_type"})


async def authenticate_client(credentials: Credentials, issuer: Issuer) -> Client:
    """The client that these credentials prove, in good standing now.

    Of a public client only the name is known: what it may do must rest on something else.

    A client that nobody wrote into the configuration is made known first, if it can be.

    Spec: RFC 6749 §3.2.1
    Raises: ClientAuthenticationFailed, ClientDocumentRefused, ClientUnadopted, AssertionReplayed, ClientDisabled,
        ClientExpired, OwnerMissing, TokenRequestMalformed, StorageUnavailable
    """
    await issuer.newcomers.resolve(_named_in(credentials))
    clients = issuer.registry.clients
    match credentials:
        case PublicId(client_id=client_id):
            client = check_public(credentials, clients.get(client_id))
        case SharedSecret(client_id=client_id):
            client = check_secret(credentials, clients.get(client_id))
        case SignedAssertion():
            client = await check_assertion(credentials, issuer)
        case _:
            assert_never(credentials)
    issuer.standing.check_client(client, issuer.registry, now=issuer.now())
    return client


def _named_in(credentials: Credentials) -> str:
    """The client that the credentials name, believed or not. Raises: ClientAuthenticationFailed."""
    match credentials:
        case PublicId(client_id=client_id) | SharedSecret(client_id=client_id):
            return client_id
        case SignedAssertion(client_id=client_id, assertion=assertion):
            return client_id or assertion_client_id(assertion.reveal())
        case _:
            assert_never(credentials)
