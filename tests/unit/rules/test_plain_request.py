"""Requests as nearly all are: the short way takes a part of what the full rules take, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.core.call import CallKind, HeaderFields
from perhop.errors import Refused
from perhop.rules.mcp_message import CAPABILITIES_KEY, VERSION_KEY, parse_message
from perhop.rules.plain_request import is_plain_call, plain_fields

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
META = {VERSION_KEY: MODERN, CAPABILITIES_KEY: {}}
Fields = list[tuple[bytes, bytes]]

_names = st.sampled_from(["find", "Find", "a b", "naïve", "", " x", "=?base64?eA==?=", "a\tb", "x" * 300, 7, None])
_arguments: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.just([]),
    st.dictionaries(st.sampled_from(["a", "A", "fromDate", "fromdate", "ſ", "s", "K", "k", "ß"]), st.integers(0, 2)),
)
_capabilities: st.SearchStrategy[Any] = st.sampled_from([{}, {"x": 1}, [], None])
_meta = st.one_of(
    st.just(META),
    st.sampled_from([None, {}, [], {VERSION_KEY: None}]),
    st.builds(
        lambda version, able: {VERSION_KEY: version, CAPABILITIES_KEY: able},
        st.sampled_from([MODERN, LEGACY, "2020-01-01", 1]),
        _capabilities,
    ),
)
_params = st.fixed_dictionaries(
    {},
    optional={
        "name": _names,
        "uri": _names,
        "arguments": _arguments,
        "_meta": _meta,
        "cursor": st.just("c"),
        "Name": st.just("x"),
        "task": st.just({}),
        "more": st.just(1),
    },
)
_methods = st.sampled_from(
    ["tools/call", "tools/call", "prompts/get", "resources/read", "tools/list", "ping", "initialize", "no/such", "", 1]
)
_ids = st.sampled_from([1, 0, -1, "1", "x" * 256, "x" * 257, 2**53 - 1, 2**53, -(2**53), 1.0, True, None])
_bodies = st.fixed_dictionaries(
    {"jsonrpc": st.sampled_from(["2.0", "2.0", "2.0", "1.0", 2.0])},
    optional={
        "id": _ids,
        "method": _methods,
        "params": st.one_of(_params, _params, st.sampled_from([None, []])),
        "result": st.just({}),
        "Id": st.just(1),
    },
)
_versions = st.sampled_from([MODERN, MODERN, LEGACY, "2025-03-26", "2020-01-01", f" {MODERN}", f"{LEGACY} ", ""])
_fields = st.fixed_dictionaries(
    {"content-type": st.sampled_from(["application/json", "application/json", "text/plain", "Application/JSON"])},
    optional={
        "mcp-protocol-version": _versions,
        "mcp-method": st.sampled_from(["tools/call", "prompts/get", "tools/list", "Tools/call", ""]),
        "mcp-name": st.sampled_from(["find", "Find", "a b", "na\xefve", "", "=?base64?eA==?=", "x" * 300]),
        "content-encoding": st.sampled_from(["identity", "gzip"]),
        "mcp-session-id": st.just("s"),
    },
)


def call(name: object = "find", **params: object) -> dict[str, Any]:
    named = {"name": name, "arguments": {"from": 1, "to": 2}, "_meta": META, **params}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": named}


def fields(**changes: str | None) -> Fields:
    """Those of a modern call of `find`; None leaves one out."""
    usual = {"mcp_protocol_version": MODERN, "mcp_method": "tools/call", "mcp_name": "find", **changes}
    named = {"content_type": "application/json", **usual}
    return [(name.replace("_", "-").encode(), text.encode()) for name, text in named.items() if text is not None]


LEGACY_FIELDS = fields(mcp_protocol_version=LEGACY, mcp_method=None, mcp_name=None)


def is_plain(raw: Fields, body: object) -> bool:
    """By the short way; where it takes a request, the full rules must take it as the same."""
    octets = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    plain = plain_fields(raw)
    if plain is None or not is_plain_call(plain, octets):
        return False
    message = parse_message("POST", HeaderFields.of(raw), octets)  # raises for what is not to be taken
    assert message.kind is CallKind.REQUEST
    return True


@given(_fields, _bodies)
def test_the_full_rules_take_all_that_the_short_way_takes(named: dict[str, str], body: dict[str, Any]) -> None:
    """Whatever is mixed of good and bad members and fields, the short way takes nothing that is refused."""
    is_plain([(name.encode(), text.encode("latin-1")) for name, text in named.items()], body)


@given(st.sampled_from([*call()["params"], "method", "id"]), st.data())
def test_one_member_of_a_good_call_is_another(member: str, data: st.DataObject) -> None:
    """Beside a call that is taken, one step away, too."""
    body = call()
    values = {"name": _names, "arguments": _arguments, "_meta": _meta, "method": _methods, "id": _ids}
    (body if member in body else body["params"])[member] = data.draw(values[member])
    is_plain(fields(), body)
    is_plain(LEGACY_FIELDS, body)


@pytest.mark.parametrize("name", ["find", "calendar.find-events", "a/b", "x" * 128])
def test_usual_calls_are_plain(name: str) -> None:
    """The short way is taken where it is meant to be: calls and lists, of both eras."""
    assert is_plain(fields(mcp_name=name), call(name))
    assert is_plain(fields(mcp_name=name), call(name, arguments={"fromDate": {"A": 1, "a": 2}, "toDate": []}))
    assert is_plain([*LEGACY_FIELDS, (b"mcp-session-id", b"s")], call(name, _meta={"progressToken": 1}))
    assert is_plain([(b"content-type", b"application/json")], {"jsonrpc": "2.0", "id": "1", "method": "tools/list"})
    listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META, "cursor": "c"}}
    assert is_plain(fields(mcp_method="tools/list", mcp_name=None), listing)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        json.dumps(call()).encode() + b"{}",
        json.dumps(call()).encode().replace(b'"id": 1', b'"id": 1, "id": 1'),
        json.dumps(call()).encode().replace(b'"from": 1', b'"from": NaN'),
        b"\xef\xbb\xbf" + json.dumps(call()).encode(),
        json.dumps(call(arguments={"x": "a" * 1024 * 1024})).encode(),
        call(arguments={"from": 1, "From": 2}),
        call(arguments=None),
        call(name=""),
        call(_meta={VERSION_KEY: MODERN}),
        call(_meta={VERSION_KEY: LEGACY, CAPABILITIES_KEY: {}}),
        {**call(), "id": 2**53},
        {**call(), "id": None},
        {**call(), "jsonrpc": "1.0"},
        {**call(), "Params": {}},
        call(Name="drop"),
    ],
    ids=range(18),
)
def test_what_is_refused_is_not_plain(body: object) -> None:
    """What the full rules refuse is not taken the short way either."""
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert not is_plain(fields(), octets)
    with pytest.raises(Refused):
        parse_message("POST", HeaderFields.of(fields()), octets)


@pytest.mark.parametrize(
    "changes",
    [
        {"mcp_name": "drop"},
        {"mcp_name": None},
        {"mcp_method": "tools/list"},
        {"mcp_method": None},
        {"mcp_protocol_version": LEGACY},
        {"mcp_protocol_version": "2020-01-01"},
        {"mcp_protocol_version": None},
        {"content_type": "text/plain"},
        {"content_encoding": "gzip"},
    ],
)
def test_fields_that_differ_from_the_body_are_not_plain(changes: dict[str, str | None]) -> None:
    """Headers must agree with the body, the short way as the full one."""
    assert not is_plain(fields(**changes), call())
    with pytest.raises(Refused):
        parse_message("POST", HeaderFields.of(fields(**changes)), json.dumps(call()).encode())


@pytest.mark.parametrize("name", ["=?base64?eA==?=", " x", "x ", "a\x7f", "a\x00", ""])
def test_a_header_that_needs_an_encoding_is_not_plain(name: str) -> None:
    """What stands in the header as in the body may still mean something else."""
    assert not is_plain(fields(mcp_name=name), call(name))
    with pytest.raises(Refused):
        parse_message("POST", HeaderFields.of(fields(mcp_name=name)), json.dumps(call(name)).encode())


@pytest.mark.parametrize(("version", "name"), [("2020-01-01", "find"), (LEGACY, ""), (f"{LEGACY}0", "find")])
def test_a_call_of_the_handshake_revisions_that_is_refused_is_not_plain(version: str, name: str) -> None:
    """A revision that nobody speaks, and a tool without a name."""
    raw, body = fields(mcp_protocol_version=version, mcp_method=None, mcp_name=None), call(name, _meta={})
    assert not is_plain(raw, body)
    with pytest.raises(Refused):
        parse_message("POST", HeaderFields.of(raw), json.dumps(body).encode())


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"accept", b"Accept", b"host", b"mcp-name", b"x-\xc4", b"x-\xe4", b"1"]),
            st.binary(max_size=3),
        ),
        max_size=4,
    )
)
def test_plain_fields_are_those_of_the_full_rule(raw: Fields) -> None:
    """Names and values are the same, and no name comes twice for anybody."""
    plain, full = plain_fields(raw), HeaderFields.of(raw)
    if plain is not None:
        assert len(full.by_name) == len(full)
        assert {name.decode("latin-1"): (value.decode("latin-1"),) for name, value in plain.items()} == full.by_name


def test_fields_that_are_no_list_are_not_plain() -> None:
    """What can be gone through only once is left to the full rule."""
    assert plain_fields(iter(fields())) is None
    assert plain_fields(fields()) is not None
