"""MCP messages that two readers could read in two ways, or that are none, at gateway and guard alike."""

from __future__ import annotations

import dataclasses
import gzip
import json
from base64 import b64encode
from typing import Any

from perhop.core.call import Headers
from perhop.rules.mcp_message import MAX_BODY_BYTES
from tests.attacks.row import Expected, Row
from tests.attacks.tries import message, message_each, refused
from tests.attacks.world import ARGUMENT, a_call, a_request
from tests.support.doors import Wire
from tests.support.upstreams import CAPABILITIES_KEY, REVISION_KEY, legacy

HEADER = refused("header.mismatch", "400 -32020")
REQUEST, PARSE, PARAMS = (refused("request.malformed", f"400 -{code}") for code in (32600, 32700, 32602))
MODERN = "2026-07-28"


def _call(**headers: str) -> Wire:
    return a_call("list_events", {"day": ARGUMENT}, **headers)


def _without(wire: Wire, *names: str) -> Wire:
    return dataclasses.replace(wire, headers=tuple(each for each in wire.headers if each[0] not in names))


def _with(wire: Wire, *more: tuple[str, str]) -> Wire:
    return dataclasses.replace(wire, headers=(*wire.headers, *more))


def _with_body(body: bytes, wire: Wire | None = None) -> Wire:
    return dataclasses.replace(wire or _call(), body=body)


def _legacy(method: str, params: Any = None, *, revision: str = "2025-11-25", **envelope: Any) -> Wire:
    headers, body = legacy(method, params, revision=revision)
    return Wire(headers=tuple(headers.items()), body=json.dumps({**json.loads(body), **envelope}).encode())


def _sentinel(text: str) -> str:
    return f"=?base64?{b64encode(text.encode()).decode()}?="


def _other_method() -> dict[str, Wire]:
    return {
        "harmless name over a call": _call(mcp_method="tools/list"),
        "another case": _call(mcp_method="Tools/call"),
        "encoded": _call(mcp_method=_sentinel("tools/call")),
        "a call over a list": a_request("tools/list", mcp_method="tools/call"),
        "white space inside": _call(mcp_method="tools/ call"),
        "empty": _call(mcp_method=""),
    }


def _other_name() -> dict[str, Wire]:
    return {
        "harmless name": a_call("create_event", {"title": ARGUMENT, "day": "x"}, mcp_name="list_events"),
        "another case": _call(mcp_name="List_events"),
        "encoded, another": _call(mcp_name=_sentinel("create_event")),
        "encoding in another case": _call(mcp_name=_sentinel("list_events").replace("base64", "BASE64")),
        "broken encoding": _call(mcp_name="=?base64?bGlzdF9ldmVudHM?="),
        "encoding with spare bits": _call(mcp_name="=?base64?bGlzdF9ldmVudHN=?="),
        "encoded twice": _call(mcp_name=_sentinel(_sentinel("list_events"))),
        "not UTF-8": _call(mcp_name="=?base64?/w==?="),
        "percent": _call(mcp_name="list%5Fevents"),
        "quoted": _call(mcp_name='"list_events"'),
        "empty": _call(mcp_name=""),
        "a name that looks encoded": a_call("=?base64?bGlzdF9ldmVudHM=?=", {}, mcp_name="=?base64?bGlzdF9ldmVudHM=?="),
        "a URI": a_request("resources/read", {"uri": "note://today"}, mcp_name="note://tomorrow"),
    }


def _missing_header() -> dict[str, Wire]:
    return {
        "method": _without(_call(), "mcp-method"),
        "name": _without(_call(), "mcp-name"),
        "version": _without(_call(), "mcp-protocol-version"),
        "older version in the header": _call(mcp_protocol_version="2025-11-25"),
        "unknown version in the header": _call(mcp_protocol_version="2030-01-01"),
        "version with white space inside": _call(mcp_protocol_version="2026-07-28 x"),
    }


def _twice() -> dict[str, Wire]:
    names = ("mcp-method", "mcp-name", "mcp-protocol-version")
    doubled = {name: _with(_call(), (name, dict(_call().headers)[name])) for name in names}
    return doubled | {
        "another case of the name": _with(_call(), ("Mcp-Name", "create_event")),
        "argument": _with(_call(), ("mcp-param-day", "x"), ("mcp-param-day", "y")),
    }


