"""The policy engine: what is decided, and that unsure means no."""

from __future__ import annotations

import contextlib
from typing import Any

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.core.call import Action
from perhop.core.decision import Allow, Deny, NeedsApproval
from perhop.errors import PolicyError
from perhop.policy.engine import PolicyEngine, evaluate
from perhop.policy.policy_set import PolicySet, parse_policies
from perhop.policy.slices import handle_of
from tests.support.policies import PERMIT_ALL, REGISTRY, a_question, an_engine

PERMIT_NEEDED = [Action.CALL_TOOL, Action.GET_PROMPT, Action.READ_RESOURCE]
FORBID_ONLY = [Action.LIST, Action.ISSUE, Action.EXCHANGE]
FORBID_ALL = '@id("none") forbid (principal, action, resource);'
CALLS = 'action in [MCP::Action::"call_tool", MCP::Action::"get_prompt", MCP::Action::"read_resource"]'


@pytest.mark.parametrize("action", PERMIT_NEEDED)
def test_without_a_permit_a_call_is_denied(action: Action) -> None:
    """Tools, prompts and resources are denied by default, and that is no failure."""
    decision = an_engine().decide(a_question(action))
    assert isinstance(decision, Deny)
    assert (decision.policies, decision.failed) == ((), False)


@pytest.mark.parametrize("action", FORBID_ONLY)
def test_without_a_forbid_the_other_actions_are_allowed(action: Action) -> None:
    """Listing, issue and exchange need no permit, and no policy is named for them."""
    engine = an_engine()
    assert engine.decide(a_question(action)) == Allow((), engine.version)
    engine = an_engine(PERMIT_ALL)
    assert engine.decide(a_question(action)) == Allow((), engine.version)


@pytest.mark.parametrize("action", [*PERMIT_NEEDED, *FORBID_ONLY])
def test_a_forbid_wins_over_a_permit(action: Action) -> None:
    """A satisfied forbid denies every action and is named."""
    engine = an_engine(PERMIT_ALL, FORBID_ALL)
    assert engine.decide(a_question(action)) == Deny(("none",), engine.version)


ASKING = '@id("asking") @approval("owner") permit (principal, action, resource in MCP::Server::"calendar");'
SMALL = (
    '@id("small") @approval("owner") permit (principal, action == MCP::Action::"call_tool", resource)'
    " when { context.arguments has amount && context.arguments.amount <= 5 };"
)


@pytest.mark.parametrize("action", PERMIT_NEEDED)
def test_one_satisfied_permit_that_wants_an_approval_is_enough(action: Action) -> None:
    """Whatever others permit beside it; all are named, and those that ask apart."""
    engine = an_engine(PERMIT_ALL, ASKING)
    assert engine.decide(a_question(action)) == NeedsApproval(("all", "asking"), engine.version, ("asking",))
    assert engine.decide(a_question(action, server="rooms")) == Allow(("all",), engine.version)


@pytest.mark.parametrize("action", FORBID_ONLY)
def test_what_needs_no_permit_needs_no_approval(action: Action) -> None:
    """Nobody is asked about a list or a token."""
    engine = an_engine(ASKING)
    assert engine.decide(a_question(action)) == Allow((), engine.version)


def test_a_no_is_no_question_to_a_person() -> None:
    """Neither a forbid nor an error beside the permit becomes an approval, and an unsatisfied one asks for none."""
    engine = an_engine(ASKING, FORBID_ALL)
    assert engine.decide(a_question()) == Deny(("none",), engine.version)
    engine = an_engine(PERMIT_ALL, SMALL)
    assert engine.decide(a_question(arguments={"amount": 6})) == Allow(("all",), engine.version)
    needed = NeedsApproval(("all", "small"), engine.version, ("small",))
    assert engine.decide(a_question(arguments={"amount": 5})) == needed
    failed = engine.decide(a_question(arguments={"amount": "5"}))
    assert isinstance(failed, Deny)
    assert (failed.failed, failed.policies) == (True, ("small",))


