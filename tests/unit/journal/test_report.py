"""A report on its way from a guard to the journal: what it says of keys arrives, and nothing else is taken for it."""

from __future__ import annotations

from typing import Any

import pytest

from perhop.core.token import SenderKey
from perhop.journal.record import CallFacts, Event, Inbound, RequestFacts, cnf_claim
from perhop.journal.report import Report, ReportMalformed, parse_report, render_report

KEY, OTHER = "k" * 42 + "A", "o" * 42 + "A"
REPORT = Report(
    id="a" * 32,
    time="2026-09-21T14:13:20.250000Z",
    event=Event.CALL_REFUSED,
    resource="https://mcp.example.com/mcp",
    reason="sender.mismatch",
    inbound=Inbound(jti="j", aud="https://mcp.example.com/mcp", cnf=cnf_claim(SenderKey(KEY))),
    call=CallFacts(id="b" * 16, method="tools/call"),
    request=RequestFacts(ip="192.0.2.1", sender_key=OTHER),
)


def test_both_keys_arrive() -> None:
    """The token's own key, and the one that was proved instead."""
    members = render_report(REPORT)
    assert (members["in"]["cnf"], members["request"]["sender_key"]) == ({"jkt": KEY}, OTHER)
    assert parse_report(members) == REPORT


@pytest.mark.parametrize("cnf", ["text", {}, {"jkt": "short"}, {"jkt": 7}, {"x5t#S256": KEY}])
def test_another_confirmation_is_no_report(cnf: Any) -> None:
    """What a server says of a key is a thumbprint, or the report is malformed."""
    members = render_report(REPORT)
    with pytest.raises(ReportMalformed):
        parse_report({**members, "in": {**members["in"], "cnf": cnf}})
    with pytest.raises(ReportMalformed):
        parse_report({**members, "request": {"sender_key": "not a thumbprint"}})
