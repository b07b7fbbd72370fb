"""Rules without effect: what is said of them is so for every call, and what is in doubt is not said."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from perhop.core.registry import Registry
from perhop.core.resource import Scope
from perhop.policy.check import check
from perhop.policy.engine import PolicyEngine
from perhop.policy.finding import Severity
from perhop.policy.satisfied import Satisfied
from perhop.policy.vocabulary import NEEDS_PERMIT
from tests.support.policies import PERMIT_ALL, REGISTRY
from tests.support.policy_model import make_question, make_set

CALL = 'principal, action == MCP::Action::"call_tool", resource'


def told(text: str, registry: Registry | None = None) -> list[str]:
    """What is found in a file with this text."""
    findings = check({"a.cedar": text}, registry)
    assert all(each.severity is not Severity.ERROR for each in findings), findings
    return [each.message for each in findings]


@pytest.mark.parametrize(
    ("clauses", "words"),
    [
        ("when { false }", "`false` never holds"),
        ("unless { true }", "never holds"),
        ("when { 1 > 2 }", "`1 > 2` never holds"),
        ("when { context.token.hop > 0 && false }", "`false` never holds"),
        ("when { true && !(1 < 2 || context.token.hop == 1) }", "never holds"),
        ("when { if 1 == 1 then 2 == 3 else true }", "never holds"),
        ("when { context.request.hour == 24 }", "`context.request.hour == 24` never holds"),
        ("when { 23 < context.request.hour }", "never holds"),
        ("when { context.request.weekday < 1 }", "never holds"),
        ("when { context.token.hop <= 0 }", "never holds"),
        ("when { context has task && context.task has max_writes && context.task.max_writes < 0 }", "never holds"),
        ("when { context has task && context.task has max_calls && context.task.max_calls == -1 }", "never holds"),
        ('when { resource.server.risk == "hihg" }', "never holds"),
        (
            "when { context.request.hour < 6 && context.request.hour > 18 }",
            "`context.request.hour > 18` never holds beside `context.request.hour < 6`",
        ),
        ("when { context.request.hour < 6 } unless { context.request.hour < 8 }", "never holds beside"),
        ('when { resource.name == "a" && resource.name == "b" }', "never holds beside"),
        ('when { resource.name == "a" && resource.name != "a" }', "never holds beside"),
        ('when { resource.name like "get_*" && resource.name like "list_*" }', "never holds beside"),
        ('when { resource.name like "*_all" && resource.name like "*_one" }', "never holds beside"),
        ('when { resource.name == "get" && resource.name like "list_*" }', "never holds beside"),
        ('when { resource.name like "list_*" && resource.name == "get" }', "never holds beside"),
        ('when { resource.name == "get" && ["a", "b"].contains(resource.name) }', "never holds beside"),
        ("when { context has subject } unless { context has subject }", "never holds beside"),
        (
            "when { context.request.hour > 6 && context.request.weekday == 1 && context.request.hour < 7 }",
            "never holds beside `context.request.hour > 6`",
        ),
    ],
)
@pytest.mark.parametrize("effect", ["permit", "forbid"])
def test_a_rule_that_nothing_satisfies_is_told(effect: str, clauses: str, words: str) -> None:
    """By one of its conditions, or by two that exclude each other."""
    (message,) = told(f'{PERMIT_ALL}@id("x") {effect} ({CALL}) {clauses};')
    assert f"this {effect} can never be satisfied" in message
    assert words in message


@pytest.mark.parametrize(
    "clauses",
    [
        "when { context.request.hour < 6 || context.request.hour > 18 }",
        "when { context.request.hour <= 6 && context.request.hour >= 6 }",
        'when { resource.name like "get_*" && resource.name like "*_all" }',
        'when { resource.name like "get_*" && resource.name like "get_a*" }',
        'when { resource.name == "get_a" && resource.name like "get_*" }',
        'when { resource.server.risk == "high" }',
        "when { context.arguments has a && context.arguments.a > 5 && context.arguments.a < 7 }",
        "when { context.token.hop == 1 } unless { context.token.hop == 2 }",
        "unless { false }",
        "when { true || false }",
        'when { ["a"].contains(resource.name) && resource.name == "a" }',
    ],
)
def test_a_rule_that_something_may_satisfy_is_not_doubted(clauses: str) -> None:
    """No alarm that is false."""
    assert told(f'{PERMIT_ALL}@id("x") forbid ({CALL}) {clauses};') == []


def test_the_name_in_a_condition_must_be_that_of_the_head() -> None:
    """A head that names one tool excludes a condition on another name."""
    head = 'principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"bank/pay"'
    (message,) = told(f'{PERMIT_ALL}@id("x") forbid ({head}) when {{ resource.name like "get_*" }};')
    assert "can never be satisfied" in message
    assert told(f'{PERMIT_ALL}@id("x") forbid ({head}) when {{ resource.name == "pay" }};') == []


@pytest.mark.parametrize(
    ("permit", "forbid"),
    [
        ("principal, action, resource", "principal, action, resource"),
        (f'{CALL} == MCP::Tool::"bank/pay"', 'principal, action, resource in MCP::Server::"bank"'),
        (f'{CALL} == MCP::Tool::"bank/pay"', 'principal, action, resource in MCP::Tenant::"globex"'),
        (f'{CALL} in MCP::Server::"bank"', 'principal, action, resource in MCP::Owner::"finance"'),
        (f'{CALL} in MCP::Server::"bank"', "principal, action, resource is MCP::Tool"),
        ('principal == MCP::Agent::"clerk", action, resource', 'principal in MCP::Owner::"finance", action, resource'),
        ('principal in MCP::Owner::"finance", action, resource', "principal is MCP::Agent, action, resource"),
        (
            'principal, action in [MCP::Action::"call_tool", MCP::Action::"list"], resource',
            CALL,
        ),
    ],
)
def test_a_permit_that_a_forbid_leaves_nothing_of_is_told(permit: str, forbid: str) -> None:
    """By the heads, with what the configuration says of who is in what; conditions of the permit make no difference."""
    for condition in ("", " when { context.token.hop == 1 }"):
        text = f'@id("none") permit ({permit}){condition};\n@id("no") forbid ({forbid});'
        assert "`no` at a.cedar:2 forbids all that it permits" in " ".join(told(text, REGISTRY))


@pytest.mark.parametrize(
    ("permit", "forbid"),
    [
        (f'{CALL} in MCP::Server::"bank"', f'{CALL} == MCP::Tool::"bank/pay"'),
        (f'{CALL} in MCP::Server::"bank"', 'principal, action, resource in MCP::Tenant::"acme"'),
        ("principal, action, resource", CALL),
        ("principal, action, resource", "principal, action, resource is MCP::Tool"),
        (
            'principal == MCP::Agent::"clerk", action, resource',
            'principal in MCP::Owner::"travel-team", action, resource',
        ),
        ("principal, action, resource", 'principal in MCP::Owner::"finance", action, resource'),
        ("principal, action, resource", "principal, action, resource) when { context.token.hop > 1 }; //"),
    ],
)
def test_a_permit_that_keeps_something_is_not_doubted(permit: str, forbid: str) -> None:
    """A narrower forbid, one of another head, and one with a condition leave something."""
    text = f'@id("some") permit ({permit});\n@id("no") forbid ({forbid});'
    assert told(text, REGISTRY) == []


def test_a_forbid_with_conditions_of_the_permit_leaves_nothing() -> None:
    """Whenever the permit is satisfied, so is the forbid; one condition more, and it may not be."""
    permit = f'@id("none") permit ({CALL}) when {{ context.token.hop == 1 && context has subject }};\n'
    assert any(
        "no effect" in each for each in told(permit + f'@id("no") forbid ({CALL}) when {{ context has subject }};')
    )
    more = f'@id("no") forbid ({CALL}) when {{ context has subject && context.request.hour < 6 }};'
    assert told(permit + more) == []


def test_two_policies_that_say_the_same_are_told() -> None:
    """The later one, whatever the order of its conditions; another effect or another head is another policy."""
    one = f'@id("one") forbid ({CALL}) when {{ context has subject && context.token.hop > 1 }};\n'
    two = f'@id("two") @reason("r") forbid ({CALL}) when {{ context.token.hop > 1 }} when {{ context has subject }};\n'
    (message,) = told(PERMIT_ALL + one + two)
    assert message == "policy `two`: it says what `one` at a.cedar:2 says"
    assert told(PERMIT_ALL + one + two.replace("hop > 1", "hop > 2")) == []


def test_a_tool_that_no_scope_lists_is_told() -> None:
    """Its calls are refused before policy is asked, so the rule never decides; a glob of a scope is enough."""
    bank = REGISTRY.resources["bank"]
    listing = replace(bank, scopes={"s": Scope(name="s", says="s", tools=("pay", "get_*"))})
    registry = replace(REGISTRY, resources={**REGISTRY.resources, "bank": listing})
    text = '@id("x") forbid (principal, action, resource == MCP::Tool::"bank/TOOL");'
    (message,) = told(PERMIT_ALL + text.replace("TOOL", "pai"), registry)
    assert "no scope of `bank` lists this tool" in message
    assert told(PERMIT_ALL + text.replace("TOOL", "get_x"), registry) == []


def test_an_owner_of_nothing_is_told() -> None:
    """A head that asks for the agents, or the servers, of an owner who has none."""
    registry = replace(REGISTRY, clients={"clerk": REGISTRY.clients["clerk"]})
    text = '@id("x") forbid (principal in MCP::Owner::"travel-team", action, resource);'
    assert "no client belongs to" in told(PERMIT_ALL + text, registry)[0]
    assert told(PERMIT_ALL + text, REGISTRY) == []
    registry = replace(REGISTRY, resources={"bank": REGISTRY.resources["bank"]})
    text = '@id("x") forbid (principal, action, resource in MCP::Owner::"travel-team");'
    assert "no resource belongs to" in told(PERMIT_ALL + text, registry)[0]


def test_a_permit_that_nobody_answers_for_is_a_hint() -> None:
    """Where others have an `@owner`; a set without any is not bothered, and neither is a forbid."""
    owned = '@id("x") @owner("finance") forbid (principal, action, resource in MCP::Server::"bank");'
    (finding,) = check({"a.cedar": PERMIT_ALL + owned}, REGISTRY)
    assert (finding.severity, finding.policy) == (Severity.HINT, "all")
    assert check({"a.cedar": PERMIT_ALL + owned.replace('@owner("finance") ', "")}, REGISTRY) == []


def test_what_is_said_holds_for_generated_rules_and_questions() -> None:
    """No question satisfies a rule that never can be; a permit without effect has what voids it beside it."""
    chance = random.Random(1000)
    never: set[str] = set()
    without_effect: set[str] = set()
    sparing_nobody: set[str] = set()
    for number in range(8):
        model, policies = make_set(chance, 40)
        findings = check({"all.cedar": "".join(each.text for each in model)}, REGISTRY)
        not_satisfied = {each.policy for each in findings if "can never be satisfied" in each.message}
        overruled = {each.policy for each in findings if "forbids all that it permits" in each.message}
        asked_anyway = {each.policy for each in findings if "wants an approval" in each.message}
        asking = {each.id for each in model if each.asks}
        never |= {f"{number} {each}" for each in not_satisfied}
        without_effect |= {f"{number} {each}" for each in overruled}
        sparing_nobody |= {f"{number} {each}" for each in asked_anyway}
        satisfied = Satisfied(PolicyEngine(policies, REGISTRY))
        for _ in range(150):
            question = make_question(chance)
            effects = {each.id: each.effect for each in satisfied.by(question)}
            assert not_satisfied.isdisjoint(effects), question
            if question.target.action in NEEDS_PERMIT and not overruled.isdisjoint(effects):
                assert "forbid" in effects.values(), question
            if question.target.action in NEEDS_PERMIT and not asked_anyway.isdisjoint(effects):
                assert not asking.isdisjoint(effects), question
    assert len(never) > 3
    assert len(without_effect) > 3
    assert sparing_nobody
