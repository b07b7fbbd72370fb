"""How a client asks for its own tokens: a grant is what it writes into the form.

Spec: RFC 6749 §4
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import httpx2

from perhop.client.token_request import Form, client_credentials_form
from perhop.core.resource import ResourceUri


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which token is wanted, and of whom. `task` is the id of a task that it is for."""

    issuer: str
    resource: ResourceUri
    scopes: frozenset[str] | None
    task: str | None = None


class Grant(Protocol):
    """Makes the form of one token request. `proves_itself`: no client credential is needed beside it."""

    proves_itself: ClassVar[bool]

    async def form(self, asked: Asked, *, http: httpx2.AsyncClient) -> Form:
        """Everything but who asks. `http` is for authorization servers only."""


class ClientCredentials:
    """The client asks for itself. Spec: RFC 6749 §4.4."""

    proves_itself: ClassVar[bool] = False

    async def form(self, asked: Asked, *, http: httpx2.AsyncClient) -> Form:  # noqa: ARG002 - nobody else is asked
        """Spec: RFC 6749 §4.4.2."""
        return client_credentials_form(asked.resource, asked.scopes, asked.task)
