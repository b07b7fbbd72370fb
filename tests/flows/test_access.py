"""`/access/v1/*`: who may ask, about what, how a question is understood, and that unsure means no."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from perhop.gateway.tool_pins import Approval, Pinned, Quarantined, ToolPins
from perhop.policy.engine import PolicyEngine
from perhop.policy.policy_set import parse_policies
from perhop.rules.tool_definition import parse_definition
from perhop.wiring.known_tools import KnownTools
from tests.support.access import (
    CREATING,
    EVALUATION,
    EVALUATIONS,
    LISTING,
    POLICY,
    READS,
    SEARCH,
    WRITES,
    access_server,
    ask,
    basic,
    decision,
    question,
    reason,
    search,
)
from tests.support.authorization_servers import ASSERTION_TYPE, CALENDAR, CALENDAR_SERVER, RunningServer

UNSERVED = {"decision": False}
ROOM = {"type": "tool", "id": "rooms/book"}
LUNCH = {"arguments": {"title": "lunch"}}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with access_server(tmp_path) as running:
        yield running


def agent(**properties: Any) -> dict[str, Any]:
    return {"type": "agent", "id": "trip-planner", "properties": properties}


def pinned(server: RunningServer, *tools: dict[str, Any], quarantined: tuple[str, ...] = ()) -> None:
    """The calendar's owner has approved these tools, and these have been seen otherwise since."""
    pins = ToolPins(rows=server.stores.tool_pins, journal=server.issuer.journal, clock=server.clock)
    definitions = {each["name"]: parse_definition(each) for each in tools}
    noticed = tuple(Quarantined(tool=name, seen=None, noticed_at=0) for name in quarantined)
    pins.of("calendar").take(Pinned(approval=Approval(definitions=definitions, by="ann", at=0), quarantined=noticed))
    server.change(tools=KnownTools(pins))


# --- who may ask -----------------------------------------------------------------------------------------------------


async def test_a_client_with_a_key_sends_its_assertion_in_a_header(server: RunningServer) -> None:
    """It is good once, as at the token endpoint; the header for its type may say what there is to say."""
    proof = server.proof("calendar-server")["client_assertion"]
    headers = {"client-assertion": proof}
    assert (await server.http.post(EVALUATION, json=question(), headers=headers)).json()["decision"] is True
    again = await server.http.post(EVALUATION, json=question(), headers=headers)
    assert again.status_code == 401
    assert server.last_access_refusal()["reason"] == "assertion.replayed"
    typed = {
        "client-assertion": server.proof("calendar-server")["client_assertion"],
        "client-assertion-type": ASSERTION_TYPE,
    }
    assert (await server.http.post(EVALUATION, json=question(), headers=typed)).status_code == 200


async def test_nothing_else_proves_a_client(server: RunningServer) -> None:
    """No proof, a wrong secret, a bearer token, a proof in the body, another type, two proofs: nobody is answered."""
    token = (await server.planner_token()).json()["access_token"]
    proof = server.proof("calendar-server")
    asserted = {"client-assertion": proof["client_assertion"]}
    for headers, body, status in (
        ({}, question(), 401),
        (basic("pep", "wrong"), question(), 401),
        (basic("nobody"), question(), 401),
        ({"authorization": f"Bearer {token}"}, question(), 401),
        ({}, question(**proof, client_id="pep", client_secret="s" * 40), 401),
        ({**asserted, "client-assertion-type": "something-else"}, question(), 401),
        ({**asserted, **basic("pep")}, question(), 400),
        (basic("poster"), question(), 401),
    ):
        answer = await server.http.post(EVALUATION, json=body, headers=headers)
        assert (answer.status_code, "decision" in answer.text) == (status, False), headers
    assert server.records("access.evaluated") == []


async def test_a_client_must_be_in_standing_and_serve_something(server: RunningServer) -> None:
    """Expired, disabled, without an owner, or an agent that answers for no server: no decision."""
    assert (await ask(server, question(), client="idle")).status_code == 403
    assert server.last_access_refusal()["client"] == "idle"
    server.change_client("pep", expires=date(2020, 1, 31))
    assert (await ask(server, question())).status_code == 401
    server.change_client("pep", expires=date(2030, 1, 31))
    await server.issuer.standing.disable("client", "pep", why="test", now=0)
    assert (await ask(server, question())).status_code == 401
    await server.issuer.standing.enable("client", "pep", now=0)
    assert (await decision(server))["decision"] is True
    server.change_registry(owners={})
    assert (await ask(server, question())).status_code == 503


