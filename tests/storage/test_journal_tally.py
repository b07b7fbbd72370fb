"""Counting by facets: the same as reading every body and counting in plain Python, whatever was asked."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perhop.errors import NotFound
from perhop.journal.blast_radius import BlastRadius, blast_radius, token_and_descendants
from perhop.journal.facets import format_microseconds, parse_microseconds
from perhop.journal.record import Record
from perhop.journal.tally import Asked, Selection
from perhop.storage.journal_tally import JournalTallies
from tests.support.busy_journals import AGENTS, BEGINNING, RESOURCES, at_work
from tests.support.journals import JournalFolder, a_permit, a_refusal, an_outcome, make_journal

SIZE = 1500
PEOPLE = tuple(f"user:{number}" for number in range(0, 500, 25))


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> JournalFolder:
    """A journal of agents at work, and a chain of tokens over the edge of a page."""
    made = make_journal(tmp_path_factory.mktemp("busy"))
    records: list[tuple[float, Record]] = list(islice(at_work(seed=5), SIZE))
    last = records[-1][0]
    chain = [a_permit(number, parent="in-0" if number < 600 else f"out-{number - 600}") for number in range(1200)]
    odd = [an_outcome(1), a_refusal(), a_refusal("audience.mismatch", unverified=None)]
    records += [(last + number, record) for number, record in enumerate([*chain, *odd], start=1)]

    async def write() -> None:
        now = [0.0]
        async with made.writing(clock=lambda: now[0]) as journal:
            waiting = []
            for moment, record in records:
                now[0] = moment
                waiting.append(asyncio.ensure_future(journal.append(record)))
                await asyncio.sleep(0)
            await asyncio.gather(*waiting)

    asyncio.run(write())
    return made


def _bodies(made: JournalFolder) -> list[dict[str, Any]]:
    connection = sqlite3.connect(made.path)
    bodies = [json.loads(body) for (body,) in connection.execute("SELECT body FROM record ORDER BY seq")]
    connection.close()
    return bodies


def _is_meant(record: Mapping[str, Any], kind: Asked, values: tuple[str, ...]) -> bool:
    inbound, outbound = record.get("in", {}), record.get("out", {})
    client = record.get("client", inbound.get("client_id"))
    match kind:
        case Asked.TOKEN:
            return inbound.get("jti") in values
        case Asked.AGENT:
            return values[0] in (client, inbound.get("agent", client))
        case Asked.SUBJECT:
            subject = inbound.get("sub", outbound.get("sub", client))
            return bool(subject == values[0])
        case Asked.RESOURCE:
            return record.get("resource") == values[0] or inbound.get("aud") in values[1:]


def _counted(made: JournalFolder, selection: Selection) -> dict[str, Counter[Any]]:
    """What should come out, from the bodies."""
    counted: dict[str, Counter[Any]] = {name: Counter() for name in ("did", "outcomes", "refused", "got")}
    since = format_microseconds(selection.since or 0)
    until = format_microseconds(selection.until) if selection.until is not None else "9"
    for record in _bodies(made):
        if not (since <= record["time"] < until and _is_meant(record, selection.kind, selection.values)):
            continue
        call, inbound = record.get("call", {}), record.get("in", {})
        what = (record.get("resource"), call.get("method"), call.get("name"))
        match record["event"]:
            case "call.permitted":
                counted["did"][what] += 1
            case "call.ended":
                counted["outcomes"][what, str(record["result"]["status"])] += 1
            case "token.issued":
                counted["got"][record.get("resource"), record["out"]["aud"]] += 1
            case "call.refused":
                counted["refused"][record.get("resource"), inbound.get("aud"), record.get("reason")] += 1
    return counted


def _answered(found: BlastRadius) -> dict[str, Counter[Any]]:
    return {
        "did": Counter({(each.resource, each.method, each.name): each.count for each in found.did}),
        "outcomes": Counter(
            {
                ((each.resource, each.method, each.name), outcome): count
                for each in found.did
                for outcome, count in each.outcomes.items()
            }
        ),
        "refused": Counter({(each.resource, each.audience, each.reason): each.count for each in found.refused}),
        "got": Counter({(each.resource, each.audience): each.count for each in found.got}),
    }


def _selections(made: JournalFolder) -> Iterator[tuple[Asked, tuple[str, ...]]]:
    tokens = sorted({record["in"]["jti"] for record in _bodies(made) if "jti" in record.get("in", {})})
    yield from ((Asked.TOKEN, tuple(tokens[start : start + 700])) for start in range(0, len(tokens), 300))
    yield from ((Asked.AGENT, (agent,)) for agent in (*AGENTS, "trip-planner", "nobody"))
    yield from ((Asked.SUBJECT, (subject,)) for subject in (*PEOPLE, "trip-planner", "nobody"))
    for name in (*RESOURCES, "calendar"):
        yield Asked.RESOURCE, (name, f"https://{name}.example.com/mcp", "http://127.0.0.1:8420/mcp/calendar")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_counts_are_those_of_the_bodies(busy: JournalFolder, data: st.DataObject) -> None:
    """Whoever and whenever is asked about: the same calls, outcomes, refusals and tokens."""
    kind, values = data.draw(st.sampled_from(list(_selections(busy))))
    beginning = int(BEGINNING * 1_000_000)
    # Many of these are the very time of a record, which `since` includes and `until` does not.
    moments = st.none() | st.integers(0, 2 * SIZE).map(lambda steps: beginning + steps * 500_000)
    selection = Selection(kind=kind, values=values, since=data.draw(moments), until=data.draw(moments))
    with JournalTallies(busy.path) as reader:
        found = blast_radius(reader, selection, (), asked={})
    expected = _counted(busy, selection)
    answered = _answered(found)
    # An outcome whose permit is not in the time that was asked about belongs to no row.
    expected["outcomes"] = Counter({key: n for key, n in expected["outcomes"].items() if key[0] in expected["did"]})
    assert answered == expected


def test_since_is_included_and_until_is_not(busy: JournalFolder) -> None:
    """From the very time of a call it is counted, and before that time it is not."""
    call = next(each for each in _bodies(busy) if each["event"] == "call.permitted" and each["seq"] > 100)
    moment = parse_microseconds(call["time"])
    assert moment is not None
    agent = (call["in"]["agent"],)
    with JournalTallies(busy.path) as reader:
        counts = [
            sum(
                each.count
                for each in reader.tallies(Selection(kind=Asked.AGENT, values=agent, since=since, until=until))
            )
            for since, until in ((moment, moment + 1), (moment - 1, moment), (moment + 1, moment + 2))
        ]
    assert counts == [1, 0, 0]


def test_first_and_last_and_networks(busy: JournalFolder) -> None:
    """A row spans the times of its records, and names where they came from."""
    with JournalTallies(busy.path) as reader:
        found = blast_radius(reader, Selection(kind=Asked.AGENT, values=(AGENTS[0],)), (), asked={})
    row = max(found.did, key=lambda each: each.count)
    mine = [
        record
        for record in _bodies(busy)
        if record["event"] == "call.permitted"
        and record["client"] == AGENTS[0]
        and (record["resource"], record["call"]["name"]) == (row.resource, row.name)
    ]
    assert (row.first, row.last) == (mine[0]["time"], mine[-1]["time"])
    assert row.networks == ("198.51.0.0/24",)
    assert row.network_count == 1


def test_descendants_come_along_at_any_depth_and_number(busy: JournalFolder) -> None:
    """Every token that came from one is found, over as many as a question can name at once, up to the bound."""
    with JournalTallies(busy.path) as reader:
        assert len(token_and_descendants(reader, "in-0")) == 1201
        assert set(token_and_descendants(reader, "out-599")) == {"out-599", "out-1199"}
        assert len(reader.descendants("in-0", limit=7)) == 7
        with pytest.raises(NotFound, match="nobody"):
            token_and_descendants(reader, "nobody")


def test_sightings_are_the_first_records_in_order(busy: JournalFolder) -> None:
    """The records in which the tokens came in, by number, and no more than were asked for."""
    with JournalTallies(busy.path) as reader:
        found = reader.sightings([f"out-{number}" for number in range(600)], limit=550)
    assert len(found) == 550
    assert [each.seq for each in found] == sorted(each.seq for each in found)
    bodies = _bodies(busy)
    assert all(bodies[each.seq - 1]["in"]["jti"] == each.facets.in_jti for each in found)


def test_a_tool_of_no_record_was_never_called(busy: JournalFolder, tmp_path: Path) -> None:
    """A kind that no record is of says nothing, however it came into the file."""
    shutil.copy(busy.path, tmp_path / "journal.db")
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection, connection:
        columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(kind)") if name not in ("id", "name")]
        others = ", ".join(columns)
        connection.execute(
            f"INSERT INTO kind ({others}, name) SELECT {others}, 'invented' FROM kind"
            " WHERE resource = 'calendar' AND event = 'call.permitted' AND name = 'list_events' LIMIT 1"
        )
        assert connection.total_changes == 1
    with JournalTallies(tmp_path / "journal.db") as reader:
        assert reader.called_tools("calendar") == {"list_events"}


def test_the_names_of_tools_are_those_that_were_permitted(busy: JournalFolder) -> None:
    """A name that was only ever refused may be anybody's invention."""
    with JournalTallies(busy.path) as reader:
        assert reader.called_tools("calendar") == {"list_events"}
        assert reader.called_tools("nowhere") == frozenset()


def test_counting_reads_an_index_alone(busy: JournalFolder, tmp_path: Path) -> None:
    """The count of an agent is answered from the index, in its order, without looking anything up."""
    statements: list[str] = []
    reader = JournalTallies(busy.path)
    reader._opened = sqlite3.connect(busy.path)
    reader._opened.set_trace_callback(statements.append)
    list(reader.tallies(Selection(kind=Asked.AGENT, values=(AGENTS[0],))))
    reader.hourly_networks(AGENTS[0], since=0, until=1)
    reader.hourly_subjects(AGENTS[0], since=0, until=1)
    reader.close()
    counts = [each for each in statements if "FROM facet" in each]
    connection = sqlite3.connect(busy.path)
    plans = [" ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {each}")) for each in counts]
    connection.close()
    assert ["USING COVERING INDEX facet_kind" in plan for plan in plans] == [True] * 3
    assert "TEMP B-TREE" not in plans[0]
