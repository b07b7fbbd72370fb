"""The webhooks of a running server: each owner is told of the calls that wait for it, at least once, over restarts.

Nothing of a call waits for this, and the gateway knows nothing of it: what was asked for stands in the database, and is
looked for there. An owner that cannot be reached holds up no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, assert_never

import httpx2

from perhop.client.fetch import why_unreachable
from perhop.console.paths import path_of
from perhop.core.approval import Approval
from perhop.core.owner import Webhook
from perhop.core.registry import Registry
from perhop.errors import StorageUnavailable
from perhop.rules.webhook import delivery_id, parse_signing_key, render_requested, signed_headers
from perhop.storage.approvals import SqlApprovalRows
from perhop.wiring.beside import beside, new_http
from perhop.wiring.plane import Plane

_log = logging.getLogger("perhop.webhook")


class UntoldRows(Protocol):
    """Of the approvals, what is needed here. Each raises StorageUnavailable."""

    async def untold(self, *, now: int) -> Sequence[Approval]:
        """Those that wait and that no webhook has taken, the oldest first."""
        ...

    async def told(self, approval: str, *, now: int) -> None:
        """The webhook has taken it. Durable when it returns."""
        ...


class Delivery(StrEnum):
    """What came of one attempt."""

    TAKEN = "taken"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds between two looks for what is new, for an answer, and between attempts: doubled up to the last."""

    look: float = 1.0
    answer: float = 10.0
    first_pause: float = 1.0
    last_pause: float = 30.0


@dataclass(frozen=True, slots=True)
class _Pause:
    """Until when an approval that was not taken is not offered again, and how long that is."""

    seconds: float
    until: float


@dataclass(slots=True)
class _Lane:
    """What is known of one owner's webhook. `pauses` are those of the approvals that were offered and not taken."""

    webhook: Webhook
    problem: str = ""
    pauses: dict[str, _Pause] = field(default_factory=dict)
    running: asyncio.Task[None] | None = None

    def due(self, approvals: Sequence[Approval], *, now: float) -> list[Approval]:
        """Those to be offered now: what is new at once, whatever became of the others."""
        return [each for each in approvals if each.id not in self.pauses or now >= self.pauses[each.id].until]

    def put_off(self, approvals: Sequence[Approval], patience: Patience, *, now: float) -> None:
        """Offer these later, and each time later still."""
        for each in approvals:
            before = self.pauses.get(each.id)
            seconds = patience.first_pause if before is None else min(2 * before.seconds, patience.last_pause)
            self.pauses[each.id] = _Pause(seconds, now + seconds)

    def keep(self, approvals: Sequence[Approval]) -> None:
        """Forget what does not wait any more."""
        waiting = {each.id for each in approvals}
        self.pauses = {name: pause for name, pause in self.pauses.items() if name in waiting}


