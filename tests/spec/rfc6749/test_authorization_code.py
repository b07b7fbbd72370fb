"""RFC 6749 §4.1 at both endpoints: where answers go, what a code is bound to, and what happens when it comes twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perhop.core.client import GrantType
from tests.support.authorization_servers import (
    CALENDAR,
    CALENDAR_SERVER,
    CALLBACK,
    LOOPBACK_CALLBACK,
    ROOMS,
    RunningServer,
    assert_refused,
    claims_of,
    running_server,
)
from tests.support.browsers import Browser, a_request, answer_in, redeem
from tests.support.refreshing import refresh


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        yield running


@pytest.fixture
def browser(server: RunningServer) -> Browser:
    return Browser(server)


REQUESTS_WITHOUT_A_PLACE: list[str] = [
    a_request(client_id="stranger"),
    a_request(client_id=None),
    a_request(client_id="trip-planner"),
    a_request(redirect_uri=None),
    a_request(redirect_uri="https://evil.example.com/callback"),
    a_request(redirect_uri=f"{CALLBACK}/"),
    a_request(redirect_uri=f"{CALLBACK}/more"),
    a_request(redirect_uri=f"{CALLBACK}?x=1"),
    a_request(redirect_uri=f"{CALLBACK}#x"),
    a_request(redirect_uri=CALLBACK.upper()),
    a_request(redirect_uri="https://user@desk.example.com/callback"),
    a_request(redirect_uri="https://desk.example.com:8443/callback"),
    a_request(redirect_uri="javascript:alert(1)"),
    a_request(redirect_uri=LOOPBACK_CALLBACK),
    a_request(client_id="laptop-app", redirect_uri="http://localhost:3955/callback"),
    a_request(client_id="laptop-app", redirect_uri="https://127.0.0.1:3955/callback"),
    a_request(client_id="laptop-app", redirect_uri="http://127.0.0.1:3955/other"),
    a_request(client_id="laptop-app", redirect_uri="http://127.0.0.1.evil.example.com/callback"),
    a_request() + "&client_id=desk-app",
    a_request() + "&redirect_uri=https%3A%2F%2Fevil.example.com",
    a_request() + "%zz",
    a_request(state="s" * 9000),
    "",
]


async def test_nothing_is_redirected_to_an_unknown_place(
    server: RunningServer, browser: Browser, subtests: pytest.Subtests
) -> None:
    """Unless client and redirect URI are known to belong together, the person sees a page, and nothing is sent on."""
    for query in REQUESTS_WITHOUT_A_PLACE:
        with subtests.test(query=query):
            before = len(server.records("token.refused"))
            server.clock.now += 1
            answer = await browser.open(query)
            assert answer.status_code == 400
            assert "location" not in answer.headers
            assert "<form" not in answer.text
            assert "evil" not in answer.text
            assert len(server.records("token.refused")) == before + 1


BAD_REQUESTS: list[tuple[dict[str, str | None], str]] = [
    ({"response_type": None}, "invalid_request"),
    ({"response_type": "token"}, "unsupported_response_type"),
    ({"response_type": "code token"}, "unsupported_response_type"),
    ({"response_type": "id_token"}, "unsupported_response_type"),
    ({"response_mode": "fragment"}, "invalid_request"),
    ({"response_mode": "form_post"}, "invalid_request"),
    ({"resource": None}, "invalid_target"),
    ({"resource": None, "audience": CALENDAR}, "invalid_target"),
    ({"resource": ROOMS}, "invalid_target"),
    ({"resource": CALENDAR_SERVER}, "invalid_target"),
    ({"resource": f"{CALENDAR}/"}, "invalid_target"),
    ({"resource": f"{CALENDAR}#x"}, "invalid_target"),
    ({"scope": "calendar:write"}, "invalid_scope"),
    ({"scope": "calendar:read openid"}, "invalid_scope"),
    ({"scope": "offline_access"}, "invalid_scope"),
]


async def test_a_bad_request_is_answered_to_the_application(
    server: RunningServer, browser: Browser, subtests: pytest.Subtests
) -> None:
    """Once the place is known, the error goes there by 303, with state and issuer, before anybody signs in."""
    for changes, error in BAD_REQUESTS:
        with subtests.test(changes=changes):
            server.clock.now += 1
            answer = answer_in(await browser.open(a_request(**changes)))
            assert (answer["error"], answer["state"], answer["iss"]) == (error, "xyz &=%", server.issuer.url)
            assert "code" not in answer
            assert server.last_refusal()["client"] == "desk-app"


REPEATED: list[tuple[str, str]] = [
    (f"&resource={ROOMS}", "invalid_target"),
    (f"&resource={CALENDAR}", "invalid_target"),
    ("&scope=calendar:read", "invalid_request"),
    ("&code_challenge=x", "invalid_request"),
    ("&nonce=1&nonce=2", "invalid_request"),
]


async def test_repeated_parameters_are_refused(
    server: RunningServer, browser: Browser, subtests: pytest.Subtests
) -> None:
    """Two resources, even equal ones, are `invalid_target`; anything else that is there twice is malformed."""
    for more, error in REPEATED:
        with subtests.test(more=more):
            server.clock.now += 1
            assert answer_in(await browser.open(a_request() + more))["error"] == error


async def test_of_two_states_none_is_sent_back(browser: Browser) -> None:
    """A repeated `state` makes the request malformed and is not chosen from."""
    answer = answer_in(await browser.open(a_request() + "&state=other"))
    assert answer["error"] == "invalid_request"
    assert "state" not in answer


async def test_a_client_needs_the_grant(server: RunningServer, browser: Browser) -> None:
    """A client that may not use codes hears so."""
    server.change_client("desk-app", grants=frozenset({GrantType.TOKEN_EXCHANGE}))
    assert answer_in(await browser.open(a_request()))["error"] == "unauthorized_client"


async def test_a_code_is_good_once(server: RunningServer, browser: Browser) -> None:
    """The second redemption is refused with its own reason, and takes the first one's tokens with it."""
    code = await browser.code()
    answer = await redeem(server, code)
    first = claims_of(answer)
    assert_refused(await redeem(server, code), "invalid_grant")
    assert server.last_refusal()["reason"] == "code.replayed"
    (revocation,) = server.records("revocation")
    assert revocation["about"]["tokens"] == [first["jti"]]
    assert_refused(await refresh(server, answer.json()["refresh_token"]), "invalid_grant")
    assert server.last_refusal()["reason"] == "token.revoked"


