"""`private_key_jwt`: the client signs an assertion for this issuer and nobody else, good once.

Spec: RFC 7523 §2.2
Spec: RFC 10070
"""

from __future__ import annotations

from perhop.authorization_server.client_auth.credentials import SignedAssertion
from perhop.authorization_server.issuer import Issuer
from perhop.core.client import Client, PrivateKeyJwt
from perhop.core.registry import Registry
from perhop.errors import AssertionReplayed, ClientAuthenticationFailed, TokenRequestMalformed
from perhop.rules.lifetime import MAX_SKEW
from perhop.tokens.assertion import MAX_ASSERTION_LIFETIME, assertion_client_id, read_client_assertion
from perhop.tokens.jwks import client_keys
from perhop.tokens.keys import VerifyKey


def load_client_keys(registry: Registry) -> dict[str, dict[str, VerifyKey]]:
    """The keys of every client that authenticates with one, ready to verify: client id -> `kid` -> key.

    Raises: KeyUnusable
    """
    return {
        client.id: client_keys(client.authentication.keys)
        for client in registry.clients.values()
        if isinstance(client.authentication, PrivateKeyJwt)
    }


async def check_assertion(credentials: SignedAssertion, issuer: Issuer) -> Client:
    """The client whose key signed this assertion, if it was made for us and comes for the first time.

    Spec: RFC 7521 §4.2
    Spec: RFC 7523 §3
    Raises: ClientAuthenticationFailed, AssertionReplayed, TokenRequestMalformed, StorageUnavailable
    """
    raw = credentials.assertion.reveal()
    client_id = assertion_client_id(raw)
    if credentials.client_id not in (None, client_id):
        raise TokenRequestMalformed("`client_id` differs from the client assertion")
    client, keys = issuer.registry.clients.get(client_id), issuer.client_keys.get(client_id)
    # Keys of a newcomer lie behind those of the file: the id may have been another's before.
    if client is None or keys is None or not isinstance(client.authentication, PrivateKeyJwt):
        raise ClientAuthenticationFailed(f"client_id `{client_id[:128]}` is unknown or has no keys")
    assertion = read_client_assertion(raw, client_id=client_id, keys=keys, audience=issuer.url, now=issuer.now())
    longest = MAX_ASSERTION_LIFETIME + MAX_SKEW
    if not issuer.epoch.knows_uses_of(issued_at=assertion.issued_at, expires_at=assertion.expires_at, longest=longest):
        raise ClientAuthenticationFailed("client assertion: may be older than the epoch; make a new one, with `iat`")
    if not await issuer.stores.assertions.spend(client_id, assertion.jti, expires_at=assertion.expires_at):
        raise AssertionReplayed(f"client `{client_id}` used this assertion before")
    return client
