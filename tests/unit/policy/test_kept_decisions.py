"""What is kept of a decision is given to no question that is another one for the policies that decided it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.core.authentication import Authentication, AuthenticationWanted
from perhop.core.call import Action, Target
from perhop.core.decision import Allow, Deny, NeedsApproval, Question
from perhop.core.task import Task, TaskLimits
from perhop.policy import engine as engine_module
from perhop.policy.engine import PolicyEngine
from perhop.policy.needs import needs_of
from perhop.policy.outcome import Outcome
from perhop.policy.paths import GROUPS
from perhop.policy.policy_set import Policy, PolicySet, parse_policies
from perhop.policy.vocabulary import CONTEXT_FACTS
from tests.support.policies import NOON_ISH, PERMIT_ALL, REGISTRY, a_client, a_question, an_engine
from tests.support.unkept_policy import UnkeptPolicy

CALL = 'principal, action == MCP::Action::"call_tool", resource'
TASK = Task(
    id="task-1",
    client="trip-planner",
    purpose="plan",
    tools=(),
    limits=TaskLimits(calls=5, writes=1),
    created_at=0,
    expires_at=1,
    approved_at=0,
)
USUAL = a_question(
    name="pay",
    actors=("calendar-server", "trip-planner"),
    arguments={"amount": 5},
    task=TASK,
    groups=frozenset({"staff"}),
    authentication=Authentication(NOON_ISH - 10, "gold"),
)
HAS_TASK = "context has task && context.task"

# By the path that is read: a condition that the usual question fulfils, what it asks anew, and whether it may be kept.
CONDITIONS: Mapping[str, tuple[str, dict[str, Any], bool]] = {
    "subject": ('context has subject && context.subject == MCP::User::"user:7f3a"', {"subject": "user:1"}, True),
    "subject, there": ("context has subject", {"subject": None}, True),
    GROUPS: (
        'context has subject && context.subject has groups && context.subject.groups.contains("staff")',
        {"groups": frozenset({"guests"})},
        True,
    ),
    "subject.groups, known": ("context has subject && context.subject has groups", {"groups": None}, True),
    "subject.groups, of a named person": (
        'MCP::User::"user:7f3a" has groups && MCP::User::"user:7f3a".groups.contains("staff")',
        {"subject": "user:1"},
        True,
    ),
    "actor": ('context has actor && context.actor == "calendar-server"', {"actors": ("trip-planner",)}, True),
    "session": ('context has session && context.session == "s-1"', {"session": "s-2"}, True),
    "token.scopes": ('context.token.scopes.contains("calendar:all")', {"scopes": frozenset({"rooms:all"})}, True),
    "token.client_id": ('context.token.client_id == "trip-planner"', {"client_id": "clerk"}, True),
    "token.hop": ("context.token.hop < 2", {"hop": 2}, True),
    "token.tenant": (
        'context.token has tenant && context.token.tenant == MCP::Tenant::"acme"',
        {"tenant": "globex"},
        True,
    ),
    "token.auth_time": (
        f"context.token has auth_time && context.token.auth_time == {NOON_ISH - 10}",
        {"authentication": Authentication(NOON_ISH - 9, "gold")},
        True,
    ),
    "token.acr": (
        'context.token has acr && context.token.acr == "gold"',
        {"authentication": Authentication(NOON_ISH - 10, "silver")},
        True,
    ),
    "task": (f'{HAS_TASK}.id == "task-1"', {"task": replace(TASK, id="task-2")}, True),
    "task, there": ("context has task", {"task": None}, True),
    "task, approved": (f"{HAS_TASK}.approved", {"task": replace(TASK, approved_at=None)}, True),
    "task, purpose": (
        f'{HAS_TASK} has purpose && context.task.purpose == "plan"',
        {"task": replace(TASK, purpose="pay")},
        True,
    ),
    "task, calls": (
        f"{HAS_TASK} has max_calls && context.task.max_calls == 5",
        {"task": replace(TASK, limits=TaskLimits(calls=6, writes=1))},
        True,
    ),
    "task, writes": (
        f"{HAS_TASK} has max_writes && context.task.max_writes == 1",
        {"task": replace(TASK, limits=TaskLimits(calls=5))},
        True,
    ),
    "request.time": (f"context.request.time < {NOON_ISH + 1}", {"now": NOON_ISH + 1}, False),
    "request.hour": ("context.request.hour == 13", {"now": NOON_ISH + 1800}, True),
    "request.weekday": ("context.request.weekday == 3", {"now": NOON_ISH + 37_800}, True),
    "request.ip": (
        'context.request has ip && context.request.ip.isInRange(ip("192.0.2.0/24"))',
        {"ip": "192.0.3.1"},
        True,
    ),
    "request.revision": ('context.request.revision == "2026-07-28"', {"revision": "2025-11-25"}, True),
    "arguments": ("context.arguments has amount && context.arguments.amount == 5", {"arguments": {"amount": 6}}, True),
    "arguments, there": ("context.arguments has amount", {"arguments": {}}, True),
    "arguments, reckoned with": (
        "context.arguments has amount && context.arguments.amount + 1 == 6",
        {"arguments": {"amount": 6}},
        False,
    ),
    "the whole token": ("context has token && context.token.hop < 2", {"hop": 2}, True),
}
ACTORS = 'context.actors.contains("rogue")'


@cache
def _policy(condition: str, effect: str) -> Policy:
    """Under an id of its own: the engine's slices go by ids."""
    policy_id = "".join(each if each.isalnum() else "-" for each in condition)
    text = ACTORS if condition == "actors" else CONDITIONS[condition][0]
    source = f'@id("{effect}-{policy_id}") {effect} ({CALL}) when {{ {text} }};'
    return parse_policies({"p.cedar": source}).policies[0]


