"""Messages: what each is, and what is refused before anybody decides on it."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.core.call import Action, CallKind, Target
from perhop.errors import (
    BodyTooLarge,
    HeaderMismatch,
    HttpMethodNotAllowed,
    JsonUnparsable,
    MediaTypeUnsupported,
    MethodUnknown,
    MethodUnknownModern,
    OnlyPostAllowed,
    ParamsMalformed,
    RequestMalformed,
    RequestRefused,
    RevisionUnsupported,
)
from perhop.rules.mcp_message import (
    MAX_BODY_BYTES,
    MAX_SAFE_INTEGER,
    Addressee,
    Message,
    addressee_of,
    parse_message,
)
from perhop.rules.mcp_methods import MAX_LISTENED, Era
from tests.support.upstreams import REMARK, legacy, modern


def parse(request: tuple[dict[str, str], bytes], **headers: str) -> Message:
    named = {**request[0], **{name.replace("_", "-"): value for name, value in headers.items()}}
    return parse_message("POST", tuple(named.items()), request[1])


def parse_body(body: Any, **headers: str) -> Message:
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse((legacy("ping")[0], octets), **headers)


def test_a_modern_call_is_understood() -> None:
    """Kind, era, target and arguments come from the body; the mirrored headers are written from it."""
    message = parse(modern("tools/call", {"name": "add", "arguments": {"a": 1}}, rpc_id="x"))
    assert (message.kind, message.era, message.revision) == (CallKind.REQUEST, Era.MODERN, "2026-07-28")
    assert (message.method, message.rpc_id, message.arguments) == ("tools/call", "x", {"a": 1, "remark": REMARK})
    assert message.targets == (Target(Action.CALL_TOOL, "add"),)
    assert dict(message.mirrored) == {
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "add",
    }


def test_a_legacy_call_is_understood() -> None:
    """Without metadata the header names the revision; without it, the oldest is assumed."""
    message = parse(legacy("resources/read", {"uri": "note://a"}))
    assert (message.era, message.revision) == (Era.LEGACY, "2025-11-25")
    assert message.targets == (Target(Action.READ_RESOURCE, "note://a"),)
    assert message.arguments is None
    assert message.mirrored == ()
    headers, body = legacy("ping")
    del headers["mcp-protocol-version"]
    assert parse((headers, body)).revision == "2025-03-26"


@pytest.mark.parametrize(("http_method", "kind"), [("GET", CallKind.STREAM), ("DELETE", CallKind.END)])
def test_streams_and_ends_have_no_body(http_method: str, kind: CallKind) -> None:
    """GET and DELETE belong to the handshake revisions."""
    message = parse_message(http_method, (("mcp-protocol-version", "2025-06-18"),), b"ignored")
    assert (message.kind, message.body, message.targets) == (kind, b"", ())
    with pytest.raises(OnlyPostAllowed):
        parse_message(http_method, (("mcp-protocol-version", "2026-07-28"),), b"")
    with pytest.raises(RevisionUnsupported):
        parse_message(http_method, (("mcp-protocol-version", "2024-11-05"),), b"")


@pytest.mark.parametrize("http_method", ["PUT", "OPTIONS", "HEAD", "post", ""])
def test_other_http_methods_are_refused(http_method: str) -> None:
    """There are three methods, in capital letters."""
    with pytest.raises(HttpMethodNotAllowed):
        parse_message(http_method, (), b"")


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (b"", JsonUnparsable),
        (b"{}{}", JsonUnparsable),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}', JsonUnparsable),
        (b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}', JsonUnparsable),
        ("{}".encode("utf-16"), JsonUnparsable),
        ([], RequestMalformed),
        ([{"jsonrpc": "2.0", "id": 1, "method": "ping"}], RequestMalformed),
        ("ping", RequestMalformed),
        ({"id": 1, "method": "ping"}, RequestMalformed),
        ({"jsonrpc": "1.0", "id": 1, "method": "ping"}, RequestMalformed),
        ({"jsonrpc": "2.0", "id": 1}, RequestMalformed),
        ({"jsonrpc": "2.0", "id": 1, "method": 7}, RequestMalformed),
        ({"jsonrpc": "2.0", "id": 1, "method": ""}, RequestMalformed),
        ({"jsonrpc": "2.0", "id": 1, "method": "ping", "result": {}}, RequestMalformed),
        ({"jsonrpc": "2.0", "id": 1, "result": {}, "error": {}}, RequestMalformed),
        ({"jsonrpc": "2.0", "result": {}}, RequestMalformed),
        ({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []}, ParamsMalformed),
        ({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": None}, ParamsMalformed),
        ({"jsonrpc": "2.0", "id": 1, "METHOD": "tools/call", "method": "ping"}, RequestMalformed),
        ({"jsonrpc": "2.0", "id": 1, "method": "ping", "paramſ": {}}, RequestMalformed),
        ({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a", "Name": "b"}}, RequestMalformed),
        (
            {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a", "Arguments": {}}},
            RequestMalformed,
        ),
        (
            {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a", "arguments": []}},
            ParamsMalformed,
        ),
        (
            {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a", "arguments": None}},
            ParamsMalformed,
        ),
        (
            {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a", "arguments": {"b": 1, "B": 2}}},
            ParamsMalformed,
        ),
        ({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {}}, ParamsMalformed),
        ({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": ["a"]}}, ParamsMalformed),
        ({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a" * 8001}}, ParamsMalformed),
        ({"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": "a" * 8001}}, ParamsMalformed),
        (
            {"jsonrpc": "2.0", "id": 1, "method": "completion/complete", "params": {"ref": {"type": "x"}}},
            ParamsMalformed,
        ),
        ({"jsonrpc": "2.0", "id": 1, "method": "tasks/update", "params": {"taskId": "1"}}, MethodUnknown),
        ({"jsonrpc": "2.0", "id": 1, "method": "server/discover"}, MethodUnknown),
        ({"jsonrpc": "2.0", "id": 1, "method": "TOOLS/CALL", "params": {"name": "a"}}, MethodUnknown),
        ({"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "a"}}, MethodUnknown),
        ({"jsonrpc": "2.0", "id": 1, "method": "notifications/initialized"}, MethodUnknown),
    ],
)
def test_bodies_that_are_refused(body: Any, refusal: type[RequestRefused]) -> None:
    """One body has one meaning, or it is refused."""
    with pytest.raises(refusal):
        parse_body(body)


@pytest.mark.parametrize(
    "rpc_id", [None, True, 1.0, 1e3, {}, [], MAX_SAFE_INTEGER + 1, -MAX_SAFE_INTEGER - 1, "x" * 257]
)
def test_ids_that_are_refused(rpc_id: Any) -> None:
    """An id is a text or an integer that every peer reads alike."""
    with pytest.raises(RequestMalformed):
        parse_body({"jsonrpc": "2.0", "id": rpc_id, "method": "ping"})


@pytest.mark.parametrize("rpc_id", [0, -1, MAX_SAFE_INTEGER, "", "x" * 256, "1"])
def test_ids_that_are_taken(rpc_id: Any) -> None:
    """At the bounds an id is still one."""
    assert parse_body({"jsonrpc": "2.0", "id": rpc_id, "method": "ping"}).rpc_id == rpc_id


@pytest.mark.parametrize(
    ("content_type", "passes"),
    [
        ("application/json", True),
        ("Application/JSON; charset=UTF-8", True),
        ("application/json;charset=utf-16", False),
        ("application/json; charset=utf-8; x=y", False),
        ("text/plain", False),
        ("application/json, text/plain", False),
        ("", False),
    ],
)
def test_only_json_in_utf8_is_read(content_type: str, passes: bool) -> None:
    """Any other media type is refused before its body is looked at."""
    if passes:
        assert parse(legacy("ping"), content_type=content_type).method == "ping"
    else:
        with pytest.raises(MediaTypeUnsupported):
            parse(legacy("ping"), content_type=content_type)


def test_a_compressed_body_is_refused() -> None:
    """What is read is what came."""
    with pytest.raises(MediaTypeUnsupported):
        parse(legacy("ping"), content_encoding="gzip")


def test_the_size_of_a_body_is_bounded() -> None:
    """At the bound a body is read, one octet above it is not."""
    headers, body = legacy("ping")
    padded = body + b" " * (MAX_BODY_BYTES - len(body))
    assert parse((headers, padded)).method == "ping"
    with pytest.raises(BodyTooLarge):
        parse((headers, padded + b" "))


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        ({"mcp_method": "tools/list"}, HeaderMismatch),
        ({"mcp_method": "TOOLS/CALL"}, HeaderMismatch),
        ({"mcp_name": "other"}, HeaderMismatch),
        ({"mcp_name": "Add"}, HeaderMismatch),
        ({"mcp_name": "=?base64?b3RoZXI=?="}, HeaderMismatch),
        ({"mcp_name": "=?base64?YWR?="}, HeaderMismatch),
        ({"mcp_name": "=?BASE64?YWRk?="}, HeaderMismatch),
        ({"mcp_protocol_version": "2025-11-25"}, HeaderMismatch),
        ({"mcp_protocol_version": "2027-01-01"}, HeaderMismatch),
    ],
)
def test_headers_must_agree_with_the_body(headers: dict[str, str], refusal: type[RequestRefused]) -> None:
    """A header that says something else than the body is refused, an older revision's included."""
    with pytest.raises(refusal):
        parse(modern("tools/call", {"name": "add"}), **headers)


