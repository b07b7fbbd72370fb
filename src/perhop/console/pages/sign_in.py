"""`/sign-in`: a person shows who they are, and comes back to where they wanted to go."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from perhop.authorization_server.endpoints.refuse import record_refusal
from perhop.authorization_server.federation.round_trip import begin_attempt, browser_digest, callback_path
from perhop.authorization_server.form import Form, parse_form, read_form
from perhop.authorization_server.interaction.form_seal import FORM_LIFETIME
from perhop.authorization_server.interaction.login import (
    FORM_COOKIE,
    hash_cookie,
    read_cookie,
    set_cookie,
)
from perhop.authorization_server.interaction.login import sign_in as begin_session
from perhop.authorization_server.interaction.pages import notice_of, see_other
from perhop.authorization_server.interaction.passwords import typed_email
from perhop.authorization_server.trail import Trail
from perhop.console.console import Console
from perhop.console.pages.refused import not_signed_in
from perhop.console.paths import own_path
from perhop.console.reasons_kept import clean_reason
from perhop.core.provider import Provider
from perhop.errors import SignInFailed, SignInThrottled, Unavailable
from perhop.rules.approval import FRESH_SECONDS, MAX_WHY
from perhop.rules.networks import network_of

CONSOLE_NAME = "perhop:console"
"""What the journal calls this place, where others have a resource."""

_SEALED = "console sign-in"


async def sign_in(request: Request, console: Console) -> Response:
    """Show the form, or take it: a good password leads on by GET, so that going back sends no password again.

    Raises: TokenRequestMalformed, BodyTooLarge, BodyTooSlow, StorageUnavailable, JournalUnavailable
    """
    person = await console.person(request)
    known_as = person.shown if person is not None else ""
    if request.method != "POST":
        path = own_path(parse_form(request.scope["query_string"]).one("next"))
        return show_sign_in(request, console, path=path, known_as=known_as)
    form = await read_form(request)
    path, why = own_path(form.one("next")), clean_reason(form.one("why"))[:MAX_WHY]
    if not _is_sealed(form, path, why, request, console):
        notice = "That form was too old. Try again."
        return show_sign_in(request, console, path=path, known_as=known_as, notice=notice, status=403)
    trail = Trail.of(request).at(place=CONSOLE_NAME)
    provider = console.issuer.registry.sign_in.providers.get(form.one("provider") or "")
    if provider is not None:
        return await _go_to(provider, path, why, request, trail, console)
    try:
        begun = await begin_session(form, request, console.site, console.issuer)
    except (SignInFailed, SignInThrottled) as fact:
        answered = await record_refusal(fact, trail, console.issuer)
        if isinstance(answered, Unavailable):
            raise answered from None
        notice, status = notice_of(fact)
        known_as = typed_email(form.one("email")) or known_as
        page = show_sign_in(request, console, path=path, why=why, known_as=known_as, notice=notice, status=status)
        if isinstance(fact, SignInThrottled):
            page.headers["retry-after"] = str(fact.retry_after)
        return page
    console.reasons_kept.keep(hash_cookie(begun.session), path, why, now=console.now())
    response = see_other(path)
    begun.set_on(response, console.site)
    return response


async def _go_to(provider: Provider, path: str, why: str, request: Request, trail: Trail, console: Console) -> Response:
    """On to a provider, which has the person sign in anew: who decides on a call has shown just now who they are."""
    cookie = read_cookie(request, FORM_COOKIE, console.site)
    assert cookie is not None, "a form without the cookie is not taken"
    address = trail.request.ip or ""
    try:
        url = await begin_attempt(
            provider,
            console.issuer,
            place=console.site.place,
            cookie=cookie,
            network=network_of(address) or address,
            redirect_uri=f"{console.url}{callback_path(provider.name)}",
            back=path,
            max_age=FRESH_SECONDS,
            prompt="login",
        )
    except Unavailable as fact:
        return not_signed_in(await record_refusal(fact, trail, console.issuer), provider, console, back=path)
    console.reasons_kept.keep(browser_digest(cookie), path, why, now=console.now())
    going = console.page("going", {"provider": provider, "url": url, "host": urlsplit(url).hostname or ""})
    set_cookie(going, FORM_COOKIE, cookie, console.site, max_age=FORM_LIFETIME)
    return going


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
        "ways": console.issuer.registry.sign_in,
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
