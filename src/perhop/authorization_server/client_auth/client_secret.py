"""`client_secret_basic` and `client_secret_post`.

Spec: RFC 6749 §2.3.1
"""

from __future__ import annotations

import hashlib
import hmac

from perhop.authorization_server.client_auth.credentials import SharedSecret
from perhop.core.client import Authentication, Client, ClientSecret, HashedSecret
from perhop.errors import ClientAuthenticationFailed

_NO_DIGEST = "-" * 64


def check_secret(credentials: SharedSecret, client: Client | None) -> Client:
    """The client, if the secret is its own and came by its own method. An unknown client costs the same comparison.

    Spec: RFC 6749 §2.3.1
    Raises: ClientAuthenticationFailed
    """
    registered = client.authentication if client is not None else None
    is_equal = hmac.compare_digest(_expected(registered), _digest(credentials.secret.reveal()))
    if client is None or not isinstance(registered, (ClientSecret, HashedSecret)):
        raise ClientAuthenticationFailed(f"client_id `{credentials.client_id[:128]}` is unknown or has no secret")
    if not is_equal:
        raise ClientAuthenticationFailed(f"wrong secret for client `{client.id}`")
    if registered.method != credentials.method:
        raise ClientAuthenticationFailed(f"client `{client.id}` must use {registered.method}")
    return client


def _expected(registered: Authentication | None) -> str:
    """The digest of the client's secret; of none, one that nothing has."""
    match registered:
        case ClientSecret(secret=secret) if secret.reveal():
            return _digest(secret.reveal())
        case HashedSecret(sha256=sha256):
            return sha256
        case _:
            return _NO_DIGEST


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