@pytest.mark.parametrize("missing", ["mcp-protocol-version", "mcp-method", "mcp-name"])
def test_mirrored_headers_are_required(missing: str) -> None:
    """A modern request without one of them is refused."""
    headers, body = modern("tools/call", {"name": "add"})
    del headers[missing]
    with pytest.raises(HeaderMismatch):
        parse((headers, body))


@pytest.mark.parametrize("repeated", ["mcp-method", "mcp-name", "mcp-protocol-version", "mcp-param-day"])
def test_a_mirrored_header_comes_once(repeated: str) -> None:
    """Of two equal values one is too many."""
    headers, body = modern("tools/call", {"name": "add"})
    value = headers.get(repeated, "monday")
    with pytest.raises(HeaderMismatch):
        parse_message(
            "POST", (*headers.items(), (repeated, value), *[(repeated, value)] * (repeated not in headers)), body
        )


@pytest.mark.parametrize("written", ["add", " add\t", "=?base64?YWRk?="])
def test_a_name_may_be_written_in_several_ways(written: str) -> None:
    """White space around it and the encoding do not count."""
    assert parse(modern("tools/call", {"name": "add"}), mcp_name=written).mirrored[-1] == ("mcp-name", "add")


@pytest.mark.parametrize(
    "key", ["io.modelcontextprotocol/protocolVersion", "io.modelcontextprotocol/clientCapabilities"]
)
def test_modern_metadata_is_required(key: str) -> None:
    """A modern request states its revision and its client's capabilities."""
    headers, body = modern("tools/list")
    value = json.loads(body)
    del value["params"]["_meta"][key]
    with pytest.raises(ParamsMalformed):
        parse((headers, json.dumps(value).encode()))


