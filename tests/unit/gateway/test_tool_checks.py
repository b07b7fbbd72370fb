"""What a gate keeps of its looks at tools is taken for no other scope, tool, resource or schema."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perhop.core.resource import Resource, ResourceUri, Scope
from perhop.core.token import BoundToken, VerifiedToken
from perhop.errors import ParamsMalformed, PolicyDenied, ScopeInsufficient
from perhop.gateway.tool_checks import LONGEST_NAME, MOST_KEPT, ToolChecks

READ, WRITE = "calendar:read", "calendar:write"
CALENDAR = Resource(
    name="calendar",
    uri=ResourceUri("https://calendar.example.com/mcp"),
    owner="travel-team",
    scopes={
        READ: Scope(name=READ, says="look", tools=("list_*",)),
        WRITE: Scope(name=WRITE, says="change", tools=("create_event",)),
    },
)


def _bound(*scopes: str) -> BoundToken:
    token = VerifiedToken(
        issuer="https://auth.example.com",
        jti="t",
        subject="user:ann",
        client_id="trip-planner",
        audience=CALENDAR.uri,
        scopes=frozenset(scopes),
        issued_at=0,
        expires_at=300,
        agent="trip-planner",
        fingerprint="f",
    )
    return BoundToken(token, CALENDAR.uri)


def test_a_kept_yes_is_for_these_scopes_and_this_tool() -> None:
    """Neither another tool of the same token, nor the same tool of a token with fewer scopes."""
    checks = ToolChecks()
    for _ in range(2):
        checks.check_scope(_bound(READ, WRITE), CALENDAR, "create_event")
        checks.check_scope(_bound(READ), CALENDAR, "list_events")
        with pytest.raises(ScopeInsufficient):
            checks.check_scope(_bound(READ), CALENDAR, "create_event")
        with pytest.raises(ScopeInsufficient):
            checks.check_scope(_bound(), CALENDAR, "list_events")
        with pytest.raises(PolicyDenied):
            checks.check_scope(_bound(READ, WRITE), CALENDAR, "drop_all")


def test_a_kept_yes_is_for_this_resource() -> None:
    """The same name with other scopes is another resource, and back."""
    checks = ToolChecks()
    narrower = replace(CALENDAR, scopes={WRITE: CALENDAR.scopes[WRITE], READ: Scope(name=READ, says="", tools=("x",))})
    for _ in range(2):
        checks.check_scope(_bound(READ), CALENDAR, "list_events")
        with pytest.raises(PolicyDenied):
            checks.check_scope(_bound(READ), narrower, "list_events")


def test_arguments_are_typed_by_the_schema_of_now() -> None:
    """Another schema of the same tool, and the schema of another tool, are read anew."""
    checks = ToolChecks()
    text = {"properties": {"n": {"type": "string"}}}
    number = {"properties": {"n": {"type": "integer"}}}
    for _ in range(2):
        assert checks.type_arguments("a", text, {"n": "x"}) == {"n": "x"}
        with pytest.raises(ParamsMalformed):
            checks.type_arguments("a", number, {"n": "x"})
        assert checks.type_arguments("b", number, {"n": 1, "more": 2}) == {"n": 1, "more": None}
        assert checks.type_arguments("a", None, {"n": 1, "more": 2}) == {"n": 1, "more": 2}


def test_a_flood_of_names_is_answered_as_rightly() -> None:
    """More names than are kept, and longer ones, are each looked at for themselves."""
    checks, open_to_all = ToolChecks(), replace(CALENDAR, scopes={READ: Scope(name=READ, says="", tools=("*x",))})
    for number in range(MOST_KEPT + 2):
        checks.check_scope(_bound(READ), open_to_all, f"{number}x")
    for name in ("1y", "1" * LONGEST_NAME + "y"):
        with pytest.raises(PolicyDenied):
            checks.check_scope(_bound(READ), open_to_all, name)
    checks.check_scope(_bound(READ), open_to_all, "1" * LONGEST_NAME + "x")
