"""`found`: make everything that `serve` needs and refuses to make.

Run again it keeps what is there and makes what is missing. What must never be made anew (a journal that was, the key
of a journal) is not: its loss is told instead.
"""

from __future__ import annotations

import base64
import secrets
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from perhop.authorization_server.interaction.passwords import Passwords
from perhop.authorization_server.store import Account
from perhop.core.secret import Secret
from perhop.errors import AnswerUnfit, OperatorError
from perhop.founding.first_file import CLIENT, SECRET_FILE, FirstUpstream, write_first_file
from perhop.founding.first_tools import FirstTools, sort_tools
from perhop.founding.told import AskServer, Told, ask_nobody
from perhop.gateway.tool_review import read_listed
from perhop.journal.keys import PEM_FILE, VKEY_FILE, JournalKey, load_journal_key, origin_of, write_journal_key
from perhop.journal.record import Event, Record
from perhop.journal.whole_file import write_whole
from perhop.journal.writer import Journal
from perhop.policy.starter import STARTER_FILE, load_starter_policy, write_starter_policy
from perhop.settings import Settings, load
from perhop.storage.accounts import SqlAccounts
from perhop.storage.engine import open_database
from perhop.storage.journal_db import checkpoint_path, create_journal, open_journal
from perhop.storage.key_states import SqlKeyStates
from perhop.storage.migrate import migrate
from perhop.tokens.keys import KeyState, SigningKey
from perhop.wiring.keys import load_signing_key, write_signing_key
from perhop.wiring.opening import open_plane

SETTINGS_FILE = "perhop.yaml"
ADMIN = "admin"
"""The account that signs in to the console, and nowhere else."""

_FIRST_CLIENT_DAYS = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstResource:
    """The resource that a running server became.

    `definitions` are its tools as it wrote them, `tools` what became of them, `approved` how many are pinned as they
    are now; `problem` says why it told of none.
    """

    name: str
    scopes: tuple[str, ...]
    definitions: tuple[Mapping[str, Any], ...]
    tools: FirstTools
    approved: int
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Founded:
    """What was made: paths within the folder, the password if the account is new, and what to run next."""

    folder: Path
    made: tuple[str, ...]
    admin_password: Secret | None
    next_command: str
    resource: FirstResource | None = None


async def found(
    folder: Path,
    *,
    upstream_url: str | None = None,
    name: str | None = None,
    signing_key_pem: Path | None = None,
    issuer: str = "http://127.0.0.1:8420",
    environ: Mapping[str, str],
    clock: Callable[[], float],
    ask: AskServer = ask_nobody,
    randomness: Callable[[int], bytes] = secrets.token_bytes,
    passwords: Passwords | None = None,
) -> Founded:
    """Make the folder's settings, policies, keys, database, journal and first account, where they are missing.

    A server at `upstream_url` becomes a resource of this name, with scopes and policies after what it tells.

    Raises: OperatorError, StorageUnavailable, JournalUnavailable
    """
    taken_over = _take_over(signing_key_pem)
    upstream, told = None, Told()
    if upstream_url is not None:
        upstream = FirstUpstream.of(upstream_url, name)
        _check_is_new(folder / SETTINGS_FILE)
        told = await ask(upstream_url)
        upstream = replace(upstream, tools=sort_tools(told.definitions), wants_token=told.wants_token)
    made: list[str] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made += _make_settings(folder, upstream, issuer=issuer, now=clock(), randomness=randomness)
        settings = load(folder / SETTINGS_FILE, environ)
        made += _make_policies(settings, upstream)
        made += _make_keys(settings, taken_over)
        made += _make_databases(settings)
    except OSError as error:
        raise OperatorError(f"`{error.filename or folder}` cannot be made: {error.strerror}") from error
    password = await _make_standing(settings, passwords, clock=clock, randomness=randomness)
    approved = 0 if upstream is None else await _approve_tools(settings, upstream.name, told, clock=clock)
    return Founded(
        folder=folder,
        made=tuple(made),
        admin_password=password,
        next_command=_next_command(folder),
        resource=None if upstream is None else _first_resource(upstream, told, approved),
    )