def _other_argument() -> dict[str, Wire]:
    """`list_days` wants its month mirrored; whoever routes by the header must not be told another one."""

    def days(month: Any, *headers: tuple[str, str]) -> Wire:
        return _with(a_call("list_days", {"month": month}), *headers)

    return {
        "harmless value": days("may", ("mcp-param-month", "june")),
        "another case": days("may", ("mcp-param-month", "May")),
        "missing": days("may"),
        "without its argument": _with(a_call("list_days", {}), ("mcp-param-month", "may")),
        "null is no value": days(None, ("mcp-param-month", "null")),
        "encoded, another": days("may", ("mcp-param-month", _sentinel("june"))),
        "encoding in another case": days("may", ("mcp-param-month", _sentinel("may").replace("base64", "Base64"))),
        "broken encoding": days("may", ("mcp-param-month", "=?base64?bWF5IQ?=")),
        "encoding with spare bits": days("ma", ("mcp-param-month", "=?base64?bWF=?=")),
        "encoded twice": days("may", ("mcp-param-month", _sentinel(_sentinel("may")))),
    }


def _hidden_revision() -> dict[str, Wire]:
    """A modern header over a body that states no revision, so that neither reading holds."""
    params: dict[str, Any] = {"name": "list_events", "arguments": {}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    stated = {**body, "params": {**params, "_meta": {REVISION_KEY: 20260728, CAPABILITIES_KEY: {}}}}
    bare = {**body, "params": {**params, "_meta": {REVISION_KEY: MODERN}}}
    return {
        "none": _with_body(json.dumps(body).encode()),
        "a number": _with_body(json.dumps(stated).encode()),
        "no capabilities": _with_body(json.dumps(bare).encode()),
    }


def _unknown_revision() -> dict[str, Wire]:
    body = json.loads(_call().body)
    body["params"]["_meta"][REVISION_KEY] = "2030-01-01"
    wire = _call(mcp_protocol_version="2030-01-01")
    return {
        "modern": _with_body(json.dumps(body).encode(), wire),
        "legacy": _legacy("tools/list", revision="2024-11-05"),
        "draft": _legacy("tools/list", revision="DRAFT-2026-v1"),
    }


def _duplicates() -> dict[str, Wire]:
    text = _call().body.decode()
    inside = {
        "method": text.replace('"method": "tools/call"', '"method": "tools/list", "method": "tools/call"'),
        "name": text.replace('"name": "list_events"', '"name": "create_event", "name": "list_events"'),
        "params": text.replace('"params": {', '"params": {}, "params": {'),
        "arguments": text.replace('"arguments": {', '"arguments": {}, "arguments": {'),
        "an argument": text.replace('"day": ', '"day": "x", "day": '),
        "escaped": text.replace('"name": "list_events"', '"name": "list_events", "\\u006eame": "create_event"'),
        "id": text.replace('"id": 1', '"id": 1, "id": 2'),
        "revision": text.replace(f'"{REVISION_KEY}"', f'"{REVISION_KEY}": "2025-11-25", "{REVISION_KEY}"'),
    }
    assert text not in inside.values()
    return {name: _with_body(each.encode()) for name, each in inside.items()}


def _look_alikes() -> dict[str, Wire]:
    body = json.loads(_call().body)
    params = body["params"]
    changed: dict[str, Any] = {
        "METHOD": {**body, "METHOD": "tools/list"},
        "Params": {**body, "Params": {}},
        "Id": {**body, "Id": 2},
        "Name": {**body, "params": {**params, "Name": "create_event"}},
        "Arguments": {**body, "params": {**params, "Arguments": {}}},
        "paramſ": {**body, "paramſ": {}},
        "ｎame": {**body, "params": {**params, "ｎame": "create_event"}},
        "_META": {**body, "params": {**params, "_META": {}}},
    }
    return {name: _with_body(json.dumps(each, ensure_ascii=False).encode()) for name, each in changed.items()}


def _look_alike_arguments() -> dict[str, Wire]:
    return {
        "case": a_call("create_event", {"title": "x", "Title": "coup", "day": "x"}),
        "folding": a_call("create_event", {"title": "x", "ｔitle": "coup", "day": "x"}),
        "no object": a_call("create_event", ["x"]),  # type: ignore[arg-type]  # which is the point
        "text": a_call("create_event", "x"),  # type: ignore[arg-type]
    }


def _no_objects() -> dict[str, Wire]:
    body = _call().body
    return {
        "batch": _with_body(b"[%s]" % body),
        "empty batch": _with_body(b"[]"),
        "two": _with_body(b"[%s,%s]" % (body, body)),
        "legacy batch": dataclasses.replace(_legacy("tools/list", revision="2025-03-26"), body=b"[%s]" % body),
        "text": _with_body(b'"tools/call"'),
        "null": _with_body(b"null"),
    }


def _envelopes() -> dict[str, Wire]:
    body = json.loads(_call().body)
    odd: dict[str, Any] = {
        "id null": {**body, "id": None},
        "id as fraction": {**body, "id": 1.5},
        "id too large": {**body, "id": 2**53},
        "id as object": {**body, "id": {}},
        "id as true": {**body, "id": True},
        "id too long": {**body, "id": "x" * 257},
        "version 1.0": {**body, "jsonrpc": "1.0"},
        "version as number": {**body, "jsonrpc": 2.0},
        "no version": {name: value for name, value in body.items() if name != "jsonrpc"},
        "request and response": {**body, "result": {}},
        "method as list": {**body, "method": ["tools/call"]},
        "method empty": {**body, "method": ""},
        "method too long": {**body, "method": "x" * 257},
        "a response where there are none": {"jsonrpc": "2.0", "id": 1, "result": {}},
        "neither": {"jsonrpc": "2.0", "id": 1},
    }
    return {name: _with_body(json.dumps(each).encode()) for name, each in odd.items()}


def _other_media() -> dict[str, Wire]:
    def typed(*values: str, body: bytes = _call().body, more: Headers = ()) -> Wire:
        wire = _without(_with_body(body), "content-type")
        return _with(wire, *(("content-type", value) for value in values), *more)

    return {
        "text": typed("text/plain"),
        "none": typed(),
        "two": typed("application/json", "text/plain"),
        "charset": typed("application/json; charset=utf-16", body=_call().body.decode().encode("utf-16")),
        "charset utf-7": typed("application/json;charset=utf-7"),
        "more parameters": typed("application/json; charset=utf-8; boundary=x"),
        "json with a tail": typed("application/jsonp"),
        "gzip": typed("application/json", body=gzip.compress(_call().body), more=(("content-encoding", "gzip"),)),
        "form": typed("application/x-www-form-urlencoded"),
    }


def _no_json() -> dict[str, Wire]:
    body = _call().body
    odd = {
        "two texts": body + body,
        "trailing bytes": body + b"\0",
        "lines": body + b"\n" + body,
        "comment": body[:-1] + b"/* x */}",
        "trailing comma": body[:-1] + b",}",
        "single quotes": body.replace(b'"', b"'"),
        "NaN": body.replace(b'"id": 1', b'"id": NaN'),
        "Infinity inside": body.replace(b'"arguments": {', b'"arguments": {"x": Infinity, '),
        "huge number": body.replace(b'"arguments": {', b'"arguments": {"x": 1e400, '),
        "digits": body.replace(b'"arguments": {', b'"arguments": {"x": ' + b"9" * 4301 + b", "),
        "BOM": b"\xef\xbb\xbf" + body,
        "UTF-16": body.decode().encode("utf-16"),
        "overlong UTF-8": body.replace(b'"arguments": {', b'"arguments": {"\xc0\xaf": 1, '),
        "lone surrogate": body.replace(b'"arguments": {', b'"arguments": {"x": "\\udc00", '),
        "empty": b"",
        "cut": body[:-1],
        "deep": body.replace(b'"arguments": {', b'"arguments": {"x": ' + b"[" * 100_000 + b"]" * 100_000 + b", "),
        "33 deep": body.replace(b'"arguments": {', b'"arguments": {"x": ' + b"[" * 30 + b"]" * 30 + b", "),
        "1,001 keys": body.replace(
            b'"arguments": {', b'"arguments": {' + b"".join(b'"%d":0,' % n for n in range(1001))
        ),
    }
    assert body not in odd.values()
    return {name: _with_body(each) for name, each in odd.items()}


def _too_large() -> dict[str, Wire]:
    return {
        "announced": _with_body(b"{" + b" " * MAX_BODY_BYTES + b"}"),
        "chunked": Wire(
            headers=(*_call().headers, ("transfer-encoding", "chunked")),
            body=(b"10000\r\n" + b" " * 65536 + b"\r\n") * 17 + b"0\r\n\r\n",
        ),
    }


def _unknown_modern() -> dict[str, Wire]:
    names = (
        "tasks/list",
        "tasks/result",
        "tools/CALL",
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
    )
    more = ("rpc.discover", "notifications/initialized", "admin/shutdown", "sampling/createMessage")
    return {name: a_request(name) for name in (*names, *more)}


def _unknown_legacy() -> dict[str, Wire]:
    names = ("tasks/update", "server/discover", "subscriptions/listen", "tools/CALL", "notifications/initialized", "x")
    return {name: _legacy(name) for name in names}


def _other_http_method() -> dict[str, Wire]:
    return {name: dataclasses.replace(_call(), method=name, body=b"") for name in ("GET", "DELETE")}


ROWS: tuple[Row, ...] = (
    message(
        "method-header-says-otherwise",
        "`Mcp-Method` names a harmless method",
        "MCP 2026-07-28 transports; SEP-2243",
        _other_method,
        HEADER,
    ),
    message(
        "name-header-says-otherwise",
        "`Mcp-Name` names a harmless tool, or hides its own in an encoding",
        "MCP 2026-07-28 transports; SEP-2243",
        _other_name,
        HEADER,
    ),
    message(
        "mirrored-header-missing",
        "a mirrored header missing, or of another revision than the body",
        "MCP 2026-07-28 transports; SEP-2243",
        _missing_header,
        HEADER,
    ),
    message(
        "mirrored-header-twice", "a mirrored header twice, the same or not", "RFC 9110 §5.3; SEP-2243", _twice, HEADER
    ),
    message_each(
        "parameter-header-says-otherwise",
        "`Mcp-Param-*` names another value than the argument that it mirrors",
        "MCP 2026-07-28 transports; SEP-2243",
        _other_argument,
        gateway=HEADER,
        guard=Expected("400 -32020", None, records=0, passed=1),
        differs="a guard knows no schemas: behind it the SDK compares, with the same code in its own words",
    ),
    message(
        "body-without-its-revision",
        "a modern header over a body that does not state its revision",
        "MCP 2026-07-28 base protocol",
        _hidden_revision,
        PARAMS,
    ),
    message(
        "unknown-revision",
        "a revision that nobody here speaks",
        "MCP 2026-07-28 transports",
        _unknown_revision,
        refused("request.malformed", "400 -32022"),
    ),
    message(
        "duplicate-json-key", "a key twice: `method`, `name`, `params`, `arguments`", "RFC 8259 §4", _duplicates, PARSE
    ),
    message(
        "look-alike-json-key",
        "a key that a reader without regard to case takes for a known one",
        "CVE-2026-27896; GHSA-4gph-2hhr-5mwg",
        _look_alikes,
        REQUEST,
    ),
    message(
        "look-alike-argument",
        "two arguments that differ only in case, or arguments that are no object",
        "CVE-2026-27896",
        _look_alike_arguments,
        PARAMS,
    ),
    message("batch", "several messages in one, or none", "MCP 2025-06-18 changelog", _no_objects, REQUEST),
    message(
        "odd-envelope",
        "an odd id, version or method, or a request and a response in one",
        "JSON-RPC 2.0 §4; CVE-2026-25536",
        _envelopes,
        REQUEST,
    ),
    message(
        "other-media-type",
        "another media type, charset or encoding than is read",
        "RFC 9110 §8.3",
        _other_media,
        refused("request.malformed", "415"),
    ),
    message(
        "unparsable-body",
        "what is not one JSON text in UTF-8 within bounds",
        "RFC 8259; JSONTestSuite; CVE-2025-53366",
        _no_json,
        PARSE,
    ),
    message(
        "oversized-body",
        "a body of more than 1 MiB, announced or not",
        "CWE-400",
        _too_large,
        refused("request.malformed", "413"),
    ),
    message(
        "unknown-method",
        "a method that no rule is written for",
        "MCP 2026-07-28 transports",
        _unknown_modern,
        refused("method.unknown", "404 -32601"),
    ),
    message(
        "unknown-method-of-a-handshake-revision",
        "the same under a revision with sessions",
        "MCP 2025-11-25 transports",
        _unknown_legacy,
        refused("method.unknown", "400 -32601"),
    ),
    message(
        "other-http-method",
        "GET and DELETE under a revision that has POST only",
        "MCP 2026-07-28 transports",
        _other_http_method,
        refused("request.malformed", "405"),
    ),
)