@pytest.mark.parametrize(
    "resource",
    [
        ROOM,
        {"type": "tool", "id": "nowhere/book"},
        {"type": "tool", "id": "book", "properties": {"server": "rooms"}},
        {"type": "tool", "id": "book", "properties": {"server": "nowhere"}},
        {"type": "server", "id": "rooms"},
        {"type": "mcp_server", "id": "https://rooms.example.com/mcp"},
        {"type": "mcp_server", "id": "https://nowhere.example.com/mcp"},
    ],
    ids=str,
)
async def test_of_a_resource_of_others_nothing_is_told(server: RunningServer, resource: Any) -> None:
    """It is answered as one that there is not: a bare no, whatever else is asked; the journal has why."""
    for action in ("tools/call", "tools/list", "call_tool", "fly"):
        answer = await decision(server, resource=resource, action={"name": action})
        assert answer == UNSERVED
    assert {each["reason"] for each in server.records("access.evaluated")} == {"policy.denied"}
    assert all("resource" not in each for each in server.records("access.evaluated"))


async def test_who_serves_it_is_answered(server: RunningServer) -> None:
    """The same question of a client that serves the rooms is a real one."""
    answer = await decision(server, resource=ROOM, client="both")
    assert (answer["decision"], answer["context"]["policies"]) == (True, ["rooms"])


# --- what is asked ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resource", "client"),
    [
        (LISTING, "both"),
        ({"type": "tool", "id": "list_events"}, "pep"),
        ({"type": "tool", "id": "list_events", "properties": {"server": "calendar"}}, "both"),
        ({"type": "tool", "id": "list_events", "properties": {"server": CALENDAR}}, "both"),
        ({"type": "tool", "id": "list_events", "properties": {"server": CALENDAR_SERVER}}, "both"),
    ],
)
async def test_a_tool_is_named_with_its_resource(server: RunningServer, resource: Any, client: str) -> None:
    """In the id, in a property, or by there being only one resource that the client serves."""
    assert (await decision(server, resource=resource, client=client))["decision"] is True


async def test_a_name_that_could_be_anything_is_a_no(server: RunningServer) -> None:
    """A bare name where several resources are served; an id that is also a tool's whole name."""
    bare = {"type": "tool", "id": "list_events"}
    assert (await decision(server, resource=bare, client="both"))["context"]["reason"] == "request.malformed"
    pinned(server, {"name": "list_events", "inputSchema": {}}, {"name": "calendar/list_events", "inputSchema": {}})
    assert await reason(server) == "request.malformed"
    said = {"type": "tool", "id": "list_events", "properties": {"server": "calendar"}}
    assert await reason(server, resource=said) is None


@pytest.mark.parametrize(
    ("action", "resource", "policies"),
    [
        ("call_tool", LISTING, ["calls"]),
        ("tools/call", LISTING, ["calls"]),
        ("tasks/get", LISTING, ["calls"]),
        ("tasks/update", LISTING, ["calls"]),
        ("get_prompt", {"type": "prompt", "id": "calendar/agenda"}, ["agenda"]),
        ("prompts/get", {"type": "prompt", "id": "calendar/agenda"}, ["agenda"]),
        ("completion/complete", {"type": "prompt", "id": "calendar/agenda"}, ["agenda"]),
        ("read_resource", {"type": "resource", "id": "calendar/calendar://today"}, ["today"]),
        ("resources/read", {"type": "resource", "id": "calendar://today"}, ["today"]),
        ("subscriptions/listen", {"type": "resource", "id": "calendar://today"}, ["today"]),
        ("subscriptions/listen", {"type": "server", "id": "calendar"}, []),
        ("list", {"type": "server", "id": "calendar"}, []),
        ("tools/list", {"type": "mcp_server", "id": CALENDAR_SERVER}, []),
        ("resources/templates/list", {"type": "server", "id": CALENDAR}, []),
        ("server/discover", {"type": "mcp_server", "id": CALENDAR}, []),
        ("ping", {"type": "mcp_server", "id": CALENDAR}, []),
        ("notifications/cancelled", {"type": "server", "id": "calendar"}, []),
    ],
)
async def test_an_action_is_one_of_ours_or_a_method(
    server: RunningServer, action: str, resource: Any, policies: list[str]
) -> None:
    """Both words lead to the same question to policy."""
    answer = await decision(server, action={"name": action}, resource=resource)
    assert (answer["decision"], answer["context"]["policies"]) == (True, policies), answer


