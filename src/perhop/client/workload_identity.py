"""The JWT of the platform that a workload runs on, in the place of a client's credential.

Spec: RFC 7523 §2.1
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar

import httpx2

from perhop.client.grant import Asked
from perhop.client.token_request import Form, scope_form
from perhop.core.secret import Secret
from perhop.errors import SettingsError

JWT_BEARER_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class WorkloadIdentity:
    """Asks with a JWT that `read` gives anew each time: the platform replaces it when it pleases.

    `read` may block, as the reading of a file does. Whether the JWT is addressed to this authorization server, and
    still good, is the server's to say; what it refuses is not tried again.

    Spec: RFC 7523 §2.1
    """

    proves_itself: ClassVar[bool] = True

    def __init__(self, read: Callable[[], str | Secret]) -> None:
        self._read = read

    async def form(self, asked: Asked, *, http: httpx2.AsyncClient) -> Form:  # noqa: ARG002 - nobody else is asked
        """Spec: RFC 7523 §2.1.

        Raises: SettingsError
        """
        read = await asyncio.to_thread(self._read)
        return jwt_bearer_form(read.reveal() if isinstance(read, Secret) else read.strip(), asked)


def jwt_bearer_form(assertion: str, asked: Asked) -> Form:
    """Spec: RFC 7523 §2.1, RFC 8707 §2.2.

    Raises: SettingsError
    """
    if asked.task is not None:
        raise SettingsError("a task is for a client's own tokens", advice="leave the grant out")
    return (
        ("grant_type", JWT_BEARER_GRANT),
        ("assertion", assertion),
        ("resource", asked.resource),
        *scope_form(asked.scopes),
    )
