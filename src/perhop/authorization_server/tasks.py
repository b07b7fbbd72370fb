"""Tasks in force, looked at per request: begun, approved, superseded, ended, counted.

The database is the truth, and decides every race; what is here is what it said last, since every change goes through
here. Which calls a task covers is `rules.task`.

Spec: RFC 9396 §2
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from perhop.authorization_server.revocation import Revoker, for_good
from perhop.authorization_server.store import Ended, TaskRows
from perhop.core.client import Client, NoAuthentication
from perhop.core.task import Task, TaskLimits, TaskUse, ToolPattern
from perhop.core.token import VerifiedToken
from perhop.errors import LimitExceeded, StorageUnavailable, TaskExpired, TaskOutside, TaskSuperseded, TooManyTasks
from perhop.journal.record import Event, Record, RequestFacts, TaskFacts
from perhop.journal.writer import Journal
from perhop.rules.lifetime import MAX_LIFETIME, MAX_SKEW
from perhop.rules.task import check_client, check_in_force, check_limits, check_subject, is_in_force

REMEMBERED_SECONDS = MAX_LIFETIME + 2 * MAX_SKEW
"""After a task has expired no token of it can be left after this; until then it is known why it is refused."""

MAX_TASKS = 10_000
"""Of one client that are known at a time: what is looked at per call is held in memory."""

UNPROVED_SECONDS = 600
MAX_UNPROVED = 100
"""Of a client that proves nothing: so many tasks in this time that nobody has approved."""
UNPROVED_LIFETIME = 12 * 3600
"""Seconds. So long at most lasts a task of a client that proves nothing: what strangers begin in that time, within
MAX_UNPROVED, leaves room below MAX_TASKS, so that nobody is locked out of tasks by others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRequest:
    """What a client asks for: everything of a task that is its to say."""

    purpose: str
    tools: tuple[ToolPattern, ...]
    limits: TaskLimits
    expires_in: int
    supersedes: str | None = None


