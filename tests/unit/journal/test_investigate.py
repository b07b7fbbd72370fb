"""The hop tree, put together from records in any order, from whatever a record happens to say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from perhop.errors import NotFound
from perhop.journal.canonical import draft
from perhop.journal.investigate import trace
from perhop.journal.query import Entry, Filter, JournaledToken
from perhop.journal.record import CallFacts, Event, Inbound, Outbound, Record, ResultFacts
from perhop.journal.store import WHOLE, SignedTree

NOW = 1_790_000_000.0

CALENDAR, CALENDAR_UP = "http://127.0.0.1:8420/mcp/calendar", "http://127.0.0.1:9001/mcp"
ROOMS, ROOMS_UP = "http://127.0.0.1:8420/mcp/rooms", "http://127.0.0.1:9002/mcp"


class ListedReader:
    """A JournalReader in memory, as far as tracing asks."""

    def __init__(self, *records: Record) -> None:
        bodies = [draft(record, time=NOW + at).body(at + 1) for at, record in enumerate(records)]
        self.entries = [Entry(at, body) for at, body in enumerate(bodies, start=1)]

    def find(self, wanted: Filter) -> Iterator[Entry]:
        return (each for each in self.entries if _matches(each, wanted))

    def base(self) -> SignedTree:
        return WHOLE

    def size(self) -> int:
        return len(self.entries)

    def tail(self, count: int) -> Sequence[Entry]:
        return self.entries[-count:]

    def record(self, seq: int) -> Entry | None:
        return self.entries[seq - 1]

    def token_by_jti(self, jti: str) -> JournaledToken | None:
        return None

    def children_of(self, jti: str) -> Sequence[JournaledToken]:
        return []

    def permitted_since(self, since: float) -> Iterator[JournaledToken]:
        return iter(())

    def issued_since(self, since: float) -> Iterator[JournaledToken]:
        return iter(())

    def unfinished(self, *, since: str | None = None) -> Iterator[Entry]:
        return iter(())

    def leaves(self, start: int, stop: int) -> Iterator[bytes]:
        return iter(())

    def last_checkpoint(self) -> str | None:
        return None


def _matches(entry: Entry, wanted: Filter) -> bool:
    return (
        (wanted.txn is None or entry.text("txn") == wanted.txn)
        and (wanted.jti is None or wanted.jti in (entry.part("in").get("jti"), entry.part("out").get("jti")))
        and (wanted.call_id is None or entry.part("call").get("id") == wanted.call_id)
    )


def _in(jti: str, aud: str, act: Any = None) -> Inbound:
    return Inbound(jti=jti, aud=aud, sub="user:1", agent="trip-planner", client_id="trip-planner", act=act)


def _out(jti: str, aud: str, act: Any = None) -> Outbound:
    return Outbound(jti=jti, aud=aud, scope="s", exp=1_790_000_060, sub="user:1", act=act)


GATEWAY = {"sub": "gateway:perhop", "act": {"sub": "trip-planner"}}
SERVER = {"sub": "calendar-server", "act": GATEWAY}
GATEWAY_2 = {"sub": "gateway:perhop", "act": SERVER}


def _job(txn: str | None = "txn-1") -> list[Record]:
    """One agent, two servers, four tokens."""
    return [
        Record(event=Event.TOKEN_ISSUED, txn=txn, hop=1, outbound=_out("t1", CALENDAR), client="trip-planner"),
        Record(
            event=Event.CALL_PERMITTED,
            txn=txn,
            hop=2,
            parent_jti="t1",
            inbound=_in("t1", CALENDAR),
            outbound=_out("t2", CALENDAR_UP, GATEWAY),
            call=CallFacts(id="c1", method="tools/call", name="create_event"),
        ),
        Record(
            event=Event.TOKEN_ISSUED,
            txn=txn,
            hop=3,
            parent_jti="t2",
            inbound=_in("t2", CALENDAR_UP, GATEWAY),
            outbound=_out("t3", ROOMS, SERVER),
            client="calendar-server",
        ),
        Record(
            event=Event.CALL_PERMITTED,
            txn=txn,
            hop=4,
            parent_jti="t3",
            inbound=_in("t3", ROOMS, SERVER),
            outbound=_out("t4", ROOMS_UP, GATEWAY_2),
            call=CallFacts(id="c2", method="tools/call", name="free_rooms"),
        ),
        Record(event=Event.CALL_ENDED, call=CallFacts(id="c2", method="tools/call"), result=ResultFacts(status=200)),
        Record(
            event=Event.CALL_REFUSED,
            txn=txn,
            reason="audience.mismatch",
            inbound=_in("t1", CALENDAR),
            call=CallFacts(id="c3", method="tools/call", name="free_rooms"),
        ),
        Record(event=Event.TOKEN_REFUSED, txn=txn, reason="hop.unknown", inbound=_in("t2", CALENDAR_UP, GATEWAY)),
    ]


@pytest.mark.parametrize("asked", ["txn-1", "t1", "t3", "t4"])
def test_the_whole_tree_from_any_of_its_ids(asked: str) -> None:
    """Transaction or any token: four hops, four audiences, each with its parent and its actors."""
    tree = trace(ListedReader(*_job()), asked).as_json()
    assert tree["txn"] == "txn-1"
    assert [(each["hop"], each["jti"], each["parent_jti"], each["aud"]) for each in tree["hops"]] == [
        (1, "t1", None, CALENDAR),
        (2, "t2", "t1", CALENDAR_UP),
        (3, "t3", "t2", ROOMS),
        (4, "t4", "t3", ROOMS_UP),
    ]
    assert [each["act"] for each in tree["hops"]] == [None, GATEWAY, SERVER, GATEWAY_2]
    assert {(each["txn"], each["sub"]) for each in tree["hops"]} == {("txn-1", "user:1")}
    json.dumps(tree)


def test_the_number_of_a_hop_is_that_of_its_record() -> None:
    """Where the records of the first hops are archived, those that are left still say how far they are from it."""
    tree = trace(ListedReader(*_job()[2:4]), "t4")
    assert [(each.jti, each.hop) for each in tree.hops] == [("t2", 2), ("t3", 3), ("t4", 4)]


def test_calls_stand_under_the_token_that_made_them() -> None:
    """An outcome that names only its call finds it; what has none is unfinished; what was refused says why."""
    first, second, third, fourth = trace(ListedReader(*_job()), "txn-1").hops
    assert [(call.id, call.name, call.outcome, call.reason) for call in first.calls] == [
        ("c1", "create_event", "unfinished", None),
        ("c3", "free_rooms", "refused", "audience.mismatch"),
    ]
    assert [(call.id, call.outcome, call.status) for call in third.calls] == [("c2", "ended", 200)]
    assert [each.reason for each in second.refused] == ["hop.unknown"]
    assert (second.calls, fourth.calls) == ((), ())


def test_a_call_that_another_proxy_carries_is_authorized_and_no_more() -> None:
    """Its permit has no outcome, and is not said to be unfinished: whether it was made is not known here."""
    job = [_carried(each) for each in _job()]
    first, *_ = trace(ListedReader(*job), "txn-1").hops
    seen = [(call.id, call.outcome, call.status) for call in first.calls if call.id == "c1"]
    assert seen == [("c1", "authorized", None)]


def _carried(record: Record) -> Record:
    return record._replace(call=record.call and record.call._replace(data_plane="forward_auth"))


def test_tokens_without_a_transaction_are_followed_by_their_ids() -> None:
    """Tokens that another issuer made carry no `txn`; parents and children still lead to each other."""
    for asked in ("t1", "t4"):
        tree = trace(ListedReader(*_job(txn=None)), asked)
        assert tree.txn is None
        assert [hop.jti for hop in tree.hops] == ["t1", "t2", "t3", "t4"]


def test_other_transactions_stay_out() -> None:
    """Only what belongs together is shown."""
    stranger = Record(event=Event.TOKEN_ISSUED, txn="txn-2", hop=1, outbound=_out("z", CALENDAR))
    tree = trace(ListedReader(stranger, *_job()), "t2")
    assert "z" not in {hop.jti for hop in tree.hops}


def test_branches_are_shown_depth_first() -> None:
    """Two children of one token come one after the other, each with its own children below it."""
    second = Record(
        event=Event.CALL_PERMITTED,
        txn="txn-1",
        inbound=_in("t1", CALENDAR),
        outbound=_out("t5", CALENDAR_UP, GATEWAY),
        call=CallFacts(id="c9", method="tools/call"),
    )
    tree = trace(ListedReader(*_job(), second), "txn-1")
    assert [(hop.hop, hop.jti) for hop in tree.hops] == [(1, "t1"), (2, "t2"), (3, "t3"), (4, "t4"), (2, "t5")]


def test_an_unknown_id_is_not_found() -> None:
    """Nothing known is an answer of its own, not an empty tree."""
    with pytest.raises(NotFound):
        trace(ListedReader(*_job()), "nobody")


def test_tampered_records_do_not_stop_a_trace() -> None:
    """Fields of the wrong type are passed over, and a token that is its own ancestor ends the walk."""
    reader = ListedReader(*_job())
    reader.entries.append(Entry(8, '{"txn":"txn-1","event":[],"in":{"jti":["x"]},"out":7,"call":{"id":{}}}'))
    reader.entries.append(Entry(9, '{"txn":"txn-1","event":"token.issued","parent_jti":"y","out":{"jti":"y"}}'))
    tree = trace(reader, "txn-1")
    assert [hop.jti for hop in tree.hops] == ["t1", "t2", "t3", "t4", "y"]
