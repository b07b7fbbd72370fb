"""What a refresh rests on, looked at each time: the person, the consent, client, owner, resource, policy, task.

Spec: RFC 6749 §6
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from perhop.authorization_server.revocation import RevokedObject
from perhop.core.client import GrantType
from perhop.core.resource import Hop
from tests.support.authorization_servers import (
    CALENDAR,
    CALLBACK,
    EMAIL,
    PERSON,
    RunningServer,
    assert_refused,
    claims_of,
    naming,
    running_server,
)
from tests.support.refreshing import (
    AS_PORTAL,
    READ,
    add_portal,
    allowed,
    allowed_without_pages,
    family_of,
    refresh,
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        add_portal(running)
        yield running


async def _consent_withdrawn(server: RunningServer) -> None:
    assert (await server.stores.consents.take_back(PERSON, "desk-app", CALENDAR, now=0)).had_consent


async def _account_disabled(server: RunningServer) -> None:
    assert await server.stores.accounts.disable(EMAIL)


async def _another_redirect_uri(server: RunningServer) -> None:
    server.change_client("desk-app", redirect_uris=(CALLBACK, "https://desk.example.com/another"))


async def _another_hop(server: RunningServer) -> None:
    hop = Hop(source="calendar", target="notes", scopes={"calendar:read": ("notes:read",)})
    server.change_registry(hops=(*server.issuer.registry.hops, hop))


async def _other_words(server: RunningServer) -> None:
    calendar = server.issuer.registry.resources["calendar"]
    said = {**calendar.scopes, "calendar:read": replace(calendar.scopes["calendar:read"], says="Read everything")}
    _change_calendar(server, scopes=said)


async def _another_tenant(server: RunningServer) -> None:
    _change_calendar(server, tenant="globex")


def _change_calendar(server: RunningServer, **changes: Any) -> None:
    resources = server.issuer.registry.resources
    server.change_registry(resources={**resources, "calendar": replace(resources["calendar"], **changes)})


async def _narrower_consent(server: RunningServer) -> None:
    consent = await server.stores.consents.get(PERSON, "desk-app", CALENDAR)
    assert consent is not None
    await server.stores.consents.put(replace(consent, scopes=frozenset({"calendar:write"})))


@pytest.mark.parametrize(
    "change",
    [
        _consent_withdrawn,
        _narrower_consent,
        _account_disabled,
        _another_redirect_uri,
        _another_hop,
        _other_words,
        _another_tenant,
    ],
)
async def test_what_the_person_allowed_must_hold_still(
    server: RunningServer, change: Callable[[RunningServer], Awaitable[None]]
) -> None:
    """A consent that was withdrawn or has lapsed, and a person who is gone, give no next token."""
    first = await allowed(server)
    await change(server)
    assert_refused(await refresh(server, first["refresh_token"]), "invalid_grant")


async def _client_disabled(server: RunningServer) -> None:
    await server.issuer.standing.disable("client", "desk-app", why="", now=server.issuer.now())


async def _client_expired(server: RunningServer) -> None:
    server.change_client("desk-app", expires=date(2020, 1, 1))


async def _owner_disabled(server: RunningServer) -> None:
    await server.issuer.standing.disable("owner", "travel-team", why="", now=server.issuer.now())


async def _resource_disabled(server: RunningServer) -> None:
    await server.issuer.standing.disable("resource", "calendar", why="", now=server.issuer.now())


async def _grant_taken(server: RunningServer) -> None:
    server.change_client("desk-app", grants=frozenset({GrantType.AUTHORIZATION_CODE}))


async def _forbidden(server: RunningServer) -> None:
    server.forbid('@id("no") forbid (principal, action == MCP::Action::"issue", resource);')


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        (_client_disabled, 401, "invalid_client"),
        (_client_expired, 401, "invalid_client"),
        (_owner_disabled, 503, "temporarily_unavailable"),
        (_resource_disabled, 400, "invalid_target"),
        (_grant_taken, 400, "unauthorized_client"),
        (_forbidden, 400, "invalid_target"),
    ],
)
async def test_standing_and_policy_are_looked_at_again(
    server: RunningServer, change: Callable[[RunningServer], Awaitable[None]], status: int, error: str
) -> None:
    """Client, owner, resource and policy are asked at every refresh, and a refusal spends nothing."""
    first = await allowed(server)
    before = server.issuer
    await change(server)
    assert_refused(await refresh(server, first["refresh_token"]), error, status=status)
    server.issuer = before
    for kind, name in (("client", "desk-app"), ("owner", "travel-team"), ("resource", "calendar")):
        await server.issuer.standing.enable(kind, name, now=server.issuer.now())
    assert (await refresh(server, first["refresh_token"])).status_code == 200


REVOKED: list[tuple[RevokedObject, str]] = [
    (RevokedObject.AGENT, "desk-app"),
    (RevokedObject.SUBJECT, PERSON),
    (RevokedObject.RESOURCE, "calendar"),
    (RevokedObject.RESOURCE, CALENDAR),
    (RevokedObject.TENANT, "acme"),
]


@pytest.mark.parametrize("later", [0, 5000])
@pytest.mark.parametrize(("kind", "value"), REVOKED)
async def test_a_revocation_ends_refresh_tokens(
    server: RunningServer, kind: RevokedObject, value: str, later: int
) -> None:
    """What revokes the access tokens of a family ends the family, for good, also when the feed has forgotten it."""
    first = await allowed(server)
    family = await family_of(server)
    revoked = await server.issuer.revoker.revoke(kind, value, why="", by="tests")
    assert revoked.families == (family,)
    assert server.records("revocation")[-1]["about"]["families"] == [family]
    server.clock.now += later
    server.issuer.revocations.forget(now=server.issuer.now())
    assert_refused(await refresh(server, first["refresh_token"]), "invalid_grant")
    assert server.last_refusal()["reason"] == "token.revoked"
    server.clock.now += 1
    again = await allowed_without_pages(server, "desk-app", READ)
    assert (await refresh(server, again["refresh_token"])).status_code == 200


async def test_another_ones_revocation_changes_nothing(server: RunningServer) -> None:
    """A revocation of other clients, people and resources leaves a family alone."""
    first = await allowed(server)
    for kind, value in (
        (RevokedObject.AGENT, "laptop-app"),
        (RevokedObject.SUBJECT, "user:bob"),
        (RevokedObject.RESOURCE, "rooms"),
        (RevokedObject.TENANT, "globex"),
        (RevokedObject.TASK, "a-task"),
        (RevokedObject.FAMILY, "another"),
    ):
        assert (await server.issuer.revoker.revoke(kind, value, why="", by="tests")).families == ()
    assert (await refresh(server, first["refresh_token"])).status_code == 200


async def test_a_revocation_while_a_code_is_redeemed(server: RunningServer) -> None:
    """A family that would begin after a revocation that covers it does not begin."""
    records = server.stores.token_records
    revoke = server.issuer.revoker.revoke

    class Interrupted:
        def __getattr__(self, name: str) -> Any:
            return getattr(records, name)

        async def add_for_code(self, *words: Any, **named: Any) -> None:
            await revoke(RevokedObject.AGENT, "portal", why="", by="tests")
            await records.add_for_code(*words, **named)

    server.change(stores=replace(server.stores, token_records=Interrupted()))  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="invalid_grant"):
        await allowed_without_pages(server)
    assert server.records("token.issued") == []


async def test_a_family_of_a_task_ends_with_it(server: RunningServer) -> None:
    """Tokens of a family that names a task name it, too; when the task is over there are no more."""
    task = await server.task_id(by="portal", tools=["calendar/*"], **_secret())
    known = server.issuer.tasks.find(task)
    assert known is not None
    await server.issuer.tasks.approve(known, subject=PERSON, request=_nowhere())
    first = await allowed_without_pages(server, task=task)
    second = await refresh(server, first["refresh_token"], by="portal")
    assert claims_of(second)["authorization_details"][0]["id"] == task
    token = second.json()["refresh_token"]
    other = naming("another")
    assert_refused(await refresh(server, token, by="portal", more=other), "invalid_authorization_details")
    token = (await refresh(server, token, by="portal", more=naming(task))).json()["refresh_token"]
    await server.issuer.tasks.end(task, why="", by="tests")
    assert_refused(await refresh(server, token, by="portal"), "invalid_grant")
    assert server.last_refusal()["reason"] == "task.expired"


def _secret() -> dict[str, str]:
    return {"client_secret": AS_PORTAL["client_secret"]}


def _nowhere() -> Any:
    from perhop.journal.record import RequestFacts

    return RequestFacts()
