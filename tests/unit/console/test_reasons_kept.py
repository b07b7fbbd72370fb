"""Reasons that wait for a person to have signed in again."""

from __future__ import annotations

from perhop.authorization_server.interaction.form_seal import FORM_LIFETIME
from perhop.console.reasons_kept import MOST, ReasonsKept


def test_a_reason_is_kept_as_long_as_a_form() -> None:
    """In the last second it is there, after it no more."""
    kept = ReasonsKept()
    kept.keep("session", "/a", "because", now=100)
    assert kept.of("session", "/a", now=100 + FORM_LIFETIME - 1) == "because"
    assert kept.of("session", "/a", now=100 + FORM_LIFETIME) == ""


def test_a_reason_is_of_one_session_and_one_page() -> None:
    """Neither another session nor another page has it."""
    kept = ReasonsKept()
    kept.keep("session", "/a", "because", now=100)
    assert (kept.of("other", "/a", now=100), kept.of("session", "/b", now=100)) == ("", "")


def test_so_many_are_kept_and_no_more() -> None:
    """The oldest gives way, and one that says nothing takes no place."""
    kept = ReasonsKept()
    for number in range(MOST):
        kept.keep(f"{number}", "/a", "because", now=100)
    kept.keep("empty", "/a", "", now=100)
    assert kept.of("0", "/a", now=100) == "because"
    kept.keep("one more", "/a", "because", now=100)
    assert kept.of("0", "/a", now=100) == ""
    assert kept.of("1", "/a", now=100) == kept.of("one more", "/a", now=100) == "because"