class Tasks:
    """The tasks of one installation. One object serves endpoints, gateway and commands of a process."""

    def __init__(
        self,
        *,
        rows: TaskRows,
        journal: Journal,
        revoker: Revoker,
        clock: Callable[[], float],
        most: int = MAX_TASKS,
    ) -> None:
        self._rows = rows
        self._journal = journal
        self._revoker = revoker
        self._clock = clock
        self._most = most
        self._tasks: dict[str, Task] = {}
        self._used: dict[str, TaskUse] = {}
        self._under_way = Counter[str]()
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Read what the database holds; before the first request.

        Raises: StorageUnavailable
        """
        stored = await self._rows.all(since=self._now() - REMEMBERED_SECONDS)
        self._tasks = {each.task.id: each.task for each in stored}
        self._used = {each.task.id: each.used for each in stored}

    def forget(self) -> None:
        """Drop what can concern no token any more."""
        since = self._now() - REMEMBERED_SECONDS
        self._tasks = {name: task for name, task in self._tasks.items() if task.expires_at > since}
        self._used = {name: used for name, used in self._used.items() if name in self._tasks}

    def find(self, task: str | None) -> Task | None:
        """A task that is known here, in force or not."""
        return self._tasks.get(task) if task is not None else None

    def approved_by(self, subject: str) -> Sequence[Task]:
        """The tasks that this person has approved and that are in force; the newest first."""
        now = self._now()
        theirs = [each for each in self._tasks.values() if each.is_approved and each.subject == subject]
        return sorted((each for each in theirs if is_in_force(each, now=now)), key=lambda each: -each.created_at)

    def facts(self, task: str | None) -> TaskFacts | None:
        """What a record says of the task with this id, which may not be known here."""
        if task is None:
            return None
        known = self._tasks.get(task)
        return TaskFacts.of(known) if known is not None else TaskFacts(id=task)

    def of_client(self, task: str, *, agent: str) -> Task:
        """The task with this id, if it is this client's and in force. Does not look for whom it is.

        Raises: TaskOutside, TaskSuperseded, TaskExpired
        """
        known = self._tasks.get(task)
        if known is None:
            raise TaskOutside("the task is not known here")
        check_client(known, agent)
        check_in_force(known, now=self._now())
        return known

    def check(self, task: str, *, agent: str, subject: str) -> Task:
        """The task with this id, if it is this client's, for this subject, and in force.

        Raises: TaskOutside, TaskSuperseded, TaskExpired
        """
        known = self.of_client(task, agent=agent)
        check_subject(known, subject)
        return known

    def check_token(self, token: VerifiedToken) -> Task | None:
        """The task that a token names, if it names one and that is in force.

        Does not look at what the task covers.

        Raises: TaskOutside, TaskSuperseded, TaskExpired
        """
        return None if token.task is None else self.check(token.task, agent=token.agent, subject=token.subject)

    async def begin(self, asked: TaskRequest, client: Client, *, task_id: str, request: RequestFacts) -> Task:
        """Begin a task, in the place of another one if that is asked.

        Does not look who the client is, nor whether it reaches what it names.

        Raises: TaskOutside, TaskSuperseded, TaskExpired, TooManyTasks, StorageUnavailable, JournalUnavailable
        """
        now = self._now()
        task = Task(
            id=task_id,
            client=client.id,
            purpose=asked.purpose,
            tools=asked.tools,
            limits=asked.limits,
            created_at=now,
            expires_at=now + _lifetime(asked, client),
        )
        with self._place(client, now=now):
            if asked.supersedes is None:
                # Recorded first: nobody gets a token under a task that stands nowhere.
                await self._journal.append(_changed(task, "begun", by=f"client:{client.id}", request=request))
                async with self._changing:
                    await self._rows.add(task)
                    self._take(task)
                return task
            return await self._supersede(asked.supersedes, task, request=request)

    async def approve(self, task: Task, *, subject: str, request: RequestFacts) -> Task:
        """A person consents to exactly this task, which is this person's from now on.

        Raises: TaskOutside, TaskSuperseded, TaskExpired, StorageUnavailable, JournalUnavailable
        """
        # Recorded first: policy may permit more under a task that a person approved.
        await self._journal.append(_changed(task, "approved", by=subject, request=request))
        try:
            return await self._approve(task, subject)
        except (TaskOutside, TaskSuperseded, TaskExpired, StorageUnavailable) as fact:
            await self._journal.append(_changed(task, "not approved", by=subject, request=request, why=fact.reason))
            raise

    async def end(self, task: str, *, why: str, by: str) -> int | None:
        """End a task and every token of it; returns how many of those were live, None if it was not in force.

        Raises: StorageUnavailable, JournalUnavailable
        """
        now = self._now()
        async with self._changing:
            ended = await self._rows.end(task, now=now, revoked=for_good(now))
            if ended is None:
                return None
            self._is_over(ended)
        await self._journal.append(_changed(ended.task, "ended", by=by, why=why))
        return (await self._revoker.record_task_over(task, why=why or "its task was ended", by=by)).live

    async def count(self, task: Task, *, is_write: bool) -> TaskUse:
        """Count one call, which must then be the one that is made: what is counted is never given back.

        Memory refuses early what the database would refuse; that it does not refuse means nothing.

        Raises: LimitExceeded, TaskSuperseded, TaskExpired, StorageUnavailable
        """
        check_limits(task, self._used.get(task.id, TaskUse()), is_write=is_write)
        used = await self._rows.count(task.id, is_write=is_write, now=self._now())
        if used is None:
            check_in_force(self._tasks.get(task.id, task), now=self._now())
            raise LimitExceeded(f"task `{task.id}` may make no more calls of this kind")
        before = self._used.get(task.id, used)
        self._used[task.id] = TaskUse(max(before.calls, used.calls), max(before.writes, used.writes))
        return used

    async def _approve(self, task: Task, subject: str) -> Task:
        async with self._changing:
            approved = await self._rows.approve(task.id, subject=subject, now=self._now())
            if approved is None:
                self.check(task.id, agent=task.client, subject=subject)
                raise TaskOutside(f"task `{task.id}` is another person's")
            self._take(approved)
        return approved

    async def _supersede(self, old: str, task: Task, *, request: RequestFacts) -> Task:
        by = f"client:{task.client}"
        async with self._changing:
            replaced = await self._rows.supersede(old, task, revoked=for_good(task.created_at))
            if replaced is None:
                raise self._why_not(old, task.client)
            self._take(replaced.successor)
            self._is_over(replaced.ended)
        await self._journal.append(_changed(replaced.successor, "begun", by=by, request=request, supersedes=old))
        await self._journal.append(_changed(replaced.ended.task, "superseded", by=by, superseded_by=task.id))
        await self._revoker.record_task_over(old, why=f"superseded by {task.id}", by=by)
        return replaced.successor

    def _why_not(self, old: str, client: str) -> TaskOutside | TaskSuperseded | TaskExpired:
        known = self._tasks.get(old)
        if known is None or known.client != client:
            return TaskOutside("the task to be superseded is not known, or is another client's")
        try:
            check_in_force(known, now=self._now())
        except (TaskSuperseded, TaskExpired) as fact:
            return fact
        return TaskExpired(f"task `{old}` is not in force")

    @contextmanager
    def _place(self, client: Client, *, now: int) -> Iterator[None]:
        """A place for one more task of this client while the block runs, which takes the task or leaves none.

        Raises: TooManyTasks
        """
        self._check_room(client, now=now)
        self._under_way[client.id] += 1
        try:
            yield
        finally:
            self._under_way[client.id] -= 1
            if not self._under_way[client.id]:
                del self._under_way[client.id]

    def _check_room(self, client: Client, *, now: int) -> None:
        """No client may fill our memory; and in the name of one that proves nothing anybody can begin tasks.

        Those that are still being recorded count.

        Raises: TooManyTasks
        """
        under_way = self._under_way[client.id]
        if sum(each.client == client.id for each in self._tasks.values()) + under_way >= self._most:
            raise TooManyTasks(f"client `{client.id}` has {self._most} tasks that are not over for long")
        if not isinstance(client.authentication, NoAuthentication):
            return
        lately = (each for each in self._tasks.values() if each.created_at > now - UNPROVED_SECONDS)
        if sum(each.client == client.id and not each.is_approved for each in lately) + under_way >= MAX_UNPROVED:
            raise TooManyTasks(f"client `{client.id}` has begun {MAX_UNPROVED} tasks that nobody has approved")

    def _is_over(self, ended: Ended) -> None:
        """INVARIANT: the task is over here before anybody hears of it: who looks again finds why."""
        self._take(ended.task)
        self._revoker.put_in_force(ended.revocation)

    def _take(self, task: Task) -> None:
        self._tasks[task.id] = task

    def _now(self) -> int:
        return int(self._clock())


def _lifetime(asked: TaskRequest, client: Client) -> int:
    """Seconds; the answer says how many they are."""
    is_unproved = isinstance(client.authentication, NoAuthentication)
    return min(asked.expires_in, UNPROVED_LIFETIME) if is_unproved else asked.expires_in


def _changed(task: Task, change: str, *, by: str, request: RequestFacts | None = None, **more: Any) -> Record:
    limits = {"calls": task.limits.calls, "writes": task.limits.writes}
    said = {
        "tools": [str(pattern) for pattern in task.tools],
        "limits": {name: limit for name, limit in limits.items() if limit is not None},
        "expires_at": task.expires_at,
    }
    says_all = change in ("begun", "approved")
    return Record(
        event=Event.TASK_CHANGED,
        task=TaskFacts.of(task),
        client=task.client,
        request=request,
        about={
            "task": task.id,
            "change": change,
            **(said if says_all else {}),
            "by": by,
            **more,
        },
    )
