"""AuthZEN 1.0 §8: searches and their pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.access import EVALUATION, READS, SEARCH, WRITES, access_server, ask, question, search
from tests.support.authorization_servers import RunningServer

WHO = {
    "subject": {"type": "agent"},
    "action": {"name": "call_tool"},
    "resource": {"type": "tool", "id": "calendar/list_events"},
}
LUNCH = {"arguments": {"title": "lunch"}}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with access_server(tmp_path) as running:
        yield running


async def test_a_subject_search_finds_who_may(server: RunningServer) -> None:
    """Every agent of which the question would be answered with yes; each result has its type. Spec: AuthZEN 1.0 §8.4"""
    found = await search(server, "subject", WHO)
    assert list(found) == ["page", "results"]
    assert {each["id"] for each in found["results"]} >= {"trip-planner", "poster", "basic"}
    assert {each["type"] for each in found["results"]} == {"agent"}
    writers = {**WHO, "resource": {"type": "tool", "id": "calendar/create_event"}, "context": LUNCH}
    assert (await search(server, "subject", writers))["results"] == [{"type": "agent", "id": "trip-planner"}]


async def test_who_is_not_led_there_is_not_found(server: RunningServer) -> None:
    """With scopes that any token might have, only clients that reach the resource are named. Spec: AuthZEN 1.0 §8.4"""
    scoped = {**WHO, "subject": {"type": "agent", "properties": {"scope": READS}}}
    found = {each["id"] for each in (await search(server, "subject", scoped))["results"]}
    reaching = {"trip-planner", "poster", "basic", "desk-app", "laptop-app", "rooms-server", "both"}
    assert found == reaching, "the rooms' servers come here by a hop"


async def test_a_resource_search_finds_where_one_may(server: RunningServer) -> None:
    """Every tool that is known and would be permitted. Spec: AuthZEN 1.0 §8.5"""
    body = question(resource={"type": "tool"}, context=LUNCH)
    assert (await search(server, "resource", body))["results"] == [
        {"type": "tool", "id": "calendar/create_event"},
        {"type": "tool", "id": "calendar/get_event"},
    ]
    limited = question(
        subject={"type": "agent", "id": "trip-planner", "properties": {"scope": WRITES}},
        **{
            "resource": {"type": "tool"},
            "context": LUNCH,
        },
    )
    assert [each["id"] for each in (await search(server, "resource", limited))["results"]] == ["calendar/create_event"]


async def test_an_action_search_finds_what_one_may_do(server: RunningServer) -> None:
    """Names only, and no `action` is asked for. Spec: AuthZEN 1.0 §8.6"""
    found = await search(server, "action", question(action=None))
    assert {"name": "call_tool"} in found["results"]
    assert {"name": "tools/call"} in found["results"]
    assert all(set(each) == {"name"} for each in found["results"])


async def test_what_is_found_would_be_permitted(server: RunningServer) -> None:
    """Each result, put as a question, is answered with yes. Spec: AuthZEN 1.0 §8.1"""
    body = question(resource={"type": "tool"}, context=LUNCH)
    for sought, name in (("subject", "subject"), ("resource", "resource"), ("action", "action")):
        asked = {
            "subject": {**WHO, "context": LUNCH},
            "resource": body,
            "action": question(action=None, context=LUNCH),
        }[sought]
        results = (await search(server, sought, asked))["results"]
        assert results
        for each in results:
            answer = await ask(server, {**asked, name: {**asked.get(name, {}), **each}}, EVALUATION)
            assert answer.json()["decision"] is True, each


@pytest.mark.parametrize(
    ("sought", "body"),
    [
        ("subject", {**WHO, "subject": {"type": "agent", "id": "nobody"}}),
        ("resource", question(resource={"type": "tool", "id": "rooms/book"}, context=LUNCH)),
        ("action", question(context=LUNCH)),
    ],
)
async def test_the_name_of_what_is_sought_is_not_looked_at(server: RunningServer, sought: str, body: Any) -> None:
    """With an id or without, the results are the same. Spec: AuthZEN 1.0 §8.4.1, AuthZEN 1.0 §8.5.1"""
    without = {**body, sought: {name: value for name, value in body[sought].items() if name != "id"}}
    assert (await search(server, sought, body))["results"] == (await search(server, sought, without))["results"] != []


@pytest.mark.parametrize(
    ("sought", "body"),
    [
        ("subject", {**WHO, "subject": {"type": "spaceship"}}),
        ("subject", {**WHO, "subject": {"type": "user"}}),
        ("subject", {**WHO, "action": {"name": "fly"}}),
        ("subject", {**WHO, "resource": {"type": "tool", "id": "rooms/book"}}),
        ("subject", {**WHO, "resource": {"type": "tool", "id": "nowhere/book"}}),
        ("resource", question(resource={"type": "spaceship"})),
        ("resource", question(resource={"type": "prompt"}, action={"name": "get_prompt"})),
        ("resource", question(subject={"type": "agent", "id": "nobody"}, resource={"type": "tool"})),
        ("action", question(action=None, subject={"type": "user", "id": "nonexistent-user"})),
        ("action", question(action=None, resource={"type": "record", "id": "record-1"})),
        ("action", question(action=None, resource={"type": "tool", "id": "rooms/book"})),
    ],
    ids=str,
)
async def test_nothing_found_is_an_empty_list(server: RunningServer, sought: str, body: Any) -> None:
    """An unknown name, an unknown type and a resource of others: 200 and nothing. Spec: AuthZEN 1.0 §8.3"""
    assert await search(server, sought, body) == {"page": {"next_token": "", "count": 0}, "results": []}


@pytest.mark.parametrize(
    ("sought", "body"),
    [
        ("subject", {name: WHO[name] for name in ("subject", "resource")}),
        ("subject", {**WHO, "resource": {"type": "tool"}}),
        ("subject", {**WHO, "subject": {"id": "x"}}),
        ("resource", question(subject=None)),
        ("resource", question(subject={"type": "agent"})),
        ("resource", question(resource={"id": "x"})),
        ("action", question(resource=None)),
        ("action", question(subject={"type": "agent"})),
        ("action", question(page={"limit": -1})),
        ("action", question(page={"limit": True})),
        ("action", question(page={"limit": "2"})),
        ("action", question(page={"token": 1})),
        ("action", question(page=[])),
    ],
    ids=str,
)
async def test_a_search_that_is_not_whole_is_a_bad_request(server: RunningServer, sought: str, body: Any) -> None:
    """What is not sought must be named; a page is an object of its types. Spec: AuthZEN 1.0 §10.1.1"""
    assert (await ask(server, body, f"{SEARCH}/{sought}")).status_code == 400


async def test_pages_together_are_the_whole(server: RunningServer) -> None:
    """Page after page by the token, to the one whose token is empty. Spec: AuthZEN 1.0 §8.2"""
    whole = (await search(server, "action", question(action=None)))["results"]
    found: list[Any] = []
    page: dict[str, Any] = {"limit": 2}
    while True:
        answer = await search(server, "action", question(action=None, page=page))
        assert answer["page"]["count"] == len(answer["results"]) <= 2
        found.extend(answer["results"])
        if not answer["page"]["next_token"]:
            break
        page = {"token": answer["page"]["next_token"], **({"limit": 2} if len(found) < 3 else {})}
    assert found == whole
    assert len(whole) > 4


async def test_a_page_of_nothing_says_that_there_is_more(server: RunningServer) -> None:
    """A limit of zero is a limit. Spec: AuthZEN 1.0 §8.2.1"""
    answer = await search(server, "action", question(page={"limit": 0}))
    assert (answer["results"], answer["page"]["count"]) == ([], 0)
    assert answer["page"]["next_token"]


async def test_a_token_is_good_for_its_own_search(server: RunningServer) -> None:
    """Another question, another limit, another client or a token that we never made is 400. Spec: AuthZEN 1.0 §8.2.1"""
    first = await search(server, "action", question(page={"limit": 1}))
    token = first["page"]["next_token"]
    assert (await search(server, "action", question(page={"token": token})))["page"]["count"] == 1
    for changes, client in (
        ({"page": {"token": token}, "context": LUNCH}, "pep"),
        ({"page": {"token": token, "limit": 2}}, "pep"),
        ({"page": {"token": token}}, "both"),
        ({"page": {"token": token[:-4]}}, "pep"),
        ({"page": {"token": "WzFd"}}, "pep"),
        ({"page": {"token": "W1tbW1tb"}}, "pep"),
        ({"page": {"token": "é"}}, "pep"),
    ):
        answer = await ask(server, question(**changes), f"{SEARCH}/action", client=client)
        assert answer.status_code == 400, changes
