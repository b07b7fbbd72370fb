"""What a command may change: one function an operation, and the table of them.

The arguments and the result of each are JSON, since they cross the control socket. Every operation leaves a record.
"""

from __future__ import annotations

import asyncio
import getpass
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from perhop.authorization_server.interaction.passwords import parse_email
from perhop.authorization_server.operator_issuance import issue_for_operator
from perhop.authorization_server.revocation import RevokedObject
from perhop.authorization_server.store import Account
from perhop.core.secret import Secret
from perhop.errors import NotFound, OperatorError, SettingsError
from perhop.journal.record import Event, Record
from perhop.tokens.keys import Algorithm, KeyState
from perhop.wiring.plane import Plane

Operation = Callable[..., Awaitable[Mapping[str, Any]]]

MIN_PASSWORD = 12


def _by() -> str:
    return f"operator:{getpass.getuser()}"


async def revoke(plane: Plane, *, kind: str, value: str, why: str) -> Mapping[str, Any]:
    """Revoke by token, agent, subject, resource or tenant; descendants along."""
    if kind == RevokedObject.TOKEN and value.count(".") == 2:
        value = plane.verify_here(value).jti
    revoked = await plane.issuer.revoker.revoke(RevokedObject(kind), value, why=why, by=_by())
    return {"kind": kind, "value": value, "live": revoked.live, "jtis": list(revoked.jtis)}


async def disable(plane: Plane, *, kind: str, name: str, why: str) -> Mapping[str, Any]:
    """Disable a client or resource, and revoke its tokens."""
    _defined(plane, kind, name)
    await plane.issuer.standing.disable(kind, name, why=why, now=plane.issuer.now())
    await plane.journal.append(_changed(Event.CONFIG_LOADED, kind=kind, name=name, change="disabled", why=why))
    revoked_as = RevokedObject.AGENT if kind == "client" else RevokedObject.RESOURCE
    revoked = await plane.issuer.revoker.revoke(revoked_as, name, why=why or f"{kind} disabled", by=_by())
    return {"kind": kind, "name": name, "live": revoked.live}


async def enable(plane: Plane, *, kind: str, name: str) -> Mapping[str, Any]:
    """Lift a disabling."""
    _defined(plane, kind, name)
    lifted = await plane.issuer.standing.enable(kind, name, now=plane.issuer.now())
    await plane.journal.append(_changed(Event.CONFIG_LOADED, kind=kind, name=name, change="enabled"))
    return {"kind": kind, "name": name, "was_disabled": lifted}


async def account_add(plane: Plane, *, email: str, password: str | None) -> Mapping[str, Any]:
    """Add a local account."""
    chosen = _password(password)
    account = Account(
        email=parse_email(email),
        subject=f"user:{secrets.token_urlsafe(16)}",
        password_hash=await asyncio.to_thread(plane.issuer.passwords.hash, chosen.reveal()),
    )
    if not await plane.issuer.stores.accounts.add(account):
        raise OperatorError(f"there is an account `{email}` already", advice=f"run `perhop account password {email}`")
    await plane.journal.append(_changed(Event.ACCOUNT_CHANGED, account=account.subject, change="added"))
    return {"email": email, "subject": account.subject, **({} if password else {"password": chosen.reveal()})}


async def account_password(plane: Plane, *, email: str, password: str | None) -> Mapping[str, Any]:
    """Set a new password."""
    account = await _account(plane, email)
    chosen = _password(password)
    password_hash = await asyncio.to_thread(plane.issuer.passwords.hash, chosen.reveal())
    await plane.issuer.stores.accounts.set_password(account.email, password_hash)
    await plane.journal.append(_changed(Event.ACCOUNT_CHANGED, account=account.subject, change="password"))
    return {"email": email, "subject": account.subject, **({} if password else {"password": chosen.reveal()})}


async def account_disable(plane: Plane, *, email: str) -> Mapping[str, Any]:
    """Disable an account, and revoke every token of the person."""
    account = await _account(plane, email)
    await plane.issuer.stores.accounts.disable(account.email)
    await plane.journal.append(_changed(Event.ACCOUNT_CHANGED, account=account.subject, change="disabled"))
    revoked = await plane.issuer.revoker.revoke(
        RevokedObject.SUBJECT, account.subject, why="account disabled", by=_by()
    )
    return {"email": email, "subject": account.subject, "live": revoked.live}


async def token_issue(plane: Plane, *, client: str, resource: str, scopes: list[str] | None) -> Mapping[str, Any]:
    """Issue a token for a client, by the rules of client credentials."""
    minted = await issue_for_operator(plane.issuer, client_id=client, resource=resource, scopes=scopes)
    return {
        "access_token": minted.raw.reveal(),
        "token_type": "Bearer",
        "expires_in": minted.draft.expires_at - minted.draft.issued_at,
        "scope": " ".join(sorted(minted.draft.scopes)),
        "resource": minted.draft.audience,
        "jti": minted.draft.jti,
    }


async def key_rotate(plane: Plane, *, alg: str | None, now: bool) -> Mapping[str, Any]:
    """Make the next signing key."""
    if alg is not None and alg not in {Algorithm.ES256, Algorithm.ED25519, Algorithm.RS256}:
        raise SettingsError(f"unknown algorithm `{alg}`", advice="choose ES256, Ed25519 or RS256")
    rotated = await plane.rotate_key(Algorithm(alg) if alg else None, at_once=now)
    await plane.journal.append(
        _changed(Event.KEY_CHANGED, kid=rotated.kid, state=rotated.state.value, alg=rotated.algorithm.value)
    )
    signs_from = "now" if rotated.state is KeyState.ACTIVE else _utc(rotated.signs_from)
    return {"kid": rotated.kid, "alg": rotated.algorithm.value, "state": rotated.state.value, "signs_from": signs_from}


OPERATIONS: Mapping[str, Operation] = {
    "revoke": revoke,
    "standing.disable": disable,
    "standing.enable": enable,
    "account.add": account_add,
    "account.password": account_password,
    "account.disable": account_disable,
    "token.issue": token_issue,
    "key.rotate": key_rotate,
}


async def run_operation(plane: Plane, name: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Run the operation of this name.

    Raises: NotFound
    """
    operation = OPERATIONS.get(name)
    if operation is None:
        raise NotFound(f"there is no operation `{name}`", advice="use the same version for command and server")
    return await operation(plane, **arguments)


def _defined(plane: Plane, kind: str, name: str) -> None:
    names: Mapping[str, object] = {
        "client": plane.registry.clients,
        "resource": plane.registry.resources,
        "owner": plane.registry.owners,
    }[kind]
    if name not in names:
        raise NotFound(f"the configuration defines no {kind} `{name}`", advice=f"run `perhop {kind} list`")


async def _account(plane: Plane, email: str) -> Account:
    account = await plane.issuer.stores.accounts.get(parse_email(email))
    if account is None:
        raise NotFound(f"there is no account `{email}`", advice="run `perhop account list`")
    return account


def _password(given: str | None) -> Secret:
    if given is None:
        return Secret(secrets.token_urlsafe(18))
    if len(given) < MIN_PASSWORD:
        raise SettingsError(f"the password has fewer than {MIN_PASSWORD} characters", advice="choose a longer one")
    return Secret(given)


def _changed(event: Event, **about: str) -> Record:
    return Record(event=event, about={**about, "by": _by()})


def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
