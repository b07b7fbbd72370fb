"""A decision is given again to other arguments only where no policy could tell them from those it was made for."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.policy.argument_classes import ArgumentClasses
from perhop.policy.engine import PolicyEngine
from perhop.policy.policy_set import Policy, PolicySet, parse_policies
from tests.support.policies import REGISTRY, a_question

HEAD = 'principal, action == MCP::Action::"call_tool", resource'
CONDITIONS = (
    "context.arguments has a && context.arguments.a > 1",
    "context.arguments has a && 3 <= context.arguments.a",
    "context.arguments has a && context.arguments.a != 2",
    "context.arguments has a && context.arguments.a < -9223372036854775807",
    'context.arguments has a && context.arguments.a == "x"',
    'context.arguments has a && ["", "x"].contains(context.arguments.a)',
    "context.arguments has a && [0, 1].contains(context.arguments.a)",
    "context.arguments has a && context.arguments.a",
    "context.arguments has a && context.arguments.a == true",
    "context.arguments has a && context.arguments.a + 1 == 3",
    'context.arguments has a && context.arguments.a like "x*"',
    "context.arguments has a && context.arguments has b && context.arguments.a == context.arguments.b",
    "context has arguments.a",
    "!(context.arguments has b)",
    "context.arguments has b && context.arguments.b > 1",
)
VALUES = st.one_of(
    st.sampled_from((True, False, 0, 1, 2, 3, 4, -1, "", "x", "xy", "2", "true", "é", "\ud800", "\U0001f600")),
    st.sampled_from((2**63 - 1, -(2**63), 1 - 2**63, 2**63, None)),
    st.integers(-3, 6),
    st.text(max_size=3),
)
ARGUMENTS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


@cache
def _policy(condition: str, effect: str) -> Policy:
    """Under an id of its own: the engine's slices go by ids."""
    number = CONDITIONS.index(condition)
    source = f'@id("{effect}-{number}") {effect} ({HEAD}) when {{ {condition} }};'
    return parse_policies({"p.cedar": source}).policies[0]


def _trees(*conditions: str) -> ArgumentClasses:
    return ArgumentClasses([_policy(each, "permit").tree for each in conditions])


@given(
    chosen=st.lists(
        st.tuples(st.sampled_from(CONDITIONS), st.sampled_from(["permit", "forbid"])), min_size=1, max_size=3
    ),
    stream=st.lists(ARGUMENTS, min_size=2, max_size=12),
)
def test_kept_and_unkept_decisions_agree(chosen: list[tuple[str, str]], stream: list[dict[str, Any]]) -> None:
    """One engine that keeps answers each row of arguments as one does that has kept nothing."""
    policy_set = PolicySet(tuple(_policy(*each) for each in dict(chosen).items()), "v")
    engine = PolicyEngine(policy_set, REGISTRY)
    for arguments in stream:
        question = a_question(name="pay", arguments=arguments)
        assert engine.decide(question) == PolicyEngine(policy_set, REGISTRY).decide(question)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": True}, {"a": 1}),
        ({"a": False}, {"a": 0}),
        ({"a": 1}, {"a": 2}),
        ({"a": 2}, {"a": 3}),
        ({"a": "x"}, {"a": "y"}),
        ({"a": ""}, {"a": "y"}),
        ({"a": 1}, {"a": "1"}),
        ({}, {"a": 1}),
        ({"b": 1}, {"a": 1}),
    ],
    ids=lambda each: repr(each),
)
def test_what_a_policy_could_tell_apart_is_of_two_classes(one: dict[str, Any], other: dict[str, Any]) -> None:
    """A truth is no number, a constant is no neighbour of its own, and what is there is not what is absent."""
    classes = _trees(CONDITIONS[0], CONDITIONS[2], CONDITIONS[5])
    assert classes.key_of(one) != classes.key_of(other)


def test_what_no_policy_could_tell_apart_is_of_one_class() -> None:
    """All numbers beyond the constants are alike, and all texts that are none, whatever else the call says."""
    classes = _trees(CONDITIONS[0], CONDITIONS[2], CONDITIONS[5])
    assert classes.key_of({"a": 3}) == classes.key_of({"a": 2**63 - 1, "text": "t" * 1000})
    assert classes.key_of({"a": "y"}) == classes.key_of({"a": "é" * 1000})
    assert "y" not in repr(classes.key_of({"a": "y"}))


@pytest.mark.parametrize("value", [None, 2**63, "\ud800", 1.5, ["x"], {}], ids=lambda each: ascii(each))
def test_an_odd_value_is_of_no_class(value: object) -> None:
    """What Cedar might not take is decided on anew each time."""
    assert _trees(CONDITIONS[0]).key_of({"a": value}) is None


@pytest.mark.parametrize("condition", CONDITIONS[9:12], ids=["reckoned with", "a pattern", "one against the other"])
def test_another_use_of_an_argument_has_no_classes(condition: str) -> None:
    """An argument that is used in a way that is not understood here has none, also where it is compared as well."""
    for classes in (_trees(condition), _trees(condition, CONDITIONS[0]), _trees(CONDITIONS[0], condition)):
        assert classes.key_of({"a": 5, "b": 5}) is None
        assert classes.key_of({"a": "x", "b": "x"}) is None