async def _approve_tools(settings: Settings, resource: str, told: Told, *, clock: Callable[[], float]) -> int:
    """What the server tells now is what its owner approves, who runs this; returns how many tools."""
    try:
        listed = read_listed(told.definitions)
    except AnswerUnfit:
        return 0
    if not listed.definitions:
        return 0
    async with open_plane(settings, clock=clock, record_start=False) as plane:
        await plane.tool_pins.approve(resource, listed.definitions, by="init")
    return len(listed.definitions)


def _first_resource(upstream: FirstUpstream, told: Told, approved: int) -> FirstResource:
    return FirstResource(
        name=upstream.name,
        scopes=upstream.scopes,
        definitions=told.definitions,
        tools=upstream.tools,
        approved=approved,
        problem=told.problem,
    )


def _check_is_new(file: Path) -> None:
    if file.exists():
        advice = "write the resource into it, or begin elsewhere"
        raise OperatorError(f"`{file}` is there, and is kept", advice=advice)


def _take_over(pem: Path | None) -> SigningKey | None:
    if pem is None:
        return None
    try:
        return SigningKey.from_pem(pem.read_bytes())
    except OSError as error:
        raise OperatorError(f"the key `{pem}` cannot be read: {error.strerror}") from error


def _make_settings(
    folder: Path, upstream: FirstUpstream | None, *, issuer: str, now: float, randomness: Callable[[int], bytes]
) -> list[str]:
    file = folder / SETTINGS_FILE
    if file.exists():
        return []
    expires = datetime.fromtimestamp(now, UTC) + timedelta(days=_FIRST_CLIENT_DAYS)
    made = []
    if upstream is not None and not (folder / SECRET_FILE).exists():
        _make_folder(folder / SECRET_FILE)
        _write(folder / SECRET_FILE, _secret(randomness, 32).reveal() + "\n")
        made.append(SECRET_FILE)
    # Last, because its presence says that this step is done.
    _write(file, write_first_file(issuer, upstream, expires=f"{expires:%Y-%m-%d}"))
    return [SETTINGS_FILE, *made]


def _make_policies(settings: Settings, upstream: FirstUpstream | None) -> list[str]:
    folder = settings.policies_dir
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.glob("*.cedar")):
        return []
    _write(folder / STARTER_FILE, _starter_policy(upstream), mode=0o644)
    return [_within(settings, folder / STARTER_FILE)]


def _starter_policy(upstream: FirstUpstream | None) -> str:
    if upstream is None or not upstream.tools.are_split:
        return load_starter_policy()
    tools = upstream.tools
    return write_starter_policy(
        CLIENT, upstream.name, read=[tool.name for tool in tools.read], write=[tool.name for tool in tools.write]
    )


def _make_keys(settings: Settings, taken_over: SigningKey | None) -> list[str]:
    keys = settings.keys_dir
    _make_folder(keys / PEM_FILE)
    made = []
    there = sorted(keys.glob("signing-*.pem"))
    if not there:
        written = write_signing_key(keys, taken_over or SigningKey.generate())
        made.append(_within(settings, written))
    elif taken_over is not None and keys / f"signing-{taken_over.kid}.pem" not in there:
        advice = "`perhop key rotate` makes the next one; to take one over, begin in an empty folder"
        raise OperatorError(f"there is a signing key in `{keys}` already", advice=advice)
    halves = [name for name in (PEM_FILE, VKEY_FILE) if (keys / name).exists()]
    if not halves and not settings.journal_path.exists():
        write_journal_key(keys, JournalKey.new(origin_of(settings.issuer)))
        made += [_within(settings, keys / name) for name in (PEM_FILE, VKEY_FILE)]
    elif len(halves) < 2:
        lost = next(name for name in (PEM_FILE, VKEY_FILE) if name not in halves)
        raise OperatorError(f"`{keys / lost}` is lost: the journal goes on under no other key", advice="restore it")
    return made


