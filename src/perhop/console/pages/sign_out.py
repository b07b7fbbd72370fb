"""`/sign-out`: the session of this browser ends."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from perhop.authorization_server.form import read_form
from perhop.authorization_server.interaction.login import SESSION_COOKIE, set_cookie
from perhop.authorization_server.interaction.login import sign_out as end_session
from perhop.authorization_server.interaction.pages import see_other
from perhop.console.console import Console

_SEALED = "console sign-out"


async def sign_out(request: Request, console: Console) -> Response:
    """Ask, or do it if that is what this session's own form says.

    Raises: TokenRequestMalformed, BodyTooLarge, BodyTooSlow, StorageUnavailable
    """
    person = await console.person(request)
    if person is None:
        return see_other("/sign-in")
    if request.method == "POST":
        seal = (await read_form(request)).one("seal") or ""
        if console.issuer.form_seal.is_good(seal, _SEALED, person.id_hash, now=console.now()):
            await end_session(request, console.site, console.issuer)
            response = see_other("/sign-in")
            set_cookie(response, SESSION_COOKIE, "", console.site, max_age=0)
            return response
    seal = console.issuer.form_seal.seal(_SEALED, person.id_hash, now=console.now())
    return console.page("sign_out", {"seal": seal}, person=person)
