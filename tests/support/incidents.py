"""Prepared incidents: an agent's ordinary weeks, and then what became of one token. As data."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from perhop.journal.keys import load_journal_key
from perhop.journal.record import (
    CallFacts,
    DecisionFacts,
    Event,
    Inbound,
    Outbound,
    Record,
    RequestFacts,
    ResultFacts,
)
from perhop.storage.journal_db import open_journal
from tests.support.commands import perhop

CONFIGURATION = """\
issuer: http://127.0.0.1:8420
listen: {traffic: "127.0.0.1:8420", console: "127.0.0.1:8421", ops: "127.0.0.1:8422"}
owners:
  travel: {contact: travel@example.com}
resources:
  calendar:
    uri: https://calendar.example.com/mcp
    owner: travel
    tenant: acme
    scopes:
      calendar:read: {says: Read the calendar, tools: [list_events, get_event]}
      calendar:write: {says: Change the calendar, tools: [create_event, delete_event, share_calendar]}
  rooms:
    uri: https://rooms.example.com/mcp
    owner: travel
    scopes:
      rooms:read: {says: See rooms, tools: [find_room, list_rooms]}
      rooms:book: {says: Book rooms, tools: [book_room, cancel_room, print_badges]}
  payroll:
    uri: https://payroll.example.com/mcp
    owner: travel
    scopes: {"payroll:read": {says: See salaries, tools: [get_salary]}}
clients:
  planner:
    owner: travel
    purpose: plans trips
    expires: 2099-12-31
    authentication: {method: client_secret_basic, secret: a-secret-of-a-test-that-is-long-enough-2}
    reaches: {calendar: [calendar:read, calendar:write]}
  calendar-server:
    owner: travel
    purpose: looks up rooms
    expires: 2099-12-31
    authentication: {method: client_secret_basic, secret: a-secret-of-a-test-that-is-long-enough-3}
    serves: [calendar]
hops:
  - {from: calendar, to: rooms, scopes: {"calendar:write": ["rooms:read", "rooms:book"]}}
"""

CALENDAR = "https://calendar.example.com/mcp"
OFFICE = RequestFacts(ip="203.0.113.10", user_agent="planner/3.1")
HOME = RequestFacts(ip="203.0.113.77", user_agent="planner/3.1")
STRANGER = RequestFacts(ip="198.51.100.9", user_agent="curl/8.5.0")
MONDAY = datetime(2026, 9, 7, 9, tzinfo=UTC).timestamp()
DAY = 24 * 3600.0
LEAKED = "leaked-token-of-a-story"

Story = list[tuple[float, Record]]
"""Records with their times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token of the planner's, as its records have it."""

    jti: str
    scope: str = "calendar:read calendar:write"
    key: str | None = None

    def inbound(self) -> Inbound:
        return Inbound(
            jti=self.jti,
            aud=CALENDAR,
            sub="planner",
            agent="planner",
            client_id="planner",
            scope=self.scope,
            exp=1_790_000_300,
            cnf=None if self.key is None else {"jkt": self.key},
        )


def issued(token: Token, request: RequestFacts = OFFICE) -> Record:
    """The token leaves the token endpoint."""
    outbound = Outbound(jti=token.jti, aud=CALENDAR, scope=token.scope, exp=1_790_000_300, sub="planner")
    return Record(
        event=Event.TOKEN_ISSUED,
        txn=f"txn-{token.jti}",
        hop=1,
        outbound=outbound,
        request=request,
        resource="calendar",
        client="planner",
        tenant="acme",
    )


def called(token: Token, number: int, tool: str, request: RequestFacts = OFFICE) -> tuple[Record, Record]:
    """A call that was permitted, and its end."""
    call = CallFacts(id=f"{token.jti}-{number}", method="tools/call", name=tool, revision="2026-07-28")
    permit = Record(
        event=Event.CALL_PERMITTED,
        txn=f"txn-{token.jti}",
        hop=1,
        inbound=token.inbound(),
        call=call,
        decision=DecisionFacts(effect="permit", policies=("p",), policy_version="v1"),
        request=request,
        resource="calendar",
        client="planner",
        tenant="acme",
    )
    ended = permit._replace(event=Event.CALL_ENDED, decision=None, result=ResultFacts(status=200, duration_ms=4))
    return permit, ended


def refused(
    token: Token, reason: str, request: RequestFacts, *, at: str = "calendar", tool: str | None = None
) -> Record:
    """A call that was refused."""
    return Record(
        event=Event.CALL_REFUSED,
        reason=reason,
        txn=f"txn-{token.jti}",
        hop=1,
        inbound=token.inbound() if reason != "token.expired" else Inbound(jti=token.jti),
        call=CallFacts(id=f"{token.jti}-{reason}-{at}", method="tools/call", name=tool),
        request=request,
        result=ResultFacts(status=401),
        resource=at,
        client="planner",
    )


def ordinary_weeks(tools: Sequence[str], *, places: Sequence[RequestFacts] = (OFFICE,), days: int = 12) -> Story:
    """The planner at work: a token an hour, two calls with each, from nine to one; from these places in turn."""
    story: Story = []
    number = 0
    for day in range(days):
        for hour in range(4):
            for place in places:
                number += 1
                token = Token(jti=f"ordinary-{number}")
                start = MONDAY + day * DAY + hour * 3600.0 + number % 50
                story.append((start, issued(token, place)))
                for each in range(2):
                    tool = tools[(number + each) % len(tools)]
                    story.extend((start + 1 + each, record) for record in called(token, each, tool, place))
    return story


