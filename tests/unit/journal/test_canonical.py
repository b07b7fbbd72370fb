"""A record as text: the field names of the wire, one spelling, nothing that is not set."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.core.actor import Actor
from perhop.journal.canonical import draft, format_time
from perhop.journal.record import (
    Event,
    Inbound,
    Record,
    RequestFacts,
    TaskFacts,
    act_claim,
)
from perhop.rules.canonical_json import canonical_json
from tests.support.journals import a_permit, an_outcome

NOW = 1_790_000_000.25

TEXTS = st.text(max_size=20)


def test_the_task_stands_between_seq_and_time() -> None:
    """Its id, and its purpose where the task is known; the rest of the body is as without it."""
    known, unknown = (TaskFacts(id="task-1", purpose=purpose) for purpose in ("plan — it", None))
    body = draft(a_permit(7)._replace(task=known), time=NOW).body(12)
    assert '"seq":12,"task":{"id":"task-1","purpose":"plan — it"},"tenant":' in body
    assert '"task":{"id":"task-1"}' in draft(a_permit(7)._replace(task=unknown), time=NOW).body(12)
    assert body.replace('"task":{"id":"task-1","purpose":"plan — it"},', "") == draft(a_permit(7), time=NOW).body(12)


def test_a_permit_word_for_word() -> None:
    """The body of a permit has exactly these names, in this order, and no white space."""
    assert draft(a_permit(7, mac="bWFj"), time=NOW).body(12) == (
        '{"call":{"arguments_mac":"bWFj","id":"call-7","method":"tools/call","name":"list_events","revision":"2026-07-28"},'
        '"client":"trip-planner",'
        '"decision":{"effect":"permit","policies":["calendar-readers"],"policy_version":"v1"},'
        '"event":"call.permitted","hop":2,'
        '"in":{"agent":"trip-planner","aud":"http://127.0.0.1:8420/mcp/calendar","client_id":"trip-planner",'
        '"exp":1790000300,"jti":"in-7","scope":"calendar:read","sub":"trip-planner"},'
        '"out":{"act":{"sub":"gateway:perhop"},"aud":"http://127.0.0.1:9001/mcp","exp":1790000060,"jti":"out-7",'
        '"scope":"calendar:read","sub":"trip-planner"},'
        '"owner":"travel-team","parent_jti":"in-7",'
        '"request":{"ip":"127.0.0.1","user_agent":"agent/1"},'
        '"resource":"calendar","seq":12,"tenant":"acme","time":"2026-09-21T14:13:20.250000Z","txn":"txn-1"}'
    )


@given(
    seq=st.integers(min_value=1, max_value=2**53),
    detail=st.none() | TEXTS,
    user_agent=st.none() | TEXTS,
    txn=st.none() | TEXTS,
    about=st.none() | st.dictionaries(TEXTS, TEXTS | st.integers() | st.floats(allow_nan=False, allow_infinity=False)),
)
def test_the_body_is_the_canonical_form_of_what_it_says(
    seq: int, detail: str | None, user_agent: str | None, txn: str | None, about: dict[str, object] | None
) -> None:
    """Whatever peers write, the body is the RFC 8785 form of its own content, on one line, with its own number."""
    record = Record(
        event=Event.CALL_REFUSED, detail=detail, txn=txn, request=RequestFacts(user_agent=user_agent), about=about
    )
    body = draft(record, time=NOW).body(seq)
    assert canonical_json(json.loads(body)).decode() == body
    assert json.loads(body)["seq"] == seq
    assert json.loads(body).get("detail") == detail
    assert "\n" not in body


def test_what_is_not_set_is_not_written() -> None:
    """A field that is None is absent, and so is an object without members."""
    body = draft(Record(event=Event.CONFIG_LOADED, request=RequestFacts(), inbound=Inbound()), time=NOW).body(1)
    assert body == '{"event":"config.loaded","seq":1,"time":"2026-09-21T14:13:20.250000Z"}'


def test_half_a_surrogate_pair_does_not_keep_a_refusal_out() -> None:
    """Text that JSON cannot carry is written with a question mark, never dropped and never an error."""
    record = Record(event=Event.CALL_REFUSED, detail="tool `\ud800`", request=RequestFacts(user_agent="\udfff"))
    fields = json.loads(draft(record, time=NOW).body(1))
    assert (fields["detail"], fields["request"]["user_agent"]) == ("tool `?`", "?")


def test_the_outcome_of_a_call() -> None:
    """An outcome carries status and duration."""
    fields = json.loads(draft(an_outcome(3, status=503), time=NOW).body(2))
    assert fields["event"] == "call.ended"
    assert fields["result"] == {"status": 503, "duration_ms": 3}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000000Z"),
        (1_790_000_000.000001, "2026-09-21T14:13:20.000001Z"),
        (1_790_000_000.999999, "2026-09-21T14:13:20.999999Z"),
    ],
)
def test_time_has_microseconds_and_z(seconds: float, text: str) -> None:
    """Every time has the same length, so that text order is time order."""
    assert format_time(seconds) == text


def test_the_actor_chain_is_written_as_the_claim() -> None:
    """`act` is nested, the current actor outermost, as in the token."""
    assert act_claim(Actor("b", Actor("a"))) == {"sub": "b", "act": {"sub": "a"}}
    assert act_claim(None) is None
