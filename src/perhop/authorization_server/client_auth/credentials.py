"""The credentials of a request to the token or revocation endpoint: exactly one method, read and not yet believed.

Spec: RFC 6749 §2.3
Spec: RFC 7521 §4.2
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from perhop.authorization_server.form import Form, decode_component
from perhop.core.secret import Secret
from perhop.errors import ClientAuthenticationFailed, TokenRequestMalformed

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class PublicId:
    """Only a name: method `none`."""

    client_id: str


@dataclass(frozen=True, slots=True)
class SharedSecret:
    """A name and a secret; `method` is `client_secret_basic` or `client_secret_post`."""

    method: str
    client_id: str
    secret: Secret


@dataclass(frozen=True, slots=True)
class SignedAssertion:
    """Method `private_key_jwt`; `client_id` is None where only the assertion names the client."""

    client_id: str | None
    assertion: Secret


Credentials = PublicId | SharedSecret | SignedAssertion


def parse_credentials(authorization: Sequence[str], form: Form) -> Credentials:
    """Read the one authentication method that a request uses.

    Does not look whether it is this client's method, nor whether the proof holds.

    Spec: RFC 6749 §2.3
    Raises: TokenRequestMalformed, ClientAuthenticationFailed
    """
    first = form.first
    client_id, secret = first.get("client_id"), first.get("client_secret")
    is_asserted = "client_assertion" in first or "client_assertion_type" in first
    if len(authorization) + (secret is not None) + is_asserted > 1:
        raise TokenRequestMalformed("more than one client authentication method")
    if authorization:
        return _parse_basic(authorization[0], client_id)
    if secret is not None:
        return SharedSecret("client_secret_post", form.required("client_id"), Secret(secret))
    if is_asserted:
        if form.required("client_assertion_type") != ASSERTION_TYPE:
            raise ClientAuthenticationFailed("the client assertion is of an unknown type")
        return SignedAssertion(client_id, Secret(form.required("client_assertion")))
    if client_id is None:
        raise ClientAuthenticationFailed("no client authentication")
    return PublicId(client_id)


def _parse_basic(authorization: str, form_client_id: str | None) -> SharedSecret:
    """Name and secret are form-encoded inside.

    Spec: RFC 6749 §2.3.1
    """
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise ClientAuthenticationFailed("the Authorization scheme is not Basic")
    try:
        decoded = base64.b64decode(encoded.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ClientAuthenticationFailed("the Basic credentials are not base64") from None
    name, colon, secret = decoded.partition(b":")
    if not colon:
        raise ClientAuthenticationFailed("the Basic credentials have no colon")
    client_id = decode_component(name)
    if form_client_id is not None and form_client_id != client_id:
        raise TokenRequestMalformed("`client_id` differs from the Authorization header")
    return SharedSecret("client_secret_basic", client_id, Secret(decode_component(secret)))
