"""Groups of a person in policies: known, empty, or not known, and never one taken for another."""

from __future__ import annotations

import pytest

from perhop.core.call import Action, Target
from perhop.core.decision import Allow, Deny, Question
from perhop.errors import PolicyError
from perhop.policy.engine import PolicyEngine
from perhop.policy.outcome import Outcome
from perhop.policy.policy_set import parse_policies
from perhop.policy.recorded import Recorded, Unknown
from perhop.policy.replay import Replay
from tests.support.authorization_servers import Keys, a_registry

STAFF = """@id("staff") permit (principal, action, resource)
when { context has subject && context.subject has groups && context.subject.groups.contains("staff") };"""
NO_GUESTS = """@id("all") permit (principal, action, resource);
@id("no-guests") forbid (principal, action, resource)
unless { context has subject && context.subject has groups && !context.subject.groups.contains("guests") };"""
REGISTRY = a_registry(Keys.generate())


def _engine(text: str) -> PolicyEngine:
    return PolicyEngine(parse_policies({"p.cedar": text}), REGISTRY)


def _asked(groups: set[str] | None, *, subject: str | None = "user:ann") -> Question:
    return Question(
        target=Target(Action.CALL_TOOL, "list_events"),
        agent="desk-app",
        server="calendar",
        subject=subject,
        client_id="desk-app",
        actors=(),
        scopes=frozenset({"calendar:read"}),
        hop=1,
        now=1_800_000_000,
        arguments={},
        groups=frozenset(groups) if groups is not None else None,
    )


@pytest.mark.parametrize(
    ("groups", "subject", "allowed"),
    [
        ({"staff"}, "user:ann", True),
        ({"staff", 'odd"\\name'}, "user:ann", True),
        ({"Staff", "staff "}, "user:ann", False),
        (set(), "user:ann", False),
        (None, "user:ann", False),
        ({"staff"}, None, False),
    ],
)
def test_a_policy_permits_by_group(groups: set[str] | None, subject: str | None, allowed: bool) -> None:
    """Only the person of the question, and only by the exact name of a group that is known."""
    engine, question = _engine(STAFF), _asked(groups, subject=subject)
    assert isinstance(engine.decide(question), Allow if allowed else Deny)
    assert engine.may_permit(question) is allowed


def test_groups_are_the_persons_of_the_question() -> None:
    """One person's groups are nobody's in the next question, whatever is kept of the first."""
    engine = _engine(STAFF)
    assert isinstance(engine.decide(_asked({"staff"})), Allow)
    assert isinstance(engine.decide(_asked(None)), Deny)
    assert isinstance(engine.decide(_asked({"guests"})), Deny)


def test_a_forbid_by_group_can_hold_where_groups_are_not_known() -> None:
    """`forbid ... unless` the groups are known and fit: an unknown group is as good as the forbidden one."""
    engine = _engine(NO_GUESTS)
    assert isinstance(engine.decide(_asked({"staff"})), Allow)
    assert isinstance(engine.decide(_asked(set())), Allow)
    for groups in ({"guests"}, None):
        assert engine.decide(_asked(groups)) == Deny(("no-guests",), engine.version)


@pytest.mark.parametrize("effect", ["permit", "forbid"])
def test_a_policy_must_ask_whether_groups_are_known(effect: str) -> None:
    """A policy that reads groups as if everybody had some is not loaded."""
    condition = 'context has subject && context.subject.groups.contains("guests")'
    with pytest.raises(PolicyError, match="optional attribute `groups`"):
        _engine(f'@id("x") {effect} (principal, action, resource) when {{ {condition} }};')


@pytest.mark.parametrize(
    ("text", "is_told"),
    [
        (STAFF, False),
        (NO_GUESTS, False),
        ('@id("x") permit (principal, action, resource) when { context has subject.groups };', False),
        (
            '@id("x") permit (principal, action, resource) when {'
            ' context.arguments has groups && context.arguments.groups == "x" };',
            True,
        ),
        ('@id("x") permit (principal, action, resource) when { context has subject };', True),
    ],
)
def test_no_record_tells_groups(text: str, is_told: bool) -> None:
    """A draft that reads the groups of a person is undecidable on a record, and says so."""
    asked = Recorded(question=_asked(None), outcome=Outcome.PERMIT, known=None, asks_anew=True)
    answer = Replay(_engine(text)).ask(asked)
    assert isinstance(answer, Unknown) is not is_told
    if isinstance(answer, Unknown):
        assert "context.subject.groups" in answer.why
