"""Enterprise-managed authorization: the company's identity provider says who may go where, without asking the person.

Two legs: the person's ID token becomes an ID-JAG at the identity provider, addressed to the authorization server of the
resource; there the ID-JAG becomes an access token.

Spec: draft-ietf-oauth-identity-assertion-authz-grant
Spec: RFC 8693 §2
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, ClassVar

import httpx2

from perhop.client.credentials import identity_of, parse_credential
from perhop.client.discovery import discover
from perhop.client.grant import Asked
from perhop.client.token_request import EXCHANGE_GRANT, Form, TokenRequest, ask_for_token, scope_form
from perhop.client.workload_identity import jwt_bearer_form
from perhop.core.secret import Secret
from perhop.errors import IssuerUnavailable
from perhop.rules.bearer import is_b64token
from perhop.rules.issuer_uri import parse_issuer
from perhop.tokens.keys import SigningKey

ID_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:id_token"
ID_JAG_TYPE = "urn:ietf:params:oauth:token-type:id-jag"


class IdentityAssertion:
    """Asks in the name of a person who is signed in at the company's identity provider.

    `issuer` and `client_id` are the identity provider's; `read_id_token` gives the person's ID token anew each time,
    and may block. The ID token goes to the identity provider alone, the ID-JAG to the one authorization server that it
    is addressed to.

    Raises: SettingsError, KeyUnusable
    """

    proves_itself: ClassVar[bool] = False

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str,
        read_id_token: Callable[[], str | Secret],
        private_key: SigningKey | bytes | None = None,
        client_secret: str | Secret | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.issuer = parse_issuer(issuer)
        self.client_id = client_id
        self._credential = parse_credential(private_key, client_secret)
        self._read = read_id_token
        self._clock = clock

    async def form(self, asked: Asked, *, http: httpx2.AsyncClient) -> Form:
        """The second leg's form, with an ID-JAG that was just got.

        Spec: RFC 7523 §2.1
        Raises: TokenNotGranted, IssuerUnavailable, SettingsError
        """
        return jwt_bearer_form(await self._id_jag(asked, http), asked)

    async def _id_jag(self, asked: Asked, http: httpx2.AsyncClient) -> str:
        endpoint = (await discover(http, self.issuer)).token_endpoint
        if endpoint is None:
            raise IssuerUnavailable(f"metadata of `{self.issuer}` names no token endpoint")
        read = await asyncio.to_thread(self._read)
        identity = identity_of(self._credential, client_id=self.client_id, issuer=self.issuer, clock=self._clock)
        form = (
            ("grant_type", EXCHANGE_GRANT),
            ("requested_token_type", ID_JAG_TYPE),
            ("subject_token", read.reveal() if isinstance(read, Secret) else read.strip()),
            ("subject_token_type", ID_TOKEN_TYPE),
            ("audience", asked.issuer),
            ("resource", asked.resource),
            *scope_form(asked.scopes),
        )
        return _parse_id_jag(await ask_for_token(http, TokenRequest(endpoint=endpoint, form=form, identity=identity)))


def _parse_id_jag(document: dict[str, Any]) -> str:
    """Spec: RFC 8693 §2.2.1."""
    raw = document.get("access_token")
    if document.get("issued_token_type") != ID_JAG_TYPE or not isinstance(raw, str) or not is_b64token(raw):
        raise IssuerUnavailable("token endpoint of the identity provider: the answer holds no ID-JAG")
    return raw