def _then(story: Story, steps: Iterator[Record] | Sequence[Record], *, hour: float = 1.0, apart: float = 2.0) -> Story:
    """The same weeks, and on the next day what became of the token."""
    start = MONDAY + 13 * DAY + hour * 3600.0
    return [*story, *((start + number * apart, record) for number, record in enumerate(steps))]


TOKEN = Token(jti=LEAKED)
EVERY = ("list_events", "get_event", "create_event", "delete_event", "share_calendar")


def theft() -> Story:
    """An agent that uses all that it may; a stranger has its token, tries it here and there, and after the end."""
    steps = [
        issued(TOKEN),
        *called(TOKEN, 1, "list_events"),
        *called(TOKEN, 2, "list_events", STRANGER),
        *called(TOKEN, 3, "create_event"),
        refused(TOKEN, "audience.mismatch", STRANGER, at="payroll", tool="get_salary"),
        refused(TOKEN, "token.revoked", STRANGER, tool="list_events"),
    ]
    return _then(ordinary_weeks(EVERY), steps)


def overbroad() -> Story:
    """An agent that only ever listed events deletes and shares them one day, from its own desk, and may."""
    steps = [issued(TOKEN)]
    for number, tool in enumerate(("list_events", "delete_event", "delete_event", "share_calendar")):
        steps.extend(called(TOKEN, number, tool))
    return _then(ordinary_weeks(("list_events",)), steps)


def mixed() -> Story:
    """A token that could do far more than the agent does, in the hands of a stranger, who does it."""
    steps = [issued(TOKEN), *called(TOKEN, 1, "list_events")]
    for number, tool in enumerate(("delete_event", "share_calendar", "delete_event"), start=2):
        steps.extend(called(TOKEN, number, tool, STRANGER))
    steps.append(refused(TOKEN, "audience.mismatch", STRANGER, at="payroll", tool="get_salary"))
    return _then(ordinary_weeks(("list_events",)), steps)


def harmless() -> Story:
    """The token was seen in a log, and nobody but the agent ever used it, for what it always does."""
    steps = [issued(TOKEN), *called(TOKEN, 1, "list_events"), *called(TOKEN, 2, "create_event")]
    return _then(ordinary_weeks(EVERY), steps)


def off_task() -> Story:
    """A token of a task in the hands of a stranger, who does not know what the task covers, nor that it is over."""
    steps = [
        issued(TOKEN),
        *called(TOKEN, 1, "list_events"),
        refused(TOKEN, "task.outside", STRANGER, tool="delete_event"),
        refused(TOKEN, "task.superseded", STRANGER, tool="list_events"),
    ]
    return _then(ordinary_weeks(EVERY), steps)


def strayed() -> Story:
    """The agent itself goes beyond its task, and one of its workers does not hear that the task has changed."""
    steps = [
        issued(TOKEN),
        *called(TOKEN, 1, "list_events"),
        refused(TOKEN, "task.outside", OFFICE, tool="share_calendar"),
        refused(TOKEN, "task.superseded", OFFICE, tool="list_events"),
    ]
    return _then(ordinary_weeks(EVERY), steps)


KEY, ANOTHER = "h" * 43, "A" * 43
"""Thumbprints of the planner's key and of a stranger's."""


def without_the_key() -> Story:
    """A token that is bound to the planner's key, in the hands of a stranger, who proves a key of its own, and none."""
    bound = replace(TOKEN, key=KEY)
    nonce = refused(bound, "sender.mismatch", OFFICE)._replace(result=ResultFacts(status=401, error="use_dpop_nonce"))
    steps = [
        issued(bound),
        nonce,
        *called(bound, 1, "list_events"),
        refused(bound, "sender.mismatch", replace(STRANGER, sender_key=ANOTHER), tool="list_events"),
        refused(bound, "token.replayed", STRANGER, tool="list_events"),
    ]
    return _then(ordinary_weeks(EVERY), steps)


def told_a_nonce() -> Story:
    """The planner itself begins with a bound token, and is told a nonce, as any client is."""
    bound = replace(TOKEN, key=KEY)
    nonce = refused(bound, "sender.mismatch", OFFICE)._replace(result=ResultFacts(status=401, error="use_dpop_nonce"))
    return _then(ordinary_weeks(EVERY), [issued(bound), nonce, *called(bound, 1, "list_events")])


STORIES = {
    "theft": theft,
    "overbroad": overbroad,
    "mixed": mixed,
    "harmless": harmless,
    "off_task": off_task,
    "strayed": strayed,
    "without_the_key": without_the_key,
    "told_a_nonce": told_a_nonce,
}


def tell(story: Story, folder: Path) -> None:
    """An installation whose journal has these records."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "perhop.yaml").write_text(CONFIGURATION, encoding="utf-8")
    made = perhop("init", str(folder), folder=folder)
    assert made.code == 0, made.err
    write(story, folder)


def write(story: Story, folder: Path) -> None:
    """Append these records to the journal in this folder, each at its time."""

    async def append() -> None:
        now = [0.0]
        journal = open_journal(folder / "journal.db", key=load_journal_key(folder / "keys"), clock=lambda: now[0])
        try:
            waiting = []
            for moment, record in story:
                now[0] = moment
                waiting.append(asyncio.ensure_future(journal.append(record)))
                await asyncio.sleep(0)  # the record is drafted, with its time
            await asyncio.gather(*waiting)
        finally:
            await journal.close()

    asyncio.run(append())
