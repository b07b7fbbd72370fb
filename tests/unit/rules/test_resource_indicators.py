"""The `resource` parameter: every request names exactly one resource."""

from __future__ import annotations

import pytest

from perhop.errors import TargetInvalid, TargetMissing, TargetMultiple
from perhop.rules.resource_indicators import resolve_granted_target, resolve_target
from perhop.rules.resource_uri import parse_resource_uri

CALENDAR = parse_resource_uri("https://calendar.example/mcp")
ROOMS = parse_resource_uri("https://rooms.example/mcp")


def test_one_resource_is_taken_in_its_canonical_form() -> None:
    """The one value is the target, canonicalised at input."""
    assert resolve_target(["HTTPS://Calendar.example:443/mcp"]) == CALENDAR


@pytest.mark.parametrize("values", [[], [""]])
def test_missing_resource_is_refused(values: list[str]) -> None:
    """No value, and a parameter without a value, name no resource."""
    with pytest.raises(TargetMissing):
        resolve_target(values)


@pytest.mark.parametrize("values", [[], [""]])
def test_default_stands_in_for_a_missing_resource(values: list[str]) -> None:
    """Where a default is given, a request without resource means it."""
    assert resolve_target(values, default=ROOMS) == ROOMS


@pytest.mark.parametrize("second", [ROOMS, CALENDAR, ""])
def test_two_resources_are_refused(second: str) -> None:
    """Two values are refused, even when they are equal or one is empty."""
    with pytest.raises(TargetMultiple):
        resolve_target([CALENDAR, second])


def test_audience_alone_is_refused() -> None:
    """A request that names its target as `audience` only is refused, also where a default would stand in."""
    with pytest.raises(TargetInvalid):
        resolve_target([], audience_values=[CALENDAR], default=CALENDAR)


def test_audience_may_only_repeat_the_resource() -> None:
    """Beside `resource`, `audience` adds no target: the same is harmless, another is a second target."""
    assert resolve_target([CALENDAR], audience_values=[CALENDAR]) == CALENDAR
    with pytest.raises(TargetMultiple):
        resolve_target([CALENDAR], audience_values=[ROOMS])


def test_malformed_resource_is_refused() -> None:
    """A resource that is not a canonical URI is refused, not repaired."""
    with pytest.raises(TargetInvalid):
        resolve_target(["https://calendar.example/mcp/../admin"])


def test_granted_resource_may_be_left_out_or_repeated() -> None:
    """At the token endpoint a code's resource need not be named again, and may be."""
    assert resolve_granted_target([], granted=CALENDAR) == CALENDAR
    assert resolve_granted_target([CALENDAR], granted=CALENDAR) == CALENDAR


def test_granted_resource_is_not_exchanged_for_another() -> None:
    """A code for one resource buys no token for another."""
    with pytest.raises(TargetInvalid):
        resolve_granted_target([ROOMS], granted=CALENDAR)
