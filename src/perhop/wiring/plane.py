"""The plane: the running parts of one installation, without its listeners.

`perhop serve` puts listeners around it; a command that changes something while nothing serves opens it alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.newcomers.directory import Newcomers
from perhop.authorization_server.revocation import RevokedObject
from perhop.core.registry import Registry
from perhop.core.token import VerifiedToken
from perhop.gateway.approvals import Approvals
from perhop.gateway.tool_pins import ToolPins
from perhop.gateway.upstream.interface import Upstream
from perhop.journal.keys import JournalKey
from perhop.journal.record import Event, Record
from perhop.journal.writer import Journal
from perhop.policy.engine import PolicyEngine
from perhop.settings import Settings
from perhop.storage.engine import Database
from perhop.storage.journal_reader import JournalQueries
from perhop.storage.retention import forget_expired
from perhop.storage.stores import Stores
from perhop.tokens.kept_tokens import KeptTokens
from perhop.tokens.keys import Algorithm
from perhop.tokens.verify import Leeway
from perhop.wiring.keys import Rotated, SigningKeys
from perhop.wiring.known_clients import keys_with_newcomers, registry_with_newcomers
from perhop.wiring.known_tools import KnownTools
from perhop.wiring.metrics import Metrics
from perhop.wiring.people_policy import PeoplePolicy

Clock = Callable[[], float]


class Follower(Protocol):
    """A part that is built from the configuration and goes along when another one is put in force."""

    def preparing(
        self, settings: Settings, policy: PolicyEngine
    ) -> contextlib.AbstractAsyncContextManager[Callable[[], None]]:
        """Get ready without a change for anybody; what the block gets changes over, at once and without fail.

        A block that ends without having changed over leaves nothing behind that was opened for it.

        Raises: OperatorError, Unavailable
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """One revocation that follows from another configuration, and has not been made and recorded yet."""

    kind: RevokedObject
    value: str
    why: str
    by: str = "perhop"
    keeps_families: bool = False


@dataclass(kw_only=True)
class Plane:
    """What one installation consists of while it is open. `issuer` is replaced whole when a key changes, and
    `settings`, `policy` and `issuer` together when another configuration is put in force: see `wiring.reload`.

    `policies_refused` says why it began with other policies than those of the folder; empty if it did not.
    `last_reload_was_good` only when nothing that followed from it is `owed` any more. `removed` is what is disabled,
    by kind and name, and of which it is not known yet what is owed.
    `open_upstreams` are the ways that the gates take, by the name of the resource; empty while nothing serves.
    """

    settings: Settings
    journal: Journal
    journal_key: JournalKey
    reader: JournalQueries
    database: Database
    stores: Stores
    signing_keys: SigningKeys
    policy: PolicyEngine
    issuer: Issuer
    approvals: Approvals
    tool_pins: ToolPins
    known_tools: KnownTools
    metrics: Metrics
    newcomers: Newcomers
    followers: list[Follower] = field(default_factory=list)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    changing_keys: asyncio.Lock = field(default_factory=asyncio.Lock)
    last_reload_was_good: bool = True
    owed: list[Owed] = field(default_factory=list)
    removed: set[tuple[str, str]] = field(default_factory=set)
    policies_refused: str = ""
    open_upstreams: dict[str, Upstream] = field(default_factory=dict)
    kept_tokens: KeptTokens = field(default_factory=lambda: KeptTokens(Leeway.NONE))

    @property
    def registry(self) -> Registry:
        """What the file defines, and after its clients those that are known besides."""
        return self.issuer.registry

    def current_issuer(self) -> Issuer:
        """The issuer in force: a request keeps the one that it began with."""
        return self.issuer

    def verify_here(self, raw: str) -> VerifiedToken:
        """Verify a token of our own, without leeway; its signature once, for as long as its key is in force.

        Raises: BearerRefused
        """
        issuer, kept = self.issuer, self.kept_tokens
        keys = {issuer.url: issuer.keyring.verify_keys()}
        return kept.verify(kept.read(raw), keys=keys, now=int(issuer.clock()))

    def take(self, settings: Settings, policy: PolicyEngine) -> None:
        """Go by this configuration from now on; a request keeps the issuer that it began with."""
        keys = keys_with_newcomers(settings, self.newcomers)
        registry = registry_with_newcomers(settings, self.newcomers)
        self.settings, self.policy = settings, policy
        self.newcomers.take(settings.admission, defined=settings.registry.clients)
        self.issuer = dataclasses.replace(
            self.issuer,
            registry=registry,
            client_keys=keys,
            policy=self.policy_told_of_people(policy),
            rate_limits=settings.rate_limits,
        )

    def policy_told_of_people(self, policy: PolicyEngine) -> PeoplePolicy:
        """The same policies, told with each question in which groups its person is."""
        return PeoplePolicy(policy, self.issuer.groups)

    async def rotate_key(self, algorithm: Algorithm | None, *, at_once: bool, revoke_others: bool) -> Rotated:
        """Make the next signing key and put the new keyring in force."""
        async with self.changing_keys:
            keyring, rotated = await self.signing_keys.rotate(
                self.issuer.keyring, algorithm, at_once=at_once, revoke_others=revoke_others
            )
            self.issuer = dataclasses.replace(self.issuer, keyring=keyring)
        return rotated

    def is_key_in_force(self, kid: str) -> bool:
        """True if a signature of this key counts."""
        return kid in self.issuer.keyring.verify_keys()

    async def revoke_keys(self, kids: Sequence[str]) -> None:
        """Let no signature of these keys count any more; if one of them signs, another key is made and signs.

        Raises: KeyUnusable, StorageUnavailable
        """
        if self.issuer.keyring.active.kid in kids:
            await self.rotate_key(None, at_once=True, revoke_others=True)
        async with self.changing_keys:
            keyring = await self.signing_keys.revoke(self.issuer.keyring, kids)
            self.issuer = dataclasses.replace(self.issuer, keyring=keyring)

    async def advance_keys(self) -> None:
        """Let a prepared key sign whose time has come, and forget those that retired long ago."""
        async with self.changing_keys:
            before = self.issuer.keyring
            keyring = await self.signing_keys.advance(before)
            if keyring is None:
                return
            self.issuer = dataclasses.replace(self.issuer, keyring=keyring)
        left = {key.kid for key, _ in before.entries} - {key.kid for key, _ in keyring.entries}
        changes = [(kid, "unpublished") for kid in sorted(left)]
        if keyring.active.kid != before.active.kid:
            changes.append((keyring.active.kid, "active"))
        for kid, change in changes:
            about = {"kid": kid, "change": change, "by": "perhop"}
            await self.journal.append(Record(event=Event.KEY_CHANGED, about=about))

    async def forget_expired(self) -> None:
        """Drop rows, revocations and tasks that can matter to no token any more. The journal keeps everything."""
        self.issuer.revocations.forget(now=self.issuer.now())
        self.issuer.tasks.forget()
        await self.newcomers.forget_old()
        await forget_expired(self.database, now=self.issuer.now())
