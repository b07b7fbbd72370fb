"""Tool pins: what a resource's owner approved of its tools, and what has been seen of them that differs.

A tool that differs is quarantined until its owner approves, also if the server shows the old definition again. All
of it is in memory and is looked at per call; the rows of the database are for the next start.

Spec: MCP 2026-07-28 tools
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from perhop.errors import AnswerUnfit, ToolQuarantined, Unavailable
from perhop.journal.record import Event, Record
from perhop.rules.tool_definition import MAX_NAME_LENGTH, ToolDefinition, parse_definition, tool_name

MAX_NOTES = 1_000
"""Notes of new tools of one resource. What is not noted is not approved either, and is refused all the same."""

TOOLS_OF_A_RECORD = 100

_log = logging.getLogger("perhop.gateway")


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """The tools of one resource as its owner approved them, by name; who did it, and when."""

    definitions: Mapping[str, ToolDefinition]
    by: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A tool that is not as approved. `seen` is how that was noticed; None for a definition that none can approve."""

    tool: str
    seen: ToolDefinition | None
    noticed_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """What stands of one resource's tools."""

    approval: Approval
    quarantined: Sequence[Quarantined]


class ToolPinRows(Protocol):
    async def all(self) -> Mapping[str, Pinned]:
        """Every resource of which anything was approved.

        Raises: StorageUnavailable, as every verb here
        """
        ...

    async def approve(self, resource: str, approval: Approval) -> None:
        """Put this in the place of what was approved before, and forget what was quarantined, in one transaction."""
        ...

    async def note_quarantined(self, resource: str, noticed: Sequence[Quarantined]) -> None:
        """Keep these until the next approval; of a tool that is noted already, the first note stays."""
        ...


class PinJournal(Protocol):
    async def append(self, record: Record) -> int:
        """Durable when it returns. Raises: JournalUnavailable."""
        ...


class ResourcePins:
    """The pins of one resource, in memory. `on_notice` is told of tools that have just been quarantined.

    `approval` is None while nothing was approved: the resource is unpinned, and its tools pass. `take` changes it.
    """

    def __init__(
        self,
        resource: str,
        *,
        clock: Callable[[], float],
        on_notice: Callable[[str, Sequence[Quarantined]], None] = lambda _resource, _noticed: None,
    ) -> None:
        self._resource = resource
        self._clock = clock
        self._on_notice = on_notice
        self.approval: Approval | None = None
        """None while nothing was approved: the resource is unpinned, and its tools pass. For reading only."""
        self._quarantined: dict[str, Quarantined] = {}

    @property
    def quarantined(self) -> Mapping[str, Quarantined]:
        """What was seen and differs, by the tool's name."""
        return self._quarantined

    def check(self, tool: str) -> None:
        """Refuse a tool that was not approved, or was seen otherwise since.

        Raises: ToolQuarantined
        """
        if self.approval is None:
            return
        if tool not in self.approval.definitions:
            raise ToolQuarantined(f"tool `{tool[:MAX_NAME_LENGTH]}` is not among the approved ones")
        if tool in self._quarantined:
            raise ToolQuarantined(f"tool `{tool}` has been seen with another definition than the approved one")

    def approved(self, tool: str) -> ToolDefinition | None:
        """The tool's approved definition, whether or not it is quarantined."""
        return self.approval.definitions.get(tool) if self.approval is not None else None

    def compare(self, tools: Iterable[Any]) -> None:
        """Hold a list of tools, of whoever's call, against what was approved; quarantine what differs, at once.

        A tool that is quarantined stays so, whatever is listed now. What is not listed is no matter here.
        """
        if self.approval is None:
            return
        noticed: dict[str, Quarantined] = {}
        for tool in tools:
            found = self._judge(tool)
            if found is not None:
                noticed[found.tool] = self._quarantined[found.tool] = found
        if noticed:
            self._on_notice(self._resource, tuple(noticed.values()))

    def take(self, pinned: Pinned) -> None:
        """Go by this from now on."""
        self.approval = pinned.approval
        self._quarantined = {each.tool: each for each in pinned.quarantined}

    def _judge(self, tool: Any) -> Quarantined | None:
        name = tool_name(tool)
        if name is None or self.approval is None:
            return None
        name = name[:MAX_NAME_LENGTH]
        approved = self.approval.definitions.get(name)
        if name in self._quarantined or (approved is None and len(self._quarantined) >= MAX_NOTES):
            return None
        seen = read_definition(tool)
        if seen is not None and seen == approved:
            return None
        return Quarantined(tool=name, seen=seen, noticed_at=int(self._clock()))


