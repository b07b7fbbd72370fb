"""Asking a journal: every filter finds what it names and nothing else, by an index, while the writer goes on."""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from perhop.errors import OperatorError
from perhop.journal.query import Filter, parse_time
from perhop.journal.record import KEPT_HERE, Event, Inbound, Outbound, Record
from perhop.storage.journal_db import BUSY_SECONDS, create_journal
from perhop.storage.journal_reader import JournalQueries, conditions
from tests.support.journals import JournalFolder, a_permit, a_refusal, an_outcome, make_journal

NOW = 1_790_000_000.0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> JournalFolder:
    """Records 1-3: permits; 4: outcome of 1; 5: refusal; 6: a first token; one second apart."""
    folder = make_journal(tmp_path_factory.mktemp("journal"))
    records = [
        a_permit(1),
        a_permit(2, parent="in-1"),
        a_permit(3, txn="txn-2"),
        an_outcome(1),
        a_refusal("audience.mismatch"),
        Record(
            event=Event.TOKEN_ISSUED,
            txn="txn-3",
            hop=1,
            inbound=Inbound(client_id="desk-app"),
            outbound=Outbound(jti="first", aud="https://rooms.example.com/mcp", scope="rooms:read", exp=1_790_000_300),
            resource="rooms",
        ),
    ]

    async def write() -> None:
        now = [NOW]
        async with folder.writing(clock=lambda: now[0]) as journal:
            for record in records:
                await journal.append(record)
                now[0] += 1

    asyncio.run(write())
    return folder


@pytest.mark.parametrize(
    ("wanted", "seqs"),
    [
        (Filter(), [1, 2, 3, 4, 5, 6]),
        (Filter(first=3, last=5), [3, 4, 5]),
        (Filter(txn="txn-1"), [1, 2]),
        (Filter(jti="in-1"), [1, 2]),
        (Filter(jti="out-2"), [2]),
        (Filter(event="call.permitted"), [1, 2, 3]),
        (Filter(reason="audience.mismatch"), [5]),
        (Filter(client="trip-planner"), [1, 2, 3]),
        (Filter(client="desk-app"), [6]),
        (Filter(resource="calendar"), [1, 2, 3, 4, 5]),
        (Filter(resource="https://rooms.example.com/mcp"), [6]),
        (Filter(resource="http://127.0.0.1:8420/mcp/calendar"), [1, 2, 3]),
        (Filter(call_id="call-1"), [1, 4]),
        (Filter(since=parse_time("2026-09-21T14:13:24Z")), [5, 6]),
        (Filter(until=parse_time("2026-09-21T16:13:22+02:00")), [1, 2]),
        (Filter(event="call.permitted", txn="txn-1", jti="in-1", client="trip-planner", first=2), [2]),
        (Filter(jti="in-1", txn="txn-2"), []),
        (Filter(txn="' OR TRUE --"), []),
    ],
)
def test_what_a_filter_finds(made: JournalFolder, wanted: Filter, seqs: list[int]) -> None:
    """Everything that is set must hold, and the order is that of the records."""
    with made.queries() as reader:
        assert [each.seq for each in reader.find(wanted)] == seqs


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (Filter(txn="x"), "facet_txn"),
        (Filter(jti="x"), "facet_in_jti"),
        (Filter(jti="x"), "facet_out_jti"),
        (Filter(event="x"), "facet_kind"),
        (Filter(reason="x"), "facet_kind"),
        (Filter(client="x"), "facet_kind"),
        (Filter(resource="x"), "facet_kind"),
        (Filter(call_id="x"), "facet_call_id"),
        (Filter(since="x"), "facet_time"),
        (Filter(until="x"), "facet_time"),
        (Filter(resource="https://x"), "facet_kind"),
        (Filter(first=1), "INTEGER PRIMARY KEY"),
    ],
)
def test_every_filter_has_an_index(made: JournalFolder, wanted: Filter, index: str) -> None:
    """No question about one field reads the whole journal."""
    where, values = conditions(wanted)
    plan = _plan(made.path, f"SELECT seq FROM facet WHERE {where}", values)
    assert index in plan
    assert "SCAN facet" not in plan


