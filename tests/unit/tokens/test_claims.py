"""Claims: all required ones there, each of its one type."""

from __future__ import annotations

from typing import Any

import pytest

from perhop.core.call import CallBinding
from perhop.core.token import SenderKey, SenderUnprovable
from perhop.errors import TokenMalformed
from tests.support.forge import ABSENT, NOW, good_claims, sign
from tests.support.verifier import KEY, check, refuse


@pytest.mark.parametrize("claim", ["sub", "client_id", "iat", "exp", "jti"])
def test_required_claims(claim: str) -> None:
    """A token without one of the required claims is malformed, also where a look-alike is there."""
    refuse(sign(good_claims(**{claim: ABSENT}), KEY), TokenMalformed)
    lookalike = {claim.title(): good_claims()[claim], f"{claim}\u200b": good_claims()[claim]}
    refuse(sign(good_claims(**{claim: ABSENT}, **lookalike), KEY), TokenMalformed)


@pytest.mark.parametrize("claim", ["sub", "client_id", "jti", "txn", "agent", "tenant"])
@pytest.mark.parametrize("value", ["", None, 1, True, [], {}, ["x"], "x\n", "x\0", "x\u202e", "x" * 2049])
def test_names_are_printable_texts(claim: str, value: object) -> None:
    """A name of another type, of no or too many characters, or with invisible ones is malformed."""
    refuse(sign(good_claims(**{claim: value}), KEY), TokenMalformed)


@pytest.mark.parametrize("claim", ["iat", "exp", "nbf"])
@pytest.mark.parametrize(
    "value",
    [str(NOW), True, None, -1, 0.5, float(NOW), [NOW], {}, 10**30, f"{NOW}\n"],
    ids=lambda value: repr(value)[:20],
)
def test_times_are_whole_seconds(claim: str, value: object) -> None:
    """A time that is a text, a boolean, a fraction or absurd is malformed."""
    refuse(sign(good_claims(**{claim: value}), KEY), TokenMalformed)


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": ["a"]},
        {"scope": "a  b"},
        {"scope": "a\tb"},
        {"scope": None},
        {"scope": "x" * 2049},
        {"hop": 0},
        {"hop": True},
        {"hop": "1"},
        {"hop": 65},
        {"act": "calendar-server"},
        {"act": {}},
        {"act": None},
        {"act": {"sub": 1}},
        {"act": {"sub": "a", "act": None}},
        {"act": {"sub": "a", "act": {"act": {"sub": "b"}}}},
        {"may_act": {}},
        {"may_act": {"sub": []}},
        {"may_act": {"sub": None}},
        {"may_act": {"sub": ["a", 1]}},
        {"may_act": {"sub": "a", "iss": None}},
        {"may_act": {"sub": "a", "email": "a@example.com"}},
        {"may_act": "a"},
        {"cnf": None},
        {"cnf": {}},
        {"cnf": "jkt"},
        {"authorization_details": {}},
        {"authorization_details": None},
        {"authorization_details": ["agent_task"]},
        {"authorization_details": [{}]},
        {"authorization_details": [{"type": "payment"}]},
        {"authorization_details": [{"type": "agent_task"}]},
        {"authorization_details": [{"type": "agent_task", "id": "1"}, {"type": "agent_task", "id": "2"}]},
        {"exp": NOW},
        {"exp": NOW - 10},
    ],
)
def test_malformed_optional_claims(changes: dict[str, Any]) -> None:
    """A claim that we read is of its form or the token is refused: nothing is guessed."""
    refuse(sign(good_claims(**changes), KEY), TokenMalformed)


def nested_actor(depth: int) -> dict[str, Any]:
    actor: dict[str, Any] = {"sub": "a"}
    for _ in range(depth - 1):
        actor = {"sub": "a", "act": actor}
    return actor


def test_actor_chains_are_bounded() -> None:
    """Sixteen actors are read, seventeen are not."""
    token = check(sign(good_claims(act=nested_actor(16)), KEY))
    assert token.actor is not None
    assert len(list(token.actor.chain())) == 16
    refuse(sign(good_claims(act=nested_actor(17)), KEY), TokenMalformed)


def test_bound_tokens_are_marked() -> None:
    """A sender constraint, a single call and a task are told to whoever admits the token."""
    one_key = {"jkt": KEY.kid}
    assert check(sign(good_claims(cnf=one_key), KEY)).sender == SenderKey(KEY.kid)
    odd: list[dict[str, Any]] = [{"jkt": "x"}, {"jkt": "x" * 43}, {"jkt": 7}, {"unknown": "x"}, {"x5t#S256": KEY.kid}]
    for confirmed in [*odd, one_key | {"x5t#S256": KEY.kid}]:
        assert check(sign(good_claims(cnf=confirmed), KEY)).sender == SenderUnprovable()
    call = {"method": "tools/call", "name": "x", "arguments_sha256": "a" * 43, "params_sha256": "b" * 43}
    details = [{"type": "mcp_call", **call}, {"type": "agent_task", "id": "task-1"}]
    token = check(sign(good_claims(authorization_details=details), KEY))
    assert (token.call, token.task) == (CallBinding(**call), "task-1")
    nameless = {"type": "mcp_call", **{key: value for key, value in call.items() if key != "name"}}
    token = check(sign(good_claims(authorization_details=[nameless]), KEY))
    assert token.call == CallBinding(**{**call, "name": None})


@pytest.mark.parametrize(
    "change",
    [
        {"method": None},
        {"method": ""},
        {"name": 7},
        {"name": None},
        {"arguments_sha256": "a" * 42},
        {"params_sha256": "b" * 42 + "="},
        {"params_sha256": None},
        {"tool": "x"},
    ],
)
def test_a_call_is_said_whole_or_the_token_is_malformed(change: dict[str, Any]) -> None:
    """What binds a token to a call has its own members, each of its form, and no others."""
    call = {"method": "tools/call", "name": "x", "arguments_sha256": "a" * 43, "params_sha256": "b" * 43}
    details = [{"type": "mcp_call", **call, **change}]
    refuse(sign(good_claims(authorization_details=details), KEY), TokenMalformed)
    refuse(sign(good_claims(authorization_details=[{"type": "mcp_call", **call}] * 2), KEY), TokenMalformed)