class ToolPins:
    """The pins of every resource of one installation; they outlive the gates that look at them."""

    def __init__(self, *, rows: ToolPinRows, journal: PinJournal, clock: Callable[[], float]) -> None:
        self._rows = rows
        self._journal = journal
        self._clock = clock
        self._of: dict[str, ResourcePins] = {}
        self._unrecorded: dict[str, dict[str, Quarantined]] = {}
        self._unwritten: dict[str, dict[str, Quarantined]] = {}
        self._changing = asyncio.Lock()
        self._running: set[asyncio.Task[None]] = set()

    async def load(self) -> None:
        """Read what stands; before any traffic.

        Raises: StorageUnavailable
        """
        for resource, pinned in (await self._rows.all()).items():
            self.of(resource).take(pinned)

    def of(self, resource: str) -> ResourcePins:
        """The pins of one resource: always the same object."""
        if resource not in self._of:
            self._of[resource] = ResourcePins(resource, clock=self._clock, on_notice=self._notice)
        return self._of[resource]

    async def approve(self, resource: str, definitions: Mapping[str, ToolDefinition], *, by: str) -> Approval:
        """Approve exactly these tools, in the place of all that was approved before, and lift every quarantine.

        What is noticed meanwhile and is not as approved now stays quarantined.

        Raises: StorageUnavailable, JournalUnavailable
        """
        pins = self.of(resource)
        async with self._changing:
            await self._keep()
            before = dict(pins.quarantined)
            approval = Approval(definitions=definitions, by=by, at=int(self._clock()))
            # Recorded first: what gives power back is never done without a record.
            await self._journal.append(_approved(resource, approval))
            await self._rows.approve(resource, approval)
            since = [
                each
                for each in pins.quarantined.values()
                if before.get(each.tool) is not each and each.seen != definitions.get(each.tool)
            ]
            pins.take(Pinned(approval=approval, quarantined=since))
            self._unwritten[resource] = {each.tool: each for each in since}
        self._begin_keeping()
        return approval

    async def keep(self) -> None:
        """Record and write what has been noticed and is not kept yet.

        Raises: StorageUnavailable, JournalUnavailable
        """
        async with self._changing:
            await self._keep()

    async def close(self) -> None:
        """Let what was noticed reach the disk, if it can."""
        self._begin_keeping()
        await asyncio.gather(*self._running)

    def _notice(self, resource: str, noticed: Sequence[Quarantined]) -> None:
        # INVARIANT: the quarantine is in force already. What follows keeps it for the next start, and tells of it.
        _log.warning("quarantined tools of `%s`: %s", resource, ", ".join(repr(each.tool) for each in noticed))
        for waiting in (self._unrecorded, self._unwritten):
            waiting.setdefault(resource, {}).update((each.tool, each) for each in noticed)
        self._begin_keeping()

    def _begin_keeping(self) -> None:
        task = asyncio.create_task(self._try_to_keep())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _try_to_keep(self) -> None:
        try:
            await self.keep()
        except Unavailable as failure:
            _log.error("a quarantine holds, but is not kept on disk yet: %s", failure)

    async def _keep(self) -> None:
        try:
            await self._write()
        finally:  # one of the two being down is no reason to leave out the other
            await self._record()

    async def _write(self) -> None:
        for resource, waiting in list(self._unwritten.items()):
            if notes := list(waiting.values()):
                await self._rows.note_quarantined(resource, notes)
                _forget(waiting, notes)

    async def _record(self) -> None:
        for resource, waiting in list(self._unrecorded.items()):
            while chunk := list(waiting.values())[:TOOLS_OF_A_RECORD]:
                await self._journal.append(_quarantined(resource, chunk))
                _forget(waiting, chunk)


def _forget(waiting: dict[str, Quarantined], done: Iterable[Quarantined]) -> None:
    for each in done:
        if waiting.get(each.tool) is each:
            del waiting[each.tool]


def _approved(resource: str, approval: Approval) -> Record:
    digests = {name: each.digest for name, each in approval.definitions.items()}
    return _changed(resource, change="approved", tools=digests, by=approval.by)


def _quarantined(resource: str, noticed: Iterable[Quarantined]) -> Record:
    digests = {each.tool: each.seen.digest if each.seen is not None else None for each in noticed}
    return _changed(resource, change="quarantined", tools=digests, by="perhop")


def _changed(resource: str, **about: Any) -> Record:
    return Record(event=Event.APPROVAL_CHANGED, resource=resource, about={"resource": resource, **about})


def read_definition(tool: Any) -> ToolDefinition | None:
    """The definition of one member of `tools`; None if it is one that nobody can approve."""
    try:
        return parse_definition(tool)
    except AnswerUnfit:
        return None