def test_an_unknown_revision_names_those_that_are_known() -> None:
    """Who states it in the body can use modern revisions only; who does not, any."""
    headers, body = modern("tools/list")
    other = {**headers, "mcp-protocol-version": "2099-01-01"}
    with pytest.raises(RevisionUnsupported) as stated:
        parse((other, body.replace(b"2026-07-28", b"2099-01-01")))
    assert (stated.value.requested, stated.value.supported) == ("2099-01-01", ("2026-07-28",))
    with pytest.raises(RevisionUnsupported) as in_header:
        parse(legacy("ping", revision="2024-11-05"))
    assert "2025-11-25" in in_header.value.supported


@pytest.mark.parametrize(
    "method", ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe", "tasks/result"]
)
def test_what_the_modern_revision_does_not_have_is_404(method: str) -> None:
    """Removed and unknown methods are told apart from a bad request."""
    with pytest.raises(MethodUnknownModern) as refused:
        parse(modern(method))
    assert refused.value.status == 404


def test_a_modern_client_sends_no_responses() -> None:
    """Under 2026-07-28 a response is malformed; before, it is a message."""
    with pytest.raises(RequestMalformed):
        parse_body({"jsonrpc": "2.0", "id": 1, "result": {}}, mcp_protocol_version="2026-07-28")
    message = parse_body({"jsonrpc": "2.0", "id": 1, "result": {}})
    assert (message.kind, message.method, message.rpc_id) == (CallKind.RESPONSE, "response", 1)


