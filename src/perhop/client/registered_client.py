"""Who this program is at one authorization server, and at no other.

Spec: MCP 2026-07-28 authorization
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Self

from perhop.client.credentials import Credential, NoCredential, SecretCredential, parse_credential
from perhop.core.secret import Secret
from perhop.rules.issuer_uri import parse_issuer
from perhop.tokens.keys import SigningKey


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredClient:
    """A client and the one issuer that knows it: its id and its secret go nowhere else.

    `redirect_uri` is the one that a dynamic registration was made with; None where others registered the client.
    """

    issuer: str
    client_id: str
    credential: Credential = field(default_factory=NoCredential)
    redirect_uri: str | None = None

    @classmethod
    def at(
        cls,
        issuer: str,
        *,
        client_id: str,
        client_secret: str | Secret | None = None,
        private_key: SigningKey | bytes | None = None,
    ) -> Self:
        """A client that somebody registered at this issuer beforehand.

        Raises: SettingsError, KeyUnusable
        """
        credential = parse_credential(private_key, client_secret)
        return cls(issuer=parse_issuer(issuer), client_id=client_id, credential=credential)

    def fitted(self, methods: Collection[str]) -> Self:
        """The same client; its secret goes into the form where the header is not taken. Spec: RFC 8414 §2."""
        if (
            isinstance(self.credential, SecretCredential)
            and self.credential.method not in methods
            and "client_secret_post" in methods
        ):
            return replace(self, credential=SecretCredential(self.credential.secret, "client_secret_post"))
        return self
