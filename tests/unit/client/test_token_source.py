"""Tokens are asked for once per resource and kept until shortly before they expire."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs

import pytest

from perhop.client import TokenSource
from perhop.core.secret import Secret
from perhop.errors import IssuerUnavailable, SettingsError, TokenNotGranted
from perhop.resource_server.testing.loopback_http import Reply, json_reply
from perhop.tokens.assertion import read_client_assertion
from perhop.tokens.keys import SigningKey
from tests.support.offline_issuer import Clock, OfflineIssuer

CALENDAR, ROOMS = "https://mcp.example.com/calendar", "https://mcp.example.com/rooms"
SECRET = "a secret of more than thirty-two characters"


def _source(issuer: OfflineIssuer, clock: Clock, **changes: Any) -> TokenSource:
    arguments = {"client_id": "trip planner", "client_secret": SECRET} | changes
    return TokenSource(issuer=issuer.url, http=issuer.http(), clock=clock, **arguments)


def _forms(issuer: OfflineIssuer) -> list[dict[str, list[str]]]:
    return [parse_qs(request.body.decode()) for request in issuer.sent if request.path == "/token"]


async def test_a_token_is_asked_for_its_resource_and_kept() -> None:
    """One request per resource and set of scopes, in whatever order the scopes are named."""
    clock = Clock()
    issuer = OfflineIssuer(clock=clock)
    tokens = _source(issuer, clock)
    first = await tokens.token_for(CALENDAR, ["b", "a"])
    assert await tokens.token_for(CALENDAR, ["a", "b"]) is first
    assert (first.resource, first.scopes, first.expires_at) == (CALENDAR, {"a", "b"}, clock.now + 300)
    other = await tokens.token_for(ROOMS)
    assert other.raw != first.raw
    assert _forms(issuer) == [
        {"grant_type": ["client_credentials"], "resource": [CALENDAR], "scope": ["a b"]},
        {"grant_type": ["client_credentials"], "resource": [ROOMS]},
    ]
    assert issuer.requests["/.well-known/oauth-authorization-server"] == 1


async def test_a_hundred_callers_make_one_request() -> None:
    """Callers that come while a token is on its way wait for that one."""
    clock = Clock()
    issuer = OfflineIssuer(clock=clock)
    tokens = _source(issuer, clock)
    got = await asyncio.gather(*(tokens.token_for(CALENDAR) for _ in range(100)))
    assert len(set(map(id, got))) == 1
    assert issuer.requests["/token"] == 1


async def test_a_caller_that_gives_up_does_not_take_the_others_along() -> None:
    """Cancelling one waiter leaves the request of the others under way."""
    clock = Clock()
    issuer = OfflineIssuer(clock=clock)
    tokens = _source(issuer, clock)
    impatient = asyncio.create_task(tokens.token_for(CALENDAR))
    patient = asyncio.create_task(tokens.token_for(CALENDAR))
    await asyncio.sleep(0)
    impatient.cancel()
    assert (await patient).resource == CALENDAR
    assert issuer.requests["/token"] == 1


@pytest.mark.parametrize(("lifetime", "kept"), [(300, 269), (60, 47), (30, 23), (5, 3)])
async def test_a_token_is_replaced_before_it_expires(lifetime: int, kept: int) -> None:
    """It is kept for four fifths of its lifetime, or until 30 seconds before its end if that is later."""
    clock = Clock()
    issuer = OfflineIssuer(clock=clock)
    issuer.replies["/token"] = json_reply({"access_token": "t", "token_type": "bearer", "expires_in": lifetime})
    tokens = _source(issuer, clock)
    first = await tokens.token_for(CALENDAR)
    clock.now += kept
    assert await tokens.token_for(CALENDAR) is first
    clock.now += 1
    assert await tokens.token_for(CALENDAR) is not first


async def test_the_old_token_serves_until_its_end_when_the_issuer_is_away() -> None:
    """An issuer that does not answer hurts only once the token has expired."""
    clock = Clock()
    issuer = OfflineIssuer(clock=clock)
    tokens = _source(issuer, clock)
    first = await tokens.token_for(CALENDAR)
    issuer.is_down = True
    clock.now += 299
    assert await tokens.token_for(CALENDAR) is first
    clock.now += 1
    with pytest.raises(IssuerUnavailable):
        await tokens.token_for(CALENDAR)


async def test_a_key_signs_an_assertion_for_the_issuer_alone() -> None:
    """The assertion is addressed to the issuer, new each time, and the secret stays out of the form."""
    clock, key = Clock(), SigningKey.generate()
    issuer = OfflineIssuer(clock=clock)
    tokens = _source(issuer, clock, client_secret=None, private_key=key.as_pem().reveal().encode())
    await tokens.token_for(CALENDAR)
    await tokens.token_for(ROOMS)
    read = [
        read_client_assertion(
            form["client_assertion"][0],
            client_id="trip planner",
            keys={key.kid: key.public()},
            audience=issuer.url,
            now=int(clock.now),
        )
        for form in _forms(issuer)
    ]
    assert read[0].jti != read[1].jti
    assert {form["client_assertion_type"][0] for form in _forms(issuer)} == {
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    }


async def test_a_secret_goes_into_the_header() -> None:
    """`client_secret_basic`, each half form-encoded, and no credentials in the form."""
    clock = Clock()
    issuer = OfflineIssuer(clock=clock)
    await _source(issuer, clock, client_id="a:b c", client_secret=Secret("p%:")).token_for(CALENDAR)
    sent = next(request for request in issuer.sent if request.path == "/token")
    assert sent.headers["authorization"] == "Basic YSUzQWIrYzpwJTI1JTNB"
    assert "client_secret" not in sent.body.decode()


async def test_an_exchange_is_made_anew_each_time() -> None:
    """The caller's token becomes one for the next resource; nothing is kept for another caller."""
    clock = Clock()
    issuer = OfflineIssuer(clock=clock)
    tokens = _source(issuer, clock)
    inbound = issuer.mint(CALENDAR, subject="user:ann")
    onward = await tokens.exchange(inbound, resource=ROOMS, scopes=["rooms:read"])
    assert (onward.resource, onward.scopes) == (ROOMS, {"rooms:read"})
    assert (await tokens.exchange(Secret(inbound), resource=ROOMS)).raw != onward.raw
    form = _forms(issuer)[0]
    assert form == {
        "grant_type": ["urn:ietf:params:oauth:grant-type:token-exchange"],
        "subject_token": [inbound],
        "subject_token_type": ["urn:ietf:params:oauth:token-type:access_token"],
        "resource": [ROOMS],
        "scope": ["rooms:read"],
    }


