"""Calls under a good token that go beyond it: scopes, policy, arguments, lists. The gateway decides."""

from __future__ import annotations

import asyncio
import json
import unicodedata
from functools import partial
from typing import Any

from perhop.rules.mcp_headers import encode_mirrored
from tests.attacks.row import PASSES_GATEWAY, Door, Expected, Row, Seen
from tests.attacks.servers import answering
from tests.attacks.tries import BOTH, DECIDES, at_gateway, refused, tried, tried_at
from tests.attacks.world import ARGUMENT, World, a_call, a_request, with_token
from tests.support.doors import Wire
from tests.support.upstreams import json_answer

DENIED = refused("policy.denied", "403 -31403")
SCOPE = refused("scope.insufficient", "403 insufficient_scope")
PARAMS = refused("request.malformed", "400 -32602")
FORWARDS = "a guard forwards nothing: it hands on what it has read, octet by octet"
ANSWERS = "a guard looks at requests; what the application answers is the application's"
BOTH_SCOPES = "calendar:read calendar:write"


def _named(name: str, header: str) -> Wire:
    return a_call(name, {"day": ARGUMENT}, mcp_name=header)


def _tool_names() -> dict[str, Wire]:
    """Names that somebody might take for a listed one, sent as they are in body and header."""
    names = {
        "another case": "LIST_EVENTS",
        "white space": "list events",
        "decomposed": unicodedata.normalize("NFD", "créate_event"),
        "full width": "ｌist_events",
        "homoglyph": "lіst_events",
        "zero width": "create\u200b_event",
        "bidi": "\u202ecreate_event",
        "NUL": "create_event\0",
        "line end": 'create_event\n{"seq":1}',
        "namespace": "calendar__create_event",
        "of another server": "rooms/find_room",
        "path": "calendar/../create_event",
        "slash": "calendar/create_event",
        "glob": "*",
        "Cedar": 'create_event", resource == MCP::Tool::"x',
    }
    return {name: _named(text, encode_mirrored(text)) for name, text in names.items()}


def _not_tools() -> dict[str, Wire]:
    def read(uri: str) -> Wire:
        return a_request("resources/read", {"uri": uri})

    def complete(reference: dict[str, str]) -> Wire:
        return a_request("completion/complete", {"ref": reference, "argument": {"name": "x", "value": ARGUMENT}})

    return {
        "its own resource": read("note://today"),
        "a file": read("file:///etc/passwd"),
        "traversal": read("note://today/../secret"),
        "another host": read("https://evil.example/x"),
        "a prompt": a_request("prompts/get", {"name": "summary"}),
        "a tool's name as prompt": a_request("prompts/get", {"name": "list_events"}),
        "completion of a prompt": complete({"type": "ref/prompt", "name": "summary"}),
        "completion of a resource": complete({"type": "ref/resource", "uri": "note://{name}"}),
        "listening to a resource": a_request(
            "subscriptions/listen", {"notifications": {"resourceSubscriptions": ["note://today"]}}
        ),
    }


def _beyond_scope() -> dict[str, Wire]:
    arguments = {"title": ARGUMENT, "day": "x"}
    return {
        "another scope's tool": a_call("create_event", arguments),
        "the same, encoded": a_call("create_event", arguments, mcp_name="=?base64?Y3JlYXRlX2V2ZW50?="),
    }


def _odd_scopes(text: str) -> Any:
    async def attempt(world: World) -> Seen:
        entrance = world.entrance(Door.GATEWAY)
        return await world.knock(entrance, with_token(_reading(), world.forge(entrance.audience, scope=text)))

    return attempt


async def _scopes_that_are_none(world: World) -> dict[str, Seen]:
    texts = ("CALENDAR:READ", "calendar:rea", "calendar:*", "*", "calendar:read,calendar:write", "rooms:read", "")
    return {text: await _odd_scopes(text)(world) for text in texts}


def _reading() -> Wire:
    return a_call("list_events", {"day": ARGUMENT})


