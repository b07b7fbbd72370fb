"""An httpx2 `Auth` for people: it asks whoever sits at the machine when the server wants to know who calls.

Spec: MCP 2026-07-28 authorization
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import httpx2

from perhop.client.auth import TokenCarrier, errors_in
from perhop.client.token_request import AccessToken
from perhop.core.authentication import AuthenticationWanted
from perhop.core.resource import ResourceUri
from perhop.errors import ScopeInvalid
from perhop.rules.scope import parse_scope
from perhop.rules.www_authenticate import AuthChallenge, bearing_challenges

STEP_UP = "insufficient_user_authentication"
_SECONDS = re.compile(r"[0-9]{1,9}")

MAX_TRIES = 6
"""How often one request is sent: unasked, with what was kept, renewed, signed in, with more scopes, and once over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerChallenge:
    """What a server wants of its callers. `sign_in` is the one that it wants of the person, if it wants another."""

    metadata_url: str | None
    scopes: frozenset[str]
    takes_proofs: bool
    sign_in: AuthenticationWanted | None = None


def read_challenge(response: httpx2.Response) -> ServerChallenge:
    """What the challenges of an answer say together; the first one that says something of a matter counts.

    Spec: RFC 6750 §3
    Spec: RFC 9470 §3
    Spec: RFC 9728 §5.1
    """
    challenges = bearing_challenges(response.headers.get_list("www-authenticate"))
    urls = [each.parameters["resource_metadata"] for each in challenges if "resource_metadata" in each.parameters]
    scopes = [each.parameters["scope"] for each in challenges if "scope" in each.parameters]
    try:
        wanted = parse_scope(scopes[0]) if scopes else frozenset()
    except ScopeInvalid:
        wanted = frozenset()
    return ServerChallenge(
        metadata_url=urls[0] if urls else None,
        scopes=wanted,
        takes_proofs=any(each.scheme == "dpop" for each in challenges),
        sign_in=next((_wanted(each) for each in challenges if each.parameters.get("error") == STEP_UP), None),
    )


def _wanted(challenge: AuthChallenge) -> AuthenticationWanted:
    """What cannot be read is not asked for: the server says no again. Spec: RFC 9470 §3."""
    max_age = challenge.parameters.get("max_age", "")
    return AuthenticationWanted(
        int(max_age) if _SECONDS.fullmatch(max_age) else None,
        tuple(challenge.parameters.get("acr_values", "").split()),
    )


def _is_step_up(response: httpx2.Response, challenge: ServerChallenge) -> bool:
    """True if the token is good, and less than the call needs. Spec: RFC 6750 §3.1, RFC 9470 §3."""
    if response.status_code == 403:
        return "insufficient_scope" in errors_in(response)
    return response.status_code == 401 and challenge.sign_in is not None


class Means(Enum):
    """How another token may be got: by the refresh token or by the person, by the person alone, or not at all."""

    ANY = "any"
    PERSON = "person"
    NONE = "none"


class Session(Protocol):
    """What keeps a person's tokens for one server, and gets new ones."""

    @property
    def asks(self) -> int:
        """How often the person was asked so far."""

    async def held(self) -> AccessToken | None:
        """The token that is kept, made fresh if need be."""

    async def renew(self, challenge: ServerChallenge, refused: AccessToken | None, means: Means) -> AccessToken | None:
        """Another token than the one that was refused: one that is there already, or by these means."""

    async def widen(self, challenge: ServerChallenge, refused: AccessToken) -> AccessToken | None:
        """A token with more scopes, or of another sign-in; None if that was asked for often enough."""


class SignInAuth(TokenCarrier):
    """Carries a person's token to one server, and nowhere else.

    A request goes out without a token as long as there is none: what the server says then is how it is found out who
    issues tokens for it.
    """

    def __init__(self, server: ResourceUri, session: Session) -> None:
        super().__init__(server)
        self._session = session

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Send; find out, sign in, ask for more, and send again, each a limited number of times.

        Raises: WrongDestination, ResourceForeign, ResourceUndescribed, IssuerUnavailable, PkceUnsupported,
            RegistrationImpossible, BrowserUnavailable, StateMismatch, IssuerMismatch, AuthorizationNotGranted,
            TokenNotGranted, SenderConstraintMissing
        """
        self._check_destination(request.url)
        await request.aread()  # so that the body can be sent again
        token = await self._session.held()
        asks, has_renewed = self._session.asks, False
        for _ in range(MAX_TRIES):
            response = yield request if token is None else self._carry(request, token)
            if not self._is_home(response.request.url):
                return  # a redirect was followed: whoever answers there is not the server
            if token is not None and self._wants_nonce(response, token):
                continue
            challenge = read_challenge(response)
            if token is not None and _is_step_up(response, challenge):
                token = await self._session.widen(challenge, token)
            elif response.status_code == 401:
                means = Means.NONE if self._session.asks > asks else Means.PERSON if has_renewed else Means.ANY
                has_renewed = token is not None
                token = await self._session.renew(challenge, token, means)
            else:
                return
            if token is None:
                return