async def test_a_refusal_says_its_code() -> None:
    """The OAuth error code of the server is on the exception; nothing is kept."""
    clock = Clock()
    issuer = OfflineIssuer(clock=clock)
    tokens = _source(issuer, clock)
    issuer.replies["/token"] = json_reply({"error": "invalid_target", "error_description": "no"}, status=400)
    with pytest.raises(TokenNotGranted, match="invalid_target") as refused:
        await tokens.token_for(CALENDAR)
    assert refused.value.error == "invalid_target"
    del issuer.replies["/token"]
    assert (await tokens.token_for(CALENDAR)).resource == CALENDAR


GOOD = {"access_token": "abc", "token_type": "Bearer", "expires_in": 60}


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, (), b"<html>"),
        Reply(200, (), b'{"access_token":"a","access_token":"b","token_type":"Bearer","expires_in":60}'),
        json_reply({**GOOD, "access_token": "a b"}),
        json_reply({**GOOD, "access_token": "a\r\nx: y"}),
        json_reply({**GOOD, "access_token": None}),
        json_reply({**GOOD, "token_type": "DPoP"}),
        json_reply({**GOOD, "expires_in": "60"}),
        json_reply({**GOOD, "expires_in": True}),
        json_reply({**GOOD, "expires_in": 0}),
        json_reply({**GOOD, "expires_in": -1}),
        json_reply({**GOOD, "expires_in": 10**9}),
        json_reply({**GOOD, "scope": ["a"]}),
        json_reply({}, status=400),
        json_reply({"error": "x\ny"}, status=400),
        json_reply({"error": "invalid_target"}, status=500),
        json_reply(GOOD, status=201),
        Reply(307, (("location", "https://evil.example/token"),), b""),
    ],
)
async def test_an_odd_answer_is_no_token(reply: Reply) -> None:
    """What is not one bearer token of sane lifetime counts as an issuer that is not available."""
    clock = Clock()
    issuer = OfflineIssuer(clock=clock)
    issuer.replies["/token"] = reply
    with pytest.raises(IssuerUnavailable):
        await _source(issuer, clock).token_for(CALENDAR)
    assert all("evil" not in request.path for request in issuer.sent)