class Webhooks:
    """The webhooks of one installation; `counts` are the attempts by owner.

    `page` gives the URL of the page where a person decides on an approval.
    """

    def __init__(
        self,
        *,
        rows: UntoldRows,
        registry: Callable[[], Registry],
        policy_version: Callable[[], str],
        page: Callable[[Approval], str],
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
        patience: Patience = Patience(),
    ) -> None:
        self._rows = rows
        self._registry = registry
        self._policy_version = policy_version
        self._page = page
        self._clock = clock
        self._monotonic = monotonic
        self._patience = patience
        self._lanes: dict[str, _Lane] = {}
        self._waiting: Counter[str] = Counter()
        self._complaint = ""
        self.counts: Counter[tuple[str, Delivery]] = Counter()

    def status(self) -> Mapping[str, Mapping[str, int | str]]:
        """By owner with a webhook: how many approvals it was not told of yet, and what is wrong, if anything."""
        return {
            name: {"waiting": self._waiting[name], "problem": self._lanes[name].problem if name in self._lanes else ""}
            for name in self._webhooks()
        }

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Tell the owners while the block runs. What is under way at its end is tried again after the next start."""
        async with beside(self._keep_running()):
            yield

    async def _keep_running(self) -> None:
        async with await new_http() as http:
            try:
                while True:
                    try:
                        await self._look(http)
                    except Exception:  # whatever it is, it must not be the last look
                        _log.exception("looking for what waits for approval broke off")
                    await asyncio.sleep(self._patience.look)
            finally:
                under_way = [lane.running for lane in self._lanes.values() if lane.running is not None]
                for task in under_way:
                    task.cancel()
                await asyncio.gather(*under_way, return_exceptions=True)

    async def _look(self, http: httpx2.AsyncClient) -> None:
        """Look for what is new, and begin to tell whoever is not being told already."""
        webhooks = self._webhooks()
        self._lanes = {name: self._lane(name, webhook) for name, webhook in webhooks.items()}
        if not webhooks:
            return
        try:
            untold = await self._rows.untold(now=int(self._clock()))
        except StorageUnavailable as error:
            self._complain(f"what waits for approval cannot be read: {error}")
            return
        self._complain("")
        of_owner: dict[str, list[Approval]] = {name: [] for name in webhooks}
        for approval in untold:
            resource = self._registry().resources.get(approval.resource)
            # Of one that was asked for under other policies there is nothing left to decide.
            if resource is not None and resource.owner in of_owner and self._is_of_now(approval):
                of_owner[resource.owner].append(approval)
        self._waiting = Counter({name: len(approvals) for name, approvals in of_owner.items()})
        for name, approvals in of_owner.items():
            lane = self._lanes[name]
            lane.keep(approvals)
            due = lane.due(approvals, now=self._monotonic())
            if due and (lane.running is None or lane.running.done()):
                lane.running = asyncio.create_task(self._tell(name, lane, due, http))

    async def _tell(self, owner: str, lane: _Lane, approvals: Sequence[Approval], http: httpx2.AsyncClient) -> None:
        """Offer each once. What is refused holds up no other; where nothing answers, the others can wait, too."""
        problem, left = "", list(approvals)
        try:
            # What another configuration took away is told nothing more.
            while left and self._webhooks().get(owner) == lane.webhook:
                delivery, why = await self._attempt(owner, lane.webhook, left[0], http)
                self.counts[owner, delivery] += 1
                match delivery:
                    case Delivery.TAKEN:
                        await self._rows.told(left[0].id, now=int(self._clock()))
                        lane.pauses.pop(left[0].id, None)
                    case Delivery.REFUSED:
                        problem = why
                        lane.put_off(left[:1], self._patience, now=self._monotonic())
                    case Delivery.UNREACHABLE:
                        problem = why
                        break
                    case _:
                        assert_never(delivery)
                left = left[1:]
        except StorageUnavailable as error:
            problem = f"that it was told cannot be noted: {error}"
        except Exception as fault:  # whatever it is, it must not be the last attempt
            _log.exception("telling owner `%s` broke off", owner)
            problem = f"it broke off: {type(fault).__name__}"
        lane.put_off(left, self._patience, now=self._monotonic())
        self._note(owner, lane, problem or (lane.problem if lane.pauses else ""))

    async def _attempt(
        self, owner: str, webhook: Webhook, approval: Approval, http: httpx2.AsyncClient
    ) -> tuple[Delivery, str]:
        """One POST, signed for now, and what came of it; the answer's body is not read."""
        body = render_requested(approval, owner=owner, page=self._page(approval))
        key, now = parse_signing_key(webhook.secret), int(self._clock())
        headers = {
            "content-type": "application/json",
            "user-agent": "perhop",
            **signed_headers(delivery_id(approval), body, key=key, now=now),
        }
        request = http.build_request(
            "POST", webhook.url, content=body, headers=headers, timeout=httpx2.Timeout(self._patience.answer)
        )
        try:
            async with asyncio.timeout(self._patience.answer):
                response = await http.send(request, stream=True, auth=None, follow_redirects=False)
                await response.aclose()
        except (
            httpx2.HTTPError,
            httpx2.InvalidURL,
            httpx2.StreamError,
            OSError,
        ) as error:  # TimeoutError is an OSError
            return Delivery.UNREACHABLE, why_unreachable(error, seconds=self._patience.answer)
        if 200 <= response.status_code < 300:
            return Delivery.TAKEN, ""
        return Delivery.REFUSED, f"it answered HTTP {response.status_code}"

    def _webhooks(self) -> dict[str, Webhook]:
        return {owner.name: owner.webhook for owner in self._registry().owners.values() if owner.webhook is not None}

    def _lane(self, name: str, webhook: Webhook) -> _Lane:
        """The lane of this owner; a new one where the webhook is another one, so that nothing of the old one counts."""
        known = self._lanes.get(name)
        if known is not None and known.webhook == webhook:
            return known
        return _Lane(webhook, running=known.running if known is not None else None)

    def _is_of_now(self, approval: Approval) -> bool:
        return approval.call.policy_version == self._policy_version()

    def _note(self, owner: str, lane: _Lane, problem: str) -> None:
        """Say once what is wrong, again only when it is something else, and that it is over. Never the URL."""
        if problem and problem != lane.problem:
            _log.warning("the webhook of owner `%s` was not told, and is tried again: %s", owner, problem)
        if lane.problem and not problem:
            _log.info("the webhook of owner `%s` is told again", owner)
        lane.problem = problem

    def _complain(self, problem: str) -> None:
        if problem and problem != self._complaint:
            _log.error("%s", problem)
        self._complaint = problem


@contextlib.asynccontextmanager
async def telling(plane: Plane) -> AsyncIterator[Webhooks]:
    """Tell the owners of a plane while the block runs."""
    webhooks = Webhooks(
        rows=SqlApprovalRows(plane.database),
        registry=lambda: plane.registry,
        policy_version=lambda: plane.policy.version,
        page=lambda approval: f"{plane.settings.console_url}{path_of(approval.id)}",
        clock=plane.issuer.clock,
    )
    async with webhooks.working():
        yield webhooks
