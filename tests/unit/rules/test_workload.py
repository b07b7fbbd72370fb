"""Which rule a workload's claims fit: exactly, but for `*` between separators."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.core.assertion import WorkloadRule
from perhop.rules.workload import find_rule, is_fit, is_pattern


def _rule(subject: str, client: str = "agent", **claims: str | int | bool) -> WorkloadRule:
    return WorkloadRule(subject=subject, claims=claims, client=client)


@pytest.mark.parametrize(
    ("pattern", "subject", "fits"),
    [
        ("system:serviceaccount:prod:*", "system:serviceaccount:prod:a", True),
        ("system:serviceaccount:prod:*", "system:serviceaccount:prod:", False),
        ("system:serviceaccount:prod:*", "system:serviceaccount:prod:a:b", False),
        ("system:serviceaccount:*:a", "system:serviceaccount:prod:a", True),
        ("system:serviceaccount:*:a", "system:serviceaccount:x:y:a", False),
        ("spiffe://x.example/ns/*/sa/*", "spiffe://x.example/ns/a/sa/b", True),
        ("spiffe://x.example/ns/*", "spiffe://x.example/ns/a/sa/b", False),
        ("spiffe://x.example/a", "spiffe://xxexample/a", False),
        ("a", "a\n", False),
        ("a", "A", False),
        ("a*", "a", False),
        ("a.*", "ab", False),
    ],
)
def test_a_star_stands_between_separators(pattern: str, subject: str, fits: bool) -> None:
    """It is one or more characters that are neither `:` nor `/`; everything else is itself."""
    assert is_fit(_rule(pattern), {"sub": subject}) is fits


@given(st.text(max_size=40))
def test_without_a_star_only_the_subject_itself_fits(subject: str) -> None:
    """Whatever a subject holds, a rule without `*` means that one and no other."""
    assert is_fit(_rule("spiffe://x.example/a"), {"sub": subject}) is (subject == "spiffe://x.example/a")


@pytest.mark.parametrize("subject", [None, 7, ["a"], {"a": 1}])
def test_a_subject_that_is_no_text_fits_nothing(subject: object) -> None:
    """Nor does one that is not there."""
    assert not is_fit(_rule("a"), {"sub": subject})
    assert not is_fit(_rule("a"), {})


def test_claims_have_their_value_and_type() -> None:
    """A number is no truth value, a text no number, and a list holds nothing."""
    for wanted, found in [(1, True), (True, 1), ("1", 1), ("a", ["a"]), (0, False), ("", None)]:
        assert not is_fit(_rule("a", x=wanted), {"sub": "a", "x": found})
    assert is_fit(_rule("a", x=True, y=1, z="s"), {"sub": "a", "x": True, "y": 1, "z": "s"})
    assert not is_fit(_rule("a", x="s"), {"sub": "a"})


def test_a_pointer_leads_into_a_claim() -> None:
    """RFC 6901, with its two escapes; a path that leads nowhere, or into a list, has no value."""
    claims = {"sub": "a", "k8s.io": {"ns": "prod", "a/b": {"~": "x"}, "list": ["prod"]}}

    def fits(pointer: str, value: str) -> bool:
        return is_fit(WorkloadRule(subject="a", claims={pointer: value}, client="agent"), claims)

    assert fits("/k8s.io/ns", "prod")
    assert fits("/k8s.io/a~1b/~0", "x")
    assert not fits("/k8s.io/ns/more", "prod")
    assert not fits("/k8s.io/list/0", "prod")
    assert not fits("/nothing", "prod")
    assert not fits("k8s.io/ns", "prod")


def test_the_first_rule_counts() -> None:
    """Of those that lead to the named client, if the request names one."""
    rules = (_rule("a", "first"), _rule("a*", "second"), _rule("ab", "third"))
    assert find_rule(rules, {"sub": "a"}, client=None) is rules[0]
    assert find_rule(rules, {"sub": "ab"}, client=None) is rules[1]
    assert find_rule(rules, {"sub": "ab"}, client="third") is rules[2]
    assert find_rule(rules, {"sub": "ab"}, client="first") is None


def test_a_pattern_begins_with_text() -> None:
    """A rule cannot mean whoever comes."""
    assert [is_pattern(text) for text in ("", "*", "*a", "a*", "a")] == [False, False, False, True, True]
