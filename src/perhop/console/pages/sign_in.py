"""`/sign-in`: a person shows who they are, and comes back to where they wanted to go."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from perhop.authorization_server.endpoints.refuse import record_refusal
from perhop.authorization_server.form import Form, parse_form, read_form
from perhop.authorization_server.interaction.form_seal import FORM_LIFETIME
from perhop.authorization_server.interaction.login import (
    FORM_COOKIE,
    SESSION_COOKIE,
    SESSION_SECONDS,
    hash_cookie,
    read_cookie,
    set_cookie,
)
from perhop.authorization_server.interaction.login import sign_in as begin_session
from perhop.authorization_server.interaction.pages import see_other
from perhop.authorization_server.trail import Trail
from perhop.console.console import Console
from perhop.console.paths import own_path
from perhop.console.reasons_kept import clean_reason
from perhop.errors import SignInFailed, Unavailable
from perhop.rules.approval import MAX_WHY

CONSOLE_NAME = "perhop:console"
"""What the journal calls this place, where others have a resource."""

_SEALED = "console sign-in"


async def sign_in(request: Request, console: Console) -> Response:
    """Show the form, or take it: a good password leads on by GET, so that going back sends no password again.

    Raises: TokenRequestMalformed, BodyTooLarge, BodyTooSlow, StorageUnavailable, JournalUnavailable
    """
    person = await console.person(request)
    known_as = person.email if person is not None else ""
    if request.method != "POST":
        path = own_path(parse_form(request.scope["query_string"]).one("next"))
        return show_sign_in(request, console, path=path, known_as=known_as)
    form = await read_form(request)
    path, why = own_path(form.one("next")), clean_reason(form.one("why"))[:MAX_WHY]
    if not _is_sealed(form, path, why, request, console):
        notice = "That form was too old. Try again."
        return show_sign_in(request, console, path=path, known_as=known_as, notice=notice, status=403)
    try:
        session = await begin_session(form, request, console.site, console.issuer)
    except SignInFailed as fact:
        answered = await record_refusal(fact, Trail.of(request).at(place=CONSOLE_NAME), console.issuer)
        if isinstance(answered, Unavailable):
            raise answered from None
        notice = "The e-mail address or the password is wrong."
        return show_sign_in(request, console, path=path, why=why, known_as=known_as, notice=notice, status=403)
    console.reasons_kept.keep(hash_cookie(session), path, why, now=console.now())
    response = see_other(path)
    set_cookie(response, SESSION_COOKIE, session, console.site, max_age=SESSION_SECONDS)
    return response


def show_sign_in(
    request: Request,
    console: Console,
    *,
    path: str,
    why: str = "",
    known_as: str = "",
    notice: str = "",
    status: int = 200,
) -> Response:
    """The form. `why` is a reason that was typed before and is to be there again; `known_as` an e-mail address."""
    cookie = read_cookie(request, FORM_COOKIE, console.site) or console.issuer.new_secret()
    values = {
        "next": path,
        "why": why,
        "known_as": known_as,
        "notice": notice,
        "seal": console.issuer.form_seal.seal(_SEALED, cookie, path, why, now=console.now()),
    }
    page = console.page("sign_in", values, status=status)
    set_cookie(page, FORM_COOKIE, cookie, console.site, max_age=FORM_LIFETIME)
    return page


def _is_sealed(form: Form, path: str, why: str, request: Request, console: Console) -> bool:
    cookie, seal = read_cookie(request, FORM_COOKIE, console.site), form.one("seal")
    if cookie is None or seal is None:
        return False
    return console.issuer.form_seal.is_good(seal, _SEALED, cookie, path, why, now=console.now())
