"""Explanations: what decided, and what a refused call lacks."""

from __future__ import annotations

from perhop.core.call import Action
from perhop.policy.explain import explain
from tests.support.policies import PERMIT_ALL, a_question, an_engine

PAY = """
@id("pay")
@reason("small sums")
@owner("finance")
permit (principal == MCP::Agent::"clerk", action == MCP::Action::"call_tool", resource == MCP::Tool::"bank/pay")
when { context.token.hop == 1 && context.arguments has amount && context.arguments.amount <= 500 }
unless { context.request.hour < 6 || context.arguments has note && context.arguments.note like "*(x)*" };
"""


def test_a_permit_is_explained_by_the_policies_that_permit() -> None:
    """Name, reason, owner and place of each come along."""
    explanation = explain(
        an_engine(PAY), a_question(name="pay", server="bank", agent="clerk", arguments={"amount": 500})
    )
    assert (explanation.allowed, explanation.failed, explanation.summary) == (True, False, "permitted by `pay`")
    (fired,) = explanation.fired
    assert (fired.id, fired.effect, fired.reason, fired.owner) == ("pay", "permit", "small sums", "finance")
    assert (fired.file, fired.line) == ("p0.cedar", 2)


def test_a_denial_by_default_names_what_the_nearest_permit_needs() -> None:
    """Only the conditions that do not hold are told, as their author would write them."""
    question = a_question(
        name="pay", server="bank", agent="trip-planner", hop=2, arguments={"amount": 501, "note": "(x)"}
    )
    explanation = explain(
        an_engine(
            '@id("bank") permit (principal == MCP::Agent::"clerk", action, resource in MCP::Server::"bank");', PAY
        ),
        question,
    )
    assert (explanation.allowed, explanation.summary) == (False, "refused: no policy permits it")
    assert [(each.id, each.needs) for each in explanation.near] == [
        ("bank", ('principal == MCP::Agent::"clerk"',)),
        (
            "pay",
            (
                'principal == MCP::Agent::"clerk"',
                "context.token.hop == 1",
                "context.arguments.amount <= 500",
                '!((context.arguments has note) && (context.arguments.note like "*(x)*"))',
            ),
        ),
    ]


def test_a_permit_for_another_thing_is_not_near() -> None:
    """A permit for another tool is no help."""
    assert explain(an_engine(PAY), a_question(name="pay", server="rooms")).near == ()


def test_a_forbid_is_explained_by_itself() -> None:
    """What forbids is named, and near permits are not."""
    explanation = explain(
        an_engine(PERMIT_ALL, '@id("no") @reason("closed") forbid (principal, action, resource);'), a_question()
    )
    assert (explanation.summary, explanation.fired[0].reason) == ("forbidden by `no`", "closed")
    assert explanation.near == ()


def test_a_failure_is_explained_in_the_words_of_who_failed() -> None:
    """The policy that could not be evaluated is named, with what was wrong."""
    by_owner = '@id("by-owner") forbid (principal, action, resource) when { principal.owner == MCP::Owner::"x" };'
    explanation = explain(an_engine(PERMIT_ALL, by_owner), a_question(agent="stranger"))
    assert (explanation.allowed, explanation.failed) == (False, True)
    assert [each.id for each in explanation.fired] == ["by-owner"]
    assert "owner" in explanation.errors[0]
    question = a_question(name="pay", server="bank", agent="clerk", arguments={"amount": "5"})
    explanation = explain(an_engine(PAY), question)
    assert explanation.errors == ("policy `pay` reads argument `amount`, whose value here it cannot judge",)
    explanation = explain(an_engine(PERMIT_ALL), a_question(ip="nowhere"))
    assert explanation.failed
    assert "nowhere" in explanation.errors[0]


def test_what_needs_no_permit_is_explained_so() -> None:
    """For listing, no policy is named."""
    explanation = explain(an_engine(PERMIT_ALL), a_question(Action.LIST))
    assert (explanation.allowed, explanation.fired) == (True, ())
    assert "needs no permit" in explanation.summary


def test_a_permit_that_lacks_one_part_of_its_head_is_near() -> None:
    """Another tool or another action is told as what is needed, and not what its conditions say of the other tool."""
    reads = (
        '@id("reads") permit (principal == MCP::Agent::"trip-planner", action == MCP::Action::"call_tool",'
        ' resource == MCP::Tool::"calendar/get_event")'
        ' when { resource.name like "get_*" && context.token.hop == 2 };'
    )
    (near,) = explain(an_engine(reads), a_question(name="get_events")).near
    assert near.needs == ('resource == MCP::Tool::"calendar/get_event"', "context.token.hop == 2")
    prompts = '@id("p") permit (principal, action == MCP::Action::"get_prompt", resource in MCP::Server::"calendar");'
    (near,) = explain(an_engine(prompts), a_question()).near
    assert near.needs == ('action == MCP::Action::"get_prompt"',)


def test_what_would_be_permitted_but_for_a_forbid_is_told() -> None:
    """The permits that a forbid overrules are named; where there is none, the nearest are, too."""
    never = '@id("no") forbid (principal, action, resource);'
    explanation = explain(an_engine(PERMIT_ALL, never), a_question())
    assert ([each.id for each in explanation.overridden], explanation.near) == (["all"], ())
    explanation = explain(an_engine(PAY, never), a_question(name="pay", server="bank", arguments={"amount": 5}))
    assert explanation.overridden == ()
    assert explanation.near[0].needs == ('principal == MCP::Agent::"clerk"',)


def test_a_call_that_needs_an_approval_is_explained_so() -> None:
    """It is not allowed by itself; the permits are named, and among them those that want the approval."""
    asking = '@id("asking") @approval("owner") @reason("a person looks") permit (principal, action, resource);'
    explanation = explain(an_engine(PERMIT_ALL, asking), a_question())
    assert (explanation.allowed, explanation.needs_approval, explanation.failed) == (False, True, False)
    assert [each.id for each in explanation.fired] == ["all", "asking"]
    assert explanation.summary == (
        "permitted by `all`, `asking` once a person of the owner's team approves this very call: `asking` wants that"
    )
    assert (explanation.near, explanation.overridden) == ((), ())
    explanation = explain(an_engine(PERMIT_ALL, asking), a_question(Action.LIST))
    assert (explanation.allowed, explanation.needs_approval) == (True, False)