def test_a_list_shows_what_waits_for_an_approval() -> None:
    """An approval could let it pass, so it is not hidden."""
    assert an_engine(SMALL).may_permit(a_question())
    assert not an_engine(SMALL, FORBID_ALL).may_permit(a_question())


@pytest.mark.parametrize("action", PERMIT_NEEDED)
def test_every_satisfied_permit_is_named(action: Action) -> None:
    """The decision names the `@id` of each permit that is satisfied, and of no other."""
    engine = an_engine(
        PERMIT_ALL,
        '@id("mine") permit (principal == MCP::Agent::"trip-planner", action, resource);',
        '@id("theirs") permit (principal == MCP::Agent::"clerk", action, resource);',
    )
    assert engine.decide(a_question(action)) == Allow(("all", "mine"), engine.version)


@pytest.mark.parametrize("action", [*PERMIT_NEEDED, *FORBID_ONLY])
def test_a_forbid_that_cannot_be_evaluated_refuses(action: Action) -> None:
    """A forbid that asks an agent unknown to the registry for its owner refuses, though Cedar itself says Allow."""
    engine = an_engine(
        PERMIT_ALL,
        '@id("by-owner") forbid (principal, action, resource) when { principal.owner == MCP::Owner::"finance" };',
    )
    stranger = a_question(action, agent="stranger")
    case = engine.case(stranger)
    raw = cedarpy.is_authorized(
        {
            "principal": {"type": "MCP::Agent", "id": "stranger"},
            "action": {"type": "MCP::Action", "id": action.value},
            "resource": {"type": str(case.scene.resource.type), "id": case.scene.resource.id},
            "context": {},
        },
        case.slice.exact,
        case.entities,
    )
    assert raw.allowed
    decision = engine.decide(stranger)
    assert isinstance(decision, Deny)
    assert decision.failed
    assert decision.policies == ("by-owner",)


def test_a_permit_that_cannot_be_evaluated_refuses_beside_one_that_is_satisfied() -> None:
    """One permit suffices for Cedar; for us the failure of another refuses."""
    engine = an_engine(
        PERMIT_ALL,
        '@id("by-owner") permit (principal, action, resource) when { principal.owner == MCP::Owner::"finance" };',
    )
    decision = engine.decide(a_question(agent="stranger"))
    assert isinstance(decision, Deny)
    assert decision.failed


def test_arithmetic_overflow_refuses_and_keeps_the_value_out_of_the_detail() -> None:
    """A sum that overflows refuses the call; the argument's value does not come out of the engine."""
    engine = an_engine(
        PERMIT_ALL,
        f'@id("sum") forbid (principal, {CALLS}, resource)'
        " when { context.arguments has n && context.arguments.n + 1 > 10 };",
    )
    decision = engine.decide(a_question(arguments={"n": 2**63 - 1}))
    assert isinstance(decision, Deny)
    assert decision.failed
    assert str(2**63 - 1) not in decision.detail


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, [600], {"n": 600}, 600.5, None, "600", True])
def test_a_value_that_policy_cannot_judge_does_not_slip_past_a_forbid(value: Any) -> None:
    """An amount that is no 64-bit integer refuses the call on which a policy reads the amount."""
    engine = an_engine(
        PERMIT_ALL,
        '@id("small") forbid (principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"bank/pay")'
        " when { context.arguments has amount && context.arguments.amount == 600 };",
    )
    decision = engine.decide(a_question(name="pay", server="bank", arguments={"amount": value}))
    assert isinstance(decision, Deny)
    assert (decision.policies, decision.failed) == (("small",), True)
    assert isinstance(engine.decide(a_question(name="other", server="bank", arguments={"amount": value})), Allow)
    assert isinstance(engine.decide(a_question(name="pay", server="bank", arguments={"amount": 5})), Allow)


def test_a_forbid_may_ask_for_the_presence_of_what_it_cannot_read() -> None:
    """Presence of an array is a fact for a forbid; a permit must not rest on it."""
    engine = an_engine(
        PERMIT_ALL, '@id("no-files") forbid (principal, action, resource) when { context.arguments has files };'
    )
    assert engine.decide(a_question(arguments={"files": None})) == Deny(("no-files",), engine.version)
    assert isinstance(engine.decide(a_question()), Allow)
    engine = an_engine('@id("dry") permit (principal, action, resource) when { context.arguments has dry_run };')
    decision = engine.decide(a_question(arguments={"dry_run": None}))
    assert isinstance(decision, Deny)
    assert decision.failed


