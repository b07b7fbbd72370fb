"""What the authorization server asks of storage: narrow Protocols, each verb atomic and durable when it returns.

Times are seconds since the epoch. Every verb raises StorageUnavailable when the database does not answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from perhop.authorization_server.refresh_families import FirstOfFamily, RefreshToken
from perhop.core.authentication import UNKNOWN, Authentication
from perhop.core.task import Task, TaskUse
from perhop.journal.query import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """The durable trace of one token: who, for what, from which parent.

    `parent_audience` is there because the parent may have no record of its own: a token under a key taken over.
    """

    jti: str
    parent_jti: str | None
    txn: str
    hop: int
    audience: str
    subject: str
    agent: str
    client_id: str
    scope: str
    issued_at: int
    expires_at: int
    tenant: str | None = None
    family: str | None = None
    parent_audience: str | None = None
    task: str | None = None


class TokenRecords(Protocol):
    async def add(self, record: TokenRecord) -> None:
        """Durable when it returns: called before the token leaves."""
        ...

    async def add_for_code(self, record: TokenRecord, code_hash: str, *, begins: FirstOfFamily | None = None) -> None:
        """Add, tie the token to the authorization code that it came from, and begin a refresh family, if one begins.

        One transaction.

        Raises: CodeReplayed if the code was redeemed a second time since: that redemption found no token to revoke
            CodeInvalid if a revocation covers the family that would begin
        """
        ...

    async def add_for_refresh(self, record: TokenRecord, spent_hash: str, following: RefreshToken) -> bool:
        """Spend a refresh token, put the next one in its place, and add the record: one transaction.

        False, and nothing is done, if it is spent or has expired, or its family is over.
        """
        ...


class Lineage(Protocol):
    """Tokens and their parents, over the database and the journal alike."""

    async def audiences(self, jti: str) -> frozenset[str]:
        """Every audience from this token up to the first of its chain; empty for a token without a record.

        Raises: JournalUnavailable where the journal cannot be read, as every verb here
        """
        ...

    async def descendants(self, jti: str, *, now: int) -> Sequence[TokenRecord]:
        """Every unexpired token that came from this one, at any depth."""
        ...

    async def live(self, kind: str, value: str, *, now: int) -> Sequence[TokenRecord]:
        """Unexpired tokens whose `kind` (jti, sub, agent, aud, tenant, family, task) is `value`."""
        ...

    async def live_in_journal(self, *, now: int) -> Sequence[TokenRecord]:
        """Unexpired tokens that left through the token endpoint, and have their record in the journal alone."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationCode:
    """What a code stands for. The code itself is kept as its SHA-256 only.

    `terms` is the digest of what the person was shown, `sender` the thumbprint of the key that alone may redeem it.
    """

    code_hash: str
    client_id: str
    subject: str
    redirect_uri: str
    code_challenge: str
    resource: str
    scopes: frozenset[str]
    expires_at: int
    task: str | None = None
    terms: str | None = None
    sender: str | None = None
    authentication: Authentication = UNKNOWN


@dataclass(frozen=True, slots=True)
class Consumed:
    """The one redemption that succeeds."""

    code: AuthorizationCode


@dataclass(frozen=True, slots=True)
class Replayed:
    """The code was used before; `jtis` are the tokens that came of it, `family` the refresh family that began."""

    jtis: tuple[str, ...]
    family: str | None = None


class AuthorizationCodes(Protocol):
    async def add(self, code: AuthorizationCode) -> None: ...

    async def consume(self, code_hash: str) -> Consumed | Replayed | None:
        """One statement: Consumed for the first caller, Replayed for every later one, None if never issued."""
        ...


class Assertions(Protocol):
    async def spend(self, client_id: str, jti: str, *, expires_at: int) -> bool:
        """True for the first use of this client's assertion id, False for every other one."""
        ...

    async def spend_grant(self, issuer: str, jti: str, *, expires_at: int) -> bool:
        """The same for the assertions of an issuer that we trust."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A local account. `console_only` accounts sign in to the console and nothing else."""

    email: str
    subject: str
    password_hash: str
    disabled: bool = False
    console_only: bool = False


class Accounts(Protocol):
    async def add(self, account: Account) -> bool:
        """False if the e-mail address is taken."""
        ...

    async def get(self, email: str) -> Account | None: ...

    async def of_subject(self, subject: str) -> Account | None: ...

    async def is_disabled(self, subject: str) -> bool:
        """True if there is an account of this subject, and it is disabled."""
        ...

    async def list(self) -> Sequence[Account]: ...

    async def disable(self, email: str) -> bool: ...

    async def enable(self, email: str) -> bool:
        """Lift the disabling; False if the account was not disabled, or there is none."""
        ...

    async def set_password(self, email: str, password_hash: str) -> bool: ...