@pytest.mark.parametrize(
    ("action", "resource", "expected"),
    [
        ("prompts/get", {"type": "prompt", "id": "calendar/other"}, "policy.denied"),
        ("resources/read", {"type": "resource", "id": "calendar/file:///etc/passwd"}, "policy.denied"),
        ("tools/fly", LISTING, "method.unknown"),
        ("can_read", LISTING, "method.unknown"),
        ("issue", {"type": "server", "id": "calendar"}, "method.unknown"),
        ("exchange", {"type": "server", "id": "calendar"}, "method.unknown"),
        ("notifications/made-up", {"type": "server", "id": "calendar"}, "method.unknown"),
        ("sampling/createMessage", {"type": "server", "id": "calendar"}, "method.unknown"),
        ("tools/call", {"type": "prompt", "id": "calendar/list_events"}, "request.malformed"),
        ("tools/call", {"type": "server", "id": "calendar"}, "request.malformed"),
        ("call_tool", {"type": "resource", "id": "calendar/list_events"}, "request.malformed"),
        ("tools/list", LISTING, "request.malformed"),
        ("tools/call", {"type": "record", "id": "calendar/list_events"}, "request.malformed"),
        ("tools/call", {"type": "tool", "id": "calendar/"}, "request.malformed"),
        ("tasks/get", {"type": "task", "id": "t-1"}, "request.malformed"),
    ],
)
async def test_what_has_no_meaning_here_is_a_no(
    server: RunningServer, action: str, resource: Any, expected: str
) -> None:
    """An unknown method, a thing that the action is not about, a task whose tool is not told."""
    assert await reason(server, action={"name": action}, resource=resource) == expected


async def test_a_listen_filter_is_judged_by_all_that_it_names(server: RunningServer) -> None:
    """Each URI is read; tasks are not known here; a filter may not name more than a question may hold."""
    at = {"resource": {"type": "server", "id": "calendar"}}

    def listening(**filters: Any) -> dict[str, Any]:
        return {"name": "subscriptions/listen", "properties": {"notifications": filters}}

    assert await reason(server, action=listening(resourceSubscriptions=["calendar://a"]), **at) is None
    both = listening(resourceSubscriptions=["calendar://a", "file:///etc/passwd"])
    assert await reason(server, action=both, **at) == "policy.denied"
    assert await reason(server, action=listening(taskIds=["t-1"]), **at) == "request.malformed"
    assert await reason(server, action=listening(resourceSubscriptions="calendar://a"), **at) == "request.malformed"
    many = listening(resourceSubscriptions=[f"calendar://{index}" for index in range(20)])
    assert await reason(server, action=many, **at) == "request.malformed"


async def test_a_revision_knows_its_methods(server: RunningServer) -> None:
    """A method of another era is unknown to a caller that speaks this one."""
    at = {"action": {"name": "ping"}, "resource": {"type": "server", "id": "calendar"}}
    assert await reason(server, **at, context={"protocol_version": "2025-11-25"}) is None
    assert await reason(server, **at, context={"protocol_version": "2026-07-28"}) == "method.unknown"
    assert await reason(server, **at, context={"protocol_version": "1999-01-01"}) == "request.malformed"


# --- who calls -------------------------------------------------------------------------------------------------------


