"""Every record becomes an event that the schema of OCSF takes, whatever the record holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from perhop.journal.canonical import draft
from perhop.journal.export.ocsf import DETECTED, VERSION, ocsf_event, render_ocsf
from perhop.journal.query import Entry
from perhop.journal.record import CallFacts, DecisionFacts, Event, Inbound, Outbound, Record, ReportFacts
from tests.support.journals import ORIGIN, a_permit, a_refusal, an_outcome

CLASSES = {
    2004: "detection_finding",
    3002: "authentication",
    3003: "authorize_session",
    3004: "entity_management",
    6003: "api_activity",
}


@cache
def _validator(class_uid: int, profiles: tuple[str, ...]) -> Draft202012Validator:
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=VERSION))
    return Draft202012Validator(schema.get_class_schema(CLASSES[class_uid], list(profiles)))


def complaints(event: Mapping[str, Any]) -> list[str]:
    """What the published schema has against an event."""
    validator = _validator(event["class_uid"], tuple(event["metadata"]["profiles"]))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(event)]


def entry_of(record: Record, seq: int = 7) -> Entry:
    return Entry(seq, draft(record, time=1_790_000_000.25).body(seq))


def event_of(entry: Entry) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(render_ocsf(entry, origin=ORIGIN, product_version="1"))
    return event


RECORDS = [
    a_permit(),
    an_outcome(),
    an_outcome(status=500),
    a_refusal(),
    *(a_refusal(reason) for reason in DETECTED),
    Record(
        event=Event.TOKEN_ISSUED, client="agent", outbound=Outbound(jti="j", aud="a", scope="x y", exp=1, sub="agent")
    ),
    Record(event=Event.TOKEN_ISSUED, client="agent"),
    Record(event=Event.TOKEN_REFUSED, reason="client.authentication"),
    Record(
        event=Event.CALL_ADMITTED,
        call=CallFacts(id="0" * 16, method="tools/call", name="list_events"),
        report=ReportFacts(by="calendar-server", id="0" * 32, time="2026-11-26T08:00:00.000000Z"),
    ),
    *(
        Record(
            event=Event.ACCESS_EVALUATED,
            reason=None if effect == "permit" else "token.revoked",
            inbound=Inbound(sub="user:ann", agent="agent", client_id="agent", act={"sub": "agent"}, scope="x y"),
            call=CallFacts(id="0" * 16, method="tools/call", name="list_events"),
            decision=DecisionFacts(effect=effect, policies=("p",), policy_version="1"),
            client="calendar-server",
            resource="calendar",
        )
        for effect in ("permit", "deny")
    ),
    Record(event=Event.ACCESS_SEARCHED, client="calendar-server", about={"sought": "subject", "results": 2}),
    Record(event=Event.ACCESS_REFUSED, reason="client.authentication", resource="perhop:access"),
    Record(event=Event.SESSION_REFUSED, reason="session.mismatch"),
    Record(event=Event.REVOCATION, about={"kind": "agent", "value": "agent", "why": "", "by": "operator:ann"}),
    Record(event=Event.KEY_CHANGED, about={"kid": "k", "state": "revoked", "by": "operator:ann"}),
    Record(event=Event.CONFIG_LOADED, about={"kind": "client", "name": "agent", "change": "disabled", "why": "x"}),
    Record(event=Event.CONFIG_LOADED, about={"version": "1", "unsafe": []}),
    Record(event=Event.JOURNAL_SUPPRESSED, reason="token.expired", about={"count": 12}),
    Record(event=Event.JOURNAL_ARCHIVED, about={"first": 1, "last": 9, "file": "journal-1-9.db", "by": "operator:ann"}),
    *(
        Record(event=Event.TASK_CHANGED, client="agent", about={"task": "t", "change": change, "by": "client:agent"})
        for change in ("begun", "approved", "superseded", "ended")
    ),
    *(
        Record(event=Event.CLIENT_CHANGED, client="c", about={"client": "c", "change": change, "by": "operator:ann"})
        for change in ("registered", "adopted", "rejected", "lapsed", "document")
    ),
    Record(event=Event.APPROVAL_CHANGED, about={"resource": "calendar", "change": "quarantined", "tools": {"x": "0"}}),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: f"{record.event.value}-{record.reason}")
def test_the_schema_takes_the_event_of_every_record(record: Record) -> None:
    """Class, activity, required members and their types are as the schema of the version that is named has them."""
    assert complaints(event_of(entry_of(record))) == []


def test_a_task_is_named_and_its_end_is_one() -> None:
    """The object is the task, by its id; begun is created, superseded and ended are deactivated."""
    for change, activity in (("begun", 1), ("superseded", 11), ("ended", 11)):
        record = Record(event=Event.TASK_CHANGED, about={"task": "task-1", "change": change, "by": "client:agent"})
        event = event_of(entry_of(record))
        assert (event["entity"], event["activity_id"]) == ({"name": "task-1", "type": "task"}, activity)


def test_a_newcomer_is_named_and_what_became_of_it() -> None:
    """The object is the client, by its id; registered is created, adopted enabled, rejected and lapsed deleted."""
    for change, activity in (("registered", 1), ("adopted", 8), ("rejected", 4), ("lapsed", 4), ("document", 3)):
        about = {"client": "registered-1", "change": change, "by": "operator:ann"}
        event = event_of(entry_of(Record(event=Event.CLIENT_CHANGED, about=about)))
        assert (event["entity"], event["activity_id"]) == ({"name": "registered-1", "type": "client"}, activity)


def test_every_event_has_a_class() -> None:
    """A new event of the journal is not left without one: each is among the records above."""
    covered = {record.event for record in RECORDS}
    assert set(Event) - covered - {Event.POLICY_CHANGED, Event.ACCOUNT_CHANGED} == set()


def test_a_refused_replay_is_a_finding_and_the_token_is_not_in_it() -> None:
    """It alerts, names the `jti` and where it came from; what stands in the record stands in the event."""
    event = event_of(entry_of(a_refusal("token.replayed")))
    assert (event["class_uid"], event["type_uid"], event["is_alert"]) == (2004, 200401, True)
    assert event["evidences"][0]["src_endpoint"] == {"ip": "192.0.2.7"}
    assert (event["metadata"]["sequence"], event["metadata"]["uid"]) == (7, f"{ORIGIN}/7")


def test_a_question_is_no_finding_and_names_who_asked() -> None:
    """A server asked about a resource that is disabled: nobody's token was shown. Who would have called is told."""
    (denied,) = (each for each in RECORDS if each.event is Event.ACCESS_EVALUATED and each.reason is not None)
    event = event_of(entry_of(denied))
    assert (event["class_uid"], event["action_id"], event["actor"]["user"]["uid"]) == (6003, 2, "calendar-server")
    assert event["resources"][0]["data"]["caller"]["agent"] == "agent"


