"""The quick ways to a record's text, held against the strict one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.errors import ParamsMalformed
from perhop.journal.alike import alike_to
from perhop.journal.canonical import Draft, draft, strictly
from perhop.journal.facets import facets_of, parse_body, parse_microseconds
from perhop.journal.moment import moment_of
from perhop.journal.record import (
    CallFacts,
    DecisionFacts,
    Event,
    Inbound,
    Outbound,
    Record,
    ReportFacts,
    RequestFacts,
    ResultFacts,
    TaskFacts,
)
from tests.support.journals import a_permit

NOW = 1_790_000_000.25

SOUND = st.sampled_from(["", "a", "user:anna", "é\U0001f600", '"\\\x1f\x7f', "\ufb33", "a" * 300])
TEXTS = SOUND | st.text(max_size=6)
ONE_IN_MANY = SOUND | SOUND | SOUND | TEXTS | st.sampled_from(["\ud800", "b\udfff"])
SOME = st.none() | TEXTS
NUMBERS = st.none() | st.integers(0, 2**53)
ARGUMENTS = st.dictionaries(TEXTS, st.none() | st.booleans() | st.integers() | TEXTS | st.just({}), max_size=4)
ACTS = st.none() | st.builds(lambda sub: {"sub": sub}, TEXTS) | st.just({"sub": "b", "act": {"sub": "a"}})
CNFS = st.none() | st.builds(lambda jkt: {"jkt": jkt}, TEXTS)

PARTS: dict[str, st.SearchStrategy[Any]] = {
    "inbound": st.builds(
        Inbound,
        **dict.fromkeys(("jti", "aud", "sub", "agent", "client_id", "scope", "tenant", "acr", "unverified"), SOME),
        **dict.fromkeys(("exp", "auth_time"), NUMBERS),
        act=ACTS,
        cnf=CNFS,
    ),
    "outbound": st.builds(
        Outbound, jti=TEXTS, aud=TEXTS, scope=TEXTS, exp=st.integers(0, 2**53), sub=SOME, act=ACTS, cnf=CNFS
    ),
    "call": st.builds(
        CallFacts,
        id=TEXTS,
        method=TEXTS,
        **dict.fromkeys(("name", "arguments_mac", "revision", "data_plane"), SOME),
        arguments=st.none() | ARGUMENTS,
    ),
    "decision": st.builds(
        DecisionFacts,
        effect=TEXTS,
        policies=st.lists(TEXTS, max_size=3).map(tuple),
        policy_version=TEXTS,
        approval=SOME,
    ),
    "task": st.builds(TaskFacts, id=TEXTS, purpose=SOME),
    "report": st.builds(ReportFacts, by=TEXTS, id=TEXTS, time=TEXTS),
    "request": st.builds(
        RequestFacts,
        ip=SOME | st.sampled_from(["192.0.2.17", "2001:db8::1%1"]),
        **dict.fromkeys(("user_agent", "session", "sender_key"), SOME),
    ),
    "result": st.builds(ResultFacts, status=NUMBERS, error=SOME, duration_ms=NUMBERS),
}
RECORDS = st.builds(
    Record,
    event=st.sampled_from(list(Event)),
    hop=NUMBERS,
    detail=st.none() | ONE_IN_MANY,
    about=st.none() | ARGUMENTS | st.dictionaries(TEXTS, TEXTS, max_size=4),
    alike=st.none(),
    **dict.fromkeys(("reason", "txn", "parent_jti", "owner", "tenant", "resource", "client"), SOME),
    **{name: st.none() | part for name, part in PARTS.items()},
)


@given(record=RECORDS, time=st.floats(0, 4e9))
def test_both_ways_lead_to_one_text(record: Record, time: float) -> None:
    """Whatever is in a record, and the second time as well, its text and facets are those of the strict rules."""
    drafted = draft(record, time=time)
    assert drafted == strictly(record, time=time) == draft(record, time=time)
    assert drafted.facets == facets_of(parse_body(drafted.body(7)))


OTHER_CALLS = st.tuples(TEXTS | ONE_IN_MANY, SOME, st.none() | ARGUMENTS, st.none() | PARTS["result"])


def as_is(record: Record) -> Draft:
    """By the strict way; what is kept beside a record is no part of it."""
    return strictly(record._replace(alike=None), time=NOW)


@given(like=RECORDS, others=st.lists(OTHER_CALLS, min_size=1, max_size=3))
def test_records_that_are_alike_are_written_as_any_other(
    like: Record, others: list[tuple[str, str | None, dict[str, Any] | None, ResultFacts | None]]
) -> None:
    """Whatever their calls' ids and arguments are, and how they ended, what they share is not written otherwise."""
    alike = alike_to(like)
    if alike is None or like.call is None:
        return
    for id_, mac, arguments, result in others:
        call = like.call._replace(id=id_, arguments_mac=mac, arguments=arguments)
        drafted = draft(alike.record(call, result), time=NOW)
        assert drafted == as_is(like._replace(call=call, result=result))
        assert drafted.facets == facets_of(parse_body(drafted.body(7)))


