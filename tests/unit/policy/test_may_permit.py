"""Whether some arguments could make a call permitted: hidden only if none could."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.core.call import Action
from perhop.core.decision import Allow
from tests.support.policies import PERMIT_ALL, a_question, an_engine

HEAD = '(principal, action == MCP::Action::"call_tool", resource)'
HAS_N = "context.arguments has n && context.arguments.n"


@pytest.mark.parametrize(
    ("policies", "shown"),
    [
        ("", False),
        (f'@id("p") permit {HEAD};', True),
        (f'@id("p") permit {HEAD} when {{ {HAS_N} > 3 }};', True),
        (f'@id("p") permit {HEAD} when {{ {HAS_N} > 3 && context.token.hop == 1 }};', True),
        (f'@id("p") permit {HEAD} when {{ {HAS_N} > 3 && context.token.hop == 2 }};', False),
        (f'@id("p") permit {HEAD} when {{ context.token.hop == 2 || {HAS_N} > 3 }};', True),
        (f'@id("p") permit {HEAD} unless {{ {HAS_N} > 3 }};', True),
        (f'@id("p") permit {HEAD} unless {{ context.token.hop == 1 || {HAS_N} > 3 }};', False),
        (f'@id("p") permit {HEAD} when {{ if {HAS_N} > 3 then true else context.token.hop == 2 }};', True),
        (f'@id("p") permit {HEAD} when {{ if context.token.hop == 2 then {HAS_N} > 3 else false }};', False),
        (f'{PERMIT_ALL} @id("f") forbid {HEAD} when {{ {HAS_N} > 3 }};', True),
        (f'{PERMIT_ALL} @id("f") forbid {HEAD} unless {{ {HAS_N} > 3 }};', True),
        (f'{PERMIT_ALL} @id("f") forbid {HEAD} when {{ context.token.hop == 1 || {HAS_N} > 3 }};', False),
        (f'{PERMIT_ALL} @id("f") forbid {HEAD} when {{ context.token.hop == 1 && {HAS_N} > 3 }};', True),
        (f'{PERMIT_ALL} @id("f") forbid {HEAD} unless {{ context.token.hop == 2 && {HAS_N} > 3 }};', False),
        (f'{PERMIT_ALL} @id("f") forbid {HEAD} when {{ context.arguments has n }};', True),
        (f'{PERMIT_ALL} @id("f") forbid {HEAD};', False),
        ('@id("p") permit (principal == MCP::Agent::"clerk", action, resource);', False),
    ],
)
def test_an_item_is_hidden_only_if_no_arguments_could_help(policies: str, shown: bool) -> None:
    """What reads arguments is taken as they could be at best; everything else as it is."""
    assert an_engine(policies).may_permit(a_question()) is shown


def test_the_arguments_of_the_question_are_not_looked_at() -> None:
    """The answer is about all arguments, whatever the question holds."""
    engine = an_engine(f'@id("p") permit {HEAD} when {{ {HAS_N} > 3 }};')
    assert engine.may_permit(a_question(arguments={"n": 1}))
    assert engine.may_permit(a_question(arguments={"n": None}))


def test_a_failure_that_no_arguments_could_avoid_hides() -> None:
    """A policy that asks an unknown agent for its owner fails for any arguments."""
    by_owner = '@id("f") forbid (principal, action, resource) when { principal.owner == MCP::Owner::"finance" };'
    assert not an_engine(PERMIT_ALL, by_owner).may_permit(a_question(agent="stranger"))


@pytest.mark.parametrize(("effect", "shown"), [("permit", True), ("forbid", False)])
def test_a_failure_that_some_arguments_could_avoid_shows(effect: str, shown: bool) -> None:
    """A permit that also reads arguments may be satisfied where it seems to fail; a doubtful forbid hides nothing."""
    text = f'@id("x") {effect} {HEAD} when {{ context.arguments has n || principal.owner == MCP::Owner::"finance" }};'
    reads_first = an_engine(text)
    assert reads_first.may_permit(a_question(agent="stranger")) is shown
    assert an_engine(PERMIT_ALL, text).may_permit(a_question(agent="stranger"))


def test_a_permit_that_fails_for_some_arguments_only_shows() -> None:
    """Taken at best the condition fails, but a call without the argument is permitted: the item is not hidden."""
    by_owner = 'context.arguments has n && principal.owner == MCP::Owner::"finance"'
    engine = an_engine(f'@id("p") permit {HEAD} when {{ ({by_owner}) || context.token.hop == 1 }};')
    assert isinstance(engine.decide(a_question(agent="stranger")), Allow)
    assert engine.may_permit(a_question(agent="stranger"))


@pytest.mark.parametrize("action", [Action.LIST, Action.ISSUE, Action.EXCHANGE])
def test_what_needs_no_permit_is_shown_unless_forbidden(action: Action) -> None:
    """The actions that only must not be forbidden are so here as well."""
    assert an_engine().may_permit(a_question(action))
    assert not an_engine('@id("f") forbid (principal, action, resource);').may_permit(a_question(action))


_atoms = st.sampled_from(
    [
        "context.arguments has n",
        f"({HAS_N} > 3)",
        f"({HAS_N} == 0)",
        '(context.arguments has s && context.arguments.s like "a*")',
        "(context.arguments has b && context.arguments.b)",
        "context.token.hop == 1",
        "context.token.hop == 2",
        "context has actor",
        '(principal in MCP::Owner::"finance")',
    ]
)
_conditions = st.recursive(
    _atoms,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(lambda each: f"({each[0]} {each[1]} {each[2]})"),
        inner.map(lambda each: f"!({each})"),
        st.tuples(inner, inner, inner).map(lambda each: f"(if {each[0]} then {each[1]} else {each[2]})"),
    ),
    max_leaves=5,
)
_policies = st.lists(
    st.tuples(st.sampled_from(["permit", "permit", "forbid"]), st.sampled_from(["when", "unless"]), _conditions),
    min_size=1,
    max_size=3,
)
_arguments = st.fixed_dictionaries(
    {}, optional={"n": st.integers(-1, 5), "s": st.sampled_from(["a", "b"]), "b": st.booleans()}
)


@given(policies=_policies, arguments=_arguments)
def test_what_is_permitted_is_never_hidden(
    policies: list[tuple[str, str, str]], arguments: dict[str, int | str | bool]
) -> None:
    """Whatever arguments a call has: if it is permitted, its tool was shown."""
    engine = an_engine(
        *(
            f'@id("p{index}") {effect} {HEAD} {word} {{ {text} }};'
            for index, (effect, word, text) in enumerate(policies)
        )
    )
    if isinstance(engine.decide(a_question(arguments=arguments)), Allow):
        assert engine.may_permit(a_question())
