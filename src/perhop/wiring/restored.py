"""A database that was put back from a backup: noticed by what the journal knows and it does not.

What gives power back is in the journal before it is in the database, and what takes power is in the database first. So
where the journal knows more of the second kind, the database is an older copy, however the process ended. Then a new
epoch begins: nothing that it may have forgotten is taken, and what the journal says was disabled or revoked is so
again. A journal that is an older copy, too, says nothing: then it is for the operator to run `perhop revoke --all`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from perhop.authorization_server.revocation import EVERYTHING, Revoked, RevokedObject
from perhop.core.secret import Secret
from perhop.journal.query import Filter, is_kept_here
from perhop.journal.record import Event, Record
from perhop.storage.retention import KEPT_AFTER_EXPIRY
from perhop.tokens.keys import KeyState
from perhop.wiring.plane import Plane

BY = "perhop"
RESTORED = "restored"
"""The change that a record tells after a database was put back."""
_log = logging.getLogger("perhop")


async def count_start(plane: Plane) -> int:
    """Count one start more; the record of the start says its number. Raises: StorageUnavailable."""
    number = await plane.issuer.epoch.rows.count_start()
    await plane.issuer.epoch.load()
    return number


@dataclass(frozen=True, slots=True)
class Lost:
    """What the journal knows and the database has forgotten, in words; `epoch` is the last one of which it tells."""

    what: str
    epoch: int


async def find_lost(plane: Plane) -> Lost | None:
    """None if the database has forgotten nothing.

    Raises: StorageUnavailable, JournalUnavailable, JournalDamaged
    """
    rows = plane.issuer.epoch.rows
    known, row = await asyncio.to_thread(_known_of, plane), await rows.current()
    if known.epoch > row.number:
        return Lost("an epoch", known.epoch)
    if known.starts > row.starts:
        return Lost("a start of the server", known.epoch)
    if known.last_revocation > await rows.last_revocation():
        return Lost("revocations", known.epoch)
    if known.last_token is not None and not await rows.is_recorded(known.last_token):
        return Lost("tokens that were issued", known.epoch)
    return None


@dataclass(frozen=True, slots=True)
class _Known:
    epoch: int
    starts: int
    last_revocation: int
    last_token: str | None


def _known_of(plane: Plane) -> _Known:
    """What the journal knows of the newest start, revocation and token with a row since the database was last put back.

    Blocks.
    """
    first, epoch, starts = 1, 1, 0
    for entry in plane.reader.find(Filter(event=Event.CONFIG_LOADED.value)):
        about = entry.part("about")
        if about.get("change") == RESTORED:
            first, epoch, starts = entry.seq + 1, _number(about, "epoch"), 0
        starts = max(starts, _number(about, "start"))
    revocation = plane.reader.last(Filter(event=Event.REVOCATION.value, first=first))
    issued = plane.reader.newest_first(Filter(event=Event.TOKEN_ISSUED.value, first=first))
    with_row = next((entry for entry in issued if not is_kept_here(entry)), None)
    token = with_row.part("out") if with_row is not None else {}
    # The record of a token is dropped a day after its end. An hour earlier nobody has looked for it yet.
    is_kept = _number(token, "exp") + KEPT_AFTER_EXPIRY - 3600 > plane.issuer.now()
    return _Known(
        epoch=epoch,
        starts=starts,
        last_revocation=_number(revocation.part("about"), "feed") if revocation is not None else 0,
        last_token=str(token["jti"]) if is_kept and "jti" in token else None,
    )


async def begin_epoch(plane: Plane, *, why: str, by: str, above: int = 0) -> Revoked:
    """End everything that was given: tokens, refresh families, codes, sign-ins, consents, approvals, tasks.

    Accounts, clients, keys and policies stay. Its number is above that one.

    Raises: StorageUnavailable, JournalUnavailable
    """
    issuer = plane.issuer
    row = await issuer.epoch.begin(now=issuer.now(), above=above)
    await issuer.tasks.load()
    words = f"epoch {row.number} begins" + (f": {why}" if why else "")
    return await issuer.revoker.revoke(RevokedObject.ALL, EVERYTHING, why=words, by=by)


async def recover(plane: Plane, lost: Lost) -> None:
    """Begin a new epoch after the database was put back, and take again what the journal says was taken.

    Raises: OperatorError, StorageUnavailable, JournalUnavailable, JournalDamaged
    """
    taken = await asyncio.to_thread(_taken, plane)
    again = [*await _disable_again(plane, taken), *await _revoke_keys_again(plane, taken)]
    again += await _lock_accounts_again(plane, taken)
    why = f"the database is older than the journal: it has forgotten {lost.what}"
    await begin_epoch(plane, why=why, by=BY, above=lost.epoch)
    about = {"change": RESTORED, "epoch": plane.issuer.epoch.row.number, "lost": lost.what, "again": again, "by": BY}
    await plane.journal.append(Record(event=Event.CONFIG_LOADED, about=about))
    _log.warning(
        "the database is older than the journal and has forgotten %s; epoch %d begins: every token, refresh token,"
        " sign-in and consent of before has ended; taken again from the journal: %s",
        lost.what,
        plane.issuer.epoch.row.number,
        ", ".join(again) or "nothing",
    )


@dataclass(slots=True)
class _Taken:
    """The last word of the journal on what was taken from whom."""

    disabled: dict[tuple[str, str], bool] = field(default_factory=dict)
    accounts: set[str] = field(default_factory=set)
    passwords: dict[str, str] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)


def _taken(plane: Plane) -> _Taken:
    """Blocks. Only of what is still in `journal.db`: what was archived is older than any backup worth keeping."""
    taken = _Taken()
    for about in _abouts(plane, Event.CONFIG_LOADED):
        if about.get("change") in ("disabled", "enabled"):
            taken.disabled[str(about.get("kind")), str(about.get("name"))] = about["change"] == "disabled"
        for removed in about.get("removed") or ():
            kind, _, name = str(removed).partition(" ")
            taken.disabled[kind, name] = True
    for about in _abouts(plane, Event.ACCOUNT_CHANGED):
        subject = str(about.get("account"))
        if about.get("change") == "disabled":
            taken.accounts.add(subject)
        elif about.get("change") == "enabled":
            taken.accounts.discard(subject)
        if "password" in about:
            taken.passwords[subject] = str(about["password"])
    taken.keys = {
        str(about.get("kid"))
        for about in _abouts(plane, Event.KEY_CHANGED)
        if about.get("state") == KeyState.REVOKED.value
    }
    return taken


async def _disable_again(plane: Plane, taken: _Taken) -> list[str]:
    standing, again = plane.issuer.standing, []
    for (kind, name), is_disabled in sorted(taken.disabled.items()):
        if is_disabled and not standing.is_disabled(kind, name):
            await standing.disable(kind, name, why="disabled before the database was put back", now=plane.issuer.now())
            again.append(f"{kind} {name} disabled")
    return again


async def _revoke_keys_again(plane: Plane, taken: _Taken) -> list[str]:
    leaked = [kid for kid in sorted(taken.keys) if plane.is_key_in_force(kid)]
    if not leaked:
        return []
    await plane.revoke_keys(leaked)
    return [f"key {kid} revoked" for kid in leaked]


async def _lock_accounts_again(plane: Plane, taken: _Taken) -> list[str]:
    """Disabled accounts, and those whose password of before is good again: a new one has to be set."""
    accounts, again = plane.issuer.stores.accounts, []
    for account in await accounts.list():
        if account.subject in taken.accounts and not account.disabled:
            await accounts.disable(account.email)
            again.append(f"account {account.subject} disabled")
        elif taken.passwords.get(account.subject, fingerprint(account.password_hash)) != fingerprint(
            account.password_hash
        ):
            await accounts.set_password(account.email, NO_PASSWORD)
            again.append(f"account {account.subject} wants a new password")
    federated = plane.issuer.stores.federated_accounts
    for known in await federated.list():
        if known.subject in taken.accounts and not known.disabled:
            await federated.disable(known.subject)
            again.append(f"account {known.subject} disabled")
    return again


NO_PASSWORD = "!"
"""A password hash that no password has."""


def fingerprint(password_hash: str) -> str:
    """What a record says of a password hash: enough to see that it is another one. The hash has a salt of its own."""
    return repr(Secret(password_hash))


def _abouts(plane: Plane, event: Event) -> Iterator[Mapping[str, Any]]:
    for entry in plane.reader.find(Filter(event=event.value)):
        yield entry.part("about")


def _number(part: Mapping[str, Any], name: str) -> int:
    value = part.get(name)
    return value if type(value) is int else 0
