"""Public clients: a name without proof, good only for what proves itself otherwise (a code with PKCE).

Spec: RFC 6749 §2.1
"""

from __future__ import annotations

from perhop.authorization_server.client_auth.credentials import PublicId
from perhop.core.client import Client, NoAuthentication
from perhop.errors import ClientAuthenticationFailed


def check_public(credentials: PublicId, client: Client | None) -> Client:
    """The client, if it is one that has no credentials.

    Spec: RFC 6749 §3.2.1
    Raises: ClientAuthenticationFailed
    """
    if client is None or not isinstance(client.authentication, NoAuthentication):
        raise ClientAuthenticationFailed(f"client_id `{credentials.client_id[:128]}` is unknown or must authenticate")
    return client
