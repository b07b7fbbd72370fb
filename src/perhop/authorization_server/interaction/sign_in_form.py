"""The sign-in form of the authorization server: shown wherever somebody has to be known first, and taken there.

With a password the person is signed in at once; with the button of a provider the browser goes there, and comes back
to the provider's callback.

Spec: RFC 9700 §4.7.1
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from perhop.authorization_server.endpoints.refuse import record_refusal
from perhop.authorization_server.federation.round_trip import begin_attempt, callback_path
from perhop.authorization_server.form import Form
from perhop.authorization_server.interaction.demands import NO_DEMANDS, Demands, occasion_of
from perhop.authorization_server.interaction.form_seal import FORM_LIFETIME
from perhop.authorization_server.interaction.login import (
    FORM_COOKIE,
    read_cookie,
    set_cookie,
    sign_in,
    site_of,
)
from perhop.authorization_server.interaction.pages import see_other
from perhop.authorization_server.interaction.passwords import typed_email
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.trail import Trail
from perhop.core.client import Client
from perhop.core.provider import Provider
from perhop.core.resource import Resource
from perhop.errors import SignInFailed, SignInRefused, SignInThrottled, Unavailable
from perhop.rules.approval import FRESH_SECONDS
from perhop.rules.networks import network_of

SIGN_IN = "sign_in"

_AS_THEY_ARE = ":/?#[]@!$&'()*+,;=%"
"""What RFC 3986 §2.2 reserves, and what is encoded already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """What somebody signs in for: the form goes to `action`, with `query`, and the sign-in leads back to both.

    `client` and `resource` are those that a person is asked about, None where there is no application. `demands` is
    what the application wants of the sign-in.
    """

    action: str
    query: str = ""
    client: Client | None = None
    resource: Resource | None = None
    redirect_uri: str = ""
    demands: Demands = NO_DEMANDS

    @property
    def back(self) -> str:
        """As a browser brings it from a redirect: some letters come as they are, and have to be encoded there."""
        return quote(f"{self.action}?{self.query}" if self.query else self.action, safe=_AS_THEY_ARE)


def is_sign_in_sent(sent: Form, purpose: Purpose, request: Request, issuer: Issuer) -> bool:
    """True if this is our sign-in form, shown to this browser for this purpose, not long ago."""
    cookie, seal = read_cookie(request, FORM_COOKIE, site_of(issuer)), sent.one("seal")
    if sent.one("step") != SIGN_IN or cookie is None or seal is None:
        return False
    return issuer.form_seal.is_good(seal, SIGN_IN, cookie, purpose.action, purpose.query, now=issuer.now())


def show_sign_in(
    purpose: Purpose,
    request: Request,
    issuer: Issuer,
    *,
    refused: SignInFailed | SignInThrottled | None = None,
    typed: str = "",
) -> Response:
    """The form; `refused` is why it is shown again, with what was `typed` as the address."""
    cookie = read_cookie(request, FORM_COOKIE, site_of(issuer)) or issuer.new_secret()
    page = issuer.pages.sign_in(
        client=purpose.client,
        resource=purpose.resource,
        redirect_uri=purpose.redirect_uri,
        query=purpose.query,
        seal=issuer.form_seal.seal(SIGN_IN, cookie, purpose.action, purpose.query, now=issuer.now()),
        action=purpose.action,
        ways=issuer.registry.sign_in,
        refused=refused,
        typed=typed,
    )
    set_cookie(page, FORM_COOKIE, cookie, site_of(issuer), max_age=FORM_LIFETIME)
    return page


async def take_sign_in(sent: Form, purpose: Purpose, request: Request, trail: Trail, issuer: Issuer) -> Response:
    """A good password leads back by GET, so that going back in the browser sends no password again.

    Raises: StorageUnavailable
    """
    provider = issuer.registry.sign_in.providers.get(sent.one("provider") or "")
    if provider is not None:
        return await _go_to(provider, purpose, request, trail, issuer)
    try:
        begun = await sign_in(sent, request, site_of(issuer), issuer, occasion=occasion_of(purpose.back))
    except (SignInFailed, SignInThrottled) as fact:
        answered = await record_refusal(fact, trail, issuer)
        if isinstance(answered, Unavailable):
            return issuer.pages.refused(answered)
        return show_sign_in(purpose, request, issuer, refused=fact, typed=typed_email(sent.one("email")))
    response = see_other(purpose.back)
    begun.set_on(response, site_of(issuer))
    return response


async def _go_to(provider: Provider, purpose: Purpose, request: Request, trail: Trail, issuer: Issuer) -> Response:
    site = site_of(issuer)
    cookie = read_cookie(request, FORM_COOKIE, site)
    assert cookie is not None, "a form without the cookie is not taken"
    address = trail.request.ip or ""
    try:
        url = await begin_attempt(
            provider,
            issuer,
            place=site.place,
            cookie=cookie,
            network=network_of(address) or address,
            redirect_uri=issuer.endpoint(callback_path(provider.name)),
            back=purpose.back,
            max_age=_max_age(purpose.demands),
            prompt="login" if purpose.demands.signs_in_anew else None,
            acr_values=purpose.demands.wanted.acr_values,
        )
    except (SignInRefused, Unavailable) as fact:
        answered = await record_refusal(fact, trail, issuer)
        return issuer.pages.not_signed_in(answered, provider, back=purpose.back)
    page = issuer.pages.going(provider, url)
    set_cookie(page, FORM_COOKIE, cookie, site, max_age=FORM_LIFETIME)
    return page


def _max_age(demands: Demands) -> int | None:
    """What the provider is held to. Who signs in anew does so now: a provider that asks nobody does not get by.

    Spec: OpenID Connect Core 1.0 §3.1.2.1
    """
    ages = [demands.wanted.max_age, FRESH_SECONDS if demands.signs_in_anew else None]
    return min((each for each in ages if each is not None), default=None)