def test_a_call_names_who_what_and_where() -> None:
    """Agent, subject, token id, tool and server of a permitted call are where the schema has them."""
    event = event_of(entry_of(a_permit()))
    assert event["actor"] == {
        "user": {"uid": "trip-planner", "type_id": 99},
        "app_uid": "trip-planner",
        "session": {"uid": "in-1"},
    }
    assert (event["api"]["operation"], event["resources"][0]["name"]) == ("tools/call", "list_events")
    assert (event["metadata"]["correlation_uid"], event["metadata"]["tenant_uid"]) == ("txn-1", "acme")
    assert event["time"] == 1_790_000_000_250


@given(
    st.dictionaries(
        st.sampled_from(
            ["event", "reason", "in", "out", "call", "request", "result", "about", "txn", "time", "client"]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=9),
            lambda inner: st.dictionaries(
                st.sampled_from(["jti", "aud", "ip", "method", "scope", "exp", "kind"]), inner
            ),
            max_leaves=4,
        ),
    )
)
def test_a_record_of_any_make_becomes_an_event_that_is_taken(fields: dict[str, Any]) -> None:
    """A record that was tampered with neither stops the export nor makes an event that a reader rejects."""
    body = json.dumps(fields)
    assert complaints(event_of(Entry(3, body))) == []
    assert complaints(ocsf_event(Entry(3, body[:-1]), origin=ORIGIN, product_version="1")) == []


def test_the_schema_has_something_against_what_is_wrong() -> None:
    """A missing member and one of another type are told: the checks above can fail."""
    event = event_of(entry_of(a_permit()))
    assert complaints({key: value for key, value in event.items() if key != "actor"}) != []
    assert complaints(event | {"time": "yesterday"}) != []
