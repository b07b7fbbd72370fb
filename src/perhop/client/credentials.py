"""How a client proves at the token endpoint who it is.

Spec: RFC 6749 §2.3.1
Spec: RFC 7523 §2.2
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import assert_never
from urllib.parse import quote_plus

from perhop.client.token_request import Form
from perhop.core.secret import Secret
from perhop.tokens.assertion import sign_client_assertion
from perhop.tokens.keys import SigningKey

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class SecretCredential:
    """`client_secret_basic`. Spec: RFC 6749 §2.3.1."""

    secret: Secret


@dataclass(frozen=True, slots=True)
class KeyCredential:
    """`private_key_jwt`. Spec: RFC 7523 §2.2."""

    key: SigningKey


Credential = SecretCredential | KeyCredential


def authenticate(credential: Credential, *, client_id: str, issuer: str, jti: str, now: int) -> tuple[str | None, Form]:
    """The Authorization header, if any, and the parameters that say who asks.

    An assertion is addressed to the issuer alone, so that no other authorization server can use it.

    Spec: RFC 6749 §2.3.1
    Spec: RFC 7523 §2.2
    Spec: RFC 7523 §3
    """
    match credential:
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