def test_every_fact_is_among_the_conditions() -> None:
    """What the context tells is tried below, path by path; only a forbid may read `actors`."""
    assert {*CONTEXT_FACTS, GROUPS} == {each.partition(",")[0] for each in CONDITIONS} - {
        "arguments",
        "the whole token",
    } | {"actors"}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_kept_decision_is_for_its_question_alone(condition: str) -> None:
    """What the policy reads makes another question of it, whichever comes first; and what it does not read, none."""
    _, change, is_kept = CONDITIONS[condition]
    engine = PolicyEngine(PolicySet((_policy(condition, "permit"),), "v"), REGISTRY)
    changed = replace(USUAL, **change)
    for _ in range(2):
        assert isinstance(engine.decide(USUAL), Allow)
        assert isinstance(engine.decide(changed), Deny)
        assert engine.may_permit(USUAL)
        assert engine.may_permit(changed) is ("arguments" in change)
    assert (engine.decide(USUAL) is engine.decide(replace(USUAL))) is is_kept


_PASSING = {GROUPS, "request.time", "request.hour", "request.weekday"}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_lasting_decision_follows_from_nothing_that_goes_by(condition: str) -> None:
    """Where groups or the time are read no decision lasts; elsewhere one is found again, by its arguments alone."""
    _, change, is_kept = CONDITIONS[condition]
    engine = PolicyEngine(PolicySet((_policy(condition, "permit"),), "v"), REGISTRY)
    lasting = engine.lasting(USUAL)
    if condition.partition(",")[0] in _PASSING:
        assert lasting is None
        return
    assert lasting is not None
    decision = engine.decide(USUAL)
    assert isinstance(decision, Allow)
    assert lasting.find(USUAL.arguments) is None
    assert lasting.keep(USUAL.arguments, decision)
    assert engine.again(lasting, USUAL.arguments) is (decision if is_kept else None)
    if "arguments" in change:
        assert engine.again(lasting, change["arguments"]) is None


def test_a_lasting_decision_is_for_the_client_that_asked() -> None:
    """Once its client is another, nothing is found and nothing is taken in, also when the client is back."""
    clients = dict(REGISTRY.clients)
    engine = PolicyEngine(parse_policies({"p.cedar": PERMIT_ALL}), replace(REGISTRY, clients=clients))
    lasting, ours = engine.lasting(USUAL), clients["trip-planner"]
    assert lasting is not None
    allow = Allow((), engine.version)
    clients["trip-planner"] = a_client("trip-planner", "finance")
    assert not lasting.keep({}, allow)
    clients["trip-planner"] = ours
    assert lasting.find({}) is None
    assert lasting.keep({}, allow)
    assert lasting.find({}) is not None
    clients["trip-planner"] = a_client("trip-planner", "finance")
    assert lasting.find({}) is None


