"""PKCE: S256, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perhop.errors import AuthorizeRequestMalformed, CodeInvalid
from perhop.rules.pkce import check_code_challenge, check_code_verifier, code_challenge

VECTOR = json.loads((Path(__file__).parents[2] / "vectors" / "rfc7636-b.json").read_text())
VERIFIER, CHALLENGE = VECTOR["code_verifier"], VECTOR["code_challenge"]


def test_rfc_7636_example() -> None:
    """The example of RFC 7636 appendix B holds."""
    assert code_challenge(VERIFIER) == CHALLENGE
    check_code_challenge(CHALLENGE, "S256")
    check_code_verifier(VERIFIER, CHALLENGE)


@pytest.mark.parametrize("method", [None, "", "plain", "s256", "S512"])
def test_other_methods_are_refused(method: str | None) -> None:
    """`plain`, also where it is the default, is refused."""
    with pytest.raises(AuthorizeRequestMalformed):
        check_code_challenge(CHALLENGE, method)


@pytest.mark.parametrize(
    "challenge",
    [None, "", CHALLENGE[:-1], CHALLENGE + "A", CHALLENGE + "=", CHALLENGE[:-1] + "N", "+" + CHALLENGE[1:]],
)
def test_malformed_challenges_are_refused(challenge: str | None) -> None:
    """A challenge is the canonical base64url of 32 bytes."""
    with pytest.raises(AuthorizeRequestMalformed):
        check_code_challenge(challenge, "S256")


@pytest.mark.parametrize("length", [43, 128])
def test_verifiers_at_the_bounds_pass(length: int) -> None:
    """43 and 128 unreserved characters are a verifier."""
    verifier = "aA0-._~".ljust(length, "x")
    check_code_verifier(verifier, code_challenge(verifier))


@pytest.mark.parametrize("verifier", ["x" * 42, "x" * 129, "x" * 42 + "+", "x" * 42 + "é", "x" * 43 + "\n", None, ""])
def test_malformed_verifiers_are_refused(verifier: str | None) -> None:
    """Missing, shorter, longer and other characters are refused, whatever the challenge."""
    challenge = code_challenge(verifier) if verifier and verifier.isascii() else CHALLENGE
    with pytest.raises(CodeInvalid):
        check_code_verifier(verifier, challenge)


@pytest.mark.parametrize("verifier", [VERIFIER[:-1] + "x", CHALLENGE])
def test_wrong_verifier_is_refused(verifier: str) -> None:
    """Another verifier, and the challenge itself, do not redeem the code."""
    with pytest.raises(CodeInvalid):
        check_code_verifier(verifier, CHALLENGE)
