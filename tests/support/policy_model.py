"""A second opinion on decisions: our rules in plain Python, over a part of the policy language, without Cedar.

A policy is made up here as a value, written out as Cedar text for the engine, and judged here by what the guide says:
the head, then the conditions from left to right; a failure is a refusal, a forbid wins, three actions need a permit,
and one permit that wants an approval makes the call wait for a person.
"""

from __future__ import annotations

import ipaddress
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from perhop.core.call import Action, Target
from perhop.core.decision import Question
from perhop.core.task import Task, TaskLimits
from perhop.errors import PolicyError
from perhop.policy.policy_set import PolicySet, parse_policies
from tests.support.policies import NOON_ISH, REGISTRY

NEEDING_PERMIT = (Action.CALL_TOOL, Action.GET_PROMPT, Action.READ_RESOURCE)
ITEMS = {Action.CALL_TOOL: "Tool", Action.GET_PROMPT: "Prompt", Action.READ_RESOURCE: "Resource"}
AGENTS = ("trip-planner", "clerk", "stranger")
SERVERS = ("calendar", "rooms", "bank", "unknown")
NAMES = ("pay", "get_event", "get_all", "list_rooms", "odd\"name'*\\")
ARGUMENTS = {"amount": "Long", "note": "String", "loud": "Bool"}


class Failed(Exception):
    """The condition cannot be evaluated."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Cedar text, what it comes to, and the arguments that it asks for: True for those whose value it reads."""

    text: str
    holds: Callable[[Question], bool]
    arguments: dict[str, bool]


