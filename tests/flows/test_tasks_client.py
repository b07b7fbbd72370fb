"""Tasks from an agent's side: one line begins one, and its tokens are kept apart from all others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perhop.client import TokenSource
from perhop.errors import IssuerUnavailable, SettingsError, TokenNotGranted
from tests.support.authorization_servers import CALENDAR, NOW, ROOMS, SECRET, RunningServer, claims_in, running_server
from tests.support.offline_issuer import Clock, OfflineIssuer


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        yield running


@pytest.fixture
def tokens(server: RunningServer) -> TokenSource:
    return TokenSource(
        issuer=server.issuer.url,
        client_id="trip-planner",
        private_key=server.keys.planner,
        http=server.http,
        clock=server.clock,
    )


async def test_an_agent_begins_a_task_in_one_line(server: RunningServer, tokens: TokenSource) -> None:
    """What it says arrives as it was said, and the tokens that it gets there name the task."""
    task = await tokens.task(
        purpose="plan the trip", tools=["calendar/list_*"], limits={"calls": 3, "writes": 0}, expires_in=120
    )
    assert task.expires_at == NOW + 120
    token = await task.token_for(CALENDAR)
    assert claims_in(token.raw.reveal())["authorization_details"] == [{"type": "agent_task", "id": task.id}]
    assert await task.token_for(CALENDAR) is token
    known = server.issuer.tasks.find(task.id)
    assert known is not None
    assert (known.purpose, known.limits.calls, known.limits.writes) == ("plan the trip", 3, 0)
    assert task.auth_for(CALENDAR).resource == CALENDAR


async def test_tokens_of_tasks_are_never_mixed(tokens: TokenSource) -> None:
    """Not with those of another task, and not with those of none, for the same resource and scopes."""
    tasks = [await tokens.task(purpose="one of two", tools=["calendar/*"]) for _ in range(2)]
    got = [await each.token_for(CALENDAR, ["calendar:read"]) for each in tasks]
    own = await tokens.token_for(CALENDAR, ["calendar:read"])
    named = [claims_in(each.raw.reveal()).get("authorization_details") for each in (*got, own)]
    assert named == [*([{"type": "agent_task", "id": each.id}] for each in tasks), None]


async def test_a_task_is_superseded_by_its_own_agent(server: RunningServer, tokens: TokenSource) -> None:
    """The next one is another object; the old one gives no token any more, and says why."""
    old = await tokens.task(purpose="plan the trip", tools=["calendar/*"])
    await old.token_for(CALENDAR)
    new = await old.supersede(purpose="book it", tools=["calendar/create_event"])
    assert new.id != old.id
    assert (await new.token_for(CALENDAR)).resource == CALENDAR
    with pytest.raises(TokenNotGranted) as refused:
        await old.token_for(CALENDAR)
    assert refused.value.error == "invalid_authorization_details"
    with pytest.raises(TokenNotGranted):
        await old.supersede(purpose="again", tools=["calendar/*"])
    assert server.last_refusal()["reason"] == "task.superseded"


async def test_tokens_of_tasks_that_are_over_are_let_go(server: RunningServer, tokens: TokenSource) -> None:
    """An agent that begins one task after the other does not keep what can be of no use."""
    for _ in range(5):
        task = await tokens.task(purpose="one of many", tools=["calendar/*"], expires_in=60)
        await task.token_for(CALENDAR)
        server.clock.now += 60
    last = await tokens.task(purpose="the last", tools=["calendar/*"])
    await last.token_for(CALENDAR)
    assert {task for _, _, task in tokens._kept} == {last.id}


async def test_a_secret_goes_by_header(server: RunningServer) -> None:
    """A client with a secret proves itself as at the token endpoint, and no secret is in the body."""
    source = TokenSource(issuer=server.issuer.url, client_id="basic", client_secret=SECRET, http=server.http)
    task = await source.task(purpose="read", tools=["calendar/*"])
    known = server.issuer.tasks.find(task.id)
    assert known is not None
    assert known.client == "basic"


async def test_what_the_server_refuses_is_told(tokens: TokenSource) -> None:
    """A resource out of reach, a purpose that is none, a resource that the task does not name: it says so itself."""
    for changes, error in (({"tools": ["unknown/*"]}, "invalid_target"), ({"purpose": ""}, "invalid_request")):
        with pytest.raises(TokenNotGranted) as refused:
            await tokens.task(**{"purpose": "p", "tools": ["calendar/*"], **changes})  # type: ignore[arg-type]  # its own
        assert refused.value.error == error
    task = await tokens.task(purpose="rooms only", tools=["rooms/*"])
    with pytest.raises(TokenNotGranted, match="invalid_target"):
        await task.token_for(CALENDAR)
    with pytest.raises(TokenNotGranted, match="invalid_target"):
        await task.token_for(ROOMS)


async def test_one_text_is_no_list_of_tools(tokens: TokenSource) -> None:
    """A pattern alone would be read letter by letter: it is refused here, with advice."""
    with pytest.raises(SettingsError, match="one text"):
        await tokens.task(purpose="p", tools="calendar/*")


async def test_an_issuer_without_tasks_is_told_apart() -> None:
    """Where the metadata names no endpoint, nothing is sent and the cause is said."""
    clock = Clock()
    issuer = OfflineIssuer(clock=clock)
    source = TokenSource(issuer=issuer.url, http=issuer.http(), clock=clock, client_id="a", client_secret=SECRET)
    with pytest.raises(IssuerUnavailable, match="no endpoint for tasks"):
        await source.task(purpose="p", tools=["calendar/*"])