_MUTATIONS: list[dict[str, Any]] = [
    *(change for _, change, _ in CONDITIONS.values()),
    {"actors": ("calendar-server", "rogue")},
    {"agent": "clerk"},
    {"agent": "stranger"},
    {"server": "bank"},
    {"target": Target(Action.CALL_TOOL, "get")},
    {"target": Target(Action.EXCHANGE)},
    {"ip": "::ffff:192.0.2.7"},
    {"ip": ""},
    {"now": NOON_ISH + 7 * 86_400},
]


@given(
    chosen=st.lists(
        st.tuples(st.sampled_from([*CONDITIONS, "actors"]), st.sampled_from(["permit", "forbid"])), max_size=4
    ),
    stream=st.lists(st.lists(st.sampled_from(_MUTATIONS), max_size=2), min_size=2, max_size=10),
)
def test_kept_and_unkept_decisions_agree(chosen: list[tuple[str, str]], stream: list[list[dict[str, Any]]]) -> None:
    """One engine that keeps, asked a row of questions, answers each as if it were the first, of the whole context."""
    picked = dict(chosen)
    policies = tuple(_policy(name, "forbid" if name == "actors" else effect) for name, effect in picked.items())
    policy_set = PolicySet(policies, "v")
    engine, unkept = PolicyEngine(policy_set, REGISTRY), UnkeptPolicy(policy_set, REGISTRY)
    for mutations in stream:
        question = USUAL
        for each in mutations:
            question = replace(question, **each)
        decision, expected = engine.decide(question), unkept.decide(question)
        if isinstance(expected, Deny) and expected.failed:
            assert Outcome.of(decision) is Outcome.ERROR
        else:
            assert decision == expected
            assert engine.may_permit(question) or isinstance(decision, Deny)


def test_another_tool_server_agent_or_action_is_another_question() -> None:
    """Where nothing of the context is read, a kept yes is still for one agent and one thing."""
    engine = an_engine(
        '@id("p") permit (principal == MCP::Agent::"trip-planner", action == MCP::Action::"call_tool",'
        ' resource == MCP::Tool::"calendar/pay");'
    )
    assert isinstance(engine.decide(USUAL), Allow)
    others: list[dict[str, Any]] = [
        {"agent": "clerk"},
        {"server": "rooms"},
        {"target": Target(Action.CALL_TOOL, "pay2")},
        {"target": Target(Action.GET_PROMPT, "pay")},
        {"target": Target(Action.READ_RESOURCE, "pay")},
    ]
    for other in others:
        assert isinstance(engine.decide(replace(USUAL, **other)), Deny), other
        assert not engine.may_permit(replace(USUAL, **other)), other
    assert isinstance(engine.decide(USUAL), Allow)


def test_a_client_of_another_owner_is_another_agent() -> None:
    """A client that changes hands, or becomes known, while the policies stay is not taken for what it was."""
    clients = dict(REGISTRY.clients)
    policies = parse_policies(
        {"p.cedar": f'@id("p") permit ({CALL}) when {{ principal.owner == MCP::Owner::"travel-team" }};'}
    )
    engine = PolicyEngine(policies, replace(REGISTRY, clients=clients))
    assert isinstance(engine.decide(USUAL), Allow)
    clients["trip-planner"] = a_client("trip-planner", "finance")
    assert isinstance(engine.decide(USUAL), Deny)
    del clients["trip-planner"]
    assert Outcome.of(engine.decide(USUAL)) is Outcome.ERROR


def test_a_failure_is_never_kept() -> None:
    """What could not be evaluated is tried again each time; what could is not."""
    engine = an_engine(f'@id("p") permit ({CALL}) when {{ principal.owner == MCP::Owner::"travel-team" }};')
    stranger = replace(USUAL, agent="stranger")
    first, second = engine.decide(stranger), engine.decide(stranger)
    assert Outcome.of(first) is Outcome.of(second) is Outcome.ERROR
    assert first is not second
    assert engine.decide(USUAL) is engine.decide(USUAL)