async def test_a_code_without_refresh_tokens_is_good_once(server: RunningServer, browser: Browser) -> None:
    """The same where the client gets no refresh token."""
    server.change_client("desk-app", grants=frozenset({GrantType.AUTHORIZATION_CODE}))
    code = await browser.code()
    answer = await redeem(server, code)
    assert "refresh_token" not in answer.json()
    assert_refused(await redeem(server, code), "invalid_grant")
    (revocation,) = server.records("revocation")
    assert revocation["about"]["value"] == claims_of(answer)["jti"]


async def test_a_replay_takes_descendants_along(server: RunningServer, browser: Browser) -> None:
    """What was exchanged for a token of a replayed code is revoked with it."""
    code = await browser.code()
    token = (await redeem(server, code)).json()["access_token"]
    onward = claims_of(await server.exchange(await server.through_gateway(token)))
    await redeem(server, code)
    assert onward["jti"] in server.records("revocation")[0]["about"]["tokens"]


@pytest.mark.parametrize(("seconds", "passes"), [(59, True), (60, False)])
async def test_a_code_lasts_a_minute(server: RunningServer, browser: Browser, seconds: int, passes: bool) -> None:
    """A code works for 60 seconds, the last excluded."""
    code = await browser.code()
    server.clock.now += seconds
    answer = await redeem(server, code)
    assert (answer.status_code == 200) is passes


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"client_id": "laptop-app"}, "invalid_grant"),
        ({"redirect_uri": f"{CALLBACK}/"}, "invalid_grant"),
        ({"redirect_uri": ""}, "invalid_grant"),
        ({"code": "unknown"}, "invalid_grant"),
        ({"code": ""}, "invalid_request"),
        ({"resource": ROOMS}, "invalid_target"),
        ({"resource": f"{CALENDAR}/"}, "invalid_target"),
        ({"audience": ROOMS}, "invalid_target"),
        ({"scope": "calendar:write"}, "invalid_scope"),
    ],
)
async def test_a_code_is_bound(server: RunningServer, browser: Browser, changes: dict[str, str], error: str) -> None:
    """Another client, redirect URI, resource or scope than was allowed gets nothing."""
    code = await browser.code()
    assert_refused(await redeem(server, code, **changes), error)
    assert server.records("token.issued") == []


async def test_the_resource_may_be_left_out_at_the_token_endpoint(server: RunningServer, browser: Browser) -> None:
    """A code knows its resource."""
    assert claims_of(await redeem(server, await browser.code(), resource=""))["aud"] == CALENDAR


async def test_a_client_that_reaches_less_now_gets_less(server: RunningServer, browser: Browser) -> None:
    """Scopes that the client lost since the person allowed them are not in the token."""
    server.change_client("desk-app", reaches={"calendar": ("calendar:read", "calendar:write")})
    code = await browser.code(a_request(scope="calendar:read calendar:write"))
    server.change_client("desk-app", reaches={"calendar": ("calendar:read",)})
    assert claims_of(await redeem(server, code))["scope"] == "calendar:read"


async def test_without_scope_all_that_is_reached_is_asked_for(server: RunningServer, browser: Browser) -> None:
    """A request that names no scope asks for every scope that the client reaches."""
    server.change_client("desk-app", reaches={"calendar": ("calendar:read", "calendar:write")})
    page = await browser.sign_in(a_request(scope=None))
    assert "Create and change events" in page.text
    code = answer_in(await browser.allow(page))["code"]
    assert claims_of(await redeem(server, code))["scope"] == "calendar:read calendar:write"


async def test_neither_code_nor_cookie_is_kept(server: RunningServer, browser: Browser) -> None:
    """Neither the database nor the journal holds a code, a session's cookie, a password or a token."""
    code = await browser.code()
    token = (await redeem(server, code)).json()["access_token"]
    session = server.http.cookies["__Host-perhop-session"]
    kept = b"".join(file.read_bytes() for file in server.database.path.parent.glob("*.db*"))
    for secret in (code, session, "correct horse", token, token.rpartition(".")[2]):
        assert secret.encode() not in kept
