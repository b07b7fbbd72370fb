"""`/sign-in/NAME/callback`: a browser comes back from an OpenID provider.

Spec: OpenID Connect Core 1.0 §3.1.2.5
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from perhop.authorization_server.endpoints.refuse import record_refusal
from perhop.authorization_server.federation.admit import admit
from perhop.authorization_server.federation.round_trip import end_attempt, take_attempt
from perhop.authorization_server.form import parse_form
from perhop.authorization_server.interaction.demands import occasion_of
from perhop.authorization_server.interaction.login import FORM_COOKIE, Begun, begin_session, read_cookie, site_of
from perhop.authorization_server.interaction.pages import see_other
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.trail import Trail
from perhop.errors import Refused, Unavailable


async def sign_in_callback(request: Request, issuer: Issuer) -> Response:
    """Take the attempt -> hear the provider -> find the person -> begin a session -> go back to where it was begun."""
    trail, site = Trail.of(request), site_of(issuer)
    provider = issuer.registry.sign_in.providers.get(name := str(request.path_params["provider"]))
    back = None
    try:
        answer = parse_form(request.scope["query_string"])
        cookie = read_cookie(request, FORM_COOKIE, site)
        attempt = take_attempt(answer, issuer, named=name, place=site.place, cookie=cookie)
        back = attempt.back
        person = await end_attempt(answer, attempt, issuer)
        account = await admit(person, issuer)
        signed_in_at = person.token.auth_time if person.token.auth_time is not None else issuer.now()
        email = account.email or ""
        session = await begin_session(
            account.subject,
            email,
            request,
            site,
            issuer,
            signed_in_at=signed_in_at,
            authentication=person.token.authentication,
            occasion=occasion_of(back),
        )
    except (Refused, Unavailable) as fact:
        return issuer.pages.not_signed_in(await record_refusal(fact, trail, issuer), provider, back=back)
    response = see_other(back)
    Begun(session).set_on(response, site)
    return response