def test_an_address_that_is_none_refuses_beside_a_kept_yes() -> None:
    """The address is looked at on every call, whether or not a policy reads it."""
    engine = an_engine(PERMIT_ALL)
    assert isinstance(engine.decide(USUAL), Allow)
    for address in ("not an address", "x" * 500):
        assert Outcome.of(engine.decide(replace(USUAL, ip=address))) is Outcome.ERROR
        assert not engine.may_permit(replace(USUAL, ip=address))


def test_an_approval_is_wanted_each_time() -> None:
    """What is kept is that a person must say yes, never that one did."""
    engine = an_engine(f'@id("ask") @approval("owner") permit ({CALL});')
    assert engine.decide(USUAL) == engine.decide(USUAL) == NeedsApproval(("ask",), engine.version, ("ask",))


def test_only_a_person_is_told_to_sign_in() -> None:
    """Whether a sign-in would open the way hangs on the subject, though no policy reads it."""
    engine = an_engine(
        PERMIT_ALL,
        '@id("gold") @authentication("acr_values=platinum") forbid (principal, action, resource)'
        ' unless { context.token has acr && context.token.acr == "platinum" };',
    )
    wanted = AuthenticationWanted(None, ("platinum",))
    for _ in range(2):
        assert engine.decide(USUAL) == Deny(("gold",), engine.version, wanted=wanted)
        assert engine.decide(replace(USUAL, subject=None)) == Deny(("gold",), engine.version)


def test_memory_is_bounded() -> None:
    """Beyond the bound what was kept is forgotten, and worked out anew; long names are not kept at all."""
    policies = parse_policies({"p.cedar": f'@id("p") permit ({CALL}) when {{ context has session }};'})
    engine = PolicyEngine(policies, REGISTRY, most_kept=3)
    first = engine.decide(USUAL)
    for number in range(3):
        assert engine.decide(USUAL) is first
        engine.decide(replace(USUAL, session=f"other {number}"))
    assert engine.decide(USUAL) is not first
    long = replace(USUAL, session="s" * 300)
    assert engine.decide(long) is not engine.decide(long)


def test_no_more_things_are_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers choose the URIs that they ask for, and each is held with its entities: their number has its own bound."""
    monkeypatch.setattr(engine_module, "_MOST_CASES", 3)
    engine = an_engine('@id("p") permit (principal, action, resource);')
    asked = [replace(USUAL, target=Target(Action.READ_RESOURCE, f"note://{number}")) for number in range(4)]
    first = engine.decide(asked[0])
    for question in asked[:3]:
        engine.decide(question)
    assert engine.decide(asked[0]) is first
    engine.decide(asked[3])
    assert engine.decide(asked[0]) is not first


def test_what_is_not_understood_is_not_kept() -> None:
    """A policy that uses the context whole, which none that loads does, is shown everything, and decided each time."""
    source = "permit (principal, action, resource) when { context == {} };"
    tree = cedarpy.policies_to_pst(source).static_policies["policy0"]
    needs = needs_of([replace(_policy("token.hop", "permit"), tree=tree)])
    assert (needs.paths, needs.groups, needs.key_of) == (tuple(CONTEXT_FACTS), True, None)


def _asked_in_turn(engine: PolicyEngine, *questions: Question) -> list[bool]:
    return [isinstance(engine.decide(each), Allow) for each in questions]


def test_an_odd_task_or_number_is_not_taken_for_another() -> None:
    """No limit is not a limit of nought, and no time of sign-in is not the epoch."""
    engine = an_engine(f'@id("p") permit ({CALL}) when {{ {HAS_TASK} has max_writes && context.token has auth_time }};')
    none = replace(USUAL, task=replace(TASK, limits=TaskLimits()))
    nought = replace(USUAL, task=replace(TASK, limits=TaskLimits(writes=0)))
    unknown = replace(USUAL, authentication=Authentication())
    epoch = replace(USUAL, authentication=Authentication(0))
    assert _asked_in_turn(engine, none, nought, unknown, epoch) == [False, True, False, True]
