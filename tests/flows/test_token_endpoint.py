"""The token endpoint end to end: client credentials, real stores, real journal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from perhop.authorization_server.operator_issuance import issue_for_operator
from perhop.core.client import GrantType
from perhop.errors import ClientDisabled, GrantTypeNotAllowed, NotFound, TargetInvalid
from tests.support.authorization_servers import (
    CALENDAR,
    CALENDAR_SERVER,
    NOTES,
    ROOMS,
    RunningServer,
    assert_refused,
    claims_in,
    claims_of,
    running_server,
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        yield running


async def test_an_agent_gets_a_token_for_one_resource(server: RunningServer) -> None:
    """The token names one audience, the client as its subject, and begins a transaction at hop 1."""
    answer = await server.planner_token()
    claims = claims_of(answer)
    assert claims["iss"] == server.issuer.url
    assert claims["aud"] == CALENDAR
    assert claims["sub"] == claims["client_id"] == "trip-planner"
    assert claims["exp"] - claims["iat"] == answer.json()["expires_in"] == 300
    assert (claims["hop"], claims["tenant"], claims["scope"]) == (1, "acme", "calendar:read calendar:write")
    assert claims["txn"]
    assert not {"agent", "act"} & claims.keys()
    assert answer.json()["token_type"] == "Bearer"
    assert "issued_token_type" not in answer.json()
    assert answer.headers["cache-control"] == "no-store"


async def test_what_is_no_endpoint_is_not_found(server: RunningServer) -> None:
    """A path with a slash more is another one, and no redirect leads from there to whatever `Host` was asked for."""
    for path in ("/token/", "/authorize/", "/jwks/", "/none"):
        answer = await server.http.post(path, headers={"host": "evil.example.com"})
        assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store"), path
        assert "location" not in answer.headers
    other_method = await server.http.get("/token")
    assert (other_method.status_code, other_method.headers["allow"]) == (405, "POST")
    assert other_method.headers["cache-control"] == "no-store"


async def test_a_high_risk_resource_gets_short_tokens(server: RunningServer) -> None:
    """A token for a resource of high risk is good for 60 seconds."""
    server.change_client("trip-planner", reaches={"notes": ("notes:read",)})
    claims = claims_of(await server.planner_token(resource=NOTES))
    assert claims["exp"] - claims["iat"] == 60


async def test_a_token_is_recorded_before_it_leaves(server: RunningServer) -> None:
    """The database has its row and the journal its record, with audience, scope and expiry, and never the token."""
    answer = await server.planner_token()
    claims = claims_of(answer)
    assert await server.stores.lineage.audiences(claims["jti"]) == {CALENDAR}
    (record,) = server.records("token.issued")
    assert record["out"]["jti"] == claims["jti"]
    assert record["out"]["aud"] == CALENDAR
    assert (record["txn"], record["hop"], record["client"]) == (claims["txn"], 1, "trip-planner")
    assert (record["resource"], record["owner"], record["tenant"]) == ("calendar", "travel-team", "acme")
    assert answer.json()["access_token"] not in str(record)


async def test_fewer_scopes_may_be_asked_for(server: RunningServer) -> None:
    """A client gets exactly the scopes that it asks for."""
    assert claims_of(await server.planner_token(scope="calendar:read"))["scope"] == "calendar:read"


SCOPES_BEYOND: list[str] = [
    "calendar:delete",
    "calendar:read rooms:read",
    "*",
    "CALENDAR:READ",
    "calendar:read\tcalendar:write",
    " ",
    'a"b',
]


async def test_no_more_scopes_may_be_asked_for(server: RunningServer, subtests: pytest.Subtests) -> None:
    """A scope that the client does not reach, or that is malformed, is refused and not cut down."""
    for scope in SCOPES_BEYOND:
        with subtests.test(scope=scope):
            assert_refused(await server.planner_token(scope=scope), "invalid_scope")
            assert server.last_refusal()["reason"] == "scope.insufficient"


RESOURCES_OUT_OF_REACH: list[tuple[str, str]] = [
    ("", "audience.missing"),
    (ROOMS, "audience.mismatch"),
    (CALENDAR_SERVER, "audience.mismatch"),
    ("https://stranger.example.com/mcp", "audience.mismatch"),
    (f"{CALENDAR}/", "audience.mismatch"),
    (f"{CALENDAR}#x", "audience.mismatch"),
    (f"{CALENDAR}%20", "audience.mismatch"),
    ("trip-planner", "audience.mismatch"),
    ("https://auth.example.com", "audience.mismatch"),
    ("*", "audience.mismatch"),
]


async def test_only_a_reached_resource_may_be_asked_for(server: RunningServer, subtests: pytest.Subtests) -> None:
    """A resource that is missing, unknown, not reached, or a server's own address is refused and recorded."""
    for resource, reason in RESOURCES_OUT_OF_REACH:
        with subtests.test(resource=resource):
            assert_refused(await server.planner_token(resource=resource), "invalid_target")
            assert server.last_refusal()["reason"] == reason
            assert server.records("token.issued") == []


