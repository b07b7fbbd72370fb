"""A journal that is made quickly holds what the slow way would have written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from bench import long_journal as made
from perhop.journal.canonical import draft
from perhop.journal.facets import facets_of, parse_microseconds
from perhop.journal.investigate import trace
from perhop.journal.store import Row
from perhop.storage.journal_tally import JournalTallies
from tests.support.busy_journals import at_work
from tests.support.journals import JournalFolder

COUNT = 1_200


def rows(count: int = COUNT) -> Iterator[Row]:
    """In blocks of 300, with twenty calls of the busy token."""
    return made.written_rows(count, block=300, busy=20)


def journal_in(folder: Path) -> JournalFolder:
    """The same as a file."""
    return made.long_journal(COUNT, tell=lambda _: None, place=folder, block=300, busy=20)


def test_the_first_block_is_what_the_writer_would_write_but_for_ids() -> None:
    """A row of the first block is the record of that number, each id with another beginning."""
    for seq, (row, (moment, record)) in enumerate(zip(rows(), islice(at_work(1), 300), strict=False), 1):
        slow = draft(record, time=moment)
        body = slow.body(seq)
        for each in (slow.facets.txn, slow.facets.in_jti, slow.facets.out_jti, slow.facets.call_id):
            body = body.replace(each, f"0000{each[4:]}") if each else body
        mac = record.call.arguments_mac if record.call else None
        assert row.body == (body.replace(mac, f"0000{mac[4:]}") if mac else body)


def test_facets_are_those_of_the_body() -> None:
    """What a row can be found by is what its body says, in every block and for the busy token."""
    for row in islice(rows(), COUNT):
        assert row.facets == facets_of(json.loads(row.body))


def test_no_token_is_in_two_blocks() -> None:
    """Each block has tokens, transactions and calls of its own, and comes after the one before."""
    found = list(islice(rows(10_000), 900))
    calls = [row.facets.call_id for row in found if row.facets.event == "call.ended"]
    assert len(calls) == len(set(calls))
    times = [parse_microseconds(json.loads(row.body)["time"]) for row in found]
    assert times == sorted(times)


def test_it_verifies_and_answers(tmp_path: Path) -> None:
    """The journal verifies, its indexes too, and the busy token has all its calls."""
    journal = journal_in(tmp_path)
    found = journal.verify()
    assert (found.ok, found.records, found.problem) == (True, COUNT, "")
    with JournalTallies(journal.path) as reader:
        assert sum(len(hop.calls) for hop in trace(reader, made.BUSY_TOKEN).hops) == 20


def test_it_is_made_once(tmp_path: Path) -> None:
    """A journal that is kept is taken again."""
    first = journal_in(tmp_path)
    changed = first.path.stat().st_mtime_ns
    assert journal_in(tmp_path).path.stat().st_mtime_ns == changed
