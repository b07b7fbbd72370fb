"""Scopes: parsed strictly, narrowed and never widened."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.core.resource import Hop, Resource, ResourceUri, Scope
from perhop.core.token import BoundToken, VerifiedToken
from perhop.errors import PolicyDenied, ScopeInsufficient, ScopeInvalid
from perhop.rules.audience import bind_audience
from perhop.rules.resource_uri import parse_resource_uri
from perhop.rules.scope import (
    MAX_SCOPE_BYTES,
    check_tool_scope,
    is_tool_in_scope,
    map_through_hop,
    narrow,
    parse_scope,
    render_scope,
)

URI: ResourceUri = parse_resource_uri("https://calendar.example/mcp")
CALENDAR = Resource(
    name="calendar",
    uri=URI,
    owner="travel-team",
    scopes={
        "calendar:read": Scope(name="calendar:read", says="read", tools=("list_*", "get_event")),
        "calendar:write": Scope(name="calendar:write", says="write", tools=("create_event", "get_event")),
        "calendar:other": Scope(name="calendar:other", says="something else"),
    },
)
UNMAPPED = Resource(name="wiki", uri=URI, owner="o", scopes={"wiki": Scope(name="wiki", says="use it")})


def bound(*scopes: str) -> BoundToken:
    token = VerifiedToken(
        issuer="https://auth.example",
        jti="j",
        subject="user:ann",
        client_id="trip-planner",
        audience=URI,
        scopes=frozenset(scopes),
        issued_at=0,
        expires_at=300,
        agent="trip-planner",
        fingerprint="00",
    )
    return bind_audience(token, URI)


@pytest.mark.parametrize("text", [None, ""])
def test_no_scope_is_none(text: str | None) -> None:
    """An absent and an empty scope name nothing."""
    assert parse_scope(text) == frozenset()


def test_repeated_scope_counts_once() -> None:
    """Order and repetition say nothing."""
    assert parse_scope("b a b") == {"a", "b"}


@pytest.mark.parametrize("text", [" a", "a ", "a  b", "a\tb", "a\nb", 'a"b', "a\\b", "a\u00a0b", "é", "a\x00", " "])
def test_malformed_scope_is_refused(text: str) -> None:
    """Double spaces, tabs, quotes, backslashes and non-ASCII are no scope."""
    with pytest.raises(ScopeInvalid):
        parse_scope(text)


def test_scope_length_is_bounded() -> None:
    """2 KiB are a scope, one byte more is not."""
    assert parse_scope("x" * MAX_SCOPE_BYTES)
    with pytest.raises(ScopeInvalid, match="longer"):
        parse_scope("x" * (MAX_SCOPE_BYTES + 1))


SCOPES = st.frozensets(st.text(alphabet="abc:*", min_size=1, max_size=3), max_size=5)


@given(SCOPES)
def test_rendered_scopes_are_read_back(scopes: frozenset[str]) -> None:
    """What is written is what is read."""
    assert parse_scope(render_scope(scopes)) == scopes


@given(SCOPES, SCOPES)
def test_narrowing_never_widens(requested: frozenset[str], allowed: frozenset[str]) -> None:
    """Whatever is asked for, nothing beyond what is allowed comes out, and never nothing."""
    try:
        granted = narrow(requested, allowed)
    except ScopeInvalid:
        assert not allowed or not requested <= allowed
    else:
        assert granted
        assert granted <= allowed
        assert granted == (requested or allowed)


@pytest.mark.parametrize("requested", [{"b"}, {"a", "b"}, {"*"}, {"A"}])
def test_asking_beyond_is_refused(requested: set[str]) -> None:
    """Another scope, a wildcard and another case are beyond what is allowed."""
    with pytest.raises(ScopeInvalid):
        narrow(frozenset(requested), frozenset({"a"}))


def test_nothing_asked_is_all_that_is_allowed() -> None:
    """Without a request everything that is allowed is granted."""
    assert narrow(None, frozenset({"a", "b"})) == {"a", "b"}


def test_nothing_left_is_refused() -> None:
    """A scopeless parent gives no child."""
    with pytest.raises(ScopeInvalid):
        narrow(None, frozenset())


def test_hop_maps_scopes_that_it_names() -> None:
    """A parent's scopes become those of the hop's target, and unmapped ones nothing."""
    hop = Hop(source="calendar", target="rooms", scopes={"r": ("rooms:read",), "w": ("rooms:read", "rooms:book")})
    assert map_through_hop(frozenset({"r", "x"}), hop) == {"rooms:read"}
    assert map_through_hop(frozenset({"w"}), hop) == {"rooms:read", "rooms:book"}
    assert map_through_hop(frozenset({"rooms:book"}), hop) == frozenset()


@pytest.mark.parametrize(("scope", "tool"), [("calendar:read", "list_events"), ("calendar:write", "get_event")])
def test_a_held_scope_that_lists_the_tool_suffices(scope: str, tool: str) -> None:
    """Any held scope that lists the tool will do, not only the first of the file."""
    check_tool_scope(bound(scope), CALENDAR, tool)


@pytest.mark.parametrize(("tool", "needed"), [("create_event", "calendar:write"), ("get_event", "calendar:read")])
def test_missing_scope_is_named(tool: str, needed: str) -> None:
    """The refusal names the first scope of the file that lists the tool."""
    with pytest.raises(ScopeInsufficient) as refusal:
        check_tool_scope(bound("calendar:other"), CALENDAR, tool)
    assert refusal.value.scope == needed


def test_scope_of_another_resource_lists_nothing_here() -> None:
    """A scope that this resource does not define opens no tool."""
    assert not is_tool_in_scope(frozenset({"rooms:read", "*"}), CALENDAR, "list_events")


def test_tool_that_no_scope_lists_is_denied() -> None:
    """Where no scope could be asked for, the call is denied and none is named."""
    with pytest.raises(PolicyDenied):
        check_tool_scope(bound("calendar:read", "calendar:write"), CALENDAR, "delete_everything")


def test_without_listed_tools_no_scope_is_needed() -> None:
    """A resource whose scopes list no tools leaves the call to policy."""
    check_tool_scope(bound(), UNMAPPED, "anything")


@pytest.mark.parametrize("tool", ["List_events", "list", "xlist_events", "get_event2", "get_even?", "get_[e]vent"])
def test_tool_names_match_exactly(tool: str) -> None:
    """Case, prefixes and glob characters of a tool's name match nothing but themselves."""
    assert not is_tool_in_scope(frozenset(CALENDAR.scopes), CALENDAR, tool)
