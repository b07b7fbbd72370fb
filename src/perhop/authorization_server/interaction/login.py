"""Sign-in: who sits at this browser, kept as a session whose cookie nobody else can read or set.

Spec: RFC 9700 §4.7.1
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from perhop.authorization_server.form import Form
from perhop.authorization_server.interaction.known_devices import DEVICE_SECONDS
from perhop.authorization_server.interaction.passwords import parse_email
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.people import as_admitted, is_local_way_open
from perhop.authorization_server.store import Account, Place, SignIn
from perhop.core.authentication import Authentication
from perhop.errors import SignInFailed

SESSION_SECONDS = 8 * 60 * 60
SESSION_COOKIE = "session"
DEVICE_COOKIE = "device"
FORM_COOKIE = "form"
"""Ties a sign-in form to the browser that it was shown to, before there is a session."""

_PREFIX = {Place.AUTHORIZE: "perhop-", Place.CONSOLE: "perhop-console-"}


@dataclass(frozen=True, slots=True)
class Site:
    """One place where people sign in. Its cookies have names of their own: a browser does not tell ports apart."""

    place: Place
    is_https: bool

    def cookie_name(self, name: str) -> str:
        """Over https the name with which a browser takes the cookie from this host only, and over https only."""
        return f"__Host-{_PREFIX[self.place]}{name}" if self.is_https else f"{_PREFIX[self.place]}{name}"


def site_of(issuer: Issuer) -> Site:
    """Where people sign in to consent."""
    return Site(Place.AUTHORIZE, issuer.is_https)


def read_cookie(request: Request, name: str, site: Site) -> str | None:
    return request.cookies.get(site.cookie_name(name)) or None


def set_cookie(response: Response, name: str, value: str, site: Site, *, max_age: int) -> None:
    """Set a cookie that scripts cannot read and other sites' forms do not send. Spec: RFC 6265 §4.1.2."""
    response.set_cookie(
        site.cookie_name(name),
        value,
        max_age=max_age,
        path="/",
        secure=site.is_https,
        httponly=True,
        samesite="lax",
    )


def hash_cookie(value: str) -> str:
    """What is kept of a session's cookie: its hex SHA-256."""
    return hashlib.sha256(value.encode()).hexdigest()


async def current_sign_in(request: Request, site: Site, issuer: Issuer) -> SignIn | None:
    """Who is signed in at this browser; None if nobody is, or no longer, or their way in is closed.

    Raises: StorageUnavailable
    """
    value = read_cookie(request, SESSION_COOKIE, site)
    if value is None:
        return None
    stored = await issuer.stores.sign_ins.get(hash_cookie(value), place=site.place, now=issuer.now())
    return as_admitted(stored, issuer.registry.sign_in) if stored is not None else None


@dataclass(frozen=True, slots=True)
class Begun:
    """A session that has just begun: the values of its cookie and of the one by which the browser is known from now."""

    session: str
    device: str | None = None

    def set_on(self, response: Response, site: Site) -> None:
        """Give the browser its cookies."""
        set_cookie(response, SESSION_COOKIE, self.session, site, max_age=SESSION_SECONDS)
        if self.device is not None:
            set_cookie(response, DEVICE_COOKIE, self.device, site, max_age=DEVICE_SECONDS)


async def sign_in(form: Form, request: Request, site: Site, issuer: Issuer, *, occasion: str | None = None) -> Begun:
    """Check e-mail address and password, and begin a new session, for this occasion if it has one.

    Raises: SignInFailed, SignInThrottled, StorageUnavailable
    """
    email = parse_email(form.one("email") or "")
    account = await issuer.stores.accounts.get(email)
    known = read_cookie(request, DEVICE_COOKIE, site)
    subject = account.subject if account is not None else ""
    device = issuer.devices.device(known, subject, site.place, now=issuer.now())
    address = request.client.host if request.client else ""
    tried = issuer.throttle.begin(email, address=address, device=device)
    account = await check_password(email, form.one("password") or "", site.place, issuer)
    issuer.throttle.was_right(tried)
    now = issuer.now()
    how = Authentication(time=now)
    session = await begin_session(
        account.subject, account.email, request, site, issuer, signed_in_at=now, authentication=how, occasion=occasion
    )
    await _look_again(account, session, issuer)
    cookie = issuer.devices.cookie(account.subject, site.place, device or issuer.new_id(), now=issuer.now())
    return Begun(session, cookie)


async def _look_again(account: Account, session: str, issuer: Issuer) -> None:
    """End the session if the password was changed while it was checked.

    INVARIANT: another password ends sessions in the transaction that sets it, and the session is stored before this
    look: so one of the two sees the other.

    Raises: SignInFailed, StorageUnavailable
    """
    stored = await issuer.stores.accounts.get(account.email)
    if stored is None or stored.password_hash != account.password_hash:
        await issuer.stores.sign_ins.end(hash_cookie(session))
        raise SignInFailed(f"account of `{account.subject}`: the password was changed meanwhile")


async def check_password(email: str, password: str, place: Place, issuer: Issuer) -> Account:
    """The account of whoever knows its password, if it may sign in at this place. As much work if there is none.

    Does not slow down whoever tries many: see `sign_in`.

    Raises: SignInFailed, StorageUnavailable
    """
    account = await issuer.stores.accounts.get(parse_email(email))
    is_right = await issuer.passwords.is_right(account, password)
    is_elsewhere = account is not None and account.console_only and place is not Place.CONSOLE
    if account is None or not is_right or account.disabled or is_elsewhere:
        raise SignInFailed(f"account of `{account.subject}`" if account is not None else "no such account")
    if not is_local_way_open(account.email, issuer.registry.sign_in):
        raise SignInFailed(f"account of `{account.subject}`: local accounts like it do not sign in")
    return account


async def begin_session(
    subject: str,
    email: str,
    request: Request,
    site: Site,
    issuer: Issuer,
    *,
    signed_in_at: int,
    authentication: Authentication,
    occasion: str | None = None,
) -> str:
    """Begin a new session; returns the cookie's value. Does not look who it is.

    `authentication` is what is known for certain of the sign-in, and goes into tokens.

    An older session of this browser ends: an id that was known before signing in is worth nothing after.

    Raises: StorageUnavailable
    """
    await sign_out(request, site, issuer)
    value = issuer.new_secret()
    begun = SignIn(
        id_hash=hash_cookie(value),
        subject=subject,
        email=email,
        signed_in_at=signed_in_at,
        expires_at=issuer.now() + SESSION_SECONDS,
        place=site.place,
        auth_time=authentication.time,
        acr=authentication.acr,
        occasion=occasion,
    )
    await issuer.stores.sign_ins.add(begun)
    return value


async def sign_out(request: Request, site: Site, issuer: Issuer) -> None:
    """End the session of this browser, if it has one.

    Raises: StorageUnavailable
    """
    before = read_cookie(request, SESSION_COOKIE, site)
    if before is not None:
        await issuer.stores.sign_ins.end(hash_cookie(before))
