"""Challenges are read as RFC 9110 writes them, and no other way."""

from __future__ import annotations

from typing import SupportsIndex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.core.resource import ResourceUri
from perhop.errors import ScopeInsufficient
from perhop.rules.bearer import Scheme
from perhop.rules.challenge import render_challenge
from perhop.rules.www_authenticate import bearing_challenges, parse_challenges


@pytest.mark.parametrize(
    ("field", "challenges"),
    [
        ("Bearer", [("bearer", {})]),
        ('Bearer realm="a, b", error=invalid_token', [("bearer", {"realm": "a, b", "error": "invalid_token"})]),
        ('BEARER Error = "invalid_token"', [("bearer", {"error": "invalid_token"})]),
        (r'Bearer realm="say \"yes\""', [("bearer", {"realm": 'say "yes"'})]),
        (
            'Bearer a="1", DPoP algs="ES256", Basic',
            [("bearer", {"a": "1"}), ("dpop", {"algs": "ES256"}), ("basic", {})],
        ),
        ("Negotiate YWJj==, Bearer a=b", [("negotiate", {}), ("bearer", {"a": "b"})]),
        (', Bearer a="1",, b="2" ,', [("bearer", {"a": "1", "b": "2"})]),
        ('Basic realm="error=\\"invalid_token\\""', [("basic", {"realm": 'error="invalid_token"'})]),
        ("", []),
    ],
)
def test_what_a_field_says(field: str, challenges: list[tuple[str, dict[str, str]]]) -> None:
    """Schemes and parameters, however they are quoted, spaced and spelled."""
    assert [(each.scheme, dict(each.parameters)) for each in parse_challenges([field])] == challenges


@pytest.mark.parametrize(
    "field",
    [
        'Bearer a="1", a="2"',
        'Bearer a="1',
        'Bearer a="1" b="2"',
        "Bearer a=b c",
        'Bearer a="\x00"',
        "Bearer =x",
        '"Bearer"',
        "Bearer " + "a" * 9000,
    ],
)
def test_a_field_that_is_no_challenge_says_nothing(field: str) -> None:
    """Half of a malformed field is not believed either; the next field is read all the same."""
    assert parse_challenges([field]) == ()
    assert [each.scheme for each in parse_challenges([field, "Bearer"])] == ["bearer"]


class Watched(str):
    """A field that counts what is copied out of it."""

    copied = 0

    def __getitem__(self, at: SupportsIndex | slice) -> str:
        found = super().__getitem__(at)
        self.copied += len(found) if isinstance(at, slice) else 0
        return found


def test_a_field_of_many_challenges_is_read_once() -> None:
    """What is left of the field is not copied for each challenge."""
    field = Watched(",".join(["a"] * 2000))
    assert len(parse_challenges([field])) == 2000
    assert field.copied <= len(field)


def test_only_challenges_for_a_token_count() -> None:
    """What another scheme says of errors and scopes is not for us."""
    found = bearing_challenges(['Basic error="invalid_token"', "DPoP a=1, Bearer b=2"])
    assert [each.scheme for each in found] == ["dpop", "bearer"]


def test_our_own_challenge_is_read_back() -> None:
    """What our servers write is what our client reads."""
    url = ResourceUri("https://mcp.example.com/.well-known/oauth-protected-resource/mcp")
    field = render_challenge(ScopeInsufficient("a:b"), metadata_url=url, scopes=("c",), taken=(Scheme.BEARER,))
    (found,) = bearing_challenges([field])
    assert found.parameters["scope"] == "a:b"
    assert found.parameters["resource_metadata"] == url
    assert found.parameters["error"] == "insufficient_scope"


@given(st.text(max_size=60))
def test_no_field_breaks_the_parser(field: str) -> None:
    """Whatever comes, an answer comes out."""
    for each in parse_challenges([field]):
        assert each.scheme == each.scheme.lower()
