"""Permits held against reports: what only one side has, and what that says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from perhop.core.registry import Registry
from perhop.core.resource import CredentialKind, Upstream
from perhop.journal.both_ends import BothEnds, Fate, reconcile
from perhop.journal.record import CallFacts, Event, Inbound, Record, ReportFacts, ResultFacts
from perhop.storage.journal_both_ends import JournalBothEnds
from tests.support.authorization_servers import Keys, a_registry
from tests.support.journals import JournalFolder, a_permit, an_outcome, make_journal

NOW = 1_790_000_000.0
HOUR = 3600.0
SERVER = "http://127.0.0.1:9001/mcp"


@pytest.fixture
def made(tmp_path: Path) -> JournalFolder:
    return make_journal(tmp_path)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return a_registry(Keys.generate())


def a_report(number: int = 1, *, event: Event = Event.CALL_ADMITTED, resource: str = "calendar") -> Record:
    """The server's word of the call of `a_permit(number)`."""
    return Record(
        event=event,
        reason="token.expired" if event is Event.CALL_REFUSED else None,
        inbound=Inbound(jti=f"out-{number}", aud=SERVER, sub="trip-planner", client_id="gateway:calendar"),
        call=CallFacts(id=f"call-{number}", method="tools/call", name="list_events"),
        report=ReportFacts(by="calendar-server", id=f"{number:032x}", time="2026-09-21T14:13:20.250000Z"),
        resource=resource,
        client="gateway:calendar",
    )


async def write(made: JournalFolder, *records: Record, later: tuple[Record, ...] = ()) -> None:
    """These an hour ago, those of `later` a moment ago."""
    now = [NOW - HOUR]
    async with made.writing(lambda: now[0]) as journal:
        for record in records:
            await journal.append(record)
        now[0] = NOW - 1
        for record in later:
            await journal.append(record)


def held(made: JournalFolder, registry: Registry, *, since: float = 0.0, until: float = NOW) -> BothEnds:
    with JournalBothEnds(made.path) as reader:
        return reconcile(reader, registry, since=int(since * 1_000_000), until=int(until * 1_000_000))


async def test_what_both_saw_is_in_order(made: JournalFolder, registry: Registry) -> None:
    """Admitted or refused: the server has seen what the gateway sent."""
    await write(
        made,
        *(a_permit(1), a_report(1), an_outcome(1)),
        *(a_permit(2), a_report(2, event=Event.CALL_REFUSED), an_outcome(2)),
    )
    found = held(made, registry)
    assert found.ok
    assert [(side.resource, side.admitted, side.only_gateway) for side in found.resources] == [("calendar", 1, 0)]
    assert (found.only_server, found.only_gateway, found.seen_again) == ((), (), ())
    assert found.silent == ("rooms",)


async def test_an_answer_that_no_server_reports_is_a_question(made: JournalFolder, registry: Registry) -> None:
    """Something answered, and it was not the guard of the server: another process, or a guard without records."""
    await write(made, a_permit(1), an_outcome(1), later=(a_permit(2), a_report(2), an_outcome(2)))
    found = held(made, registry, until=NOW + HOUR)
    assert [(each.jti, each.call_id, each.fate) for each in found.only_gateway] == [("out-1", "call-1", Fate.ANSWERED)]
    assert not found.ok


async def test_what_was_never_delivered_is_no_question(made: JournalFolder, registry: Registry) -> None:
    """The upstream did not answer, the caller went away, or the gateway was killed before it knew."""
    lost = an_outcome(1)._replace(result=ResultFacts(status=503, error="upstream.unavailable"))
    gone = an_outcome(2)._replace(result=ResultFacts(error="cancelled"))
    permits = (a_permit(1), lost, a_permit(2), gone, a_permit(3))
    await write(made, *permits, later=(a_permit(4), a_report(4), an_outcome(4)))
    found = held(made, registry, until=NOW + HOUR)
    assert [each.fate for each in found.only_gateway] == [Fate.NOT_DELIVERED] * 3
    assert found.ok


async def test_a_report_may_be_on_its_way(made: JournalFolder, registry: Registry) -> None:
    """What was sent a moment ago, or since the server's last report, is not reported yet; later it is a question."""
    await write(made, a_permit(1), a_report(1), an_outcome(1), later=(a_permit(2), an_outcome(2)))
    assert [each.fate for each in held(made, registry).only_gateway] == [Fate.NOT_YET_REPORTED]
    assert held(made, registry).ok
    assert [each.fate for each in held(made, registry, until=NOW + HOUR).only_gateway] == [Fate.NOT_YET_REPORTED]


async def test_a_report_that_nobody_sent_is_a_question(made: JournalFolder, registry: Registry) -> None:
    """The token, or the call, or both are unknown to the gateway: it came past it."""
    other_call = a_report(1)._replace(call=CallFacts(id="call-9", method="tools/call"))
    other_token = a_report(1)._replace(inbound=replace(a_report(9).inbound or Inbound(), aud=SERVER))
    await write(made, a_permit(1), a_report(1), other_call, a_report(2), other_token, an_outcome(1))
    found = held(made, registry)
    assert [(each.jti, each.call_id) for each in found.only_server] == [
        ("out-1", "call-9"),
        ("out-2", "call-2"),
        ("out-9", "call-1"),
    ]
    assert not found.ok


async def test_a_call_that_was_admitted_twice_is_a_question(made: JournalFolder, registry: Registry) -> None:
    """Sent once, seen twice: somebody has the token and the header."""
    again = a_report(1)._replace(report=ReportFacts(by="calendar-server", id="f" * 32, time="t"))
    await write(made, a_permit(1), a_report(1), again, an_outcome(1))
    found = held(made, registry)
    assert [(each.jti, each.call_id, each.count) for each in found.seen_again] == [("out-1", "call-1", 2)]
    assert not found.ok


async def test_a_server_behind_no_gateway_has_one_end(made: JournalFolder, registry: Registry) -> None:
    """It stands at its own `uri`, so there is no permit to hold its reports against."""
    await write(made, a_report(1, resource="notes"))
    found = held(made, registry)
    assert found.ok
    assert [(side.resource, side.direct) for side in found.resources] == [("notes", 1)]


async def test_where_another_proxy_carries_the_call_the_token_joins(made: JournalFolder, registry: Registry) -> None:
    """The proxy may drop the id that it was given; a token that was handed out for a call is enough."""
    carried = a_permit(1)._replace(call=CallFacts(id="call-1", method="tools/call", data_plane="forward_auth"))
    await write(made, carried, a_report(1)._replace(call=CallFacts(id="call-9", method="tools/call")))
    assert held(made, registry).ok


async def test_the_time_that_is_asked_about_bounds_the_answer(made: JournalFolder, registry: Registry) -> None:
    """A permit before it still explains a report in it."""
    await write(made, a_permit(1), a_report(9), later=(a_report(1),))
    assert held(made, registry, since=NOW - 10).only_server == ()
    assert [each.jti for each in held(made, registry, until=NOW - 10).only_server] == ["out-9"]


async def test_a_resource_whose_upstream_takes_no_token_is_not_silent(made: JournalFolder, registry: Registry) -> None:
    """Its server cannot tell by what token it was called."""
    await write(made, a_permit(1))
    bare = Upstream(url="http://127.0.0.1:9/mcp", resource=None, credential=CredentialKind.NONE)
    rooms = replace(registry.resources["rooms"], upstream=bare)
    changed = replace(registry, resources={**registry.resources, "rooms": rooms})
    assert held(made, changed).silent == ("calendar",)
