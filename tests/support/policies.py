"""A small world for tests of policy: one registry, and questions about it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

from perhop.core.call import Action, Target
from perhop.core.client import Client, GrantType, NoAuthentication
from perhop.core.decision import Question
from perhop.core.owner import Owner
from perhop.core.registry import Registry
from perhop.core.resource import Resource, ResourceUri, Risk, Scope
from perhop.policy.engine import PolicyEngine
from perhop.policy.policy_set import parse_policies

# Wednesday, 2026-07-29 13:30:00 UTC
NOON_ISH = 1785331800

PERMIT_ALL = '@id("all") permit (principal, action, resource);\n'


def a_resource(name: str, **changes: Any) -> Resource:
    """A resource of the world."""
    return Resource(
        name=name,
        uri=ResourceUri(f"http://127.0.0.1:8420/mcp/{name}"),
        owner=changes.pop("owner", "travel-team"),
        scopes={f"{name}:all": Scope(name=f"{name}:all", says="everything", tools=("*",))},
        **changes,
    )


def a_client(name: str, owner: str = "travel-team") -> Client:
    """A client of the world."""
    return Client(
        id=name,
        owner=owner,
        purpose="plans business trips",
        expires=date(2027, 1, 31),
        authentication=NoAuthentication(),
        grants=frozenset({GrantType.AUTHORIZATION_CODE}),
        reaches={},
    )


REGISTRY = Registry(
    owners={
        "travel-team": Owner(name="travel-team", contact="travel@example.com", members=("ann@example.com",)),
        "finance": Owner(name="finance", contact="finance@example.com", members=("bob@example.com",)),
    },
    resources={
        "calendar": a_resource("calendar", tenant="acme"),
        "rooms": a_resource("rooms"),
        "bank": a_resource("bank", owner="finance", tenant="globex", risk=Risk.HIGH),
    },
    clients={"trip-planner": a_client("trip-planner"), "clerk": a_client("clerk", "finance")},
    hops=(),
    version="1",
)


def a_question(action: Action = Action.CALL_TOOL, name: str = "create_event", **changes: Any) -> Question:
    """The planner's question about the calendar, but for what is changed."""
    usual = Question(
        target=Target(action, name if action not in (Action.LIST, Action.ISSUE, Action.EXCHANGE) else ""),
        agent="trip-planner",
        server="calendar",
        subject="user:7f3a",
        client_id="trip-planner",
        actors=(),
        scopes=frozenset({"calendar:all"}),
        hop=1,
        now=NOON_ISH,
        arguments={},
        tenant="acme",
        ip="192.0.2.7",
        revision="2026-07-28",
        session="s-1",
    )
    return replace(usual, **changes)


def an_engine(*texts: str) -> PolicyEngine:
    """An engine over these policies, each text a file."""
    sources = {f"p{index}.cedar": text for index, text in enumerate(texts)}
    return PolicyEngine(parse_policies(sources), REGISTRY)
