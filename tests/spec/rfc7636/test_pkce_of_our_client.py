"""RFC 7636 §4: our client makes a new verifier for each request, and shows it to the token endpoint alone."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from perhop.rules.pkce import code_challenge
from tests.support.sign_in_world import SignInWorld


async def test_each_request_has_a_verifier_of_its_own() -> None:
    """At least 43 unreserved characters, its S256 challenge in the request, and itself in the redemption only."""
    world = SignInWorld()
    for _ in range(2):
        await world.call(world.sign_in())
    verifiers = [form["code_verifier"] for form in world.forms]
    assert len(set(verifiers)) == 2
    for verifier, visit, url in zip(verifiers, world.visits, world.visited, strict=True):
        assert re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", verifier)
        assert visit["code_challenge"] == code_challenge(verifier)
        assert visit["code_challenge_method"] == "S256"
        assert verifier not in url


async def test_state_is_new_each_time_and_stays_out_of_the_token_request() -> None:
    """It is compared here, and is nobody else's affair."""
    world = SignInWorld()
    for _ in range(2):
        await world.call(world.sign_in())
    states = [visit["state"] for visit in world.visits]
    assert len(set(states)) == 2
    assert all(len(state) >= 43 for state in states)
    assert all("state" not in form for form in world.forms)
    assert {urlsplit(url).fragment for url in world.visited} == {""}