@dataclass(frozen=True, slots=True)
class ModelPolicy:
    """One policy: its head as text and as a test, and its conditions: `when` those that hold, `unless` the others."""

    id: str
    effect: Literal["permit", "forbid"]
    asks: bool
    head: str
    admits: Callable[[Question], bool]
    conditions: tuple[tuple[bool, Condition], ...]

    @property
    def text(self) -> str:
        clauses = "".join(f" {'when' if must else 'unless'} {{ {each.text} }}" for must, each in self.conditions)
        asks = '@approval("owner") ' if self.asks else ""
        return f'@id("{self.id}") {asks}{self.effect} ({self.head}){clauses};\n'

    @property
    def arguments(self) -> dict[str, bool]:
        found: dict[str, bool] = {}
        for _, condition in self.conditions:
            for name, reads in condition.arguments.items():
                found[name] = found.get(name, False) or reads
        return found


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is decided and by which; none where nothing permits. `asking` are those that want an approval."""

    outcome: Literal["permit", "approval", "deny", "error"]
    policies: tuple[str, ...]
    asking: tuple[str, ...] = ()


def judge(policies: tuple[ModelPolicy, ...], question: Question) -> Verdict:
    """The decision by our rules."""
    about = [each for each in policies if each.admits(question)]
    unjudged = [each.id for each in about if not all(_can_judge(each, name, question) for name in each.arguments)]
    if unjudged:
        return Verdict("error", tuple(sorted(unjudged)))
    satisfied: dict[str, list[str]] = {"permit": [], "forbid": []}
    failed: list[str] = []
    for policy in about:
        try:
            if all(condition.holds(question) is must for must, condition in policy.conditions):
                satisfied[policy.effect].append(policy.id)
        except Failed:
            failed.append(policy.id)
    if failed:
        return Verdict("error", tuple(sorted(failed)))
    if satisfied["forbid"]:
        return Verdict("deny", tuple(sorted(satisfied["forbid"])))
    if question.target.action not in NEEDING_PERMIT:
        return Verdict("permit", ())
    if not satisfied["permit"]:
        return Verdict("deny", ())
    asking = tuple(sorted(each.id for each in about if each.asks and each.id in satisfied["permit"]))
    return Verdict("approval" if asking else "permit", tuple(sorted(satisfied["permit"])), asking)


def _can_judge(policy: ModelPolicy, name: str, question: Question) -> bool:
    if name not in question.arguments:
        return True
    value = question.arguments[name]
    if not policy.arguments[name]:
        return policy.effect == "forbid" or value is not None
    wanted = {"Long": int, "String": str, "Bool": bool}[ARGUMENTS[name]]
    return type(value) is wanted


def make_set(chance: random.Random, size: int) -> tuple[tuple[ModelPolicy, ...], PolicySet]:
    """So many policies that load, as values and as the engine has them."""
    made: list[ModelPolicy] = []
    while len(made) < size:
        policy = _make_policy(chance, f"p{len(made)}")
        try:
            parse_policies({"one.cedar": policy.text})
        except PolicyError:
            # The schema has no call that this one could be about.
            continue
        made.append(policy)
    return tuple(made), parse_policies({"all.cedar": "".join(each.text for each in made)})


def make_question(chance: random.Random) -> Question:
    """A question about anything."""
    action = chance.choice([Action.CALL_TOOL] * 6 + list(Action))
    name = chance.choice(NAMES) if action in NEEDING_PERMIT else ""
    server = chance.choice(SERVERS)
    actors = tuple(chance.sample(["web-server", "calendar-server", "clerk"], chance.randrange(3)))
    return Question(
        target=Target(action, name),
        agent=chance.choice(AGENTS),
        server=server,
        subject=chance.choice([None, "user:1", "user:2"]),
        client_id=chance.choice(["trip-planner", "web-server"]),
        actors=actors,
        scopes=frozenset(chance.sample(["a", "b", "c"], chance.randrange(4))),
        hop=chance.randrange(1, 5),
        now=NOON_ISH + chance.randrange(14 * 86400),
        arguments={name: _value(chance) for name in ARGUMENTS if chance.random() < 0.5},
        tenant=resource.tenant if (resource := REGISTRY.resources.get(server)) is not None else None,
        ip=chance.choice(["", "192.0.2.7", "192.0.2.200", "2001:db8::1", "::ffff:192.0.2.7"]),
        revision=chance.choice(["", "2025-11-25"]),
        session=chance.choice(["", "s"]),
        task=_make_task(chance),
    )


def _make_task(chance: random.Random) -> Task | None:
    if chance.random() < 0.4:
        return None
    bounds = [None, 0, 1, 5, 6]
    return Task(
        id="task-1",
        client="trip-planner",
        purpose=chance.choice(["plan", "pay the rent"]),
        tools=(),
        limits=TaskLimits(calls=chance.choice(bounds), writes=chance.choice(bounds)),
        created_at=0,
        expires_at=1,
        approved_at=chance.choice([None, 0]),
    )


def _value(chance: random.Random) -> Any:
    return chance.choice([0, 1, 5, -3, 2**63 - 1, "", "ok", "a*b", "okay", True, False, None])


def _make_policy(chance: random.Random, policy_id: str) -> ModelPolicy:
    effect: Literal["permit", "forbid"] = "permit" if chance.random() < 0.55 else "forbid"
    principal, is_principal = _principal(chance)
    actions = chance.choice([(), *[(each,) for each in Action], NEEDING_PERMIT, (Action.CALL_TOOL,) * 1])
    action, is_action = _action(actions)
    resource, is_resource = _resource(chance, actions)
    conditions = tuple(
        (chance.random() < 0.7, _condition(chance, effect, actions, depth=chance.randrange(3)))
        for _ in range(chance.choice([0, 1, 1, 2]))
    )
    return ModelPolicy(
        id=policy_id,
        effect=effect,
        asks=effect == "permit" and chance.random() < 0.3,
        head=f"{principal}, {action}, {resource}",
        admits=lambda asked: is_principal(asked) and is_action(asked) and is_resource(asked),
        conditions=conditions,
    )


_Test = Callable[[Question], bool]


def _principal(chance: random.Random) -> tuple[str, _Test]:
    agent, owner = chance.choice(AGENTS), chance.choice(["travel-team", "finance"])
    options: list[tuple[str, _Test]] = [
        ("principal", lambda _: True),
        ("principal", lambda _: True),
        (f'principal == MCP::Agent::"{agent}"', lambda asked: asked.agent == agent),
        (f'principal in MCP::Owner::"{owner}"', lambda asked: _owner_of(asked) == owner),
        (f'principal is MCP::Agent in MCP::Owner::"{owner}"', lambda asked: _owner_of(asked) == owner),
    ]
    return chance.choice(options)


def _owner_of(asked: Question) -> str | None:
    client = REGISTRY.clients.get(asked.agent)
    return client.owner if client is not None else None


def _action(actions: tuple[Action, ...]) -> tuple[str, _Test]:
    if not actions:
        return "action", lambda _: True
    named = [f'MCP::Action::"{each.value}"' for each in actions]
    written = f"action == {named[0]}" if len(named) == 1 else f"action in [{', '.join(named)}]"
    return written, lambda asked: asked.target.action in actions


def _resource(chance: random.Random, actions: tuple[Action, ...]) -> tuple[str, _Test]:
    server, name, tenant = chance.choice(SERVERS), chance.choice(NAMES), chance.choice(["acme", "globex"])
    owner = chance.choice(["travel-team", "finance"])
    item = ITEMS.get(actions[0] if actions else Action.CALL_TOOL)
    options: list[tuple[str, _Test]] = [
        ("resource", lambda _: True),
        (f'resource in MCP::Server::"{server}"', lambda asked: asked.server == server),
        (f'resource in MCP::Tenant::"{tenant}"', lambda asked: _of(asked, "tenant") == tenant),
        (f'resource in MCP::Owner::"{owner}"', lambda asked: _of(asked, "owner") == owner),
    ]
    if item is not None:
        options += [
            (
                f'resource == MCP::{item}::"{server}/{_quoted(name)}"',
                lambda asked: (ITEMS.get(asked.target.action), asked.server, asked.target.name) == (item, server, name),
            ),
            (f"resource is MCP::{item}", lambda asked: ITEMS.get(asked.target.action) == item),
        ]
    else:
        options.append((f'resource == MCP::Server::"{server}"', lambda asked: _is_server(asked, server)))
    return chance.choice(options)


def _is_server(asked: Question, server: str) -> bool:
    return asked.target.action not in NEEDING_PERMIT and asked.server == server


def _of(asked: Question, member: str) -> Any:
    resource = REGISTRY.resources.get(asked.server)
    return getattr(resource, member) if resource is not None else None


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _condition(chance: random.Random, effect: str, actions: tuple[Action, ...], *, depth: int) -> Condition:
    if depth == 0:
        return chance.choice(list(_leaves(chance, effect, actions)))
    left, right = (_condition(chance, effect, actions, depth=depth - 1) for _ in range(2))
    arguments = {
        name: left.arguments.get(name, False) or right.arguments.get(name, False)
        for name in {*left.arguments, *right.arguments}
    }
    match chance.choice(["and", "or", "not", "if"]):
        case "and":
            return Condition(
                f"({left.text}) && ({right.text})", lambda asked: left.holds(asked) and right.holds(asked), arguments
            )
        case "or":
            return Condition(
                f"({left.text}) || ({right.text})", lambda asked: left.holds(asked) or right.holds(asked), arguments
            )
        case "not":
            return Condition(f"!({left.text})", lambda asked: not left.holds(asked), left.arguments)
        case _:
            return Condition(
                f"if ({left.text}) then ({right.text}) else false",
                lambda asked: right.holds(asked) if left.holds(asked) else False,
                arguments,
            )


def _leaves(chance: random.Random, effect: str, actions: tuple[Action, ...]) -> Iterator[Condition]:
    """Conditions on one fact; those of arguments several times, since they are the hard ones."""
    number = chance.randrange(-1, 8)
    yield Condition(f"context.token.hop <= {number}", lambda asked: asked.hop <= number, {})
    yield Condition(f"context.request.hour < {number * 3}", lambda asked: _time(asked).hour < number * 3, {})
    yield Condition(f"context.request.weekday == {number}", lambda asked: _time(asked).isoweekday() == number, {})
    scope = chance.choice("abc")
    yield Condition(f'context.token.scopes.contains("{scope}")', lambda asked: scope in asked.scopes, {})
    yield Condition('context.token.client_id == "web-server"', lambda asked: asked.client_id == "web-server", {})
    yield Condition(
        'context has subject && context.subject == MCP::User::"user:1"', lambda asked: asked.subject == "user:1", {}
    )
    yield Condition(
        'context has actor && context.actor == "web-server"', lambda asked: asked.actors[:1] == ("web-server",), {}
    )
    yield Condition('context.request has ip && context.request.ip.isInRange(ip("192.0.2.0/25"))', _is_near, {})
    yield Condition(
        'context.token has tenant && context.token.tenant == MCP::Tenant::"acme"',
        lambda asked: asked.tenant == "acme",
        {},
    )
    yield Condition("context has session", lambda asked: bool(asked.session), {})
    yield Condition('principal.owner == MCP::Owner::"finance"', _has_owner_finance, {})
    yield chance.choice(list(_about_task(number)))
    if effect == "forbid":
        yield Condition(
            'context.actors.contains("calendar-server")', lambda asked: "calendar-server" in asked.actors, {}
        )
    if actions == (Action.CALL_TOOL,):
        pattern = chance.choice(["get_*", "*e*", "p?y", "*"])
        yield Condition(f'resource.name like "{pattern}"', lambda asked: _is_like(asked.target.name, pattern), {})
        yield Condition('resource.server.risk == "high"', _is_risky, {})
    for _ in range(2):
        yield _about_argument(chance, number)


def _about_task(number: int) -> Iterator[Condition]:
    has = "context has task"
    yield Condition(has, lambda asked: asked.task is not None, {})
    yield Condition(f"{has} && context.task.approved", lambda asked: asked.task is not None and _is_approved(asked), {})
    yield Condition(
        f'{has} && context.task has purpose && context.task.purpose like "pay*"',
        lambda asked: asked.task is not None and _is_approved(asked) and asked.task.purpose.startswith("pay"),
        {},
    )
    yield Condition(
        f"{has} && context.task has max_writes && context.task.max_writes <= {number}",
        lambda asked: asked.task is not None and _is_held(asked.task.limits.writes, number),
        {},
    )
    yield Condition(
        f"{has} && context.task has max_calls && context.task.max_calls <= {number}",
        lambda asked: asked.task is not None and _is_held(asked.task.limits.calls, number),
        {},
    )


def _is_held(limit: int | None, most: int) -> bool:
    return limit is not None and limit <= most


def _is_approved(asked: Question) -> bool:
    return asked.task is not None and asked.task.approved_at is not None


def _about_argument(chance: random.Random, number: int) -> Condition:
    name = chance.choice(list(ARGUMENTS))
    has = f"context.arguments has {name}"
    test: Callable[[Any], bool]
    match chance.choice(["has", "value"]), ARGUMENTS[name]:
        case "has", _:
            return Condition(has, lambda asked: name in asked.arguments, {name: False})
        case _, "Long":
            text, test = f"context.arguments.{name} > {number}", lambda value: value > number
        case _, "String":
            text, test = f'context.arguments.{name} like "ok*"', lambda value: value.startswith("ok")
        case _:
            text, test = f"context.arguments.{name} == true", lambda value: value is True
    return Condition(
        f"{has} && {text}", lambda asked: name in asked.arguments and test(asked.arguments[name]), {name: True}
    )


def _time(asked: Question) -> datetime:
    return datetime.fromtimestamp(asked.now, UTC)


def _is_near(asked: Question) -> bool:
    if not asked.ip:
        return False
    address = ipaddress.ip_address(asked.ip.removeprefix("::ffff:"))
    return address in ipaddress.ip_network("192.0.2.0/25")


def _is_like(text: str, pattern: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.S) is not None


def _has_owner_finance(asked: Question) -> bool:
    if asked.agent not in REGISTRY.clients:
        raise Failed
    return REGISTRY.clients[asked.agent].owner == "finance"


def _is_risky(asked: Question) -> bool:
    if asked.server not in REGISTRY.resources:
        raise Failed
    return REGISTRY.resources[asked.server].risk.value == "high"
