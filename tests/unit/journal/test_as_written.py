"""Reading a body without parsing it: the same answer as the parser's, or none."""

from __future__ import annotations

import json
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.journal.as_written import read_as_written
from perhop.journal.canonical import draft
from perhop.journal.facets import facets_of, parse_body
from perhop.journal.record import Event, Inbound, Record, RequestFacts, ResultFacts
from tests.support.busy_journals import at_work
from tests.support.journals import a_permit, a_refusal, an_outcome

DEEP: dict[str, object] = {"sub": "first"}
for _number in range(8):
    DEEP = {"sub": f"actor-{_number}", "act": DEEP}
RECORDS = [
    *(record for _, record in islice(at_work(seed=5), 60)),
    a_permit(1, mac="bWFj"),
    an_outcome(1),
    a_refusal(),
    Record(event=Event.KEY_CHANGED, about={"by": "init", "kid": "k", "state": "active"}),
    Record(event=Event.REVOCATION, about={"kind": "token", "value": "t", "tokens": ["t", "u"]}),
    Record(event=Event.CALL_PERMITTED, hop=5, inbound=Inbound(jti="t", client_id="c", act=DEEP)),
    Record(event=Event.CALL_ENDED, result=ResultFacts(status=0, error="cut", duration_ms=0)),
    Record(event=Event.CALL_REFUSED, inbound=Inbound(sub="planner", client_id="planner"), detail="a, b: {c} [d]"),
]
BODIES = [draft(record, time=1_790_000_000.25).body(number + 1).encode() for number, record in enumerate(RECORDS)]
ODD = (
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b'"',
    b":",
    b"\\",
    b"0",
    b"-",
    b".",
    b" ",
    b"\x00",
    b"\xff",
    b"",
    b"null",
    b'"seq":1,',
)


def _parsed(body: bytes) -> tuple[object, object]:
    fields = parse_body(body)
    return fields.get("seq"), facets_of(fields)


def test_what_we_write_is_read_without_a_parser() -> None:
    """Every kind of record of ours is read at once, and as the parser reads it."""
    assert [body for body in BODIES if read_as_written(body) is None] == []
    assert [read_as_written(body) for body in BODIES] == [_parsed(body) for body in BODIES]


@given(body=st.sampled_from(BODIES), data=st.data())
def test_what_was_changed_is_read_as_the_parser_reads_it_or_not_at_all(body: bytes, data: st.DataObject) -> None:
    """Bytes put in, taken out, put elsewhere: what is read without the parser is valid, and reads the same with it."""
    changed = body
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed)))
        to = data.draw(st.integers(at, min(len(changed), at + 12)))
        source = data.draw(st.integers(0, len(changed)))
        put = data.draw(st.sampled_from(ODD) | st.just(changed[source : source + 9]))
        changed = changed[:at] + put + changed[to:]
    found = read_as_written(changed)
    if found is not None:
        assert isinstance(json.loads(changed), dict)
        assert found == _parsed(changed)


@given(
    user_agent=st.none() | st.text(max_size=9),
    detail=st.none() | st.text(max_size=9),
    txn=st.none() | st.text(max_size=9),
    about=st.none() | st.dictionaries(st.text(max_size=3), st.text(max_size=3) | st.integers() | st.booleans()),
)
def test_whatever_peers_write_it_is_read_the_same_or_not_at_all(
    user_agent: str | None, detail: str | None, txn: str | None, about: dict[str, object] | None
) -> None:
    """Text that needs escapes is for the parser."""
    record = Record(
        event=Event.CALL_REFUSED, detail=detail, txn=txn, request=RequestFacts(user_agent=user_agent), about=about
    )
    body = draft(record, time=1_790_000_000.25).body(7).encode()
    assert read_as_written(body) in (None, _parsed(body))


@pytest.mark.parametrize(
    "body",
    [
        b'{"in":{"jti":"a","jti":"b"},"seq":1}',
        b'{"seq":1,"seq":2}',
        b'{"txn":"b","seq":1}',
        b'{"seq":1,}',
        b'{"detail":[1,],"seq":1}',
        b'{"detail":{"a":1,},"seq":1}',
        b'{"detail":{"a"},"seq":1}',
        b'{"detail":01,"seq":1}',
        b'{"seq":01}',
        b'{"seq":"1"}',
        b'{"result":{"status":01},"seq":1}',
        b'{"txn":"","seq":1}',
        b'{"seq":1}\n',
        b' {"seq":1}',
        b"{}",
    ],
)
def test_what_our_writer_does_not_write_is_for_the_parser(body: bytes) -> None:
    """A member twice, another order, what is no JSON: none of it is read without the parser."""
    assert read_as_written(body) is None
