"""What an OpenID provider says of a person."""

from __future__ import annotations

from typing import Any

import pytest

from perhop.rules.person_claims import MAX_GROUP_LENGTH, MAX_GROUPS, groups_in, verified_email


@pytest.mark.parametrize(
    ("claims", "email"),
    [
        ({"email": "Ann@Example.com", "email_verified": True}, "ann@example.com"),
        ({"email": "ann@example.com"}, None),
        ({"email": "ann@example.com", "email_verified": False}, None),
        ({"email": "ann@example.com", "email_verified": "true"}, None),
        ({"email": "ann@example.com", "email_verified": 1}, None),
        ({"email": "ann", "email_verified": True}, None),
        ({"email": "a@b@example.com", "email_verified": True}, None),
        ({"email": "ann @example.com", "email_verified": True}, None),
        ({"email": "ann\u200b@example.com", "email_verified": True}, None),
        ({"email": f"{'a' * 65}@example.com", "email_verified": True}, None),
        ({"email": 7, "email_verified": True}, None),
        ({"email_verified": True}, None),
    ],
)
def test_only_a_verified_address_is_one(claims: dict[str, Any], email: str | None) -> None:
    """`email_verified` is `true` and nothing like it, and the address is one address."""
    assert verified_email(claims) == email


@pytest.mark.parametrize(
    ("said", "groups"),
    [
        (["staff", "staff", "admins"], {"staff", "admins"}),
        ([], set()),
        ([f"g{number}" for number in range(MAX_GROUPS)], {f"g{number}" for number in range(MAX_GROUPS)}),
        ([f"g{number}" for number in range(MAX_GROUPS + 1)], None),
        (["a" * MAX_GROUP_LENGTH], {"a" * MAX_GROUP_LENGTH}),
        (["a" * (MAX_GROUP_LENGTH + 1)], None),
        (["staff", 7], None),
        (["staff", ""], None),
        ("staff", None),
        ({"staff": True}, None),
        (None, None),
    ],
)
def test_groups_are_known_whole_or_not_at_all(said: Any, groups: set[str] | None) -> None:
    """A list of texts within its bounds; what cannot be read in part is not known at all."""
    assert groups_in({"groups": said}, "groups") == groups


def test_groups_that_nobody_asked_for_are_not_known() -> None:
    """Without a claim's name there are none, whatever the provider says."""
    assert groups_in({"groups": ["staff"]}, None) is None
    assert groups_in({}, "groups") is None