def _make_databases(settings: Settings) -> list[str]:
    made = []
    settings.database_path.parent.mkdir(parents=True, exist_ok=True)
    if migrate(settings.database_path):
        made.append(_within(settings, settings.database_path))
    journal = settings.journal_path
    if not journal.exists():
        if checkpoint_path(journal).exists():
            advice = "restore it; `perhop init` makes no second journal in the place of one"
            raise OperatorError(f"the journal `{journal}` is lost: its checkpoint is still there", advice=advice)
        create_journal(journal, key=load_journal_key(settings.keys_dir))
        made.append(_within(settings, journal))
    return made


async def _make_standing(
    settings: Settings,
    passwords: Passwords | None,
    *,
    clock: Callable[[], float],
    randomness: Callable[[int], bytes],
) -> Secret | None:
    """Name the active signing key and add the first account, each recorded before it is done."""
    database = open_database(settings.database_path)
    try:
        key_states, accounts = SqlKeyStates(database), SqlAccounts(database)
        kid = _only_key(settings) if not await key_states.all() else None
        is_new = await accounts.get(ADMIN) is None
        if kid is None and not is_new:
            return None
        journal = open_journal(settings.journal_path, key=load_journal_key(settings.keys_dir), clock=clock)
        try:
            if kid is not None:
                await journal.append(_changed(Event.KEY_CHANGED, kid=kid, state=KeyState.ACTIVE.value))
                await key_states.set({kid: KeyState.ACTIVE.value}, now=int(clock()))
            return await _add_admin(accounts, journal, passwords or Passwords(), randomness) if is_new else None
        finally:
            await journal.close()
    finally:
        await database.close()


async def _add_admin(
    accounts: SqlAccounts, journal: Journal, passwords: Passwords, randomness: Callable[[int], bytes]
) -> Secret:
    password = _secret(randomness, 18)
    account = Account(
        email=ADMIN,
        subject=f"user:{_secret(randomness, 16).reveal()}",
        password_hash=passwords.hash(password.reveal()),
        console_only=True,
    )
    await journal.append(_changed(Event.ACCOUNT_CHANGED, account=account.subject, change="added"))
    await accounts.add(account)
    return password


def _only_key(settings: Settings) -> str:
    keys = [load_signing_key(file) for file in sorted(settings.keys_dir.glob("signing-*.pem"))]
    if len(keys) != 1:
        advice = "leave in the folder the one that shall sign, or restore the database"
        raise OperatorError(f"`{settings.keys_dir}` holds several signing keys, and none is active", advice=advice)
    return keys[0].kid


def _changed(event: Event, **about: str) -> Record:
    return Record(event=event, about={**about, "by": "init"})


def _secret(randomness: Callable[[int], bytes], size: int) -> Secret:
    return Secret(base64.urlsafe_b64encode(randomness(size)).rstrip(b"=").decode("ascii"))


def _make_folder(of: Path) -> None:
    """Make the folder of a key file, for the owner alone."""
    of.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    of.parent.chmod(0o700)


def _write(file: Path, text: str, *, mode: int = 0o600) -> None:
    """Write a new file, which must not exist, with its mode from the start; a part of one would pass for a choice."""
    write_whole(file, text.encode(), mode=mode)


def _within(settings: Settings, path: Path) -> str:
    return str(path.relative_to(settings.folder)) if path.is_relative_to(settings.folder) else str(path)


def _next_command(folder: Path) -> str:
    if folder.absolute() == Path.cwd():
        return "perhop serve"
    return f"perhop serve --config {shlex.quote(str(folder / SETTINGS_FILE))}"
