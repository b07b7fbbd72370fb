"""The gate: all that one resource's traffic needs, built by wiring. The Protocols say what is asked of other parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from perhop.core.decision import Allow, Decision, NeedsApproval, Permit, Question
from perhop.core.resource import Resource
from perhop.core.task import Task, TaskUse
from perhop.core.token import BoundToken, HopToken, VerifiedToken
from perhop.gateway.approval_records import Asked
from perhop.gateway.asked_before import AskedBefore
from perhop.gateway.catalogue import Catalogue
from perhop.gateway.known_callers import KnownCallers
from perhop.gateway.open_requests import OpenRequests
from perhop.gateway.open_tasks import OpenTasks
from perhop.gateway.readiness import Readiness
from perhop.gateway.revisions import UpstreamRevisions
from perhop.gateway.revocation_watch import RevocationWatch
from perhop.gateway.sessions import SessionSealer
from perhop.gateway.tool_checks import ToolChecks
from perhop.gateway.upstream.interface import Upstream
from perhop.journal.record import Record, TaskFacts
from perhop.policy.lasting import Lasting
from perhop.tokens.possession import ProofDesk


class Standing(Protocol):
    def check(self, bound: BoundToken, resource: Resource) -> None:
        """Refuse a token whose agent or resource lost its standing since it was issued.

        Raises: AgentDisabled, AgentExpired, OwnerMissing, TokenRevoked
        """
        ...

    def look(self, token: VerifiedToken) -> object | None:
        """What the answers of `verify`, of `check` and about revocations rest on now; None where that cannot be told.

        Does not check anything.
        """
        ...

    def holds(self, seen: object) -> bool:
        """True only if all of it is what it was at that look, and its times hold: these answers are still the same."""
        ...


class Rates(Protocol):
    def check(self, agent: str) -> None:
        """Count a request of an agent, at whatever resource. Raises: RateExceeded."""
        ...


class Tasks(Protocol):
    def check_token(self, token: VerifiedToken) -> Task | None:
        """The task that a token names, in force and the token's own; None if it names none.

        Raises: TaskOutside, TaskSuperseded, TaskExpired
        """
        ...

    def facts(self, task: str | None) -> TaskFacts | None:
        """What a record says of the task with this id, in force or not."""
        ...

    async def count(self, task: Task, *, is_write: bool) -> TaskUse:
        """Count one call, exactly, and for good.

        Raises: LimitExceeded, TaskSuperseded, TaskExpired, StorageUnavailable
        """
        ...


class ApprovalsOfCalls(Protocol):
    async def use_or_ask(self, asked: Asked) -> str:
        """The id of the approval that this call has just used up.

        Raises: ApprovalRequired, ApprovalDenied, TooManyApprovals, StorageUnavailable, JournalUnavailable
        """
        ...


class Policy(Protocol):
    def decide(self, question: Question) -> Decision: ...

    def lasting(self, question: Question) -> Lasting | None:
        """Where decisions on this question may be kept, whatever time it is; None where one might not last."""
        ...

    def again(self, lasting: Lasting, arguments: Mapping[str, Any]) -> Allow | NeedsApproval | None:
        """What was decided about such arguments before; None if that must be asked anew."""
        ...

    def may_permit(self, question: Question) -> bool:
        """False only if no arguments could make it permitted."""
        ...

    def needing_body(self, server: str) -> tuple[str, ...]:
        """Ids of the policies that want more of a call at this server than its headers tell."""
        ...

    @property
    def version(self) -> str: ...


class Exchanger(Protocol):
    def exchange(self, permit: Permit) -> HopToken:
        """A token for the permit's upstream. The permit's own record stands for it: nothing is stored here."""
        ...


class Journal(Protocol):
    async def append(self, record: Record) -> int:
        """Durable when it returns. Raises: JournalUnavailable."""
        ...

    def note(self, record: Record) -> None:
        """Written in its order, and nobody waits until it is. Raises: JournalUnavailable."""
        ...

    async def append_refusal(self, record: Record, *, address: str) -> int | None:
        """For refusals of strangers: beyond a rate, many become one counted record. Raises: JournalUnavailable."""
        ...

    def mac(self, arguments: Mapping[str, Any]) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds in seconds and bytes."""

    body_seconds: float = 30.0
    max_call_seconds: float = 600.0
    event_to_filter_bytes: int = 1024 * 1024
    answer_bytes: int = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One resource and what guards it. `new_call_id` gives 16 random hex digits; `clock` seconds since the epoch."""

    resource: Resource
    issuer: str
    verify: Callable[[str], VerifiedToken]
    proofs: ProofDesk
    revoked: RevocationWatch
    standing: Standing
    rates: Rates
    tasks: Tasks
    approvals: ApprovalsOfCalls
    policy: Policy
    exchanger: Exchanger
    journal: Journal
    upstream: Upstream
    readiness: Readiness
    sealer: SessionSealer
    open_requests: OpenRequests
    open_tasks: OpenTasks
    revisions: UpstreamRevisions
    catalogue: Catalogue
    clock: Callable[[], float]
    new_call_id: Callable[[], str]
    limits: Limits
    tool_checks: ToolChecks = field(default_factory=ToolChecks)
    asked: AskedBefore = field(default_factory=AskedBefore)
    callers: KnownCallers = field(default_factory=KnownCallers)
