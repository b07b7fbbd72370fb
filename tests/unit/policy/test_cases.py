"""Test cases of policies: what is asked and answered, and which policies they have tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from perhop.core.call import Action
from perhop.gateway.catalogue import Catalogue
from perhop.gateway.tool_pins import Approval, Pinned, ResourcePins
from perhop.policy.cases import CaseResult, Coverage, Outcome, PolicyCase, coverage_of, run_cases
from perhop.policy.posing import ApprovedTools
from perhop.rules.tool_definition import by_name, parse_definition
from tests.support.policies import PERMIT_ALL, a_question, an_engine

NIGHT = '@id("night") forbid (principal, action, resource) when { context.request.hour < 6 };\n'
LARGE = (
    '@id("large") forbid (principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"bank/pay")'
    " when { context.arguments has amount && context.arguments.amount > 500 };\n"
)
MIDNIGHT = 1785283200


def a_case(expect: Outcome, by: set[str] | None = None, **changes: Any) -> PolicyCase:
    """A case about the planner's usual question, but for what is changed."""
    question = a_question(**changes)
    return PolicyCase(
        name="it is so",
        place="cases.yaml:1",
        question=replace(question, scopes=frozenset({f"{question.server}:all"})),
        expect=expect,
        by=None if by is None else frozenset(by),
    )


def ran(
    *cases: PolicyCase, policies: str, approved: Mapping[str, ApprovedTools] | None = None
) -> tuple[list[CaseResult], Coverage]:
    """The results of these cases, and what they cover."""
    engine = an_engine(policies)
    results = run_cases(engine, cases, approved or {})
    return results, coverage_of(engine, results)


@pytest.mark.parametrize(
    ("case", "passes"),
    [
        (a_case(Outcome.PERMIT), True),
        (a_case(Outcome.PERMIT, {"all"}), True),
        (a_case(Outcome.PERMIT, set()), False),
        (a_case(Outcome.DENY), False),
        (a_case(Outcome.DENY, {"night"}, now=MIDNIGHT), True),
        (a_case(Outcome.DENY, {"night", "large"}, now=MIDNIGHT), False),
        (a_case(Outcome.ERROR, now=MIDNIGHT), False),
        (a_case(Outcome.ERROR, {"large"}, server="bank", name="pay", arguments={"amount": "600"}), True),
        (a_case(Outcome.DENY, server="bank", name="pay", arguments={"amount": "600"}), False),
        (a_case(Outcome.ERROR, server="bank", name="pay", arguments={"amount": [600]}), True),
        (a_case(Outcome.PERMIT, set(), action=Action.LIST), True),
    ],
)
def test_a_case_passes_if_outcome_and_policies_are_those_expected(case: PolicyCase, passes: bool) -> None:
    """The outcome is compared, and the deciding policies, all of them, where the case names any."""
    (result,), _ = ran(case, policies=PERMIT_ALL + NIGHT + LARGE)
    assert result.passed is passes


ASKING = '@id("asking") @approval("owner") permit (principal, action, resource in MCP::Server::"calendar");\n'


@pytest.mark.parametrize(
    ("case", "passes"),
    [
        (a_case(Outcome.APPROVAL), True),
        (a_case(Outcome.APPROVAL, {"all", "asking"}), True),
        (a_case(Outcome.APPROVAL, {"asking"}), False),
        (a_case(Outcome.PERMIT), False),
        (a_case(Outcome.DENY), False),
        (a_case(Outcome.DENY, {"night"}, now=MIDNIGHT), True),
        (a_case(Outcome.PERMIT, {"all"}, server="rooms"), True),
        (a_case(Outcome.PERMIT, set(), action=Action.LIST), True),
    ],
)
def test_an_approval_is_an_outcome_of_its_own(case: PolicyCase, passes: bool) -> None:
    """It is neither a permit nor a refusal; all satisfied permits are those that decide."""
    (result,), _ = ran(case, policies=PERMIT_ALL + ASKING + NIGHT)
    assert result.passed is passes


def test_a_permit_that_alone_wants_the_approval_is_decisive() -> None:
    """Without it the call would pass at once; of two that want one, and of others beside it, none is needed."""
    (result,), _ = ran(a_case(Outcome.APPROVAL), policies=PERMIT_ALL + ASKING)
    assert result.decisive == {"asking"}
    (result,), _ = ran(a_case(Outcome.APPROVAL), policies=ASKING)
    assert result.decisive == {"asking"}
    (result,), _ = ran(a_case(Outcome.APPROVAL), policies=ASKING + ASKING.replace('"asking"', '"more"'))
    assert result.decisive == frozenset()


def test_what_scopes_refuse_is_not_asked_of_policy() -> None:
    """A tool that no scope of the token lists is denied by no policy, and tries none."""
    case = a_case(Outcome.DENY, set())
    beyond = replace(case, question=replace(case.question, scopes=frozenset()))
    (result,), coverage = ran(beyond, policies=PERMIT_ALL)
    assert (result.passed, "needs the scope `calendar:all`" in result.not_asked) == (True, True)
    assert coverage.unsatisfied == ("all",)