async def test_the_principal_is_the_agent_and_the_subject_may_be_a_person(server: RunningServer) -> None:
    """A person by either type, with the agent in the context or among the claims; Bob is forbidden, by either."""
    for type_ in ("identity", "user"):
        ann = {"type": type_, "id": "user:ann"}
        bob = {"type": type_, "id": "user:bob"}
        assert await reason(server, subject=ann, context={"agent": "trip-planner"}) is None
        assert await reason(server, subject=bob, context={"agent": "trip-planner"}) == "policy.denied"
        claimed = {**ann, "properties": {"client_id": "gateway:calendar", "agent": "trip-planner"}}
        assert await reason(server, subject=claimed, context={"agent": "gateway:calendar"}) is None
        assert await reason(server, subject=ann) == "request.malformed"
    itself = {"type": "identity", "id": "trip-planner"}
    assert await reason(server, subject=itself, context={"agent": "gateway:calendar"}) is None


@pytest.mark.parametrize(
    ("subject", "context"),
    [
        ({"type": "user", "id": "trip-planner"}, {}),
        ({"type": "agent", "id": "user:ann"}, {"agent": "trip-planner"}),
        ({"type": "robot", "id": "trip-planner"}, {}),
        ({"type": "agent", "id": ""}, {}),
        ({"type": "agent", "id": "trip-planner\u0000"}, {}),
        (agent(agent="poster"), {}),
        (agent(client_id="poster"), {"agent": "trip-planner"}),
        (agent(client_id=7), {}),
        (agent(scope=["calendar:read"]), {}),
        (agent(scope="calendar:read  calendar:write"), {}),
        (agent(act="deputy"), {}),
        (agent(hop=0), {}),
        (agent(), {"agent": ["trip-planner"]}),
        (agent(), {"ip": 7}),
        (agent(), {"session": "s" * 300}),
        (agent(), {"arguments": "title"}),
    ],
    ids=str,
)
async def test_a_caller_that_contradicts_itself_is_nobody(server: RunningServer, subject: Any, context: Any) -> None:
    """What cannot be told for sure is a no with a reason, and no error of the request."""
    assert await reason(server, subject=subject, context=context) == "request.malformed"


async def test_actors_are_seen(server: RunningServer) -> None:
    """The chain travels as the token's `act`; a forbid sees all of it."""
    chain = {"sub": "calendar-server", "act": {"sub": "deputy"}}
    assert await reason(server, subject=agent(act=chain, hop=3)) == "policy.denied"
    assert await reason(server, subject=agent(act={"sub": "calendar-server"}, hop=2)) is None


async def test_an_agent_must_be_in_standing(server: RunningServer) -> None:
    """An agent that is unknown, disabled or expired, a presenter that is, and a resource that is disabled: no."""
    assert await reason(server, subject={"type": "agent", "id": "stranger"}) == "client.disabled"
    assert await reason(server, subject=agent(client_id="stranger")) == "client.disabled"
    await server.issuer.standing.disable("resource", "calendar", why="test", now=0)
    assert await reason(server) == "token.revoked"
    await server.issuer.standing.enable("resource", "calendar", now=0)
    server.change_client("trip-planner", expires=date(2020, 1, 31))
    assert await reason(server) == "client.expired"


async def test_a_task_is_a_no(server: RunningServer) -> None:
    """A question that names a task is not answered with yes: nobody here counts what the task has left."""
    assert await reason(server, context={"task": {"id": "t-1"}}) == "task.outside"
    details = [{"type": "agent_task", "id": "t-1"}]
    assert await reason(server, subject=agent(authorization_details=details)) == "task.outside"


# --- scope, approval, arguments --------------------------------------------------------------------------------------


async def test_scope_comes_before_policy(server: RunningServer) -> None:
    """Of scopes that are said, one must list the tool, and the answer names the one that would."""
    assert await reason(server, subject=agent(scope=READS)) is None
    answer = await decision(server, subject=agent(scope=READS), resource=CREATING, context=LUNCH)
    assert (answer["context"]["reason"], answer["context"]["scope"]) == ("scope.insufficient", WRITES)
    assert await reason(server, subject=agent(scope=""), resource=LISTING) == "scope.insufficient"
    assert await reason(server, subject=agent(scope=WRITES), resource=CREATING, context=LUNCH) is None


