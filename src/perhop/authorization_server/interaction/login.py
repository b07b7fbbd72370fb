"""Sign-in: who sits at this browser, kept as a session whose cookie nobody else can read or set.

Spec: RFC 9700 §4.7.1
"""

from __future__ import annotations

import hashlib

from starlette.requests import Request
from starlette.responses import Response

from perhop.authorization_server.form import Form
from perhop.authorization_server.interaction.passwords import parse_email
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.store import SignIn
from perhop.errors import SignInFailed

SESSION_SECONDS = 8 * 60 * 60
SESSION_COOKIE = "perhop-session"
FORM_COOKIE = "perhop-form"
"""Ties a sign-in form to the browser that it was shown to, before there is a session."""


def cookie_name(name: str, issuer: Issuer) -> str:
    """Over https the name with which a browser takes the cookie from this host only, and over https only."""
    return f"__Host-{name}" if issuer.is_https else name


def read_cookie(request: Request, name: str, issuer: Issuer) -> str | None:
    return request.cookies.get(cookie_name(name, issuer)) or None


def set_cookie(response: Response, name: str, value: str, issuer: Issuer, *, max_age: int) -> None:
    """Set a cookie that scripts cannot read and other sites' forms do not send. Spec: RFC 6265 §4.1.2."""
    response.set_cookie(
        cookie_name(name, issuer),
        value,
        max_age=max_age,
        path="/",
        secure=issuer.is_https,
        httponly=True,
        samesite="lax",
    )


def hash_cookie(value: str) -> str:
    """What is kept of a session's cookie: its hex SHA-256."""
    return hashlib.sha256(value.encode()).hexdigest()


async def current_sign_in(request: Request, issuer: Issuer) -> SignIn | None:
    """Who is signed in at this browser; None if nobody is, or no longer.

    Raises: StorageUnavailable
    """
    value = read_cookie(request, SESSION_COOKIE, issuer)
    return await issuer.stores.sign_ins.get(hash_cookie(value), now=issuer.now()) if value is not None else None


async def sign_in(form: Form, request: Request, issuer: Issuer) -> str:
    """Check e-mail address and password, and begin a new session; returns the cookie's value.

    An older session of this browser ends: an id that was known before signing in is worth nothing after.

    Raises: SignInFailed, StorageUnavailable
    """
    account = await issuer.stores.accounts.get(parse_email(form.one("email") or ""))
    is_right = await issuer.passwords.is_right(account, form.one("password") or "")
    if account is None or not is_right or account.disabled or account.console_only:
        raise SignInFailed(f"account of `{account.subject}`" if account is not None else "no such account")
    before = read_cookie(request, SESSION_COOKIE, issuer)
    if before is not None:
        await issuer.stores.sign_ins.end(hash_cookie(before))
    value, now = issuer.new_secret(), issuer.now()
    await issuer.stores.sign_ins.add(
        SignIn(id_hash=hash_cookie(value), subject=account.subject, signed_in_at=now, expires_at=now + SESSION_SECONDS)
    )
    return value