@given(like=RECORDS, other=RECORDS, changed=st.sets(st.sampled_from(sorted({*Record._fields} - {"alike"}))))
def test_what_is_kept_of_a_record_counts_for_no_other(like: Record, other: Record, changed: set[str]) -> None:
    """A record that differs in any member is written as it is, whatever came with it."""
    mixed = like._replace(alike=alike_to(like), **{name: getattr(other, name) for name in changed})
    assert draft(mixed, time=NOW) == as_is(mixed)


@pytest.mark.parametrize("member", ["method", "name", "revision", "data_plane"])
def test_a_call_of_another_kind_is_not_alike(member: str) -> None:
    """Of a call, nothing but its id and its arguments may differ."""
    permit = a_permit(7)
    assert permit.call is not None
    other = permit.call._replace(**{member: "other"})
    kept = alike_to(permit)
    assert kept is not None
    assert draft(kept.record(other, None), time=NOW) == as_is(permit._replace(call=other))


@pytest.mark.parametrize("member", ["client", "owner", "parent_jti", "reason", "resource", "tenant", "txn"])
def test_what_cannot_be_stored_as_it_is_is_shared_by_no_records(member: str) -> None:
    """Half a surrogate pair, wherever it stands, is for the strict way."""
    record = a_permit(7)._replace(**{member: "half \ud800"})
    assert alike_to(a_permit(7)) is not None
    assert alike_to(record) is None
    assert draft(record, time=NOW) == as_is(record)


@pytest.mark.parametrize(
    "about",
    [
        {"grant": "refresh_token", "family": "f-1"},
        {"b": "2", "a": "1", "c": "3"},
        {"\ufb33": "1", "\U0001f600": "2"},
        {"grant": "refresh_token", "count": 2},
        {"b": ["2"], "a": "half \ud800"},
        {},
    ],
    ids=ascii,
)
def test_what_a_record_is_about_is_written_in_the_order_of_its_names(about: dict[str, Any]) -> None:
    """That of RFC 8785, whichever way it is written."""
    record = Record(event=Event.TOKEN_ISSUED, about=about)
    assert draft(record, time=NOW) == as_is(record)


def test_a_part_that_was_changed_has_a_text_of_its_own() -> None:
    """What was written of a part is not what is written of a copy with another member."""
    permit = a_permit(7)
    assert permit.request is not None
    before = draft(permit, time=NOW).body(1)
    other = permit._replace(request=replace(permit.request, ip="192.0.2.1"))
    assert draft(other, time=NOW).body(1) == before.replace('"ip":"127.0.0.1"', '"ip":"192.0.2.1"') != before


def test_what_is_no_json_is_refused_both_ways() -> None:
    """A number without a canonical form is an error of the record alone."""
    record = Record(event=Event.CONFIG_LOADED, about={"n": float("nan")})
    for way in (draft, strictly):
        with pytest.raises(ParamsMalformed):
            way(record, time=NOW)


@given(seconds=st.floats(0, 4e9))
def test_a_moment_is_that_of_the_standard_library(seconds: float) -> None:
    """Text and number are the same moment, and the one that `datetime` makes of it."""
    text, microseconds = moment_of(seconds)
    expected = datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="microseconds")
    assert text == expected.replace("+00:00", "Z")
    assert parse_microseconds(text) == microseconds