async def test_where_no_scope_is_said_the_most_that_an_agent_could_have_counts(server: RunningServer) -> None:
    """An agent that reaches only reading does not write, and one that nothing leads there does nothing at all."""
    poster = {"type": "agent", "id": "poster"}
    assert await reason(server, subject=poster) is None
    assert await reason(server, subject=poster, resource=CREATING, context=LUNCH) == "scope.insufficient"
    server.change_client("poster", reaches={})
    at = {"resource": {"type": "server", "id": "calendar"}, "action": {"name": "tools/list"}}
    assert await reason(server, subject=poster, **at) == "scope.insufficient"


async def test_a_policy_that_reads_arguments_wants_to_be_told_of_them(server: RunningServer) -> None:
    """Nothing said of arguments is not the same as none: only where no policy looks at them are they left out."""
    assert await reason(server, resource=CREATING) == "policy.denied"
    server.forbid(POLICY.replace("unless {", "when {").replace('== "lunch"', '== "party"'))
    assert await reason(server, resource=CREATING) == "policy.error"
    assert await reason(server, resource=CREATING, context={"arguments": {}}) is None
    assert await reason(server, resource=CREATING, context={"arguments": {"title": "party"}}) == "policy.denied"
    assert await reason(server, resource={**CREATING, "properties": {"arguments": {"title": "lunch"}}}) is None
    assert await reason(server) is None


async def test_arguments_that_are_said_twice_must_agree(server: RunningServer) -> None:
    """The context and the resource's properties may both carry them."""
    twice = {**CREATING, "properties": {"arguments": {"title": "lunch"}}}
    assert await reason(server, resource=twice, context=LUNCH) is None
    assert await reason(server, resource=twice, context={"arguments": {"title": "party"}}) == "request.malformed"


async def test_arguments_are_typed_by_the_approved_schema(server: RunningServer) -> None:
    """A value that is not of its declared type is a no, and one that policy cannot read too."""
    schema = {"type": "object", "properties": {"title": {"type": "string"}}}
    assert await reason(server, resource=CREATING, context={"arguments": {"title": ["lunch"]}}) == "policy.error"
    pinned(server, {"name": "create_event", "inputSchema": schema})
    assert await reason(server, resource=CREATING, context=LUNCH) is None
    assert await reason(server, resource=CREATING, context={"arguments": {"title": 7}}) == "request.malformed"


async def test_a_tool_that_its_owner_has_not_approved_is_a_no(server: RunningServer) -> None:
    """Not among the approved, or seen otherwise since; a search does not show it either."""
    pinned(
        server,
        {"name": "list_events", "inputSchema": {}},
        {"name": "list_rooms", "inputSchema": {}},
        quarantined=("list_rooms",),
    )
    assert await reason(server) is None
    for name in ("list_rooms", "list_people"):
        assert await reason(server, resource={"type": "tool", "id": f"calendar/{name}"}) == "tool.quarantined"
    found = await search(server, "resource", question(resource={"type": "tool"}))
    assert found["results"] == [{"type": "tool", "id": "calendar/list_events"}]
    body = question(resource={"type": "tool", "properties": {"server": "calendar"}})
    assert (await search(server, "resource", body))["results"] == [{"type": "tool", "id": "list_events"}]


async def test_a_permit_that_wants_an_approval_is_a_no(server: RunningServer) -> None:
    """A question asks no person, and what waits is found by no search; one such permit is enough for the no."""
    asking = '@id("asks") @approval("owner") permit (principal, action, resource == MCP::Tool::"calendar/get_event");'
    getting = {"type": "tool", "id": "calendar/get_event"}
    server.forbid(POLICY + asking)
    answer = await decision(server, resource=getting)
    assert (answer["decision"], answer["context"]["reason"]) == (False, "approval.required")
    assert answer["context"]["policies"] == ["asks"]
    (recorded,) = server.records("access.evaluated")
    assert recorded["reason"] == "approval.required"
    body = question(resource={"type": "tool"})
    assert getting["id"] not in {each["id"] for each in (await search(server, "resource", body))["results"]}
    assert server.records("approval.changed") == []
    server.forbid(POLICY)
    assert getting["id"] in {each["id"] for each in (await search(server, "resource", body))["results"]}