def test_what_scopes_refuse_is_not_explained_by_policy() -> None:
    """Whatever policy would have said, it was not asked: no approval is wanted, and nothing decided."""
    case = a_case(Outcome.DENY, set())
    (result,), _ = ran(replace(case, question=replace(case.question, scopes=frozenset())), policies=ASKING)
    said = result.explanation
    assert (said.allowed, said.needs_approval, said.fired, said.summary) == (False, False, (), result.not_asked)


def approved_tools(*tools: Mapping[str, Any]) -> Catalogue:
    """The tools of the bank, of which its owner has approved these, as the gateway goes by them."""
    pins = ResourcePins("bank", clock=lambda: 0.0)
    definitions = by_name(map(parse_definition, tools))
    pins.take(Pinned(approval=Approval(definitions=definitions, by="bob", at=1), quarantined=()))
    return Catalogue(pins)


PAY = {"name": "pay", "inputSchema": {"type": "object", "properties": {"amount": {"type": "integer"}}}}


@pytest.mark.parametrize(
    ("case", "why"),
    [
        (
            a_case(Outcome.DENY, set(), server="bank", name="refund"),
            "refused before policy is asked: tool `refund` is not among the approved ones (tool.quarantined)",
        ),
        (
            a_case(Outcome.DENY, set(), server="bank", name="pay", arguments={"amount": "5"}),
            "refused before policy is asked: argument `amount` is not of a type that the tool declares "
            "(request.malformed)",
        ),
        (a_case(Outcome.PERMIT, {"all"}, server="bank", name="pay", arguments={"amount": 5, "note": "x"}), ""),
        (a_case(Outcome.DENY, {"large"}, server="bank", name="pay", arguments={"amount": 600}), ""),
        (a_case(Outcome.PERMIT, {"all"}, server="bank", action=Action.GET_PROMPT, name="refund"), ""),
        (a_case(Outcome.PERMIT, {"all"}), ""),
    ],
)
def test_what_its_owner_has_not_approved_is_not_asked_of_policy(case: PolicyCase, why: str) -> None:
    """A tool or an argument that is not as approved is refused with the gateway's reason, and tries no policy."""
    (result,), coverage = ran(case, policies=PERMIT_ALL + LARGE, approved={"bank": approved_tools(PAY)})
    assert (result.passed, result.not_asked) == (True, why)
    if why:
        assert (result.explanation.allowed, result.explanation.summary) == (False, why)
        assert coverage.unsatisfied == ("all", "large")


def test_an_argument_that_the_approved_tool_does_not_declare_is_not_read() -> None:
    """A permit that would rest on it cannot be evaluated; without an approval it is read."""
    small = (
        '@id("small") permit (principal, action, resource)'
        " when { context.arguments has sum && context.arguments.sum < 9 };"
    )
    case = a_case(Outcome.ERROR, {"small"}, server="bank", name="pay", arguments={"sum": 5})
    (result,), _ = ran(case, policies=small, approved={"bank": approved_tools(PAY)})
    assert result.passed
    (result,), _ = ran(replace(case, expect=Outcome.PERMIT), policies=small)
    assert result.passed


def test_a_policy_is_covered_once_a_case_needs_it() -> None:
    """A permit alone decides, and a forbid beside a permit does; what no case satisfies is told."""
    day, night = a_case(Outcome.PERMIT), a_case(Outcome.DENY, now=MIDNIGHT)
    _, coverage = ran(day, policies=PERMIT_ALL + NIGHT)
    assert (coverage.unsatisfied, coverage.undecisive, coverage.is_full) == (("night",), (), False)
    _, coverage = ran(day, night, policies=PERMIT_ALL + NIGHT)
    assert coverage.is_full


@pytest.mark.parametrize(
    ("policies", "undecisive"),
    [
        (PERMIT_ALL + '@id("too") permit (principal, action, resource);', ("all", "too")),
        (PERMIT_ALL + NIGHT + '@id("too") forbid (principal, action, resource);', ("all", "night", "too")),
        (NIGHT + '@id("other") permit (principal == MCP::Agent::"clerk", action, resource);', ("night",)),
    ],
)
def test_a_policy_that_no_case_needs_is_told(policies: str, undecisive: tuple[str, ...]) -> None:
    """Two that say the same hide each other, and so does a forbid of what nothing permits."""
    _, coverage = ran(a_case(Outcome.DENY, now=MIDNIGHT), policies=policies)
    assert coverage.undecisive == undecisive


def test_a_permit_that_a_forbid_overrules_is_satisfied() -> None:
    """It is tried, though it decided nothing."""
    (result,), _ = ran(a_case(Outcome.DENY, now=MIDNIGHT), policies=PERMIT_ALL + NIGHT)
    assert (result.satisfied, result.decisive) == ({"all", "night"}, {"night"})


def test_an_error_decides_for_no_policy() -> None:
    """A case that ends in an error covers none of the policies around it."""
    case = a_case(Outcome.ERROR, server="bank", name="pay", arguments={"amount": "600"})
    (result,), coverage = ran(case, policies=PERMIT_ALL + LARGE)
    assert (result.decisive, coverage.undecisive, coverage.unsatisfied) == (frozenset(), ("all",), ("large",))
