"""Call binding: one message, one binding, whatever way its JSON was written."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.core.call import CallBinding
from perhop.errors import CallMismatch, ParamsMalformed
from perhop.rules.call_binding import bind_call, binding_of, check_call
from perhop.rules.mcp_message import parse_message, render_json

LEGACY = (("content-type", "application/json"), ("mcp-protocol-version", "2025-11-25"))
EMPTY = base64.urlsafe_b64encode(hashlib.sha256(b"{}").digest()).rstrip(b"=").decode()

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def bind(message: dict[str, Any]) -> CallBinding:
    return binding_of(parse_message("POST", LEGACY, json.dumps({"jsonrpc": "2.0", "id": 1, **message}).encode()))


def test_the_digests_are_those_of_the_contract() -> None:
    """base64url SHA-256 over the canonical form: members sorted, no white space, numbers as RFC 8785 has them."""
    params = {"name": "add", "arguments": {"b": 1e21, "a": 2.0, "n": 2**70}, "_meta": {"progressToken": 7}}
    bound = bind({"method": "tools/call", "params": params})
    arguments = b'{"a":2,"b":1e+21,"n":1180591620717411303424}'
    expected = base64.urlsafe_b64encode(hashlib.sha256(arguments).digest()).rstrip(b"=").decode()
    assert (bound.method, bound.name, bound.arguments_sha256) == ("tools/call", "add", expected)
    whole = b'{"arguments":' + arguments + b',"name":"add"}'
    assert bound.params_sha256 == base64.urlsafe_b64encode(hashlib.sha256(whole).digest()).rstrip(b"=").decode()


def test_absent_arguments_are_empty_ones() -> None:
    """No `arguments`, no `params` and empty ones have the digest of `{}`; a URI is a name too."""
    assert bind({"method": "tools/list"}) == CallBinding(
        method="tools/list", name=None, arguments_sha256=EMPTY, params_sha256=EMPTY
    )
    read = bind({"method": "resources/read", "params": {"uri": "note://a"}})
    assert (read.name, read.arguments_sha256) == ("note://a", EMPTY)


@pytest.mark.parametrize("http_method", ["GET", "DELETE"])
def test_what_is_no_call_is_bound_by_its_kind(http_method: str) -> None:
    """A stream and a session's end are bound to themselves, which no call is."""
    bound = binding_of(parse_message(http_method, (("mcp-protocol-version", "2025-11-25"),), b""))
    assert bound == CallBinding(method=http_method, name=None, arguments_sha256=EMPTY, params_sha256=EMPTY)
    response = binding_of(parse_message("POST", LEGACY, b'{"jsonrpc":"2.0","id":1,"result":{}}'))
    assert response.method == "response"


@given(arguments=st.dictionaries(st.text(max_size=8), values, max_size=5))
def test_order_and_spelling_of_the_json_make_no_difference(arguments: dict[str, Any]) -> None:
    """Members in another order, escapes and white space: the same call."""
    params = {"name": "x", "arguments": arguments}
    turned = {"arguments": dict(reversed(list(arguments.items()))), "name": "x", "_meta": {"a": 1}}
    assert bind_call("tools/call", json.loads(json.dumps(params, indent=2))) == bind_call("tools/call", turned)
    assert bind_call("tools/call", json.loads(render_json(params))) == bind_call("tools/call", params)


@given(one=values, other=values)
def test_other_arguments_are_another_call(one: Any, other: Any) -> None:
    """Two values that JSON tells apart never have one binding."""
    first, second = (bind_call("tools/call", {"name": "x", "arguments": {"v": each}}) for each in (one, other))
    assert (first == second) == (_canonical(one) == _canonical(other))


def _canonical(value: Any) -> str:
    """Equal for values that JSON has one form of: 1 and 1.0, 0 and -0.0, but not 1 and true."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return "[" + ",".join(map(_canonical, value)) + "]"
    return "{" + ",".join(f"{json.dumps(key)}:{_canonical(value[key])}" for key in sorted(value)) + "}"


@pytest.mark.parametrize(
    ("part", "method", "params"),
    [
        ("method", "prompts/get", {"name": "x", "arguments": {"a": 1}, "more": 1}),
        ("name", "tools/call", {"name": "y", "arguments": {"a": 1}, "more": 1}),
        ("arguments_sha256", "tools/call", {"name": "x", "arguments": {"a": 2}, "more": 1}),
        ("params_sha256", "tools/call", {"name": "x", "arguments": {"a": 1}, "more": 2}),
        ("params_sha256", "tools/call", {"name": "x", "arguments": {"a": 1}}),
    ],
)
def test_every_part_is_compared(part: str, method: str, params: dict[str, Any]) -> None:
    """Whatever differs, it is another call; what stands in `_meta` is not bound."""
    bound = bind_call("tools/call", {"name": "x", "arguments": {"a": 1}, "more": 1})
    with pytest.raises(CallMismatch, match=part):
        check_call(bound, bind_call(method, params))
    check_call(bound, bind_call("tools/call", {"more": 1, "arguments": {"a": 1}, "name": "x", "_meta": {"x": 1}}))


def test_a_name_that_fits_no_token_is_refused() -> None:
    """2,048 bytes as JSON text in ASCII are bound, one more is not."""
    bind_call("resources/read", {"uri": "x" * 2046})
    with pytest.raises(ParamsMalformed):
        bind_call("resources/read", {"uri": "x" * 2047})
    with pytest.raises(ParamsMalformed):
        bind_call("resources/read", {"uri": "\u20ac" * 342})
