"""Records as questions: what a record says is asked again, and what it does not say is never guessed."""

from __future__ import annotations

from typing import Any

import pytest

from perhop.core.authentication import Authentication
from perhop.core.call import Action, Target
from perhop.policy.arguments import type_arguments
from perhop.policy.outcome import Outcome
from perhop.policy.paths import FACTS, all_under, context_paths
from perhop.policy.policy_set import parse_policies
from perhop.policy.recorded import Recorded, Unknown, parse_decision, target_of, written_arguments
from perhop.rules.mcp_methods import NOTIFICATIONS, REQUESTS
from tests.support.policies import NOON_ISH, REGISTRY

EMPTY = "mac-of-nothing"


def a_record(**changes: Any) -> dict[str, Any]:
    """A permit of the planner's second hop, but for what is changed; None takes a member out."""
    usual: dict[str, Any] = {
        "event": "call.permitted",
        "time": "2026-07-29T13:30:00.123456Z",
        "txn": "t",
        "hop": 4,
        "in": {
            "tenant": "acme",
            "jti": "j",
            "sub": "user:7f3a",
            "agent": "trip-planner",
            "client_id": "clerk",
            "act": {"sub": "clerk", "act": {"sub": "gateway:calendar"}},
            "scope": "a b",
            "auth_time": 1785331000,
            "acr": "gold",
        },
        "out": {"jti": "k"},
        "call": {
            "id": "c",
            "method": "tools/call",
            "name": "create_event",
            "arguments_mac": "m",
            "revision": "2025-11-25",
        },
        "decision": {"effect": "permit", "policies": ["all"], "policy_version": "v"},
        "request": {"ip": "192.0.2.7", "session": "s"},
        "resource": "calendar",
    }
    return {name: value for name, value in (usual | changes).items() if value is not None}


def parsed(**changes: Any) -> Recorded | Unknown | None:
    """This record as a question."""
    return parse_decision(a_record(**changes), REGISTRY, empty_mac=EMPTY)


def test_every_fact_of_a_record_is_asked_again() -> None:
    """Nothing but the arguments is lost; the hop is that of the token that came in."""
    recorded = parsed()
    assert isinstance(recorded, Recorded)
    asked = recorded.question
    assert (asked.target, asked.agent, asked.server) == (
        Target(Action.CALL_TOOL, "create_event"),
        "trip-planner",
        "calendar",
    )
    assert (asked.subject, asked.client_id, asked.actors) == ("user:7f3a", "clerk", ("clerk", "gateway:calendar"))
    assert (asked.scopes, asked.hop, asked.now, asked.tenant) == ({"a", "b"}, 3, NOON_ISH, "acme")
    assert (asked.ip, asked.session, asked.revision) == ("192.0.2.7", "s", "2025-11-25")
    assert asked.authentication == Authentication(1785331000, "gold")
    assert (recorded.outcome, recorded.known, recorded.asks_anew) == (Outcome.PERMIT, frozenset(), True)


def test_without_a_token_going_out_the_hop_is_as_recorded() -> None:
    """A refusal has no token that goes out, and neither has an upstream that takes none."""
    recorded = parsed(out=None, event="call.refused", hop=3)
    assert isinstance(recorded, Recorded)
    assert (recorded.question.hop, recorded.outcome) == (3, Outcome.DENY)


@pytest.mark.parametrize(
    ("event", "effect", "reason"),
    [
        ("call.permitted", "permit", None),
        ("call.refused", "deny", "approval.required"),
        ("call.refused", "deny", "policy.denied"),
    ],
)
def test_policy_wanted_an_approval_whatever_came_of_it(event: str, effect: str, reason: str | None) -> None:
    """A call that passed by one, that waits for one, and that a person denied: policy said the same of all three."""
    decision = {"effect": effect, "policies": ["all"], "policy_version": "v", "approval": "a-1"}
    recorded = parsed(event=event, reason=reason, decision=decision)
    assert isinstance(recorded, Recorded)
    assert recorded.outcome is Outcome.APPROVAL


@pytest.mark.parametrize("method", ["tasks/get", "tasks/result", "tasks/cancel"])
def test_looking_after_a_call_asks_for_no_approval(method: str) -> None:
    """It passed by that of the call that had opened the task."""
    recorded = parsed(call={"method": method, "name": "create_event"})
    assert isinstance(recorded, Recorded)
    assert not recorded.asks_anew


def test_a_client_of_its_own_is_no_person() -> None:
    """Only `user:` is a subject for policy."""
    recorded = parsed(**{"in": {**a_record()["in"], "sub": "trip-planner", "act": None}})
    assert isinstance(recorded, Recorded)
    assert (recorded.question.subject, recorded.question.actors) == (None, ())


@pytest.mark.parametrize(
    ("call", "arguments", "known"),
    [
        ({"method": "tools/call", "name": "x", "arguments_mac": "m"}, {}, frozenset()),
        ({"method": "tools/call", "name": "x"}, {}, frozenset()),
        ({"method": "tools/call", "name": "x", "arguments_mac": EMPTY}, {}, None),
        ({"method": "prompts/get", "name": "x", "arguments_mac": EMPTY}, {}, None),
        ({"method": "resources/read", "name": "x"}, {}, None),
        ({"method": "tools/list"}, {}, None),
        ({"method": "tasks/get", "name": "x"}, {}, frozenset()),
        (
            {"method": "tools/call", "name": "x", "arguments": {"a": 1, "b": None, "c": {}, "d": "t"}},
            {"a": 1, "c": None, "d": "t"},
            frozenset("abcd"),
        ),
    ],
)
def test_what_is_known_of_arguments(call: Any, arguments: Any, known: Any) -> None:
    """Those that were recorded, with those that were recorded as absent; all of them where there were none."""
    recorded = parsed(call=call)
    assert isinstance(recorded, Recorded)
    assert (recorded.question.arguments, recorded.known) == (arguments, known)


