"""An authorization answer counts if it is the right server's, to the right request, and then it is a code or a no."""

from __future__ import annotations

import pytest

from perhop.errors import AuthorizationAnswerMalformed, AuthorizationNotGranted, StateMismatch
from perhop.rules.authorization_answer import ExpectedAnswer, read_authorization_answer

EXPECTED = ExpectedAnswer(issuer="https://auth.example.com", state="s1", promises_issuer=False)


def test_the_code_is_read() -> None:
    """An answer with our state and a code gives the code, as it was sent."""
    assert read_authorization_answer("code=a%2Fb&state=s1", EXPECTED) == "a/b"


@pytest.mark.parametrize("query", ["code=x", "code=x&state=s2", "code=x&state=", "code=x&state=S1", ""])
def test_an_answer_without_our_state_is_to_somebody_else(query: str) -> None:
    """Only the state of this very request will do."""
    with pytest.raises(StateMismatch):
        read_authorization_answer(query, EXPECTED)


@pytest.mark.parametrize(
    "query", ["state=s1", "state=s1&code=", "state=s1&code=a&code=b", "state=s1&code=x&state=s1", "state=s1&code=%00"]
)
def test_an_answer_that_is_none_is_refused(query: str) -> None:
    """No code, an empty one, or anything twice."""
    with pytest.raises(AuthorizationAnswerMalformed):
        read_authorization_answer(query, EXPECTED)


def test_a_no_is_told_by_its_code() -> None:
    """The error's code is shown, and none of the text that came with it."""
    query = "state=s1&error=access_denied&error_description=call+0123"
    with pytest.raises(AuthorizationNotGranted, match=r"`access_denied`$") as refused:
        read_authorization_answer(query, EXPECTED)
    assert refused.value.error == "access_denied"
    with pytest.raises(AuthorizationNotGranted, match=r"`unreadable`$"):
        read_authorization_answer("state=s1&error=%1b%5b31m", EXPECTED)