def test_a_listen_filter_touches_each_of_its_uris() -> None:
    """Listening is listing, and reading everything that the filter names."""
    message = parse(modern("subscriptions/listen", {"notifications": {"resourceSubscriptions": ["a:1", "b:2"]}}))
    assert message.targets == (
        Target(Action.LIST),
        Target(Action.READ_RESOURCE, "a:1"),
        Target(Action.READ_RESOURCE, "b:2"),
    )


@pytest.mark.parametrize(
    ("ref", "target"),
    [
        ({"type": "ref/prompt", "name": "greet"}, Target(Action.GET_PROMPT, "greet")),
        ({"type": "ref/resource", "uri": "note://{day}"}, Target(Action.READ_RESOURCE, "note://{day}")),
    ],
)
def test_a_completion_touches_what_it_completes(ref: dict[str, str], target: Target) -> None:
    """Nobody completes the arguments of what they may not use."""
    assert parse(legacy("completion/complete", {"ref": ref})).targets == (target,)


def test_the_id_of_a_body_that_is_refused() -> None:
    """The answer to a refused request bears its id, where it has one."""
    assert addressee_of(b'{"id": 5, "method": 1}') == Addressee(5)
    for body in (b"", b"{", b"[]", b'{"id": null, "method": "x"}', b'{"id": 5, "result": {}}'):
        assert addressee_of(body) == Addressee(None)
    assert addressee_of(b'{"method": "x"}') == Addressee(None, is_notification=True)


@pytest.mark.parametrize(("more", "rpc_id"), [(0, 5), (1, None)])
def test_a_large_body_is_not_parsed_for_its_id(more: int, rpc_id: int | None) -> None:
    """At 64 KiB the answer to a refused request bears its id, above it null."""
    body = b'{"id": 5, "method": 1}'
    padded = body + b" " * (64 * 1024 - len(body) + more)
    assert addressee_of(padded) == Addressee(rpc_id)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(value=_JSON)
def test_what_goes_on_means_what_came(value: Any) -> None:
    """The body is written anew, and any reader of JSON reads the same from it."""
    headers, _ = legacy("tools/call")
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "a", "arguments": {"v": value}}}
    try:
        octets = json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    assert json.loads(parse((headers, octets)).body) == body


@given(octets=st.binary(max_size=200))
def test_no_octets_break_the_parser(octets: bytes) -> None:
    """Whatever comes, it is a message or a refusal."""
    with contextlib.suppress(RequestRefused):
        parse((legacy("ping")[0], octets))


@pytest.mark.parametrize("where", ["envelope", "params", "arguments"])
def test_a_long_name_beyond_ascii_is_not_folded(where: str) -> None:
    """What it takes grows with the square of the name, and nobody is served meanwhile: it is refused unfolded."""
    long, usual = "e\u0301" * 65, "e\u0301" * 64
    for name, is_refused in ((long, True), (usual, False), ("n" * 4000, False)):
        arguments = {"a": 1, **({name: 2} if where == "arguments" else {})}
        params = {"name": "add", "arguments": arguments, **({name: 2} if where == "params" else {})}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        asked = body | ({name: 2} if where == "envelope" else {})
        with pytest.raises(RequestMalformed) if is_refused else contextlib.nullcontext():
            parse_body(asked)


@pytest.mark.parametrize("member", ["resourceSubscriptions", "taskIds"])
def test_a_listen_filter_names_no_more_than_can_be_asked_about(member: str) -> None:
    """Policy is asked about each, one after the other, while everybody else waits: their number has a bound."""
    for count in (MAX_LISTENED, MAX_LISTENED + 1):
        named = {"notifications": {member: [f"note://{number}" for number in range(count)]}}
        with pytest.raises(ParamsMalformed) if count > MAX_LISTENED else contextlib.nullcontext():
            parse(modern("subscriptions/listen", named))
