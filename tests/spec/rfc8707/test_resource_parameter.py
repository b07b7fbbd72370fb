"""RFC 8707: what a `resource` parameter may be, and what a token made for it says."""

from __future__ import annotations

import pytest

from perhop.errors import TargetInvalid
from perhop.rules.resource_indicators import resolve_target


def test_resource_is_an_absolute_uri() -> None:
    """§2: "Its value MUST be an absolute URI"."""
    assert resolve_target(["https://api.example.com/app/"]) == "https://api.example.com/app/"
    for relative in ("api.example.com/app", "/app", "//api.example.com/app", "app"):
        with pytest.raises(TargetInvalid):
            resolve_target([relative])


def test_resource_has_no_fragment() -> None:
    """§2: "The URI MUST NOT include a fragment component"."""
    with pytest.raises(TargetInvalid):
        resolve_target(["https://api.example.com/app#x"])


def test_resource_may_have_a_query() -> None:
    """§2: a query component is discouraged, and "there may be cases" for it."""
    assert resolve_target(["https://api.example.com/app?tenant=1"]) == "https://api.example.com/app?tenant=1"


def test_refusals_are_invalid_target() -> None:
    """§2: "invalid_target" answers a resource that is "invalid, missing, unknown, or malformed"."""
    for values in ([], ["x"], ["https://a.example", "https://b.example"]):
        with pytest.raises(TargetInvalid) as refusal:
            resolve_target(values)
        assert refusal.value.error == "invalid_target"
        assert refusal.value.status == 400
