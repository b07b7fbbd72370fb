"""AuthZEN 1.0 §5 to §7 and §10: requests, decisions, lists of them, and how errors are told."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.access import (
    CREATING,
    EVALUATION,
    EVALUATIONS,
    SEARCH,
    access_server,
    ask,
    basic,
    decision,
    question,
)
from tests.support.authorization_servers import RunningServer
from tests.support.sources import ROOT

PERMITTED = {"resource": {"type": "tool", "id": "calendar/list_events"}}
DENIED = {"resource": {"type": "tool", "id": "calendar/drop_table"}}
LONELY: dict[str, Any] = question(resource=None)
LUNCH = {"arguments": {"title": "lunch"}}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with access_server(tmp_path) as running:
        yield running


async def decisions(server: RunningServer, **body: Any) -> list[bool]:
    answer = await ask(server, body, EVALUATIONS)
    assert answer.status_code == 200, answer.text
    assert "decision" not in answer.json()
    return [each["decision"] for each in answer.json()["evaluations"]]


async def test_a_decision_is_a_boolean_with_an_optional_context(server: RunningServer) -> None:
    """Yes and no are both 200 and JSON; the context is an object. Spec: AuthZEN 1.0 §6.2"""
    for changes, expected in ((PERMITTED, True), (DENIED, False)):
        answer = await ask(server, question(**changes))
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.json()["decision"] is expected
        assert isinstance(answer.json()["context"], dict)


async def test_the_example_of_our_own_page_is_answered(server: RunningServer) -> None:
    """The request that docs/authzen.md shows gets an answer of the form that it shows. Spec: AuthZEN 1.0 §6.1"""
    page = (ROOT / "docs/authzen.md").read_text(encoding="utf-8")
    sent, shown = (re.search(pattern, page, re.S) for pattern in (r"-d '(\{.*?\})'", r"```json\n(.*?)\n```"))
    assert sent is not None
    assert shown is not None
    answer, example = (await ask(server, json.loads(sent[1]))).json(), json.loads(shown[1])
    assert (answer["decision"], answer["context"].keys()) == (example["decision"], example["context"].keys())


async def test_the_same_question_has_the_same_answer(server: RunningServer) -> None:
    """Asked again and again, nothing changes. Spec: AuthZEN 1.0 §6"""
    assert {(await decision(server))["decision"] for _ in range(5)} == {True}


async def test_unknown_members_are_ignored(server: RunningServer) -> None:
    """At every level. Spec: AuthZEN 1.0 §10.1.1"""
    more = {"future": {"nested": True}}
    body = question(
        subject={"type": "agent", "id": "trip-planner", "properties": {"department": "Sales"}, **more},
        action={"name": "tools/call", "properties": {"method": "GET"}, **more},
        resource={**PERMITTED["resource"], "properties": {"status": "active"}, **more},
        context={"time": "1985-10-26T01:22-07:00"},
        foo="bar",
    )
    assert (await ask(server, body)).json()["decision"] is True


@pytest.mark.parametrize("missing", ["subject", "action", "resource"])
async def test_a_required_member_that_is_missing_is_a_bad_request(server: RunningServer, missing: str) -> None:
    """400, with a text that names it. Spec: AuthZEN 1.0 §10.1.1"""
    answer = await ask(server, question(**{missing: None}))
    assert (answer.status_code, answer.text) == (400, f"`{missing}` is missing")


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": {"id": "trip-planner"}},
        {"subject": {"type": "agent"}},
        {"subject": "trip-planner"},
        {"subject": {"type": "agent", "id": 1}},
        {"subject": {"type": "agent", "id": "trip-planner", "properties": []}},
        {"action": {}},
        {"action": {"name": 123}},
        {"action": {"name": None}},
        {"resource": {"id": "calendar/list_events"}},
        {"resource": {"type": "tool"}},
        {"resource": []},
        {"context": "now"},
    ],
    ids=str,
)
async def test_a_member_of_the_wrong_type_is_a_bad_request(server: RunningServer, changes: Any) -> None:
    """A member that is there and is not what it must be is 400. Spec: AuthZEN 1.0 §10.1.2"""
    assert (await ask(server, question(**changes))).status_code == 400


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b'"text"', "application/json"),
        (b'{"subject":{},"subject":{}}', "application/json"),
        (b'{"subject":"\\ud800"}', "application/json"),
        (b"{}", "text/plain"),
        (b"subject=x", "application/x-www-form-urlencoded"),
    ],
    ids=["empty", "cut", "list", "text", "twice", "surrogate", "media type", "form"],
)
async def test_what_is_not_a_json_object_is_a_bad_request(
    server: RunningServer, content: bytes, content_type: str
) -> None:
    """Strict JSON of the right type, or 400. Spec: AuthZEN 1.0 §10.1, AuthZEN 1.0 §11.5"""
    for path in (EVALUATION, EVALUATIONS, f"{SEARCH}/subject"):
        headers = {**basic("pep"), "content-type": content_type}
        answer = await server.http.post(path, content=content, headers=headers)
        assert answer.status_code == 400
        assert answer.headers["content-type"].startswith("text/plain")


async def test_a_request_id_comes_back_with_every_answer(server: RunningServer) -> None:
    """With a decision, a bad request, a failed authentication and a search alike. Spec: AuthZEN 1.0 §10.1.3"""
    id_ = "bfe9eb29-ab87-4ca3-be83-a1d5d8305716"
    for path, body, client, status in (
        (EVALUATION, question(), "pep", 200),
        (EVALUATIONS, question(), "pep", 200),
        (EVALUATION, {}, "pep", 400),
        (EVALUATION, question(), "nobody", 401),
        (EVALUATION, question(), "idle", 403),
        (f"{SEARCH}/action", question(), "pep", 200),
    ):
        answer = await ask(server, body, path, client=client, x_request_id=id_)
        assert (answer.status_code, answer.headers["x-request-id"]) == (status, id_)
    assert "x-request-id" not in (await ask(server, question())).headers


async def test_a_failed_authentication_is_401_with_a_challenge(server: RunningServer) -> None:
    """The challenge names the scheme that is taken. Spec: AuthZEN 1.0 §11.3"""
    answer = await server.http.post(EVALUATION, json=question())
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic realm=")


async def test_a_list_is_answered_in_its_order(server: RunningServer) -> None:
    """As many decisions as questions, each at its place. Spec: AuthZEN 1.0 §7.2"""
    whole = [question(**each) for each in (PERMITTED, DENIED, PERMITTED)]
    assert await decisions(server, evaluations=whole) == [True, False, True]


async def test_the_top_level_stands_in_for_what_a_question_lacks(server: RunningServer) -> None:
    """Whole members are taken, none is merged; the context too. Spec: AuthZEN 1.0 §7.1.1"""
    answers = await decisions(
        server,
        **question(resource=dict(CREATING), context=LUNCH),
        evaluations=[
            {},
            DENIED,
            {"context": {"arguments": {"title": "party"}}},
            {"context": {}},
            {"action": {"name": "call_tool"}},
        ],
    )
    assert answers == [True, False, False, False, True]
    merged = await decisions(server, **question(), evaluations=[{"resource": {"type": "tool"}}])
    assert merged == [False]


@pytest.mark.parametrize(
    ("semantic", "expected"),
    [
        (None, [True, False, True]),
        ("execute_all", [True, False, True]),
        ("deny_on_first_deny", [True, False]),
        ("permit_on_first_permit", [True]),
    ],
)
async def test_a_semantic_ends_the_list(server: RunningServer, semantic: str | None, expected: list[bool]) -> None:
    """The example of three documents, by each semantic. Spec: AuthZEN 1.0 §7.1.2.1"""
    options = {} if semantic is None else {"options": {"evaluations_semantic": semantic, "another_option": "value"}}
    body = {**LONELY, "evaluations": [PERMITTED, DENIED, PERMITTED], **options}
    assert await decisions(server, **body) == expected


async def test_what_cannot_be_read_counts_as_a_denial(server: RunningServer) -> None:
    """One question without its resource is a no that says so, and ends a list that ends with the first no.

    Spec: AuthZEN 1.0 §7.2.1
    """
    body = {**LONELY, "evaluations": [PERMITTED, {}, PERMITTED]}
    found = (await ask(server, body, EVALUATIONS)).json()["evaluations"]
    assert [each["decision"] for each in found] == [True, False, True]
    assert found[1]["context"]["error"] == {"status": 400, "message": "`resource` is missing"}
    assert await decisions(server, **body, options={"evaluations_semantic": "deny_on_first_deny"}) == [True, False]


@pytest.mark.parametrize("more", [{}, {"evaluations": []}])
async def test_without_a_list_it_is_one_question(server: RunningServer, more: dict[str, Any]) -> None:
    """The answer is that of a single evaluation. Spec: AuthZEN 1.0 §7.1"""
    answer = await ask(server, {**question(), **more}, EVALUATIONS)
    assert answer.json()["decision"] is True
    assert "evaluations" not in answer.json()


@pytest.mark.parametrize(
    "changes",
    [
        {"evaluations": {}},
        {"evaluations": ["x"]},
        {"evaluations": [{}] * 101},
        {"evaluations": [{}], "options": {"evaluations_semantic": "some"}},
        {"evaluations": [{}], "options": {"evaluations_semantic": ["execute_all"]}},
        {"evaluations": [{}], "options": []},
        {"evaluations": [{}], "subject": "alice"},
        {"evaluations": [{}], "context": 1},
    ],
    ids=lambda changes: str(changes)[:60],
)
async def test_a_list_that_is_wrong_as_a_whole_is_a_bad_request(server: RunningServer, changes: Any) -> None:
    """Too many, no list, or a top level that is of no use: 400. Spec: AuthZEN 1.0 §7.2.1"""
    assert (await ask(server, question(**changes), EVALUATIONS)).status_code == 400


async def test_a_hundred_questions_are_one_request(server: RunningServer) -> None:
    """The bound itself is taken. Spec: AuthZEN 1.0 §11.7"""
    assert await decisions(server, **question(), evaluations=[{}] * 100) == [True] * 100


@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 413)])
async def test_a_body_beyond_the_bound_is_not_read(server: RunningServer, more: int, status: int) -> None:
    """A megabyte is taken, and a byte more is not. Spec: AuthZEN 1.0 §11.7"""
    padding = 1024 * 1024 - len(json.dumps(question(padding=""))) + more
    content = json.dumps(question(padding="x" * padding))
    headers = {**basic("pep"), "content-type": "application/json"}
    assert (await server.http.post(EVALUATION, content=content, headers=headers)).status_code == status


@pytest.mark.parametrize(("depth", "status"), [(32, 200), (33, 400)])
async def test_a_body_too_deep_is_a_bad_request(server: RunningServer, depth: int, status: int) -> None:
    """Thirty-two levels are taken, and no more. Spec: AuthZEN 1.0 §11.7"""
    deep = json.loads("[" * (depth - 2) + "]" * (depth - 2))
    assert (await ask(server, question(context={"deep": deep}))).status_code == status