def _forbidden_argument() -> dict[str, Wire]:
    plain = a_call("create_event", {"title": "coup", "day": ARGUMENT})
    escaped = plain.body.replace(b'"coup"', b'"\\u0063oup"')
    return {
        "plain": plain,
        "escaped": Wire(headers=plain.headers, body=escaped),
        "another order": a_call("create_event", {"day": ARGUMENT, "title": "coup"}),
        "a header says otherwise": a_call(
            "create_event", {"title": "coup", "day": ARGUMENT}, mcp_param_title="harmless", mcp_param_day="x"
        ),
    }


def _argument_of_another_type() -> dict[str, Wire]:
    values: dict[str, Any] = {"list": ["coup"], "object": {"$eq": "coup"}, "number": 1, "true": True, "null": None}
    return {name: a_call("create_event", {"title": value, "day": ARGUMENT}) for name, value in values.items()}


async def _decided_is_forwarded(world: World) -> dict[str, Seen]:
    """White space, escapes and order of the caller's text do not reach the server: one reading is written anew."""
    entrance, arrived = world.entrance(Door.GATEWAY), world.calendar.from_gateway.arrived
    plain = _reading()
    body = json.loads(plain.body)
    bodies = {
        "white space": json.dumps(body, indent=4).encode(),
        "escapes": plain.body.replace(b'"list_events"', b'"list\\u005fevents"').replace(b"/", b"\\/"),
        "a member more": json.dumps({**body, "x-policy": "ignore", "params": {**body["params"], "x": "y"}}).encode(),
        "numbers": plain.body.replace(b'"id": 1', b'"id": 1'),
    }
    sights = {}
    for name, each in bodies.items():
        wire = Wire(headers=(*plain.headers, ("mcp-name", "list_events"))[: len(plain.headers)], body=each)
        sights[name] = await world.knock(entrance, with_token(wire, world.forge(entrance.audience)))
        decided = json.dumps(json.loads(each), separators=(",", ":"), ensure_ascii=False).encode()
        assert bytes(arrived[-1].body) == decided
        assert arrived[-1].header("mcp-name") == "list_events"
        assert arrived[-1].header("mcp-method") == "tools/call"
    return sights


async def _same_id(door: Door, world: World) -> dict[str, Seen]:
    """Two callers whose requests have one id get each their own answer."""
    entrance = world.entrance(door)
    days = ("monday", "tuesday")
    wires = [with_token(a_call("list_events", {"day": day}), world.forge(entrance.audience)) for day in days]
    seen = await asyncio.gather(*(world.knock(entrance, wire) for wire in wires))
    for day, each in zip(days, seen, strict=True):
        assert each.answer is not None
        assert day.encode() in each.answer.body
    return {day: Seen(observed=each.observed) for day, each in zip(days, seen, strict=True)}


async def _lists(world: World) -> dict[str, Seen]:
    """What the caller may not have is not shown to it either."""
    entrance = world.entrance(Door.GATEWAY)
    sights = {}
    shown = {
        "tools/list": ("tools", "name", ["list_events", "list_days"]),
        "prompts/list": ("prompts", "name", []),
        "resources/list": ("resources", "uri", []),
        "resources/templates/list": ("resourceTemplates", "uriTemplate", []),
    }
    for method, (key, name, expected) in shown.items():
        token = world.forge(entrance.audience, scope="calendar:read")
        sights[method] = seen = await world.knock(entrance, with_token(a_request(method), token))
        assert seen.answer is not None
        result = seen.answer.message["result"]
        assert [item[name] for item in result[key]] == expected
        assert result["cacheScope"] == "private"
    return sights


