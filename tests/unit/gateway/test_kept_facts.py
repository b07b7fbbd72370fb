"""Facts that are kept for a token: never those of another, and never too many."""

from __future__ import annotations

from dataclasses import replace
from hashlib import shake_256

import pytest

from perhop.core.token import SenderKey
from perhop.gateway.call_ids import CallIds
from perhop.gateway.kept_facts import MAX_KEPT, KeptFacts, inbound_facts, outbound_facts, permitting, request_facts
from perhop.journal.record import Inbound, Outbound
from tests.support.a_hop import DRAFT, TOKEN

OTHERS = {
    "subject": "user:bob",
    "scopes": frozenset({"calendar:write"}),
    "expires_at": 1_790_000_299,
    "sender": SenderKey("thumbprint"),
}


@pytest.mark.parametrize("member", OTHERS)
def test_a_token_is_never_recorded_as_another(member: str) -> None:
    """One more token under the same fingerprint or `jti` that says anything else has facts of its own, in any order."""
    token, draft = replace(TOKEN, **{member: OTHERS[member]}), replace(DRAFT, **{member: OTHERS[member]})
    for each in (TOKEN, token, TOKEN):
        assert inbound_facts(each) == Inbound.of(each)
    for one in (DRAFT, draft, DRAFT):
        assert outbound_facts(one) == Outbound.of(one)
    assert inbound_facts(TOKEN) != inbound_facts(token)


def test_equal_tokens_share_their_facts() -> None:
    """A token that was verified anew finds what was made of it before."""
    assert inbound_facts(TOKEN) is inbound_facts(replace(TOKEN))


def test_only_so_many_are_kept() -> None:
    """The oldest is forgotten, the newest is not, and the number stays."""
    made: list[str] = []

    def make(source: str) -> str:
        made.append(source)
        return source.upper()

    kept = KeptFacts(make)
    for number in range(MAX_KEPT + 1):
        assert kept.of(str(number), f"token {number}") == f"TOKEN {number}"
    made.clear()
    assert [kept.of(number, f"token {number}") for number in (str(MAX_KEPT), "0")]
    assert made == ["token 0"]


def test_requests_and_decisions_differ_by_every_member() -> None:
    """Where it came from and what was said are told apart in full; who sends nothing is not who sends an empty text."""
    requests = {request_facts(*each).ip for each in (("a", "u", None), ("b", "u", None))}
    assert requests == {"a", "b"}
    assert request_facts("a", None, None).user_agent is None
    assert request_facts("a", "", None).user_agent == ""
    assert request_facts("a", "u", "s").session == "s"
    assert permitting(("one",), "v1").policy_version == "v1"
    assert permitting(("one",), "v2").policy_version == "v2"
    assert permitting(("one", "two"), "v1").policies == ("one", "two")


def test_ids_of_calls_are_drawn_and_never_given_twice() -> None:
    """Sixteen hex digits each, whatever is drawn at once; six of them are of the time, by steps of a sixteenth."""
    drawn: list[int] = []
    times = iter([1_790_000_000.5, 1_790_000_001.0, 2.0**20])

    def random_bytes(count: int) -> bytes:
        drawn.append(count)
        return shake_256(bytes([len(drawn)])).digest(count)

    ids = CallIds(random_bytes, times.__next__)
    given = [ids.new() for _ in range(600)]
    assert {len(bytes.fromhex(each)) for each in given} == {8}
    assert len(drawn) == 3
    assert len(set(given)) == 600
    assert len({each[6:] for each in given}) == 600
    begins = [{each[:6] for each in given[at : at + 256]} for at in (0, 256, 512)]
    assert begins == [{f"{28_640_000_008 % 16**6:06x}"}, {f"{28_640_000_016 % 16**6:06x}"}, {"000000"}]