async def test_the_case_of_the_host_is_lowered(server: RunningServer) -> None:
    """A resource may be spelled with capitals in scheme and host; the token has the one canonical spelling."""
    claims = claims_of(await server.planner_token(resource=CALENDAR.replace("https://gate", "HTTPS://Gate")))
    assert claims["aud"] == CALENDAR


@pytest.mark.parametrize("second", [ROOMS, CALENDAR, ""])
async def test_two_resources_are_refused(server: RunningServer, second: str) -> None:
    """Two values of `resource`, even equal ones, or an empty one, get no token."""
    parameters = {"grant_type": "client_credentials", "resource": [CALENDAR, second]}
    answer = await server.http.post("/token", data=parameters | server.proof("trip-planner"))
    assert_refused(answer, "invalid_target")
    assert server.last_refusal()["reason"] == "audience.multiple"


async def test_an_audience_is_no_resource(server: RunningServer) -> None:
    """`audience` alone is refused; beside an equal `resource` it says nothing; beside another it is refused."""
    assert_refused(await server.planner_token(resource="", audience=CALENDAR), "invalid_target")
    assert claims_of(await server.planner_token(audience=CALENDAR))["aud"] == CALENDAR
    assert_refused(await server.planner_token(audience=ROOMS), "invalid_target")


async def test_a_default_resource_may_be_left_out(server: RunningServer) -> None:
    """A client with a default resource gets a token for that one when it names none."""
    server.change_client("trip-planner", default_resource="calendar")
    assert claims_of(await server.planner_token(resource=""))["aud"] == CALENDAR


@pytest.mark.parametrize("grant", ["password", "implicit", "urn:ietf:params:oauth:grant-type:jwt-bearer"])
async def test_a_grant_that_is_not_built_is_unsupported(server: RunningServer, grant: str) -> None:
    """Any other grant type is refused by its own error."""
    assert_refused(await server.planner_token(grant_type=grant), "unsupported_grant_type")


async def test_a_grant_must_be_allowed(server: RunningServer) -> None:
    """A client whose grants do not list this one is refused, and a public one even if they do."""
    answer = await server.planner_token(grant_type="authorization_code", code="x")
    assert_refused(answer, "unauthorized_client")
    server.change_client("desk-app", grants=frozenset({GrantType.CLIENT_CREDENTIALS}))
    answer = await server.ask(grant_type="client_credentials", resource=CALENDAR, client_id="desk-app")
    assert_refused(answer, "unauthorized_client")


async def test_a_disabled_client_gets_nothing(server: RunningServer) -> None:
    """A disabled client is refused until it is enabled again."""
    await server.issuer.standing.disable("client", "trip-planner", why="test", now=1)
    assert_refused(await server.planner_token(), "invalid_client", status=401)
    assert server.last_refusal()["reason"] == "client.disabled"
    assert await server.issuer.standing.enable("client", "trip-planner", now=2)
    claims_of(await server.planner_token())


async def test_a_client_expires_at_the_end_of_its_day(server: RunningServer) -> None:
    """A client works in the last second of its last day in UTC, and not one second later."""
    server.change_client("trip-planner", expires=date(2027, 1, 31))
    server.clock.now = datetime(2027, 1, 31, 23, 59, 59, tzinfo=UTC).timestamp()
    claims_of(await server.planner_token())
    server.clock.now += 1
    assert_refused(await server.planner_token(), "invalid_client", status=401)
    assert server.last_refusal()["reason"] == "client.expired"


@pytest.mark.parametrize("which", ["client", "resource"])
async def test_nothing_is_issued_without_an_owner(server: RunningServer, which: str) -> None:
    """Without an owner in force, of client or resource, the answer is 503."""
    registry = server.issuer.registry
    if which == "client":
        server.change_client("trip-planner", owner="gone")
    else:
        orphan = replace(registry.resources["calendar"], owner="gone")
        server.change_registry(resources={**registry.resources, "calendar": orphan})
    assert_refused(await server.planner_token(), "temporarily_unavailable", status=503)
    assert server.last_refusal()["reason"] == "owner.missing"