CONDITIONS = {
    "the person": ('context has subject && context.subject == MCP::User::"user:7f3a"', {"subject": "user:1"}),
    "no person": ("context has subject", {"subject": None}),
    "the outermost actor": ('context has actor && context.actor == "calendar-server"', {"actors": ("rooms-server",)}),
    "a scope": ('context.token.scopes.contains("calendar:all")', {"scopes": frozenset({"calendar:read"})}),
    "the presenter": ('context.token.client_id == "trip-planner"', {"client_id": "clerk"}),
    "the hop": ("context.token.hop < 2", {"hop": 2}),
    "the token's tenant": ('context.token has tenant && context.token.tenant == MCP::Tenant::"acme"', {"tenant": None}),
    "the time": ("context.request.time < 1785331801", {"now": 1785331801}),
    "the hour": ("context.request.hour == 13", {"now": 1785331800 - 3600}),
    "the weekday": ("context.request.weekday == 3", {"now": 1785331800 + 86400}),
    "the address": ('context.request has ip && context.request.ip.isInRange(ip("192.0.2.0/24"))', {"ip": "10.0.0.1"}),
    "no address": ("context.request has ip", {"ip": ""}),
    "the revision": ('context.request.revision == "2026-07-28"', {"revision": ""}),
    "the session": ('context has session && context.session == "s-1"', {"session": ""}),
    "the agent's owner": ('principal.owner == MCP::Owner::"travel-team"', {"agent": "clerk"}),
    "the agent's team": ('principal in MCP::Owner::"travel-team"', {"agent": "clerk"}),
    "the server": ('resource in MCP::Server::"calendar"', {"server": "rooms"}),
    "the server's owner": ('resource.server.owner == MCP::Owner::"travel-team"', {"server": "bank"}),
    "the server's team": ('resource in MCP::Owner::"travel-team"', {"server": "bank"}),
    "the server's tenant": ('resource in MCP::Tenant::"acme"', {"server": "rooms"}),
    "the risk": ('resource.server.risk == "medium"', {"server": "bank"}),
    "an argument": ('context.arguments has title && context.arguments.title like "x*"', {"arguments": {"title": "y"}}),
}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_what_a_policy_can_ask(condition: str) -> None:
    """Each word of the vocabulary tells one question from another that differs in just that."""
    text, change = CONDITIONS[condition]
    engine = an_engine(f'@id("p") permit (principal, action == MCP::Action::"call_tool", resource) when {{ {text} }};')
    asked = a_question(actors=("calendar-server", "trip-planner"), arguments={"title": "xy"})
    assert engine.decide(asked) == Allow(("p",), engine.version)
    changed = {field: getattr(asked, field) for field in ("actors", "arguments")} | change
    assert engine.decide(a_question(**changed)) == Deny((), engine.version, detail="no policy permits it")


def test_a_forbid_reads_the_whole_chain_of_actors() -> None:
    """An actor deep in the chain is seen by a forbid."""
    engine = an_engine(
        PERMIT_ALL, '@id("x") forbid (principal, action, resource) when { context.actors.contains("rogue") };'
    )
    assert engine.decide(a_question(actors=("a", "b", "rogue"))) == Deny(("x",), engine.version)
    assert isinstance(engine.decide(a_question(actors=("a", "b"))), Allow)


def test_the_name_of_a_tool_or_a_uri_can_be_matched_by_pattern() -> None:
    """`resource.name` and `resource.uri` are the names without their server."""
    engine = an_engine(
        '@id("t") permit (principal, action == MCP::Action::"call_tool", resource)'
        ' when { resource.name like "get_*" };',
        '@id("r") permit (principal, action == MCP::Action::"read_resource", resource)'
        ' when { resource.uri like "file:///public/*" };',
    )
    assert isinstance(engine.decide(a_question(name="get_event")), Allow)
    assert isinstance(engine.decide(a_question(name="forget_event")), Deny)
    assert isinstance(engine.decide(a_question(Action.READ_RESOURCE, "file:///public/a")), Allow)
    assert isinstance(engine.decide(a_question(Action.READ_RESOURCE, "file:///private/a")), Deny)


