"""RFC 7523 §2.2 and §3: a client proves itself by an assertion that is for this issuer, and good once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.authorization_servers import (
    ASSERTION_TYPE,
    CALENDAR,
    ISSUER,
    NOW,
    RunningServer,
    assert_refused,
    claims_in,
    claims_of,
    running_server,
)
from tests.support.forge import ABSENT, sign


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        yield running


async def _ask(server: RunningServer, assertion: str, **more: str) -> Any:
    return await server.ask(
        grant_type="client_credentials",
        resource=CALENDAR,
        client_assertion_type=ASSERTION_TYPE,
        client_assertion=assertion,
        **more,
    )


def _claims(**changes: Any) -> dict[str, Any]:
    usual = {
        "iss": "trip-planner",
        "sub": "trip-planner",
        "aud": ISSUER,
        "iat": NOW,
        "exp": NOW + 60,
        "jti": "assertion-1",
    }
    return {name: value for name, value in (usual | changes).items() if value is not ABSENT}


@pytest.mark.parametrize("typ", ["JWT", "client-authentication+jwt", ABSENT])
async def test_a_good_assertion_is_taken(server: RunningServer, typ: object) -> None:
    """An assertion of the client's key for this issuer authenticates it."""
    assertion = sign(_claims(), server.keys.planner, typ=typ)
    assert claims_of(await _ask(server, assertion, client_id="trip-planner"))["client_id"] == "trip-planner"


BAD_ASSERTIONS: list[dict[str, Any]] = [
    {"aud": f"{ISSUER}/token"},
    {"aud": f"{ISSUER}/"},
    {"aud": [ISSUER]},
    {"aud": [ISSUER, "https://other.example.com"]},
    {"aud": ABSENT},
    {"iss": "poster"},
    {"sub": "calendar-server"},
    {"sub": "stranger", "iss": "stranger"},
    {"sub": "poster", "iss": "poster"},
    {"jti": ABSENT},
    {"jti": 7},
    {"exp": ABSENT},
    {"exp": NOW},
    {"exp": NOW + 3600},
    {"iat": NOW + 3600},
    {"nbf": NOW + 3600},
]


async def test_an_assertion_for_anything_else_is_refused(server: RunningServer, subtests: pytest.Subtests) -> None:
    """Another audience, also the token endpoint or a list, another client, no id, or wrong times: refused."""
    for changes in BAD_ASSERTIONS:
        with subtests.test(changes=changes):
            answer = await _ask(server, sign(_claims(**changes), server.keys.planner, typ="JWT"))
            assert_refused(answer, "invalid_client", status=401)


async def test_an_assertion_under_another_key_is_refused(server: RunningServer) -> None:
    """Neither another client's key nor the issuer's own signs for this client."""
    for key in (server.keys.calendar_server, server.keys.issuer):
        assert_refused(await _ask(server, sign(_claims(), key, typ="JWT")), "invalid_client", status=401)


async def test_an_access_token_is_no_assertion(server: RunningServer) -> None:
    """A token of another type does not authenticate, whoever signed it."""
    assertion = sign(_claims(), server.keys.planner, typ="at+jwt")
    assert_refused(await _ask(server, assertion), "invalid_client", status=401)


async def test_an_assertion_is_good_once(server: RunningServer) -> None:
    """A second use is refused with its own reason, also if the first request was refused for another one."""
    assertion = server.assertion("trip-planner", server.keys.planner)
    assert_refused(await _ask(server, assertion, scope="beyond"), "invalid_scope")
    assert_refused(await _ask(server, assertion), "invalid_client", status=401)
    assert server.last_refusal()["reason"] == "assertion.replayed"


async def test_of_many_uses_at_once_one_succeeds(server: RunningServer) -> None:
    """Ten parallel requests with one assertion get one token."""
    assertion = server.assertion("trip-planner", server.keys.planner)
    answers = await asyncio.gather(*(_ask(server, assertion) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 9


async def test_another_client_may_use_the_same_id(server: RunningServer) -> None:
    """Assertion ids are remembered per client."""
    first = server.assertion("trip-planner", server.keys.planner, jti="same")
    other = server.assertion("calendar-server", server.keys.calendar_server, jti="same")
    claims_of(await _ask(server, first))
    assert_refused(await _ask(server, other), "unauthorized_client")


async def test_the_client_id_must_be_the_assertions(server: RunningServer) -> None:
    """A `client_id` beside the assertion names the same client or none."""
    assertion = server.assertion("trip-planner", server.keys.planner)
    assert_refused(await _ask(server, assertion, client_id="poster"), "invalid_request")


async def test_an_assertion_of_an_unknown_type_is_refused(server: RunningServer) -> None:
    """`client_assertion_type` is required and the one of RFC 7523."""
    assertion = server.assertion("trip-planner", server.keys.planner)
    asked = {"grant_type": "client_credentials", "resource": CALENDAR}
    answer = await server.ask(**asked, client_assertion=assertion, client_assertion_type="saml")
    assert_refused(answer, "invalid_client", status=401)
    assert_refused(await server.ask(**asked, client_assertion=assertion), "invalid_request")
    assert_refused(await server.ask(**asked, client_assertion_type=ASSERTION_TYPE), "invalid_request")


@pytest.mark.parametrize("assertion", ["x", "a.b.c", "e30.e30.", "a" * 9000])
async def test_a_malformed_assertion_is_refused(server: RunningServer, assertion: str) -> None:
    """What is no compact JWS does not authenticate."""
    assert_refused(await _ask(server, assertion), "invalid_client", status=401)


async def test_the_assertion_leaves_no_trace(server: RunningServer) -> None:
    """Neither the assertion nor its signature stands in the journal."""
    assertion = server.assertion("trip-planner", server.keys.planner)
    token = (await _ask(server, assertion)).json()["access_token"]
    assert claims_in(token)
    assert assertion.rpartition(".")[2] not in str(server.records())