async def test_a_disabled_resource_gets_no_tokens(server: RunningServer) -> None:
    """For a disabled resource nothing is issued."""
    await server.issuer.standing.disable("resource", "calendar", why="test", now=1)
    assert_refused(await server.planner_token(), "invalid_target")


async def test_policy_can_forbid_issuing(server: RunningServer) -> None:
    """A forbid over `issue` refuses as an unknown resource would; the journal has the true reason."""
    server.forbid(
        '@id("no-planner") forbid (principal == MCP::Agent::"trip-planner", action == MCP::Action::"issue", resource);'
    )
    assert_refused(await server.planner_token(), "invalid_target")
    refusal = server.last_refusal()
    assert (refusal["reason"], refusal["resource"]) == ("policy.denied", "calendar")
    assert "no-planner" in refusal["detail"]


async def test_a_policy_that_fails_forbids(server: RunningServer) -> None:
    """A forbid over `issue` that cannot be evaluated refuses."""
    server.forbid(
        '@id("odd") forbid (principal, action == MCP::Action::"issue", resource)'
        " when { context.token.hop + 9223372036854775807 > 0 };"
    )
    assert_refused(await server.planner_token(), "invalid_target")
    assert server.last_refusal()["reason"] == "policy.error"


async def test_no_token_leaves_when_the_journal_cannot_write(server: RunningServer) -> None:
    """With the journal closed the answer is 503, without a token."""
    await server.issuer.journal.close()
    answer = await server.planner_token()
    assert_refused(answer, "temporarily_unavailable", status=503)
    assert answer.headers["retry-after"]
    assert "access_token" not in answer.text


async def test_a_refusal_that_cannot_be_recorded_is_503(server: RunningServer) -> None:
    """A refusal is not answered as such when it leaves no record."""
    await server.issuer.journal.close()
    assert_refused(await server.planner_token(resource=ROOMS), "temporarily_unavailable", status=503)


async def test_no_token_leaves_when_the_database_is_gone(server: RunningServer) -> None:
    """With the database closed the answer is 503, without a token."""
    await server.database.close()
    server.database.path.unlink()
    assert_refused(await server.planner_token(), "temporarily_unavailable", status=503)
    assert server.records("token.issued") == []


async def test_refusals_say_nothing_to_the_peer(server: RunningServer) -> None:
    """The peer gets fixed text: neither the client's name nor the resource stands in it."""
    answer = await server.planner_token(resource="https://stranger.example.com/mcp")
    assert "stranger" not in answer.text
    assert "trip-planner" not in answer.text


async def test_a_flood_of_anonymous_refusals_is_counted(server: RunningServer) -> None:
    """Beyond ten a second of one address and reason, unauthenticated refusals leave no record of their own."""
    for _ in range(15):
        assert_refused(
            await server.ask(grant_type="client_credentials", client_id="stranger"), "invalid_client", status=401
        )
    assert len(server.records("token.refused")) == 10


async def test_an_operator_issues_by_the_rules_of_client_credentials(server: RunningServer) -> None:
    """By name or URI, with fewer scopes if named; recorded as issued by an operator."""
    minted = await issue_for_operator(
        server.issuer, client_id="trip-planner", resource="calendar", scopes=["calendar:read"]
    )
    claims = claims_in(minted.raw.reveal())
    assert (claims["aud"], claims["sub"], claims["scope"]) == (CALENDAR, "trip-planner", "calendar:read")
    await issue_for_operator(server.issuer, client_id="trip-planner", resource=CALENDAR)
    assert [record["about"] for record in server.records("token.issued")] == [{"by": "operator"}] * 2


async def test_an_operator_is_bound_by_the_same_rules(server: RunningServer) -> None:
    """Unknown and disabled clients, public clients and resources out of reach are refused, and that is recorded."""
    issuer = server.issuer
    with pytest.raises(NotFound):
        await issue_for_operator(issuer, client_id="stranger", resource="calendar")
    with pytest.raises(GrantTypeNotAllowed):
        await issue_for_operator(issuer, client_id="desk-app", resource="calendar")
    with pytest.raises(TargetInvalid):
        await issue_for_operator(issuer, client_id="trip-planner", resource=CALENDAR_SERVER)
    await issuer.standing.disable("client", "trip-planner", why="test", now=1)
    with pytest.raises(ClientDisabled):
        await issue_for_operator(issuer, client_id="trip-planner", resource="calendar")
    reasons = [record["reason"] for record in server.records("token.refused")]
    assert reasons == ["presenter.mismatch", "audience.mismatch", "client.disabled"]
