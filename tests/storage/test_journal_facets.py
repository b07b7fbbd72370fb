"""The facets beside the records: those of the bodies, whoever made them, and made again where they are missing."""

from __future__ import annotations

import asyncio
import sqlite3
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.errors import JournalDamaged, JournalUnavailable, OperatorError
from perhop.journal.canonical import draft
from perhop.journal.facets import LONGEST_NAME, facets_of, format_microseconds, parse_body, parse_microseconds
from perhop.journal.query import Filter
from perhop.journal.record import CallFacts, Event, Inbound, Record, RequestFacts
from perhop.storage.journal_db import JournalDatabase
from tests.support.busy_journals import at_work
from tests.support.journals import JournalFolder, a_permit, a_refusal, an_outcome, make_journal

FIRST_VERSION = (
    "DROP TABLE facet",
    "DROP TABLE kind",
    "DROP TABLE term",
    "DROP TABLE base",
    "CREATE INDEX record_txn ON record (CASE WHEN json_valid(body) THEN json_extract(body, '$.txn') END)",
    "PRAGMA user_version = 1",
)
"""What makes a file of the first version of one of this."""


def _records() -> list[Record]:
    return [record for _, record in islice(at_work(seed=3), 200)] + [
        a_permit(1),
        an_outcome(1),
        a_refusal(),
        Record(event=Event.CONFIG_LOADED, about={"kind": "client", "naïve": 1.5}),
    ]


@pytest.fixture
def written(tmp_path: Path) -> JournalFolder:
    made = make_journal(tmp_path)

    async def write() -> None:
        async with made.writing() as journal:
            for record in _records():
                await journal.append(record)

    asyncio.run(write())
    return made


def _tables(made: JournalFolder) -> list[list[tuple[object, ...]]]:
    connection = sqlite3.connect(made.path)
    tables = [connection.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall() for name in ("facet", "kind", "term")]
    connection.close()
    return tables


def _change(made: JournalFolder, *statements: str) -> None:
    connection = sqlite3.connect(made.path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def _open_once(made: JournalFolder) -> None:
    store = JournalDatabase(made.path)
    store.load()
    store.close()


def test_made_again_they_are_those_that_were_written(written: JournalFolder) -> None:
    """The writer that opens a file of the first version leaves the very rows that it would have written."""
    before = _tables(written)
    assert len(before[0]) == len(_records())
    _change(written, *FIRST_VERSION)
    _open_once(written)
    assert _tables(written) == before
    found = written.verify()
    assert (found.ok, found.records) == (True, len(_records()))


def test_a_file_of_the_first_version_is_not_asked(written: JournalFolder) -> None:
    """Questions to it are refused with what to do; it can be verified as it is."""
    _change(written, *FIRST_VERSION)
    with written.queries() as reader, pytest.raises(OperatorError, match="version 1") as refused:
        list(reader.find(Filter()))
    assert "perhop serve" in refused.value.advice()
    assert written.verify().ok
    _change(written, "UPDATE record SET body = replace(body, 'tools/call', 'tools/cald') WHERE seq = 2")
    assert written.verify().first_bad == 2


def test_a_file_of_a_later_version_is_nobodys(written: JournalFolder) -> None:
    """Neither reader nor writer touches what it does not know."""
    _change(written, "PRAGMA user_version = 4")
    with written.queries() as reader, pytest.raises(JournalDamaged, match="version 4"):
        reader.size()
    with pytest.raises(JournalDamaged, match="version 4"):
        written.open()


def test_records_that_were_changed_get_facets_too(written: JournalFolder) -> None:
    """Making them again fails at no body, however it looks, so that the writer can say what is wrong with it."""
    _change(
        written,
        *FIRST_VERSION,
        "UPDATE record SET body = '{' WHERE seq = 3",
        "UPDATE record SET body = CAST(x'ff00' AS TEXT) WHERE seq = 4",
        """UPDATE record SET body = '{"txn":"\\ud800","result":{"status":1e99},"time":"","call":[]}' WHERE seq = 5""",
        """UPDATE record SET body = '{"result":{"status":99999999999999999999}}' WHERE seq = 6""",
    )
    _open_once(written)
    with written.queries() as reader:
        assert reader.size() == len(_records())
        assert [each.seq for each in reader.find(Filter(txn="?"))] == [5]
    assert written.verify().first_bad == 3


async def test_a_failed_commit_leaves_no_facets(tmp_path: Path) -> None:
    """Terms and kinds that a rolled back commit would have added are added by the next."""
    made = make_journal(tmp_path)
    async with made.writing() as journal:
        intruder = sqlite3.connect(made.path, isolation_level=None)
        intruder.execute("INSERT INTO facet (seq, kind) VALUES (1, 1)")
        with pytest.raises(JournalUnavailable, match="UNIQUE"):
            await journal.append(a_permit(1))
        intruder.execute("DELETE FROM facet")
        intruder.close()
        assert await journal.append(a_permit(2)) == 1
    assert made.verify().ok


_texts = st.text(max_size=6) | st.sampled_from(["\ud800", "é", "a" * 300])


@given(texts=st.lists(_texts, min_size=8, max_size=8), status=st.none() | st.integers(0, 10**6))
def test_a_draft_has_the_facets_of_its_body(texts: list[str], status: int | None) -> None:
    """What is written beside a record is what verification will read from its body, whatever a peer sent."""
    txn, jti, agent, method, name, user_agent, resource, ip = texts
    record = Record(
        event=Event.CALL_REFUSED,
        txn=txn,
        inbound=Inbound(jti=jti, agent=agent, sub="s"),
        call=CallFacts(id="c", method=method, name=name),
        request=RequestFacts(ip=ip, user_agent=user_agent),
        resource=resource,
        about={"status": status},
    )
    drafted = draft(record, time=1_790_000_000.25)
    assert drafted.facets == facets_of(parse_body(drafted.body(7)))
    assert len(drafted.facets.name or "") <= LONGEST_NAME


@given(moment=st.integers(0, 4_000_000_000_000_000))
def test_times_there_and_back(moment: int) -> None:
    """A time of the journal and its number stand for each other."""
    assert parse_microseconds(format_microseconds(moment)) == moment
    assert len(format_microseconds(moment)) == 27