async def test_an_address_counts_as_the_callers(server: RunningServer) -> None:
    """A policy reads what the client says of the call's address and revision; nonsense is no address."""
    server.forbid(
        '@id("here") permit (principal, action, resource) when { context.request has ip && '
        'context.request.ip.isInRange(ip("192.0.2.0/24")) && context.request.revision == "2026-07-28" };'
    )
    said = {"protocol_version": "2026-07-28", "ip": "192.0.2.7"}
    assert await reason(server, context=said) is None
    assert await reason(server, context={**said, "ip": "198.51.100.7"}) == "policy.denied"
    assert await reason(server, context={**said, "ip": "nowhere"}) == "policy.error"
    assert await reason(server, context={"ip": "192.0.2.7"}) == "policy.denied"


# --- what is kept, and what breaks -----------------------------------------------------------------------------------


async def test_a_decision_leaves_a_record_before_it_is_told(server: RunningServer) -> None:
    """Who asked, who would call, what, with which arguments as a MAC, and why; the answer names the record."""
    subject = {"type": "user", "id": "user:ann", "properties": {"agent": "trip-planner", "scope": WRITES}}
    context = {**LUNCH, "agent": "gateway:calendar", "protocol_version": "2026-07-28"}
    answer = await decision(server, subject=subject, resource=CREATING, context=context)
    (record,) = server.records("access.evaluated")
    assert record["call"]["id"] == answer["context"]["record"]
    assert record["call"]["arguments_mac"] == server.issuer.journal.mac({"title": "lunch"})
    assert (record["call"]["method"], record["call"]["name"]) == ("tools/call", "create_event")
    assert record["in"] == {
        "sub": "user:ann",
        "agent": "trip-planner",
        "client_id": "gateway:calendar",
        "scope": WRITES,
    }
    assert record["decision"] == {
        "effect": "permit",
        "policies": ["calls"],
        "policy_version": server.issuer.policy.version,
    }
    assert (record["client"], record["resource"], record["owner"]) == ("pep", "calendar", "travel-team")
    assert "lunch" not in json.dumps(record)


async def test_each_decision_of_a_list_leaves_one(server: RunningServer) -> None:
    """As many records as answers, the ones not reached leave none; a search leaves one that counts."""
    body = question(
        evaluations=[{}, {"resource": ROOM}, {"resource": {}}, {}],
        options={"evaluations_semantic": "deny_on_first_deny"},
    )
    await ask(server, body, EVALUATIONS)
    assert [each["decision"]["effect"] for each in server.records("access.evaluated")] == ["permit", "deny"]
    await search(server, "action", question())
    (record,) = server.records("access.searched")
    assert (record["client"], record["resource"], record["about"]["sought"]) == ("pep", "calendar", "action")
    assert record["about"]["results"] > 2


async def test_a_decision_that_cannot_be_recorded_is_not_told(server: RunningServer) -> None:
    """The journal is closed: nobody hears a yes."""
    await server.issuer.journal.close()
    for path in (EVALUATION, EVALUATIONS, f"{SEARCH}/action"):
        answer = await ask(server, question(), path, x_request_id="r-1")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.headers["x-request-id"] == "r-1"
        assert "decision" not in answer.text


async def test_what_breaks_is_an_error_and_no_decision(server: RunningServer) -> None:
    """A part of ours that fails unforeseen: 500, in words that say nothing, under the request's id."""

    class Broken(PolicyEngine):
        @property
        def version(self) -> str:
            raise RuntimeError("secret detail")

    server.change(policy=Broken(parse_policies({"p.cedar": POLICY}), server.issuer.registry))
    answer = await ask(server, question(), x_request_id="r-1")
    assert (answer.status_code, answer.text) == (500, "the server failed")
    assert answer.headers["x-request-id"] == "r-1"


async def test_nobody_is_known_by_who_asks_wrongly(server: RunningServer) -> None:
    """Requests that are refused leave records too: without the secret that was tried."""
    await ask(server, {}, client="pep")
    await server.http.post(EVALUATION, json=question(), headers=basic("pep", "guess"))
    known, stranger = server.records("access.refused")
    assert (known["reason"], known["client"], known["resource"]) == ("request.malformed", "pep", "perhop:access")
    assert (stranger["reason"], stranger.get("client"), stranger.get("in")) == ("client.authentication", None, None)
    assert server.records("token.refused") == []
