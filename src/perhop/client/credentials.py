"""How a client proves at the token endpoint who it is.

Spec: RFC 6749 §2.3.1
Spec: RFC 7523 §2.2
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, assert_never
from urllib.parse import quote_plus

from perhop.client.token_request import Form, Identity
from perhop.core.secret import Secret
from perhop.errors import SettingsError
from perhop.tokens.assertion import sign_client_assertion
from perhop.tokens.keys import SigningKey

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

SecretMethod = Literal["client_secret_basic", "client_secret_post"]


@dataclass(frozen=True, slots=True)
class NoCredential:
    """`none`: a client that says who it is and cannot show it, or that is none. Spec: RFC 6749 §2.1."""


@dataclass(frozen=True, slots=True)
class SecretCredential:
    """`client_secret_basic` or `client_secret_post`. Spec: RFC 6749 §2.3.1."""

    secret: Secret
    method: SecretMethod = "client_secret_basic"


@dataclass(frozen=True, slots=True)
class KeyCredential:
    """`private_key_jwt`. Spec: RFC 7523 §2.2."""

    key: SigningKey


Credential = NoCredential | SecretCredential | KeyCredential


def parse_credential(
    private_key: SigningKey | bytes | None, client_secret: str | Secret | None, *, method: SecretMethod | None = None
) -> Credential:
    """What was given: a key, a secret, or neither.

    Raises: SettingsError, KeyUnusable
    """
    if private_key is not None and client_secret is not None:
        raise SettingsError("a client has one credential", advice="give either private_key or client_secret")
    if isinstance(private_key, bytes):
        return KeyCredential(SigningKey.from_pem(private_key))
    if private_key is not None:
        return KeyCredential(private_key)
    if client_secret is not None:
        secret = client_secret if isinstance(client_secret, Secret) else Secret(client_secret)
        return SecretCredential(secret, method or "client_secret_basic")
    return NoCredential()


def identity_of(credential: Credential, *, client_id: str | None, issuer: str, clock: Callable[[], float]) -> Identity:
    """Who asks, for each request anew."""
    return lambda: authenticate(
        credential, client_id=client_id, issuer=issuer, jti=secrets.token_urlsafe(16), now=int(clock())
    )


def authenticate(
    credential: Credential, *, client_id: str | None, issuer: str, jti: str, now: int
) -> tuple[str | None, Form]:
    """The Authorization header, if any, and the parameters that say who asks.

    An assertion is addressed to the issuer alone, so that no other authorization server can use it.

    Spec: RFC 6749 §2.3.1
    Spec: RFC 7523 §2.2
    Spec: RFC 7523 §3
    Raises: SettingsError
    """
    if client_id is None:
        if isinstance(credential, NoCredential):
            return None, ()
        raise SettingsError("a credential without a client id", advice="say whose it is: `client_id`")
    match credential:
        case NoCredential():
            return None, (("client_id", client_id),)
        case SecretCredential(secret=secret, method="client_secret_post"):
            return None, (("client_id", client_id), ("client_secret", secret.reveal()))
        case SecretCredential(secret=secret):
            pair = f"{quote_plus(client_id)}:{quote_plus(secret.reveal())}"
            return "Basic " + base64.b64encode(pair.encode()).decode("ascii"), ()
        case KeyCredential(key=key):
            assertion = sign_client_assertion(client_id=client_id, audience=issuer, key=key, jti=jti, now=now)
            return None, (
                ("client_id", client_id),
                ("client_assertion_type", ASSERTION_TYPE),
                ("client_assertion", assertion),
            )
        case _:
            assert_never(credential)