def test_lineage_and_outcomes_are_found_by_index(made: JournalFolder) -> None:
    """What is asked on the way of a token, or of many calls, uses the index of its id, not that of its event."""
    statements: list[str] = []
    reader = made.queries()
    reader._opened = sqlite3.connect(made.path, timeout=BUSY_SECONDS)
    reader._opened.set_trace_callback(statements.append)
    reader.token_by_jti("x")
    reader.children_of("x")
    list(reader.permitted_since(NOW))
    list(reader.issued_since(NOW))
    list(reader.unfinished())
    reader.close()
    plans = [_plan(made.path, each, []) for each in statements if each.startswith("SELECT seq FROM")]
    expected = ["facet_out_jti", "facet_in_jti", "facet_time", "facet_time", "facet_call_id"]
    assert [index in plan for index, plan in zip(expected, plans, strict=True)] == [True] * 5


def _plan(path: Path, sql: str, values: list[object]) -> str:
    connection = sqlite3.connect(path)
    plan = " | ".join(f"{row[3]} " for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values))
    connection.close()
    return plan


def test_the_tail_and_one_record(made: JournalFolder) -> None:
    """The last records come in order; one is found by its number, and none where there is none."""
    with made.queries() as reader:
        assert reader.size() == 6
        assert [each.seq for each in reader.tail(2)] == [5, 6]
        assert reader.tail(0) == []
        assert len(reader.tail(100)) == 6
        found = reader.record(4)
        assert found is not None
        assert found.text("event") == "call.ended"
        assert reader.record(7) is None


def test_a_permit_is_the_record_of_its_token(made: JournalFolder) -> None:
    """Everything that a token record says can be read from the permit."""
    with made.queries() as reader:
        token = reader.token_by_jti("out-2")
        assert token is not None
        assert (token.jti, token.parent_jti, token.txn, token.hop) == ("out-2", "in-1", "txn-1", 2)
        assert (token.audience, token.parent_audience) == (
            "http://127.0.0.1:9001/mcp",
            "http://127.0.0.1:8420/mcp/calendar",
        )
        assert (token.subject, token.agent, token.client_id) == ("trip-planner", "trip-planner", "gateway:perhop")
        assert (token.issued_at, token.expires_at, token.tenant) == (1_790_000_001, 1_790_000_060, "acme")
        assert reader.token_by_jti("first") is None
        assert reader.token_by_jti("in-1") is None


def test_children_and_recent_tokens(made: JournalFolder) -> None:
    """Children are those of this parent; recent ones those permitted since."""
    with made.queries() as reader:
        assert [each.jti for each in reader.children_of("in-1")] == ["out-1", "out-2"]
        assert list(reader.children_of("nobody")) == []
        assert [each.jti for each in reader.permitted_since(NOW + 1)] == ["out-2", "out-3"]


def test_only_a_record_that_says_so_is_a_tokens_only_one(tmp_path: Path) -> None:
    """Beside one with a row, and one that lacks what a token has, the reader gives the one that is kept here."""
    folder = make_journal(tmp_path)
    issued = Record(
        event=Event.TOKEN_ISSUED,
        txn="txn-1",
        hop=1,
        outbound=Outbound(jti="kept", aud="https://a.example.com", scope="a:b", exp=1_790_000_300, sub="poster"),
        client="poster",
        tenant="acme",
        about=KEPT_HERE,
    )

    async def write() -> None:
        async with folder.writing(clock=lambda: NOW) as journal:
            with_row = Outbound(jti="row", aud="https://a.example.com", scope="a:b", exp=1_790_000_300, sub="poster")
            await journal.append(issued._replace(outbound=with_row, about={"kept": "elsewhere"}))
            await journal.append(issued)
            await journal.append(issued._replace(outbound=None))
            await journal.append(issued._replace(txn=None))

    asyncio.run(write())
    with folder.queries() as reader:
        (token,) = reader.issued_since(NOW)
        assert token == reader.token_by_jti("kept")
        assert (token.parent_jti, token.parent_audience, token.tenant, token.issued_at) == (None, None, "acme", NOW)
        assert (token.subject, token.agent, token.client_id) == ("poster", "poster", "poster")
        assert reader.token_by_jti("row") is None
        assert list(reader.issued_since(NOW + 1)) == []
        assert [each.seq for each in reader.newest_first(Filter())] == [4, 3, 2, 1]


def test_the_newest_come_first_however_many(tmp_path: Path) -> None:
    """Page after page, none twice and none left out, also where many are of one moment."""
    folder = make_journal(tmp_path)

    async def write() -> None:
        now = [NOW]
        async with folder.writing(clock=lambda: now[0]) as journal:
            for number in range(1203):
                now[0] += number % 400 == 0
                journal.note(a_refusal("audience.mismatch" if number % 3 else "token.expired"))

    asyncio.run(write())
    with folder.queries() as reader:
        assert [each.seq for each in reader.newest_first(Filter())] == list(range(1203, 0, -1))
        some = [each.seq for each in reader.newest_first(Filter(reason="token.expired", first=4))]
        assert some == [seq for seq in range(1203, 3, -1) if seq % 3 == 1]
        newest = reader.last(Filter(reason="token.expired"))
        assert newest is not None
        assert newest.seq == 1201