class Place(StrEnum):
    """Where a person signs in: to consent, or to the console."""

    AUTHORIZE = "authorize"
    CONSOLE = "console"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """A browser's session at one place, and good for nothing elsewhere; the cookie is kept as its SHA-256 only.

    `email` is the account's, and not kept with it; `issuer` the provider's who has signed the person in, None for a
    local account. `known_as` is what the person is shown, where that is not the address. `auth_time` and `acr` say when
    and how the person signed in, as far as their provider said so. `occasion` is the digest of what they signed in for.
    """

    id_hash: str
    subject: str
    email: str
    signed_in_at: int
    expires_at: int
    place: Place
    issuer: str | None = None
    known_as: str = ""
    auth_time: int | None = None
    acr: str | None = None
    occasion: str | None = None

    @property
    def authentication(self) -> Authentication:
        """What a token says of this sign-in."""
        return Authentication(self.auth_time, self.acr)

    @property
    def shown(self) -> str:
        """Who the person is told to be signed in as."""
        return self.known_as or self.email


class SignIns(Protocol):
    async def add(self, sign_in: SignIn) -> None: ...

    async def get(self, id_hash: str, *, place: Place, now: int) -> SignIn | None:
        """None once expired, ended, or the account disabled; and for one of another place."""
        ...

    async def end(self, id_hash: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationRow:
    """One revocation. `digest` is the hex SHA-256 of the value; tokens issued at or before `not_before` are refused.

    `expires_at`: after it no token can be left that the row concerns.
    """

    seq: int
    kind: str
    digest: str
    not_before: int
    expires_at: int


class RevocationRows(Protocol):
    async def add(self, rows: Sequence[tuple[str, str, int, int]]) -> Sequence[RevocationRow]:
        """Add (kind, digest, not_before, expires_at) rows in one transaction; returns them with their `seq`."""
        ...

    async def add_ending(
        self,
        rows: Sequence[tuple[str, str, int, int]],
        names: Sequence[tuple[str, str]],
        *,
        now: int,
        only_ending: bool = False,
    ) -> tuple[Sequence[RevocationRow], Sequence[str]]:
        """The same, and in the same transaction end every refresh family that one of these names (kind, value) covers.

        Returns the rows, and the ids of the families that were in force. With `only_ending` no row is added where
        there is none.
        """
        ...

    async def covered_families(self, names: Sequence[tuple[str, str]], *, now: int) -> Sequence[str]:
        """Ids of the families that `add_ending` would end now."""
        ...

    async def after(self, seq: int, *, now: int) -> Sequence[RevocationRow]:
        """Rows in force with a higher `seq`, in order."""
        ...


class Standings(Protocol):
    """What was disabled: the file defines objects, the database owns their standing.

    `kind` is `client`, `resource`, `owner` or `issuer`. Nothing but `enable` lifts a disabling.
    """

    async def disabled(self) -> frozenset[tuple[str, str]]:
        """Every (kind, name) that is disabled."""
        ...

    async def disable(self, kind: str, name: str, *, why: str, now: int) -> None: ...

    async def enable(self, kind: str, name: str, *, now: int) -> bool:
        """True if it was disabled before."""
        ...

    async def reconcile(self, defined: frozenset[tuple[str, str]], *, now: int) -> frozenset[tuple[str, str]]:
        """Remember what the file defines; disable what it defined before and no longer does; returns those."""
        ...


class KeyStates(Protocol):
    """States of signing keys by `kid`: prepared, active, retired, revoked."""

    async def all(self) -> Mapping[str, tuple[str, int]]:
        """`kid` -> (state, since)."""
        ...

    async def set(self, states: Mapping[str, str], *, now: int) -> None:
        """Set several states in one transaction."""
        ...


class CallRecords(Protocol):
    """The journal, by the calls that its records are of."""

    def of_calls(self, call_ids: Sequence[str]) -> Sequence[Entry]:
        """Every record of these calls. Blocks, so it is called in a thread.

        Raises: JournalUnavailable, JournalDamaged
        """
        ...


@dataclass(frozen=True, slots=True)
class StoredTask:
    """A task and what was counted of it."""

    task: Task
    used: TaskUse


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that has just come to its end, and the revocation of its tokens that was written with it."""

    task: Task
    revocation: RevocationRow


@dataclass(frozen=True, slots=True)
class Superseded:
    """A task that another has just replaced. `successor` is as it was stored: it may be a person's already."""

    ended: Ended
    successor: Task


class TaskRows(Protocol):
    """Tasks. What changes one does so only while it is in force, in one statement that says if it did."""

    async def all(self, *, since: int) -> Sequence[StoredTask]:
        """Every task that expires after `since`, the oldest first."""
        ...

    async def add(self, task: Task) -> None: ...

    async def supersede(self, old: str, task: Task, *, revoked: tuple[int, int]) -> Superseded | None:
        """Put `task` in the place of the old one, which must be the same client's; None if that is not in force.

        What was a person's stays that person's. `revoked` is (not_before, expires_at) of the old one's tokens.
        """
        ...

    async def approve(self, task: str, *, subject: str, now: int) -> Task | None:
        """The task, approved by this person; None if it is not in force, or another person's."""
        ...

    async def end(self, task: str, *, now: int, revoked: tuple[int, int]) -> Ended | None:
        """End a task; None if it is not in force."""
        ...

    async def count(self, task: str, *, is_write: bool, now: int) -> TaskUse | None:
        """Count one call more; None if the task is not in force, or may make no more. Never more than it may make."""
        ...
