"""Policies against the schemas of approved tools: what no tool has cannot be read; what cannot be told is not said."""

from __future__ import annotations

from typing import Any

import pytest

from perhop.errors import PolicyError
from perhop.policy.check import check
from perhop.policy.declared import Schemas, check_declared, undeclared
from perhop.policy.policy_set import parse_policies
from tests.support.policies import REGISTRY


def a_schema(**types: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": each} for name, each in types.items()}}


SCHEMAS: Schemas = {
    "bank": {
        "pay": a_schema(amount="number", to="string", urgent=["boolean", "null"]),
        "quote": a_schema(amount="integer"),
    },
    "calendar": {"get_event": a_schema(id="string"), "ping": {}},
    "rooms": {"list_rooms": a_schema(floor="integer", kind=["string", "integer"])},
    "gone": {"pay": a_schema(amuont="number")},
}
PAY = 'principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"bank/pay"'
LATER = PAY.replace("bank/pay", "bank/later")
BANK = 'principal, action == MCP::Action::"call_tool", resource in MCP::Server::"bank"'
ANYWHERE = 'principal, action == MCP::Action::"call_tool", resource'


def said(text: str, schemas: Schemas = SCHEMAS) -> list[str]:
    policies = parse_policies({"one.cedar": text}).policies
    return [each.message for each in undeclared(policies, REGISTRY, schemas)]


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        (
            f'@id("a") forbid ({PAY}) when {{ context.arguments has amuont && context.arguments.amuont > 5 }};',
            "policy `a` reads the argument `amuont`, which is declared by no schema of `bank/pay`",
        ),
        (
            f'@id("a") permit ({PAY}) when {{ context.arguments has amuont }};',
            "policy `a` reads the argument `amuont`, which is declared by no schema of `bank/pay`",
        ),
        (
            f'@id("a") forbid ({BANK}) when {{ context.arguments has sum && context.arguments.sum > 5 }};',
            "policy `a` reads the argument `sum`, which is declared by none of 2 tools (`bank/pay`, `bank/quote`)",
        ),
        (
            f'@id("a") forbid ({ANYWHERE}) when {{ context.arguments has sum && context.arguments.sum > 5 }};',
            "policy `a` reads the argument `sum`, which is declared by none of 5 tools (`bank/pay`, `bank/quote`, "
            "`calendar/get_event`, ...)",
        ),
        (
            f'@id("a") forbid ({PAY}) when {{ context.arguments has amount && context.arguments.amount like "9*" }};',
            "policy `a` reads the argument `amount` as a String, and it is declared as `number`",
        ),
        (
            f'@id("a") forbid ({PAY}) when {{ context.arguments has to && context.arguments.to > 5 }};',
            "policy `a` reads the argument `to` as a Long, and it is declared as `string`",
        ),
        (
            f'@id("a") forbid ({PAY}) when {{ context.arguments has urgent && context.arguments.urgent like "y*" }};',
            "policy `a` reads the argument `urgent` as a String, and it is declared as `boolean`, `null`",
        ),
    ],
)
def test_what_no_tool_declares_is_an_error(policy: str, problem: str) -> None:
    """A misspelt name and a wrong type are told with the policy and the tools."""
    assert said(policy) == [problem]


@pytest.mark.parametrize(
    "policy",
    [
        # as declared, by one tool of several, and as one of several types
        f'@id("a") forbid ({PAY}) when {{ context.arguments has amount && context.arguments.amount > 5 }};',
        f'@id("a") forbid ({BANK}) when {{ context.arguments has to && context.arguments.to like "x*" }};',
        f'@id("a") forbid ({ANYWHERE}) when {{ context.arguments has kind && context.arguments.kind > 5 }};',
        f'@id("a") forbid ({PAY}) when {{ context.arguments has urgent && context.arguments.urgent }};',
        # that what the tool does not know must not be there
        f'@id("a") forbid ({PAY}) when {{ context.arguments has debug }};',
        # about prompts too, whose arguments no schema tells; about a tool that is not approved; about none
        '@id("a") forbid (principal, action, resource) when { context.arguments has sum && context.arguments.sum > 5};',
        f'@id("a") forbid ({LATER}) when {{ context.arguments has x && context.arguments.x }};',
        f'@id("a") forbid ({PAY});',
    ],
)
def test_what_may_be_meant_is_no_error(policy: str) -> None:
    """Nothing is said of what a tool declares, and of what cannot be told."""
    assert said(policy) == []


def test_of_an_unpinned_resource_nothing_is_known() -> None:
    """A policy that speaks of its tools as well may mean one of them; a policy that does not is held to the others."""
    known = {name: tools for name, tools in SCHEMAS.items() if name != "rooms"}
    text = "forbid ({}) when {{ context.arguments has sum && context.arguments.sum > 5 }};"
    assert said('@id("a") ' + text.format(ANYWHERE), known) == []
    assert len(said('@id("a") ' + text.format(BANK), known)) == 1
    assert said('@id("a") ' + text.format(BANK), {}) == []


def test_a_set_with_such_a_policy_is_refused_with_its_place() -> None:
    """The refusal names file, line and policy, and says which arguments there are."""
    good = f'@id("ok") permit ({PAY});\n'
    bad = f'@id("a") forbid ({PAY})\nwhen {{ context.arguments has amuont && context.arguments.amuont > 5 }};'
    policies = parse_policies({"pay.cedar": good + bad}).policies
    with pytest.raises(PolicyError, match=r"pay\.cedar:2: policy `a` reads the argument `amuont`") as refused:
        check_declared(policies, REGISTRY, SCHEMAS)
    assert refused.value.advice() == "declared are `amount`, `to`, `urgent`"
    check_declared(policies[:1], REGISTRY, SCHEMAS)


def test_check_tells_it_where_schemas_are_known() -> None:
    """`perhop policy check` says the same, and nothing without a database."""
    bad = f'@id("a") forbid ({PAY}) when {{ context.arguments has amuont && context.arguments.amuont > 5 }};'
    sources = {"pay.cedar": f'@id("p") permit ({PAY});{bad}'}
    assert [each.severity for each in check(sources, REGISTRY, SCHEMAS) if "amuont" in each.message] == ["error"]
    assert [each for each in check(sources, REGISTRY) if "amuont" in each.message] == []