def test_unfinished_calls(made: JournalFolder) -> None:
    """A permit without an outcome is listed, one with an outcome is not."""
    with made.queries() as reader:
        assert [each.seq for each in reader.unfinished()] == [2, 3]
        assert [each.seq for each in reader.unfinished(since=parse_time("2026-09-21T14:13:22Z"))] == [3]


async def test_a_reader_sees_what_is_written_meanwhile(tmp_path: Path) -> None:
    """A reader that was made before the writer started, and used before, sees every new record."""
    folder = make_journal(tmp_path)
    with folder.queries() as reader:
        assert reader.size() == 0
        async with folder.writing() as journal:
            for count in range(1, 4):
                await journal.append(a_permit(count))
                assert reader.size() == count
        assert reader.size() == 3
        async with folder.writing() as journal:
            await journal.append(a_permit(4))
            assert reader.size() == 4
        assert folder.verify().records == 4


async def test_a_slow_reader_does_not_stop_the_writer(tmp_path: Path) -> None:
    """Records are read page by page, with no transaction open in between."""
    folder = make_journal(tmp_path)
    async with folder.writing() as journal:
        await asyncio.gather(*(journal.append(a_permit(number)) for number in range(1200)))
        with folder.queries() as reader:
            found = reader.find(Filter())
            assert next(found).seq == 1
            assert await journal.append(a_permit(0)) == 1201
            intruder = sqlite3.connect(folder.path)
            assert intruder.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
            intruder.close()
            assert [each.seq for each in found] == list(range(2, 1201))


def test_many_threads_may_ask(made: JournalFolder) -> None:
    """One reader serves several threads."""
    with made.queries() as reader, ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: [each.seq for each in reader.find(Filter(txn="txn-1"))], range(40)))
    assert found == [[1, 2]] * 40


def test_a_record_that_is_no_json_any_more_can_be_read(tmp_path: Path) -> None:
    """A tampered journal still answers, so that it can be looked into."""
    folder = make_journal(tmp_path)

    async def write() -> None:
        async with folder.writing() as journal:
            for number in range(3):
                await journal.append(a_permit(number))

    asyncio.run(write())
    connection = sqlite3.connect(folder.path)
    connection.execute("UPDATE record SET body = substr(body, 2) WHERE seq = 2")
    connection.execute("UPDATE record SET body = CAST(x'ff00' AS TEXT) WHERE seq = 3")
    connection.commit()
    connection.close()
    with folder.queries() as reader:
        assert [each.seq for each in reader.find(Filter(event="call.permitted"))] == [1, 2, 3]
        assert [dict(each.fields) for each in reader.tail(2)] == [{}, {}]


def test_a_read_only_copy(tmp_path: Path, made: JournalFolder) -> None:
    """A journal by itself is read without a file appearing beside it."""
    copy = tmp_path / "with space & 100%?#.db"
    copy.write_bytes(made.path.read_bytes())
    with JournalQueries(copy) as reader:
        assert reader.size() == 6
    assert [each.name for each in tmp_path.iterdir()] == [copy.name]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2026-01-31", "2026-01-31T00:00:00.000000Z"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000000Z"),
        ("2026-01-31T12:00:00.5+01:00", "2026-01-31T11:00:00.500000Z"),
    ],
)
def test_times_as_people_write_them(text: str, written: str) -> None:
    """Dates and RFC 3339 times become what the journal compares with."""
    assert parse_time(text) == written


def test_what_is_no_time_is_refused() -> None:
    """A filter that cannot be meant is an error, never no filter."""
    with pytest.raises(OperatorError, match="`yesterday` is not a time"):
        parse_time("yesterday")


def test_a_permit_without_a_token_is_no_token(tmp_path: Path) -> None:
    """An upstream that takes no token leaves a permit that nobody can be the child of."""
    folder = make_journal(tmp_path)
    create_journal(tmp_path / "other.db", key=folder.key)

    async def write() -> None:
        async with folder.writing() as journal:
            await journal.append(a_permit(1)._replace(outbound=None))

    asyncio.run(write())
    with folder.queries() as reader:
        assert list(reader.children_of("in-1")) == []
