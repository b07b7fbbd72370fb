"""Operations on the accounts of people: local ones, and those of people whom an OpenID provider signs in."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any

from perhop.authorization_server.interaction.passwords import parse_email
from perhop.authorization_server.people import is_local_way_open
from perhop.authorization_server.revocation import RevokedObject
from perhop.authorization_server.store import Account
from perhop.control.grants import subjects_named
from perhop.control.operator import by_operator
from perhop.core.secret import Secret
from perhop.errors import NotFound, OperatorError, SettingsError
from perhop.journal.record import Event, Record
from perhop.wiring.plane import Plane
from perhop.wiring.restored import fingerprint

MIN_PASSWORD = 12


async def account_add(plane: Plane, *, email: str, password: str | None) -> Mapping[str, Any]:
    """Add a local account."""
    chosen = _password(password)
    address = _address(email)
    _check_way_open(plane, address)
    account = Account(
        email=address,
        subject=f"user:{secrets.token_urlsafe(16)}",
        password_hash=await asyncio.to_thread(plane.issuer.passwords.hash, chosen.reveal()),
    )
    accounts = plane.issuer.stores.accounts
    if await accounts.get(address) is None:
        await plane.journal.append(_password_record(account, account.password_hash, change="added"))
        if await accounts.add(account):
            return _account_result(account, chosen, made=password is None)
    advice = f"run `perhop account password {address}`"
    raise OperatorError(f"there is an account `{address}` already", advice=advice)


def _check_way_open(plane: Plane, address: str) -> None:
    """Refuse an account that could not sign in.

    Raises: OperatorError
    """
    ways = plane.registry.sign_in
    provider = ways.provider_for(address)
    if provider is not None:
        raise OperatorError(
            f"people of `{address.rpartition('@')[2]}` sign in with the provider `{provider.name}`",
            advice="their account is made at the first sign-in",
        )
    if not is_local_way_open(address, ways):
        raise OperatorError("local accounts do not sign in here", advice="see `sign_in.local_accounts`")


async def account_password(plane: Plane, *, email: str, password: str | None) -> Mapping[str, Any]:
    """Set a new password. `disabled` is there, and true, where the account is disabled, and stays so."""
    account = await _account(plane, email)
    chosen = _password(password)
    password_hash = await asyncio.to_thread(plane.issuer.passwords.hash, chosen.reveal())
    await plane.journal.append(_password_record(account, password_hash, change="password"))
    await plane.issuer.stores.accounts.set_password(account.email, password_hash)
    return _account_result(account, chosen, made=password is None)


def _account_result(account: Account, password: Secret, *, made: bool) -> Mapping[str, Any]:
    shown = {"password": password.reveal()} if made else {}
    state = {"disabled": True} if account.disabled else {}
    return {"email": account.email, "subject": account.subject, **state, **shown}


async def account_disable(plane: Plane, *, person: str) -> Mapping[str, Any]:
    """Disable the accounts of a person, local or federated, and revoke every token of theirs."""
    stores = plane.issuer.stores
    subjects, live = await subjects_named(stores, person), 0
    email = None
    for subject in subjects:
        local = await stores.accounts.of_subject(subject)
        if local is not None:
            email = local.email
            await stores.accounts.disable(local.email)
        elif not await stores.federated_accounts.disable(subject):
            raise NotFound(f"there is no account `{subject}`", advice="run `perhop account list`")
        await plane.journal.append(_changed(Event.ACCOUNT_CHANGED, account=subject, change="disabled"))
        why, by = "account disabled", by_operator()
        revoked = await plane.issuer.revoker.revoke(RevokedObject.SUBJECT, subject, why=why, by=by)
        live += revoked.live
    return {"email": email, "subject": subjects[0], "subjects": list(subjects), "live": live}


async def account_enable(plane: Plane, *, person: str) -> Mapping[str, Any]:
    """Lift the disabling of a person's accounts, local or federated. What was revoked stays revoked."""
    stores = plane.issuer.stores
    subjects, was_disabled = await subjects_named(stores, person), False
    locals_ = {subject: await stores.accounts.of_subject(subject) for subject in subjects}
    for subject, local in locals_.items():
        if local is None and await stores.federated_accounts.of_subject(subject) is None:
            raise NotFound(f"there is no account `{subject}`", advice="run `perhop account list`")
        # Recorded first: what gives power back is never done without a record.
        await plane.journal.append(_changed(Event.ACCOUNT_CHANGED, account=subject, change="enabled"))
        if local is not None:
            was_disabled |= await stores.accounts.enable(local.email)
        else:
            was_disabled |= await stores.federated_accounts.enable(subject)
    email = next((local.email for local in locals_.values() if local is not None), None)
    return {"email": email, "subject": subjects[0], "subjects": list(subjects), "was_disabled": was_disabled}


def _address(email: str) -> str:
    address = parse_email(email)
    local, at, host = address.rpartition("@")
    if not (local and at and host) or any(each.isspace() or not each.isprintable() for each in address):
        raise SettingsError(f"`{email}` is not an e-mail address", advice="write it as ann@example.com")
    return address


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


def _password_record(account: Account, password_hash: str, *, change: str) -> Record:
    """So that a password of before, back from a backup, is seen to be another one."""
    about = {"account": account.subject, "change": change, "password": fingerprint(password_hash)}
    return _changed(Event.ACCOUNT_CHANGED, **about)


def _changed(event: Event, **about: str) -> Record:
    return Record(event=event, about={**about, "by": by_operator()})
