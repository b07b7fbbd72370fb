"""Parameter headers: what a tool's schema wants mirrored agrees with the arguments, and goes on written from them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.inbound import mcp_param_headers, validate_mcp_param_headers, x_mcp_header_map

from perhop.core.call import Headers
from perhop.errors import HeaderMismatch
from perhop.rules.mcp_headers import decode_mirrored
from perhop.rules.mcp_param_headers import param_headers, parse_annotations

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "dry": {"type": "boolean", "x-mcp-header": "Dry-Run"},
        "query": {"type": "string"},
        "where": {"type": "object", "properties": {"zone": {"type": "string", "x-mcp-header": "zone"}}},
    },
}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "region": st.none() | TEXT | st.sampled_from(["=?base64?YQ==?=", " x", "a\tb", "é"]),
        "count": st.none() | st.integers() | st.integers(-9, 9).map(float),
        "dry": st.none() | st.booleans(),
        "query": TEXT,
        "where": st.none() | st.fixed_dictionaries({}, optional={"zone": st.none() | TEXT}),
    },
)


def passed(arguments: dict[str, Any], *headers: tuple[str, str], schema: Any = SCHEMA) -> Headers:
    annotations = parse_annotations(schema) if schema is not None else None
    return param_headers(tuple((name, value) for name, value in headers), arguments, annotations)


@given(arguments=ARGUMENTS)
def test_what_a_client_of_the_official_sdk_sends_is_taken_and_goes_on_alike(arguments: dict[str, Any]) -> None:
    """Its own headers agree with its own body, and a server of the SDK agrees with what goes on."""
    sent = mcp_param_headers(x_mcp_header_map(SCHEMA), arguments)
    written = passed(arguments, *((name.lower(), value) for name, value in sent.items()))
    assert {name for name, _ in written} == {name.lower() for name in sent}
    assert all(value.isascii() and (not value or value.isprintable()) for _, value in written)
    assert validate_mcp_param_headers(SCHEMA, arguments, dict(written)) is None


@given(arguments=ARGUMENTS, name=st.sampled_from(["region", "count", "dry-run", "zone"]), value=TEXT)
def test_what_a_server_of_the_official_sdk_refuses_is_refused(arguments: dict[str, Any], name: str, value: str) -> None:
    """One header of another value: nothing passes here that the server behind would not take."""
    sent = {key.lower(): text for key, text in mcp_param_headers(x_mcp_header_map(SCHEMA), arguments).items()}
    changed = {**sent, f"mcp-param-{name}": value.strip()}
    try:
        written = passed(arguments, *changed.items())
    except HeaderMismatch:
        return
    assert validate_mcp_param_headers(SCHEMA, arguments, dict(written)) is None
    assert validate_mcp_param_headers(SCHEMA, arguments, changed) is None


@pytest.mark.parametrize(
    ("arguments", "headers"),
    [
        ({"region": "eu"}, {}),
        ({"region": "eu"}, {"region": "us"}),
        ({"region": "eu"}, {"region": "EU"}),
        ({"region": "eu"}, {"region": "e\x01u"}),
        ({"region": "é"}, {"region": "é"}),
        ({"region": "eu"}, {"region": "=?BASE64?ZXU=?="}),
        ({"region": "eu"}, {"region": "=?base64?ZXU?="}),
        ({"region": "eu"}, {"region": "=?base64?ZXV=?="}),
        ({"region": "=?base64?ZXU=?="}, {"region": "=?base64?ZXU=?="}),
        ({"region": None}, {"region": "null"}),
        ({}, {"region": "eu"}),
        ({"query": "eu"}, {"region": "eu"}),
        ({"region": ["eu"]}, {"region": "eu"}),
        ({"region": ""}, {}),
        ({"count": 42}, {"count": "43"}),
        ({"count": 42}, {"count": "042"}),
        ({"count": 42}, {"count": "+42"}),
        ({"count": 42}, {"count": "4.2e1"}),
        ({"count": 42}, {"count": "42.5"}),
        ({"dry": True}, {"dry-run": "True"}),
        ({"dry": True}, {"dry-run": "1"}),
        ({"where": {"zone": "a"}}, {}),
        ({"where": {"zone": "a"}}, {"zone": "b"}),
    ],
)
def test_a_header_that_differs_from_its_argument(arguments: dict[str, Any], headers: dict[str, str]) -> None:
    """Missing, of another value, badly encoded, or there without its argument."""
    with pytest.raises(HeaderMismatch):
        passed(arguments, *((f"mcp-param-{name}", value) for name, value in headers.items()))


def test_a_header_comes_once() -> None:
    """Of two equal ones the second is too many."""
    with pytest.raises(HeaderMismatch):
        passed({"region": "eu"}, ("mcp-param-region", "eu"), ("mcp-param-region", "eu"))


@pytest.mark.parametrize(
    ("argument", "came", "goes_on"),
    [
        ({"region": "eu"}, ("region", "=?base64?ZXU=?="), "eu"),
        ({"region": "é"}, ("region", "=?base64?w6k=?="), "=?base64?w6k=?="),
        ({"region": ""}, ("region", ""), ""),
        ({"region": ""}, ("region", "=?base64??="), ""),
        ({"region": "a\tb"}, ("region", "a\tb"), "=?base64?YQli?="),
        ({"count": 42}, ("count", "42.0"), "42"),
        ({"count": 42.0}, ("count", "42"), "42"),
        ({"count": -7}, ("count", "-7"), "-7"),
        ({"count": "42"}, ("count", "42"), "42"),
        ({"dry": False}, ("dry-run", "false"), "false"),
        ({"where": {"zone": "a"}}, ("zone", "a"), "a"),
    ],
)
def test_a_header_goes_on_as_its_argument_is_written(
    argument: dict[str, Any], came: tuple[str, str], goes_on: str
) -> None:
    """Encodings and zeros after the point say nothing; what goes on has one spelling."""
    assert passed(argument, (f"mcp-param-{came[0]}", came[1])) == ((f"mcp-param-{came[0]}", goes_on),)


def test_a_header_that_the_schema_does_not_know_goes_on_as_it_came() -> None:
    """Also beside one that it knows, and all of them where the schema is not known."""
    came = (("mcp-param-other", "=?base64?eA==?="), ("mcp-param-region", "eu"), ("mcp-method", "tools/call"))
    assert passed({"region": "eu"}, *came) == came[:2]
    assert passed({"region": "us"}, *came, schema=None) == came[:2]
    assert passed({"region": "us"}, *came, schema={}) == came[:2]


def _with(annotated: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"fine": {"type": "string", "x-mcp-header": "Fine"}, **annotated}}


@pytest.mark.parametrize(
    "schema",
    [
        _with({"a": {"type": "string", "x-mcp-header": ""}}),
        _with({"a": {"type": "string", "x-mcp-header": "a b"}}),
        _with({"a": {"type": "string", "x-mcp-header": "a\r\nx"}}),
        _with({"a": {"type": "string", "x-mcp-header": "é"}}),
        _with({"a": {"type": "string", "x-mcp-header": 1}}),
        _with({"a": {"type": "string", "x-mcp-header": "FINE"}}),
        _with({"a": {"type": "number", "x-mcp-header": "A"}}),
        _with({"a": {"type": "object", "x-mcp-header": "A"}}),
        _with({"a": {"type": ["string", "null"], "x-mcp-header": "A"}}),
        _with({"a": {"x-mcp-header": "A"}}),
        _with({"a": {"type": "array", "items": {"type": "string", "x-mcp-header": "A"}}}),
        _with({"a": {"anyOf": [{"type": "string", "x-mcp-header": "A"}]}}),
        {**_with({}), "allOf": [{"properties": {"a": {"type": "string", "x-mcp-header": "A"}}}]},
        {**_with({}), "$defs": {"a": {"type": "string", "x-mcp-header": "A"}}},
        {**_with({}), "if": {"properties": {"a": {"type": "string", "x-mcp-header": "A"}}}},
        {**_with({}), "type": "string", "x-mcp-header": "A"},
    ],
)
def test_one_invalid_annotation_spoils_them_all(schema: dict[str, Any]) -> None:
    """Clients have dropped such a tool and send nothing for it; nothing of it is compared."""
    assert parse_annotations(schema) == ()


def test_what_is_no_schema_is_not_searched() -> None:
    """An example or a default may look like an annotation and is none."""
    schema = _with({"a": {"type": "object", "default": {"x-mcp-header": "A"}, "examples": [{"x-mcp-header": "B"}]}})
    assert [each.header for each in parse_annotations(schema)] == ["mcp-param-fine"]


def test_a_written_header_reads_back() -> None:
    """What goes on decodes to the argument."""
    ((_, value),) = passed({"region": " é "}, ("mcp-param-region", "=?base64?IMOpIA==?="))
    assert decode_mirrored(value) == " é "
