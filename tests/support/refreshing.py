"""Applications of people that refresh what they were allowed, as tests of refresh tokens need them."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from typing import Any

import httpx2

from perhop.authorization_server.codes import CODE_LIFETIME, hash_code
from perhop.authorization_server.interaction.consent import terms_digest, terms_of
from perhop.authorization_server.people_store import Consent
from perhop.authorization_server.store import AuthorizationCode
from perhop.core.client import ClientSecret, GrantType
from perhop.core.secret import Secret
from tests.support.authorization_servers import CALENDAR, PERSON, SECRET, RunningServer, a_client
from tests.support.browsers import CHALLENGE, VERIFIER, Browser, redeem
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind

PORTAL_CALLBACK = "https://portal.example.com/callback"
BOTH = frozenset({"calendar:read", "calendar:write"})
READ = frozenset({"calendar:read"})
AS_PORTAL = {"client_id": "portal", "client_secret": SECRET}


def add_portal(server: RunningServer) -> None:
    """A person's application that has a secret, and reaches all of the calendar."""
    portal = a_client(
        "portal",
        ClientSecret("client_secret_post", Secret(SECRET)),
        GrantType.AUTHORIZATION_CODE,
        GrantType.REFRESH_TOKEN,
        reaches={"calendar": tuple(sorted(BOTH))},
        redirect_uris=(PORTAL_CALLBACK,),
    )
    server.change_registry(clients={**server.issuer.registry.clients, "portal": portal})


async def allowed(server: RunningServer) -> dict[str, Any]:
    """The answer to desk-app's code, for which a person has signed in and consented."""
    answer = await redeem(server, await Browser(server).code())
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def allowed_without_pages(
    server: RunningServer, client: str = "portal", scopes: Collection[str] = BOTH, *, task: str | None = None
) -> dict[str, Any]:
    """The answer to a code that was given as the pages give it, without the pages."""
    issuer = server.issuer
    registered = issuer.registry.clients[client]
    resource = issuer.registry.resources["calendar"]
    terms = terms_digest(terms_of(registered, resource, scopes, registered.redirect_uris[0], issuer.registry))
    code = THE_SCAN.note(secrets.token_urlsafe(32), Kind.CODE)
    kept = frozenset(scopes)
    if task is None:
        await issuer.stores.consents.put(
            Consent(
                subject=PERSON,
                client_id=client,
                resource=CALENDAR,
                scopes=kept,
                terms=terms,
                granted_at=issuer.now(),
            )
        )
    await issuer.stores.codes.add(
        AuthorizationCode(
            code_hash=hash_code(code),
            client_id=client,
            subject=PERSON,
            redirect_uri=registered.redirect_uris[0],
            code_challenge=CHALLENGE,
            resource=CALENDAR,
            scopes=kept,
            expires_at=issuer.now() + CODE_LIFETIME,
            task=task,
            terms=terms,
        )
    )
    answer = await server.ask(
        grant_type="authorization_code",
        code=code,
        redirect_uri=registered.redirect_uris[0],
        code_verifier=VERIFIER,
        **_credentials(client),
    )
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def refresh(
    server: RunningServer, token: str, /, *, by: str = "desk-app", more: Mapping[str, str] | None = None, **changes: str
) -> httpx2.Response:
    """A client refreshes; `more` are parameters beside the usual ones."""
    usual = {"grant_type": "refresh_token", "refresh_token": token, **_credentials(by)}
    return await server.ask(**(usual | dict(more or {}) | changes))


async def family_of(server: RunningServer) -> str:
    """The id of the family of the token that was issued last, as the journal names it."""
    return str(server.records("token.issued")[-1]["about"]["family"])


def _credentials(client: str) -> dict[str, str]:
    return dict(AS_PORTAL) if client == "portal" else {"client_id": client}
