"""RFC 7636 at /authorize and /token: no code without an S256 challenge, no token without its verifier."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.authorization_servers import RunningServer, assert_refused, claims_of, running_server
from tests.support.browsers import CHALLENGE, VERIFIER, Browser, a_request, answer_in, redeem


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        yield running


BAD_CHALLENGES: list[dict[str, str | None]] = [
    {"code_challenge": None},
    {"code_challenge": None, "code_challenge_method": None},
    {"code_challenge_method": None},
    {"code_challenge_method": "plain"},
    {"code_challenge_method": "s256"},
    {"code_challenge": VERIFIER + "="},
    {"code_challenge": CHALLENGE[:-1]},
    {"code_challenge": CHALLENGE + "A"},
    {"code_challenge": ""},
]


async def test_a_request_without_an_s256_challenge_is_refused(server: RunningServer, subtests: pytest.Subtests) -> None:
    """No challenge, `plain`, also by leaving the method out, or a challenge that is none: `invalid_request`."""
    for changes in BAD_CHALLENGES:
        with subtests.test(changes=changes):
            answer = answer_in(await Browser(server).open(a_request(**changes)))
            assert answer["error"] == "invalid_request"
            assert answer["iss"] == server.issuer.url


@pytest.mark.parametrize("verifier", ["", "w" * 43, "v" * 42, "v" * 44, CHALLENGE, "v" * 42 + "é", "v" * 129])
async def test_a_code_without_its_verifier_is_worth_nothing(server: RunningServer, verifier: str) -> None:
    """A missing, wrong or malformed verifier, or the challenge itself, gets no token, and the code is spent."""
    code = await Browser(server).code()
    assert_refused(await redeem(server, code, code_verifier=verifier), "invalid_grant")
    assert_refused(await redeem(server, code), "invalid_grant")


async def test_the_right_verifier_redeems(server: RunningServer) -> None:
    """The verifier that the challenge was made of redeems the code."""
    claims_of(await redeem(server, await Browser(server).code(), code_verifier=VERIFIER))
