"""What a record counts as, record by record."""

from __future__ import annotations

from typing import Any

import pytest

from perhop.journal.record import CallFacts, Event, Inbound, Outbound, Record, ResultFacts
from perhop.wiring.metrics import GATHERED_EVERY, Metrics, noting_arrival


def _record(event: Event, *, method: str = "tools/call", **facts: Any) -> Record:
    return Record(event=event, resource="calendar", call=CallFacts(id="00f067aa0ba902b7", method=method), **facts)


def _permit(jti: str = "one") -> Record:
    return _record(Event.CALL_PERMITTED, outbound=Outbound(jti=jti, aud="https://a", scope="", exp=1))


def _end(error: str | None = None, status: int | None = 200) -> Record:
    return _record(Event.CALL_ENDED, result=ResultFacts(status=status, error=error, duration_ms=20))


def _tell(metrics: Metrics, record: Record, *, is_written: bool) -> None:
    metrics.told([metrics.offered(record)], is_written=is_written)


def _value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


def test_a_permit_counts_when_it_is_on_disk() -> None:
    """What could not be written was not forwarded: it is no permit, no token and no call under way."""
    metrics = Metrics()
    _tell(metrics, _permit(), is_written=False)
    assert metrics.calls_in_flight() == {}
    assert _value(metrics, "perhop_journal_failures_total") == 1
    assert _value(metrics, "perhop_decisions_total", decision="permit", reason_class="none", resource="calendar") == 0
    _tell(metrics, _permit(), is_written=True)
    assert metrics.calls_in_flight() == {"calendar": 1}
    assert _value(metrics, "perhop_decisions_total", decision="permit", reason_class="none", resource="calendar") == 1


def test_an_end_and_a_refusal_count_in_any_case() -> None:
    """The caller was answered, whether the journal could take it or not."""
    metrics = Metrics()
    _tell(metrics, _permit(), is_written=True)
    _tell(metrics, _end("journal.unavailable", 503), is_written=False)
    assert metrics.calls_in_flight() == {}
    calls = {"resource": "calendar", "method": "tools/call", "outcome": "unavailable"}
    assert _value(metrics, "perhop_calls_total", **calls) == 1
    metrics.counted(_record(Event.CALL_REFUSED, method="POST", reason="audience.mismatch"))
    assert _value(metrics, "perhop_refusals_total", reason="journal.unavailable", resource="calendar") == 1
    assert _value(metrics, "perhop_audience_rejections_total", reason="audience.mismatch", resource="calendar") == 1


def test_an_end_counts_at_once_and_never_before_its_permit() -> None:
    """Nobody waits until it is on disk; of a caller who went before the permit was, no call stays under way."""
    metrics = Metrics()
    calls = {"resource": "calendar", "method": "tools/call", "outcome": "ok"}
    _tell(metrics, _permit(), is_written=True)
    ended = metrics.offered(_end())
    assert (metrics.calls_in_flight(), _value(metrics, "perhop_calls_total", **calls)) == ({}, 1)
    metrics.told([ended], is_written=True)
    assert _value(metrics, "perhop_calls_total", **calls) == 1
    both = [metrics.offered(_permit("two")), metrics.offered(_end())]
    assert (metrics.calls_in_flight(), _value(metrics, "perhop_calls_total", **calls)) == ({}, 1)
    metrics.told(both, is_written=True)
    assert (metrics.calls_in_flight(), _value(metrics, "perhop_calls_total", **calls)) == ({}, 2)


def test_a_kept_token_is_issued_once() -> None:
    """The second permit that names a hop token counts no token."""
    metrics = Metrics()
    for jti in ("one", "one", "two"):
        _tell(metrics, _permit(jti), is_written=True)
    issued = {"grant": "hop", "resource": "calendar", "result": "issued"}
    assert _value(metrics, "perhop_tokens_issued_total", **issued) == 2


@pytest.mark.parametrize(
    ("error", "status", "outcome"),
    [
        (None, 200, "ok"),
        (None, 502, "error"),
        ("-32602", 200, "error"),
        ("tool_error", 200, "tool_error"),
        ("cut", 200, "cut"),
        ("cancelled", None, "cancelled"),
        ("internal", 500, "failed"),
        ("upstream.unavailable", 503, "unavailable"),
        ("token.revoked", 401, "refused"),
        ("whatever an upstream says", 200, "error"),
    ],
)
def test_how_a_call_ended(error: str | None, status: int | None, outcome: str) -> None:
    """Every end has one word of ours."""
    metrics = Metrics()
    _tell(metrics, _end(error, status), is_written=True)
    calls = {"resource": "calendar", "method": "tools/call", "outcome": outcome}
    assert _value(metrics, "perhop_calls_total", **calls) == 1