async def test_an_exchange_must_give_an_access_token() -> None:
    """Another `issued_token_type`, or none, is not taken."""
    clock = Clock()
    issuer = OfflineIssuer(clock=clock)
    issuer.replies["/token"] = json_reply(GOOD)
    with pytest.raises(IssuerUnavailable):
        await _source(issuer, clock).exchange("x.y.z", resource=ROOMS)


async def test_an_issuer_without_token_endpoint_gives_none() -> None:
    """Metadata that names no token endpoint is said to be the problem."""
    clock = Clock()
    issuer = OfflineIssuer(clock=clock)
    document = json.dumps({"issuer": issuer.url}).encode()
    issuer.replies["/.well-known/oauth-authorization-server"] = Reply(200, (), document)
    with pytest.raises(IssuerUnavailable, match="token endpoint"):
        await _source(issuer, clock).token_for(CALENDAR)


@pytest.mark.parametrize(
    "changes",
    [
        {"client_secret": None},
        {"private_key": SigningKey.generate()},
        {"issuer": "http://auth.example.com"},
        {"issuer": "https://auth.example.com#x"},
    ],
)
def test_a_source_that_cannot_work_is_refused(changes: dict[str, Any]) -> None:
    """Exactly one credential, and an issuer that nobody can overhear."""
    with pytest.raises(SettingsError):
        TokenSource(**{"issuer": "https://a.example", "client_id": "c", "client_secret": SECRET} | changes)


async def test_a_resource_that_is_no_uri_is_refused() -> None:
    """Resources are canonical URIs, and scopes are a list."""
    tokens = TokenSource(issuer="https://a.example", client_id="c", client_secret=SECRET)
    with pytest.raises(SettingsError):
        tokens.auth_for("calendar")
    with pytest.raises(SettingsError):
        tokens.auth_for(CALENDAR, "calendar:read")


@pytest.mark.parametrize("resource", ["http://mcp.example.com/mcp", "http://10.0.0.1/mcp"])
def test_no_token_goes_anywhere_in_clear(resource: str) -> None:
    """An auth for http is refused, but for this machine, whichever way its tokens are got."""
    tokens = TokenSource(issuer="https://a.example", client_id="c", client_secret=SECRET)
    for auth in (tokens.auth_for, lambda to: tokens.onward_auth("x.y.z", to)):
        with pytest.raises(SettingsError, match="must be https"):
            auth(resource)
        assert auth("http://[::1]:9001/mcp").resource == "http://[::1]:9001/mcp"


async def test_no_secret_is_printed() -> None:
    """Neither the token nor the credential shows in a representation."""
    clock = Clock()
    issuer = OfflineIssuer(clock=clock)
    tokens = _source(issuer, clock)
    token = await tokens.token_for(CALENDAR)
    assert token.raw.reveal() not in repr(token)
    assert SECRET not in repr(tokens) + repr(vars(tokens))
