"""A client asks for what is needed here, and for what it asked for before."""

from __future__ import annotations

import pytest

from perhop.rules.scope_choice import choose_scopes

NONE: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("challenged", "of_resource", "held", "of_issuer", "chosen"),
    [
        ({"a"}, {"b", "c"}, NONE, NONE, {"a"}),
        (NONE, {"b", "c"}, NONE, NONE, {"b", "c"}),
        (NONE, NONE, NONE, NONE, None),
        ({"a"}, NONE, {"b"}, NONE, {"a", "b"}),
        ({"a"}, NONE, NONE, {"offline_access", "x"}, {"a", "offline_access"}),
        (NONE, NONE, NONE, {"offline_access"}, None),
    ],
)
def test_which_scopes_are_asked_for(
    challenged: set[str], of_resource: set[str], held: set[str], of_issuer: set[str], chosen: set[str] | None
) -> None:
    """The challenge's, else the resource's, else none; with those of before, and offline access where it is offered."""
    asked = choose_scopes(
        frozenset(challenged), of_resource=frozenset(of_resource), held=frozenset(held), of_issuer=frozenset(of_issuer)
    )
    assert asked == chosen
