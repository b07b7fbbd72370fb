"""Approvals: calls that wait for a person of the owner's team, asked for by the gateway and decided by that person.

The database is the truth and decides every race: it is looked at for each call. What a person is to see of a call is
kept encrypted beside it until that person has decided, and in no record.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from perhop.core.approval import Approval, ApprovalState, Approver
from perhop.core.owner import Owner
from perhop.core.registry import Registry
from perhop.errors import (
    ApprovalClosed,
    ApprovalDenied,
    ApprovalRequired,
    ApproverRefused,
    NotFound,
    TooManyApprovals,
)
from perhop.gateway.approval_records import Asked, changed_record, refused_record, requested_record
from perhop.journal.record import Record
from perhop.rules.approval import (
    NONCE_BYTES,
    call_digest,
    check_approver,
    check_open,
    decide_on,
    seal_params,
    unseal_params,
)

MAX_WAITING = 20
"""Calls of one agent that wait at a time: a person who is asked too often says yes to anything."""

SEAL_PURPOSE = b"perhop approval seal"
"""For deriving the key under which calls are kept."""


@dataclass(frozen=True, slots=True)
class StoredApproval:
    """An approval with what is kept for the person who decides; None once that is decided or too late."""

    approval: Approval
    sealed: bytes | None


class ApprovalJournal(Protocol):
    async def append(self, record: Record) -> int:
        """Durable when it returns. Raises: JournalUnavailable."""
        ...


class ApprovalRows(Protocol):
    """Each verb is atomic, and durable when it returns; each raises StorageUnavailable."""

    async def use(self, digest: str, *, now: int) -> Approval | None:
        """Use up the approval of this call, if there is one; the first caller alone gets it."""
        ...

    async def ask(self, digest: str, asked: StoredApproval, *, most: int, now: int) -> tuple[Approval, bool] | None:
        """The one that waits for this very call, or was denied and is not over; else `asked`, which is then stored.

        True beside one that is new. None if so many calls of the agent wait that no more can.
        """
        ...

    async def decide(self, decided: Approval) -> bool:
        """Store a decision and drop what was kept for it; False if it could not be decided so any more."""
        ...

    async def expire(self, *, now: int) -> Sequence[Approval]:
        """Let those expire that nobody has decided in time; what was kept for them is dropped."""
        ...

    async def get(self, approval: str) -> StoredApproval | None: ...

    async def waiting(self, *, now: int) -> Sequence[StoredApproval]:
        """Those that can be decided now, the oldest first."""
        ...

    async def all(self) -> Sequence[StoredApproval]:
        """Every one that is kept, the oldest first."""
        ...


class Approvals:
    """The approvals of one installation. One object serves gateway, console and commands of a process.

    `lifetime` gives the seconds that a call may wait, `new_id` an id that nobody can guess.
    """

    def __init__(
        self,
        *,
        rows: ApprovalRows,
        journal: ApprovalJournal,
        key: bytes,
        registry: Callable[[], Registry],
        policy_version: Callable[[], str],
        lifetime: Callable[[], int],
        new_id: Callable[[], str],
        random_bytes: Callable[[int], bytes],
        clock: Callable[[], float],
    ) -> None:
        self._rows = rows
        self._journal = journal
        self._key = key
        self._registry = registry
        self._policy_version = policy_version
        self._lifetime = lifetime
        self._new_id = new_id
        self._random_bytes = random_bytes
        self._clock = clock
        self._deciding = asyncio.Lock()

    async def use_or_ask(self, asked: Asked) -> str:
        """The id of the approval that this call has just used up. Of many at once, one passes.

        Raises: ApprovalRequired, ApprovalDenied, TooManyApprovals, StorageUnavailable, JournalUnavailable
        """
        now = self._now()
        digest = call_digest(asked.call)
        used = await self._rows.use(digest, now=now)
        if used is not None:
            return used.id
        fresh = self._new(asked, now=now)
        sealed = seal_params(asked.params, fresh.id, key=self._key, nonce=self._random_bytes(NONCE_BYTES))
        found = await self._rows.ask(digest, StoredApproval(fresh, sealed), most=MAX_WAITING, now=now)
        policies, version = asked.policies, asked.call.policy_version
        if found is None:
            raise TooManyApprovals(f"{MAX_WAITING} calls of `{asked.call.agent}` wait for a person already")
        approval, is_new = found
        if is_new:
            await self._journal.append(requested_record(approval, asked))
        if approval.state is ApprovalState.DENIED:
            raise ApprovalDenied(
                f"denied by `{approval.decided_by}`", policies=policies, policy_version=version, approval=approval.id
            )
        left = max(0, approval.expires_at - now)
        raise ApprovalRequired(approval.id, expires_in=left, policies=policies, policy_version=version)

    async def decide(
        self, approval: str, *, allow: bool, approver: Approver, why: str = "", by: str = "", ip: str | None = None
    ) -> Approval:
        """Take a person's decision. `by` is the operator through whose hands it came, empty where it came by itself.

        Raises: NotFound, ApprovalClosed, ApproverRefused, SignInStale, StorageUnavailable, JournalUnavailable
        """
        async with self._deciding:
            now = self._now()
            known = (await self.get(approval)).approval
            owner = self.owner_of(known)
            check_open(known, allow=allow, policy_version=self._policy_version(), now=now)
            try:
                check_approver(approver, known, owner, now=now)
            except ApproverRefused:
                # Somebody has tried to decide who may not: nothing changes, and it is known.
                await self._journal.append(refused_record(known, owner, approver, by=by or approver.subject, ip=ip))
                raise
            decided = decide_on(known, allow=allow, approver=approver, why=why, now=now)
            # Recorded first: no call ever passes by an approval that stands nowhere.
            await self._journal.append(changed_record(decided, owner, by=by or approver.subject, ip=ip))
            if not await self._rows.decide(decided):
                raise ApprovalClosed(f"approval `{approval}` does not wait any more")
        return decided

    async def expire(self) -> None:
        """Let those expire that nobody has decided in time, and forget what was kept of them.

        Raises: StorageUnavailable, JournalUnavailable
        """
        async with self._deciding:
            for each in await self._rows.expire(now=self._now()):
                await self._journal.append(changed_record(each, self.owner_of(each), by="perhop"))

    async def get(self, approval: str) -> StoredApproval:
        """Raises: NotFound, StorageUnavailable."""
        found = await self._rows.get(approval)
        if found is None:
            raise NotFound(f"there is no approval `{approval}`", advice="run `perhop approval list --all`")
        return found

    async def waiting(self) -> Sequence[StoredApproval]:
        """Those that can be decided now, the oldest first.

        Raises: StorageUnavailable
        """
        return await self._rows.waiting(now=self._now())

    def params_of(self, stored: StoredApproval) -> Mapping[str, Any] | None:
        """What the call says, `_meta` left out; None once that is forgotten.

        Raises: ApprovalClosed
        """
        return read_params(stored, key=self._key)

    def owner_of(self, approval: Approval) -> Owner | None:
        """The team that decides; None if the configuration has no such resource any more."""
        registry = self._registry()
        resource = registry.resources.get(approval.resource)
        return registry.owners.get(resource.owner) if resource is not None else None

    def _new(self, asked: Asked, *, now: int) -> Approval:
        return Approval(
            id=self._new_id(),
            call=asked.call,
            client_id=asked.client_id,
            resource=asked.resource.name,
            name=asked.name,
            policies=asked.policies,
            state=ApprovalState.WAITING,
            asked_at=now,
            expires_at=now + self._lifetime(),
        )

    def _now(self) -> int:
        return int(self._clock())


def read_params(stored: StoredApproval, *, key: bytes) -> Mapping[str, Any] | None:
    """What was kept of the call for the person who decides; None once that is forgotten.

    Raises: ApprovalClosed
    """
    if stored.sealed is None:
        return None
    params: Mapping[str, Any] = json.loads(unseal_params(stored.sealed, stored.approval.id, key=key))
    return params
