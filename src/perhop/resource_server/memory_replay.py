"""Single use in the memory of one process: the default, for a server that is one process.

Three things that memory cannot know are refused: what came before the process, what another process on this machine
has taken before it, and what is old enough to have been forgotten.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from perhop.core.proof import CheckedProof
from perhop.core.resource import ResourceUri
from perhop.core.token import VerifiedToken
from perhop.errors import ReplayUnavailable, SettingsError, TokenReplayed
from perhop.resource_server.memory_proofs import MemoryProofs
from perhop.resource_server.process_lock import ProcessLock
from perhop.resource_server.replay import TIDY_EVERY, is_forgotten_at, last_use, use_key
from perhop.rules.lifetime import MAX_LIFETIME


class MemoryReplay:
    """For one resource, and for the only process that serves it.

    A token with an `iat` before this process began is refused. `iat` has whole seconds: one that was issued in the
    second in which the process began may be from before, and is refused too. That no second process of this user
    serves the resource on this machine is held by a lock on a file; other machines and other users are not seen.

    The clock of this machine is trusted not to go back while the server restarts, where the file is lost.
    """

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._process = os.getpid()
        self._taken_before = 0
        self._used: dict[str, int] = {}
        self._forgotten = 0
        self._uses = 0
        self._lock = ProcessLock()
        self._resource: ResourceUri | None = None
        self._starts = 0
        self._proofs = MemoryProofs(clock=clock)

    def start(self, resource: ResourceUri) -> None:
        """Take the lock. Raises: SettingsError."""
        if self._resource not in (None, resource):
            raise SettingsError(
                f"one memory serves `{self._resource}` and `{resource}`",
                advice="give each guard a `MemoryReplay` of its own, or all of them one `SqliteReplay(PATH)`",
            )
        if not self._lock.is_held:
            self._take_lock(resource)
            self._starts = 0
        self._starts += 1

    async def use(self, token: VerifiedToken) -> None:
        """See `ReplayStore`. No await before the entry is made: no second use can come between."""
        self._check_lock()
        if token.issued_at < self._began:
            raise TokenReplayed("issued before this process began, so it may have been used")
        if token.issued_at <= self._taken_before:
            raise TokenReplayed("another process has taken tokens of that time, and may have taken this one")
        # INVARIANT: what was used is known, or lies before what was forgotten; no clock can bring it back.
        key = use_key(token)
        if key in self._used or last_use(token) <= self._forgotten:
            raise TokenReplayed("used before")
        self._note_time(token)
        self._used[key] = last_use(token)
        self._uses += 1
        if self._uses % TIDY_EVERY == 0:
            self._forget(before=is_forgotten_at(token))

    async def use_proof(self, proof: CheckedProof) -> None:
        """See `ReplayStore`. Needs no lock: what others have taken came with nonces of theirs."""
        self._proofs.use(proof)

    def nonce_key(self) -> bytes:
        """See `ReplayStore`."""
        return self._proofs.nonce_key()

    def stop(self) -> None:
        """Let go of the lock; what was used stays used."""
        self._starts -= 1
        if self._starts == 0:
            self._lock.release()

    def _take_lock(self, resource: ResourceUri) -> None:
        before = self._lock.take(resource)
        if before is None:
            raise SettingsError(
                f"another process on this machine guards `{resource}`, and each would take the same call token once",
                advice="give all of them one store: `Guard(replay=SqliteReplay(PATH))`",
            )
        self._resource = resource
        if self._process != os.getpid():
            # Made in a process that was forked since: others of its children may have served, and ended.
            self._process, self._began = os.getpid(), self._clock()
        # A mark that lies far ahead was made under a clock that was wrong, and would close the server for as long.
        is_plausible = before.latest <= self._clock() + MAX_LIFETIME
        if not before.is_own and is_plausible:
            self._taken_before = max(self._taken_before, before.latest)

    def _check_lock(self) -> None:
        if self._lock.was_removed and self._resource is not None:
            # A cleaner of temporary files: until the lock is ours again, another process may have taken tokens.
            self._lock.release()
            self._began = self._clock()
            try:
                self._take_lock(self._resource)
            except SettingsError as error:
                raise ReplayUnavailable(str(error)) from error
        if not self._lock.is_held:
            raise ReplayUnavailable("this process does not hold the lock of its resource: was it forked?")

    def _note_time(self, token: VerifiedToken) -> None:
        try:
            self._lock.note(token.issued_at)
        except OSError as error:
            raise ReplayUnavailable(f"the lock's file cannot be written: {error}") from error

    def _forget(self, *, before: int) -> None:
        old = [until for until in self._used.values() if until < before]
        self._forgotten = max([self._forgotten, *old])
        self._used = {key: until for key, until in self._used.items() if until >= before}