async def _list_in_another_answer(world: World) -> dict[str, Seen]:
    """A hostile server shows its tools where nobody asked for them."""
    entrance = world.entrance(Door.GATEWAY, "scripted")
    tools = [{"name": "list_events"}, {"name": "hidden"}, "hidden", {"title": "hidden"}, {"name": ["hidden"]}]
    call = _reading()
    results = {
        "in a call's result": json_answer({"tools": tools, "content": []}),
        "in another case of the type": json_answer({"tools": tools}, content_type="Application/JSON; charset=utf-8"),
        "under no type": json_answer({"tools": tools}, content_type="text/plain"),
    }
    sights = {}
    for name, answer in results.items():
        with answering(world.scripted, answer):
            token = world.forge(entrance.audience, scope="scripted:use")
            sights[name] = seen = await world.knock(entrance, with_token(call, token))
            assert seen.answer is not None
            assert b"hidden" not in seen.answer.body
    return sights


async def _not_cached(world: World) -> dict[str, Seen]:
    """Nothing between us and the caller may keep an answer, whatever the server says."""
    entrance = world.entrance(Door.GATEWAY, "scripted")
    answer = json_answer({"content": []}, cache_control="public, max-age=3600", set_cookie="x=y", etag='"1"')
    with answering(world.scripted, answer):
        token = world.forge(entrance.audience, scope="scripted:use")
        seen = await world.knock(entrance, with_token(_reading(), token))
    assert seen.answer is not None
    assert [value for name, value in seen.answer.headers if name == "cache-control"] == ["no-store"]
    assert {seen.answer.header("set-cookie"), seen.answer.header("etag")} == {None}
    return {"": seen}


ROWS: tuple[Row, ...] = (
    at_gateway(
        "tool-of-another-scope",
        "a tool that only another scope lists",
        "RFC 6750 §3.1; MCP authorization",
        _beyond_scope,
        SCOPE,
    ),
    tried(
        "scope-that-is-none",
        "scopes in another case, as patterns, or of another resource",
        "RFC 6749 §3.3",
        Door.GATEWAY,
        _scopes_that_are_none,
        SCOPE,
        only=DECIDES,
    ),
    at_gateway(
        "look-alike-tool-name",
        "a tool's name in another spelling, or a whole text of policy",
        "SEP-986; Unicode TR 36",
        _tool_names,
        DENIED,
        scope=BOTH_SCOPES,
    ),
    at_gateway(
        "around-the-tools",
        "resources, prompts and completions, for which nothing was permitted",
        "OWASP MCP07",
        _not_tools,
        DENIED,
        scope=BOTH_SCOPES,
    ),
    at_gateway(
        "forbidden-argument",
        "an argument that policy forbids, however it is written",
        "AISVS 10.2.5",
        _forbidden_argument,
        DENIED,
        scope=BOTH_SCOPES,
    ),
    at_gateway(
        "argument-of-another-type",
        "a list, an object or null where policy compares a text",
        "AISVS 10.2.5",
        _argument_of_another_type,
        PARAMS,
        scope=BOTH_SCOPES,
    ),
    tried(
        "decided-is-forwarded",
        "policy reads one text and the server another",
        "CWE-367",
        Door.GATEWAY,
        _decided_is_forwarded,
        PASSES_GATEWAY,
        only=FORWARDS,
    ),
    tried_at(
        "same-id-from-two-callers",
        "two requests of one JSON-RPC id at once",
        "CVE-2026-25536",
        {door: (partial(_same_id, door), Expected("200", None, records=0)) for door in BOTH},
    ),
    tried(
        "list-of-what-is-forbidden",
        "a list of tools shows what the caller may not call",
        "AISVS 10.2.4",
        Door.GATEWAY,
        _lists,
        PASSES_GATEWAY,
        only=ANSWERS,
    ),
    tried(
        "list-in-another-answer",
        "a hostile server puts a list where none was asked for",
        "AISVS 10.2.4",
        Door.GATEWAY,
        _list_in_another_answer,
        PASSES_GATEWAY,
        only=ANSWERS,
    ),
    tried(
        "answer-kept-by-a-cache",
        "an answer that a server lets everybody keep",
        "RFC 9111 §5.2; SEP-2549",
        Door.GATEWAY,
        _not_cached,
        PASSES_GATEWAY,
        only=ANSWERS,
    ),
)
