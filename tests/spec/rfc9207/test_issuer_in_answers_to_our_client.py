"""RFC 9207 §2.4: our client compares who answered with whom it asked, before it believes anything of the answer."""

from __future__ import annotations

import pytest

from perhop.errors import AuthorizationNotGranted, IssuerMismatch
from perhop.rules.authorization_answer import ExpectedAnswer, read_authorization_answer

ISSUER = "https://auth.example.com"


def _read(issuer: str | None, *, promises: bool, rest: str = "code=x") -> str:
    expected = ExpectedAnswer(issuer=ISSUER, state="s", promises_issuer=promises)
    return read_authorization_answer(f"{rest}&state=s" + (f"&iss={issuer}" if issuer is not None else ""), expected)


def test_the_right_issuer_is_taken() -> None:
    """Named and promised, named without a promise, and neither."""
    assert _read(ISSUER, promises=True) == _read(ISSUER, promises=False) == _read(None, promises=False) == "x"


def test_an_issuer_that_promised_to_name_itself_must() -> None:
    """What was advertised and is missing is a refusal."""
    with pytest.raises(IssuerMismatch, match="names nobody"):
        _read(None, promises=True)


@pytest.mark.parametrize("promises", [True, False])
@pytest.mark.parametrize(
    "issuer",
    ["https://evil.example.com", f"{ISSUER}/", "HTTPS://auth.example.com", f"{ISSUER}:443", f"{ISSUER}%2F", ""],
)
def test_another_issuer_is_refused_without_repair(issuer: str, promises: bool) -> None:
    """Not one character may differ: no case, no port, no slash is made equal first."""
    with pytest.raises(IssuerMismatch):
        _read(issuer, promises=promises)


def test_an_error_of_another_issuer_is_not_shown() -> None:
    """An error answer is compared as well, and its text stays out of the message."""
    with pytest.raises(IssuerMismatch) as refused:
        _read("https://evil.example.com", promises=True, rest="error=pay_at_evil")
    assert "pay_at_evil" not in str(refused.value)
    with pytest.raises(AuthorizationNotGranted):
        _read(ISSUER, promises=True, rest="error=access_denied")