def test_a_journal_without_its_key_knows_no_empty_call() -> None:
    """Where the MAC of nothing is not known, a record without a MAC is not taken for a call without arguments."""
    call = {"method": "tools/call", "name": "x"}
    recorded = parse_decision(a_record(call=call), REGISTRY, empty_mac="")
    assert isinstance(recorded, Recorded)
    assert recorded.known == frozenset()


@pytest.mark.parametrize(
    "changes",
    [
        {"event": "call.ended"},
        {"event": "token.issued"},
        {"decision": None},
        {"call": {"method": "ping"}},
        {"call": {"method": "GET"}},
        {"call": {"method": "notifications/initialized"}},
    ],
)
def test_what_policy_was_not_asked_is_no_decision(changes: dict[str, Any]) -> None:
    """Outcomes, refusals before policy, handshakes and streams are left out."""
    assert parsed(**changes) is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"resource": "gone"}, "no resource `gone`"),
        ({"in": {**a_record()["in"], "agent": "gone"}}, "no client `gone`"),
        ({"in": {}}, "who called what"),
        ({"call": {"method": "tools/call"}}, "does not name"),
        ({"call": {"method": "subscriptions/listen"}}, "does not hold all"),
        ({"call": {"method": "completion/complete", "name": "x"}}, "does not hold all"),
        ({"time": "yesterday"}, "not as Perhop writes it"),
        ({"hop": None}, "not as Perhop writes it"),
        ({"in": {**a_record()["in"], "act": "clerk"}}, "not as Perhop writes it"),
    ],
)
def test_what_a_record_does_not_say_is_unknown(changes: dict[str, Any], why: str) -> None:
    """A decision that cannot be put again is told as such, with the cause."""
    recorded = parsed(**changes)
    assert isinstance(recorded, Unknown)
    assert why in recorded.why


@pytest.mark.parametrize("method", [*REQUESTS, *NOTIFICATIONS])
def test_every_method_asks_again_for_what_its_rule_says(method: str) -> None:
    """The table of methods and the reading of records agree, or the record is said not to suffice."""
    rule = (REQUESTS | NOTIFICATIONS)[method]
    params = {"name": "n", "uri": "n", "taskId": "n", "ref": {"type": "ref/prompt", "name": "n"}, "notifications": {}}
    targets, tasks = rule.targets(params), rule.tasks(params)
    found = target_of(method, "n")
    if not rule.is_told_by_headers and not tasks:
        assert isinstance(found, Unknown)
    elif tasks:
        assert found == Target(Action.CALL_TOOL, "n")
    else:
        assert found == (targets[0] if targets else None)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("t", "t"),
        (5, 5),
        (True, True),
        (None, None),
        ([1], {}),
        (0.5, {}),
        (2**63, {}),
        ("x" * 256, "x" * 256),
    ],
)
def test_an_argument_that_is_written_is_read_as_policy_saw_it(value: object, written: object) -> None:
    """Written down and read back, a value is to policy what it was."""
    seen = type_arguments(None, {"a": value})
    held = written_arguments(["a"], seen)
    assert held == {"a": written}
    recorded = parsed(call={"method": "tools/call", "name": "x", "arguments": held})
    assert isinstance(recorded, Recorded)
    assert recorded.question.arguments == seen
    assert recorded.known == {"a"}


def test_a_long_text_is_not_written() -> None:
    """It is as if its name were not listed; and what is not listed is never written."""
    assert written_arguments(["a", "b"], {"a": "x" * 257, "secret": "s"}) == {"b": None}


@pytest.mark.parametrize(
    ("condition", "paths"),
    [
        ("context.token.hop == 1", {"token.hop"}),
        ("context.token.scopes.contains(context.token.client_id)", {"token.scopes", "token.client_id"}),
        ("context has subject && context.subject == context.subject", {"subject"}),
        ("context.request has ip && context.request.ip.isLoopback()", {"request.ip"}),
        ("context.token has tenant && context.token.tenant in resource", {"token.tenant"}),
        ("context has arguments.a && context.arguments.a == 1", set()),
        ("context.token == context.token", {"token"}),
        ("context.token has tenant", {"token.tenant"}),
        ("context has request.ip", {"request", "request.ip"}),
        ("context has session", {"session"}),
        ("resource.name == principal.owner", set()),
    ],
)
def test_the_facts_that_a_policy_reads(condition: str, paths: set[str]) -> None:
    """Every read is found, the whole record where it is used whole, and no argument."""
    from cedarpy import policies_to_pst

    text = f'@id("x") forbid (principal, action, resource) when {{ {condition} }};'
    (tree,) = policies_to_pst(text).static_policies.values()
    assert context_paths(tree) == paths


def test_every_fact_of_the_schema_is_told_by_records() -> None:
    """A context attribute that no record tells is known as such."""
    text = (
        '@id("x") forbid (principal, action, resource) when { context.token == context.token'
        " && context.request == context.request && context has subject && context has actor && context has session"
        ' && context.actors.contains("a") };'
    )
    (policy,) = parse_policies({"a.cedar": text}).policies
    told = {fact for path in context_paths(policy.tree) for fact in all_under(path)}
    assert told == set(FACTS)
    assert all_under("nosuch") == all_under("token.nosuch") == frozenset()
