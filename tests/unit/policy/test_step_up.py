"""The sign-in behind a token in policies: known or not, explained, and asked again of the journal."""

from __future__ import annotations

import pytest

from perhop.core.authentication import UNKNOWN, Authentication, AuthenticationWanted, strictest
from perhop.core.decision import Allow, Deny
from perhop.policy.check import check
from perhop.policy.explain import explain
from perhop.policy.outcome import Outcome
from perhop.policy.recorded import Recorded
from perhop.policy.replay import Replay
from tests.support.policies import NOON_ISH, PERMIT_ALL, REGISTRY, a_question, an_engine

FRESH = """@id("fresh") @authentication("max_age=300, acr_values=gold") forbid (principal, action, resource)
unless { context.token has auth_time && context.token.auth_time >= context.request.time - 300 };
"""
GOLD = """@id("gold") permit (principal, action, resource)
when { context.token has acr && context.token.acr == "gold" };
"""


@pytest.mark.parametrize(
    ("authentication", "allowed"),
    [
        (Authentication(NOON_ISH - 300), True),
        (Authentication(NOON_ISH - 301), False),
        (Authentication(None, "gold"), False),
        (UNKNOWN, False),
    ],
    ids=["fresh", "old", "time-unknown", "unknown"],
)
def test_a_policy_sees_when_the_person_signed_in(authentication: Authentication, allowed: bool) -> None:
    """To the second; what is not known is not there."""
    decision = an_engine(PERMIT_ALL, FRESH).decide(a_question(subject="user:ann", authentication=authentication))
    assert isinstance(decision, Allow if allowed else Deny)
    if isinstance(decision, Deny):
        assert decision.wanted == AuthenticationWanted(300, ("gold",))


def test_a_policy_sees_how_the_person_signed_in() -> None:
    """By the exact word of the provider."""
    engine = an_engine(GOLD)
    assert isinstance(engine.decide(a_question(authentication=Authentication(None, "gold"))), Allow)
    assert isinstance(engine.decide(a_question(authentication=Authentication(None, "Gold"))), Deny)
    assert isinstance(engine.decide(a_question()), Deny)


def test_an_explanation_says_what_a_new_sign_in_would_do() -> None:
    """It says how new and by which way; of a call that nothing permits it does not."""
    question = a_question(subject="user:ann")
    explained = explain(an_engine(PERMIT_ALL, FRESH), question)
    assert explained.summary == (
        "forbidden by `fresh` until the person signs in again, and it is used within 300 s, by gold"
    )
    assert explained.wanted == AuthenticationWanted(300, ("gold",))
    in_vain = explain(an_engine(FRESH, '@id("none") permit (principal, action, resource) when { false };'), question)
    assert (in_vain.summary, in_vain.wanted) == ("forbidden by `fresh`", None)


def test_a_list_shows_what_a_new_sign_in_opens() -> None:
    """To a person, if a permit is there, whatever arguments it reads; never what another forbid forbids besides."""
    reads = '@id("some") permit (principal, action, resource) when { context.arguments has day };'
    plain = '@id("plain") forbid (principal, action, resource);'
    person, machine = a_question(subject="user:ann"), a_question(subject=None)
    assert an_engine(PERMIT_ALL, FRESH).may_permit(person)
    assert an_engine(reads, FRESH).may_permit(person)
    assert not an_engine(PERMIT_ALL, FRESH).may_permit(machine)
    assert not an_engine(PERMIT_ALL, FRESH, plain).may_permit(person)
    assert not an_engine(GOLD, FRESH).may_permit(person)


def test_a_recorded_sign_in_is_asked_again() -> None:
    """A draft that wants a fresh sign-in is told from the journal what it would have refused, arguments or none."""
    replay = Replay(
        an_engine(
            PERMIT_ALL, FRESH, '@id("d") permit (principal, action, resource) when { context.arguments has day };'
        )
    )
    for age, known, outcome in (
        (100, None, Outcome.PERMIT),
        (400, None, Outcome.DENY),
        (400, frozenset[str](), Outcome.DENY),
    ):
        question = a_question(subject="user:ann", authentication=Authentication(NOON_ISH - age))
        now = replay.ask(Recorded(question=question, outcome=Outcome.PERMIT, known=known))
        assert getattr(now, "outcome", None) is outcome


def test_two_forbids_that_want_different_sign_ins_are_not_the_same() -> None:
    """The check for policies that say the same looks at what they want."""
    other = FRESH.replace('"fresh"', '"other"')
    twice = [each for each in check({"a.cedar": PERMIT_ALL + FRESH + other}, REGISTRY) if "says what" in each.message]
    differing = other.replace("gold", "silver")
    once = [
        each for each in check({"a.cedar": PERMIT_ALL + FRESH + differing}, REGISTRY) if "says what" in each.message
    ]
    assert (len(twice), once) == (1, [])


def test_the_strictest_of_what_is_wanted() -> None:
    """The shortest age and the common ways, in the order of the first; nothing where no way is common."""
    gold, both = AuthenticationWanted(None, ("gold",)), AuthenticationWanted(60, ("silver", "gold"))
    assert strictest((both, AuthenticationWanted(30), gold)) == AuthenticationWanted(30, ("gold",))
    assert strictest((gold, AuthenticationWanted(None, ("silver",)))) is None
    assert strictest(()) is None