def test_a_name_that_a_peer_made_up_is_no_label() -> None:
    """A method that is none of MCP's, and a reason that is none of ours, do not appear."""
    metrics = Metrics()
    _tell(metrics, _record(Event.CALL_REFUSED, method="x/y", reason="made.up"), is_written=True)
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    assert {sample.labels["method"] for sample in samples if sample.name == "perhop_calls_total"} == {"other"}
    assert not any(sample.name == "perhop_refusals_total" for sample in samples)


def test_standing_streams_are_told_from_calls() -> None:
    """A GET that is open is a stream; its end takes it away."""
    metrics = Metrics()
    _tell(metrics, _record(Event.CALL_PERMITTED, method="GET"), is_written=True)
    assert (metrics.open_streams(), metrics.calls_in_flight()) == ({"calendar": 1}, {"calendar": 1})
    _tell(metrics, _record(Event.CALL_ENDED, method="GET", result=ResultFacts(error="cut")), is_written=True)
    assert (metrics.open_streams(), metrics.calls_in_flight()) == ({}, {})


async def test_an_exchange_at_the_token_endpoint_is_timed() -> None:
    """From the request's arrival on; another grant is no exchange."""
    metrics = Metrics()

    async def endpoint(*_: Any) -> None:
        for grant in ("urn:ietf:params:oauth:grant-type:token-exchange", "client_credentials"):
            record = Record(
                event=Event.TOKEN_ISSUED, resource="rooms", inbound=Inbound(jti="one"), about={"grant": grant}
            )
            _tell(metrics, record, is_written=True)

    await noting_arrival(endpoint)({}, None, None)
    assert _value(metrics, "perhop_token_exchange_duration_seconds_count", at="token_endpoint") == 1
    issued = {"grant": "token_exchange", "resource": "rooms", "result": "issued"}
    assert _value(metrics, "perhop_tokens_issued_total", **issued) == 1


def test_a_hop_token_in_use_counts_once_however_many_others_there_are() -> None:
    """What is remembered has an end, and what is used again is not what is forgotten first."""
    metrics = Metrics(remembered=100)
    issued = {"grant": "hop", "resource": "calendar", "result": "issued"}
    for place in range(1_000):
        _tell(metrics, _permit(f"other-{place}"), is_written=True)
        if place % 50 == 0:
            _tell(metrics, _permit("in use"), is_written=True)
    _tell(metrics, _permit("other-0"), is_written=True)  # so long ago that it is a new one again
    assert _value(metrics, "perhop_tokens_issued_total", **issued) == 1_000 + 1 + 1


def test_durations_are_gathered_before_anybody_reads() -> None:
    """A server that nobody scrapes keeps buckets, and not every duration there was."""
    metrics, took = Metrics(), []
    for _ in range(3 * GATHERED_EVERY):
        metrics.decision_duration.observe(0.002)
        _tell(metrics, _permit(), is_written=True)
        took.append(metrics.decision_duration.ungathered)
    assert max(took) <= GATHERED_EVERY
    assert _value(metrics, "perhop_decision_duration_seconds_count") == 3 * GATHERED_EVERY


def test_a_duration_is_its_method_s_own() -> None:
    """What one method takes is not shown as another's, nor one resource's as another's."""
    metrics = Metrics()
    for method, resource in (("tools/call", "calendar"), ("tools/list", "calendar"), ("tools/call", "rooms")) * 2:
        call = CallFacts(id="00f067aa0ba902b7", method=method)
        result = ResultFacts(status=200, duration_ms=20)
        _tell(metrics, Record(event=Event.CALL_ENDED, resource=resource, call=call, result=result), is_written=True)
    name = "perhop_call_duration_seconds_count"
    assert _value(metrics, name, resource="calendar", method="tools/call") == 2
    assert _value(metrics, name, resource="calendar", method="tools/list") == 2
    assert _value(metrics, name, resource="rooms", method="tools/call") == 2
