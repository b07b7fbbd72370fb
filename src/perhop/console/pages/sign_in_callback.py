"""`/sign-in/NAME/callback`: somebody comes back to the console from an OpenID provider.

Spec: OpenID Connect Core 1.0 §3.1.2.5
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from perhop.authorization_server.endpoints.refuse import record_refusal
from perhop.authorization_server.federation.admit import admit
from perhop.authorization_server.federation.round_trip import end_attempt, take_attempt
from perhop.authorization_server.form import parse_form
from perhop.authorization_server.interaction.login import (
    FORM_COOKIE,
    Begun,
    begin_session,
    hash_cookie,
    read_cookie,
)
from perhop.authorization_server.interaction.pages import see_other
from perhop.authorization_server.trail import Trail
from perhop.console.console import HOME, Console
from perhop.console.pages.refused import not_signed_in
from perhop.console.pages.sign_in import CONSOLE_NAME
from perhop.errors import Refused, Unavailable


async def sign_in_callback(request: Request, console: Console) -> Response:
    """Take the attempt -> hear the provider -> find the person -> begin a session -> go on to what was wanted.

    The session is as old as the sign-in at the provider, which was asked to be a new one.
    """
    trail, site, issuer = Trail.of(request).at(place=CONSOLE_NAME), console.site, console.issuer
    name = str(request.path_params["provider"])
    path = HOME
    try:
        answer, cookie = parse_form(request.scope["query_string"]), read_cookie(request, FORM_COOKIE, site)
        attempt = take_attempt(answer, issuer, named=name, place=site.place, cookie=cookie)
        path = attempt.back
        person = await end_attempt(answer, attempt, issuer)
        account = await admit(person, issuer)
        assert person.token.auth_time is not None, "asked for with `max_age`"
        session = await begin_session(
            account.subject,
            account.email or "",
            request,
            site,
            issuer,
            signed_in_at=person.token.auth_time,
            authentication=person.token.authentication,
        )
    except (Refused, Unavailable) as fact:
        provider = issuer.registry.sign_in.providers.get(name)
        return not_signed_in(await record_refusal(fact, trail, issuer), provider, console, back=path)
    why = console.reasons_kept.of(attempt.browser, path, now=console.now())
    console.reasons_kept.keep(hash_cookie(session), path, why, now=console.now())
    response = see_other(path)
    Begun(session).set_on(response, site)
    return response