@pytest.mark.parametrize(
    "head",
    [
        'principal in MCP::Agent::"trip-planner", action, resource',
        'principal, action in MCP::Action::"call_tool", resource',
        'principal, action, resource in MCP::Tool::"calendar/create_event"',
        'principal is MCP::Agent in MCP::Owner::"travel-team", action, resource is MCP::Tool in MCP::Tenant::"acme"',
    ],
)
def test_everything_is_in_itself_and_in_what_holds_it(head: str) -> None:
    """Cedar's `in` includes the thing itself, and goes up as far as it goes."""
    engine = an_engine(f'@id("p") permit ({head});')
    assert engine.decide(a_question()) == Allow(("p",), engine.version)


NARROW = (
    '@id("one") permit (principal == MCP::Agent::"trip-planner", action == MCP::Action::"call_tool",'
    ' resource == MCP::Tool::"calendar/create_event");'
)
HOSTILE = [
    'create_event"',
    'create_event" || true || "',
    'x", resource == MCP::Tool::"calendar/create_event',
    "calendar/create_event",
    "create_event::",
    "create_event\n",
    "create_event\x00",
    "create_event\\",
    "Create_event",
    "create_event ",
    "create_event\u0301",
    "",
    "\ud800",
    "x" * 100_000,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_only_a_name(name: str) -> None:
    """No tool name, agent or server with quotes, `::`, controls or lone surrogates is taken for another."""
    engine = an_engine(NARROW)
    assert isinstance(engine.decide(a_question()), Allow)
    assert isinstance(engine.decide(a_question(name=name)), Deny)
    assert isinstance(engine.decide(a_question(agent=name)), Deny)
    assert isinstance(engine.decide(a_question(server=name)), Deny)
    assert engine.may_permit(a_question(name=name)) is False


def test_a_server_and_a_tool_do_not_borrow_from_each_other() -> None:
    """A tool `rooms/x` of server `calendar` is not tool `x` of `rooms`, though a slash stands in both."""
    engine = an_engine('@id("r") permit (principal, action, resource in MCP::Server::"rooms");')
    assert isinstance(engine.decide(a_question(name="x", server="rooms")), Allow)
    assert isinstance(engine.decide(a_question(name="rooms/x")), Deny)


@pytest.mark.parametrize("name", ["ereignis_löschen", "创建事件", "событие", "🗓️"])
def test_names_of_every_script_are_matched(name: str) -> None:
    """A policy can name a tool of any script."""
    engine = an_engine(f'@id("u") permit (principal, action, resource == MCP::Tool::"calendar/{name}");')
    assert isinstance(engine.decide(a_question(name=name)), Allow)
    assert isinstance(engine.decide(a_question(name=name + "x")), Deny)


@pytest.mark.parametrize("name", ["__entity", "__extn", "__expr", "type", "id", "arguments", 'a"b', "", "🗓️"])
def test_an_argument_of_any_name_does_no_harm(name: str) -> None:
    """An argument that no policy asks for is not put before Cedar, whatever it is called and holds."""
    engine = an_engine(PERMIT_ALL)
    assert isinstance(engine.decide(a_question(arguments={name: "x"})), Allow)
    assert isinstance(engine.decide(a_question(arguments={name: {"type": "MCP::User", "id": "root"}})), Allow)


@pytest.mark.parametrize(
    ("ip", "inside"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("11.1.2.3", False),
        ("fe80::1%eth0", False),
        ("2001:db8::1", False),
    ],
)
def test_an_address_is_compared_in_one_spelling(ip: str, inside: bool) -> None:
    """IPv4 inside IPv6 is IPv4, a zone is dropped, and neither fails."""
    engine = an_engine(
        PERMIT_ALL,
        '@id("inside") forbid (principal, action, resource)'
        ' when { context.request has ip && context.request.ip.isInRange(ip("10.0.0.0/8")) };',
    )
    expected = Deny(("inside",), engine.version) if inside else Allow(("all",), engine.version)
    assert engine.decide(a_question(ip=ip)) == expected


def test_an_address_that_is_none_refuses() -> None:
    """What cannot be put to Cedar is refused, never raised."""
    decision = an_engine(PERMIT_ALL).decide(a_question(ip="not an address"))
    assert isinstance(decision, Deny)
    assert decision.failed


def test_a_thousand_policies_leave_a_small_slice() -> None:
    """Only the policies whose head fits the question are put to Cedar, and the answer is right."""
    many = "\n".join(
        f'@id("p{index}") permit (principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"s{index}/t");'
        for index in range(1000)
    )
    engine = an_engine(many, '@id("global") forbid (principal, action, resource) when { context.token.hop > 3 };')
    hit = a_question(name="t", server="s500")
    assert engine.decide(hit) == Allow(("p500",), engine.version)
    assert set(engine.case(hit).slice.policies) == {"p500", "global"}
    assert engine.decide(a_question(name="t", server="s500", hop=4)) == Deny(("global",), engine.version)


def test_what_does_not_change_is_made_once_and_long_names_are_not_kept() -> None:
    """Entities and slices are kept for the next call, but a caller cannot fill memory with names of its making."""
    engine = an_engine(PERMIT_ALL)
    assert engine.case(a_question()) is engine.case(a_question(arguments={"x": 1}))
    assert engine.case(a_question()).slice is engine.case(a_question(name="other")).slice
    long = a_question(name="x" * 1000)
    assert engine.case(long) is not engine.case(long)


_principals = st.sampled_from(
    [
        "principal",
        'principal == MCP::Agent::"trip-planner"',
        'principal == MCP::Agent::"clerk"',
        'principal in MCP::Owner::"finance"',
        "principal is MCP::Agent",
        'principal is MCP::Agent in MCP::Owner::"travel-team"',
        'principal in MCP::Agent::"clerk"',
    ]
)
_actions = st.sampled_from(
    [
        "action",
        'action == MCP::Action::"call_tool"',
        'action in [MCP::Action::"call_tool", MCP::Action::"list"]',
        'action in MCP::Action::"list"',
    ]
)
_resources = st.sampled_from(
    [
        "resource",
        'resource == MCP::Tool::"bank/pay"',
        'resource in MCP::Server::"bank"',
        'resource in MCP::Tenant::"acme"',
        'resource in MCP::Owner::"finance"',
        "resource is MCP::Tool",
        'resource is MCP::Tool in MCP::Server::"calendar"',
        "resource is MCP::Server",
        'resource == MCP::Server::"bank"',
        'resource in MCP::Tool::"calendar/read"',
    ]
)
_heads = st.tuples(st.sampled_from(["permit", "forbid"]), _principals, _actions, _resources)


@given(heads=st.lists(_heads, max_size=6), data=st.data())
def test_slicing_changes_no_answer(heads: list[tuple[str, str, str, str]], data: st.DataObject) -> None:
    """Cedar says the same of the slice as of all policies."""
    policies = []
    for index, (effect, principal, action, resource) in enumerate(heads):
        text = f'@id("p{index}") {effect} ({principal}, {action}, {resource});'
        with contextlib.suppress(PolicyError):  # some heads can never fit
            policies.extend(parse_policies({"p.cedar": text}).policies)
    engine = PolicyEngine(PolicySet(tuple(policies), "v"), REGISTRY)
    question = a_question(
        data.draw(st.sampled_from([Action.CALL_TOOL, Action.LIST, Action.READ_RESOURCE])),
        data.draw(st.sampled_from(["pay", "read"])),
        agent=data.draw(st.sampled_from(["trip-planner", "clerk", "stranger"])),
        server=data.draw(st.sampled_from(["bank", "calendar", "nowhere"])),
    )
    case = engine.case(question)
    assert evaluate(case, case.slice.exact, {}) == evaluate(case, handle_of(each.tree for each in policies), {})
