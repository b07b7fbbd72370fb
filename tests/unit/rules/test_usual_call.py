"""The usual call: read in few steps, and never otherwise than the full rule reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perhop.core.call import HeaderFields, SteadyFields, values_of
from perhop.errors import RequestRefused
from perhop.rules.mcp_headers import encode_mirrored
from perhop.rules.mcp_message import MAX_SAFE_INTEGER, Message, parse_message
from perhop.rules.usual_call import parse_usual

Fields = list[tuple[str, str]]

MODERN, LEGACY = "2026-07-28", "2025-11-25"
META = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}

names = st.sampled_from(["add", "e", "Add", "ä", "a b", "=?base64?YQ==?=", ""])
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
rpc_ids = st.sampled_from([1, 0, "x", "", MAX_SAFE_INTEGER, MAX_SAFE_INTEGER + 1, True, None, 1.0, "i" * 257])
arguments = st.dictionaries(st.sampled_from(["a", "A", "b", "ä", "Ä", ":", '"', "ſ", "s"]), values, max_size=4)


def octets_of(fields: Fields) -> HeaderFields:
    return HeaderFields.of([(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields])


def outcome(http_method: str, headers: tuple[tuple[str, str], ...], body: bytes) -> tuple[Any, ...]:
    """A message with its body, or a refusal in its words."""
    try:
        message = parse_message(http_method, headers, body)
    except RequestRefused as fact:
        return type(fact), fact.detail
    return message, message.body, message.mirrored


def fields_of(era: str, name: str) -> Fields:
    fields = [("host", "a"), ("content-type", "application/json"), ("mcp-protocol-version", era)]
    if era == MODERN:
        fields += [("mcp-method", "tools/call"), ("mcp-name", encode_mirrored(name))]
    return [*fields, ("content-length", "9"), ("authorization", "Bearer x")]


def body_of(era: str, name: object, **members: Any) -> dict[str, Any]:
    params: dict[str, Any] = {"name": name, **({"_meta": META} if era == MODERN else {})}
    message: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    for key, value in members.items():
        (message if key in message else params)[key] = value
    return message


@pytest.mark.parametrize("era", [MODERN, LEGACY])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")], ids=["compact", "spaced"])
def test_what_clients_send_is_read_in_few_steps(era: str, separators: tuple[str, str]) -> None:
    """Without white space, or with it as Python writes it, and whatever its text holds, the short way reads a call."""
    wanted = {"maxResults": 5, "text": 'a: "b", ä', "of": [{"x": 1.5}, None]}
    is_spaced = " " in separators[0]
    body = json.dumps(body_of(era, "add", arguments=wanted), separators=separators, ensure_ascii=is_spaced).encode()
    message = parse_usual(octets_of(fields_of(era, "add")), body)
    assert message is not None
    assert (message.arguments, message.rpc_id, message.targets[0].name) == (wanted, 1, "add")
    assert message.body == json.dumps(json.loads(body), separators=(",", ":"), ensure_ascii=False).encode()


@st.composite
def requests(draw: st.DrawFn) -> tuple[Fields, bytes]:
    """A call that is usual but for what is changed: fields left out, repeated or others, members of any kind."""
    era = draw(st.sampled_from([MODERN, LEGACY]))
    name = draw(names)
    fields = fields_of(era, draw(st.just(name) | names))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(fields) - 1))
        changed = draw(
            st.sampled_from(
                [
                    [],
                    [fields[at], fields[at]],
                    [(fields[at][0].title(), fields[at][1])],
                    [(fields[at][0].title(), "x"), fields[at]],
                    [(fields[at][0], f" {fields[at][1]}\t")],
                    [(fields[at][0], "tools/list")],
                    [fields[at], ("content-encoding", "gzip")],
                    [fields[at], ("mcp-session-id", "1"), ("mcp-session-id", "2")],
                    [fields[at], ("mcp-param-a", "1"), ("Mcp-Param-A", "1")],
                    [("content-type", "application/json; charset=latin1")],
                    [("mcp-protocol-version", draw(st.sampled_from([MODERN, LEGACY, "2025-06-18", "x"])))],
                ]
            )
        )
        fields[at : at + 1] = changed
        fields = fields or [("host", "a")]
    members: dict[str, Any] = {}
    for key, strategy in {"id": rpc_ids, "arguments": arguments | values, "_meta": values, "Name": values}.items():
        if draw(st.integers(0, 3)) == 0:
            members[key] = draw(strategy)
    message = body_of(era, draw(st.just(name) | values) if draw(st.booleans()) else name, **members)
    for _ in range(draw(st.integers(0, 1))):
        message[draw(st.sampled_from(["result", "Method", "id", "x", "jsonrpc", "params"]))] = draw(values)
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (",\n", "\t:")]))
    text = json.dumps(message, separators=separators, ensure_ascii=draw(st.booleans()))
    for _ in range(draw(st.integers(0, 1))):
        old, new = draw(
            st.sampled_from(
                [
                    ('"id"', '"name":1,"id"'),
                    ('"name"', '"name":"b","name"'),
                    ('"name"', '"n\\u0061me":"b","name"'),
                    ('"arguments"', '"arguments":{},"arguments"'),
                    ('"tools/call"', '"tools\\/call"'),
                    ("{", " {"),
                    ("}", "},"),
                    ('"a"', '"a": 1, "a"'),
                    ("1", "1e999"),
                ]
            )
        )
        text = text.replace(old, new, 1)
    return fields, text.encode("utf-8", "surrogatepass")


@given(requests())
@example((fields_of(MODERN, "add"), json.dumps(body_of(MODERN, "add", arguments={"a": 1})).encode()))
@example(([*fields_of(MODERN, "add"), ("content-encoding", "gzip")], json.dumps(body_of(MODERN, "add")).encode()))
@example((fields_of(MODERN, "sub"), json.dumps(body_of(MODERN, "add")).encode()))
def test_both_ways_say_the_same(request: tuple[Fields, bytes]) -> None:
    """Fields that are found by name and the same fields in a row come to one message, or to one refusal."""
    fields, body = request
    in_a_row = tuple((name.lower(), value) for name, value in fields)
    assert outcome("POST", octets_of(fields), body) == outcome("POST", in_a_row, body)


DOUBTFUL = {
    "a repeated member": b'"arguments":{"a":1,"a":2}',
    "a repeated member with colons in it": b'"arguments":{"a":"::","a":":"}',
    "an escaped colon makes up for one": b'"arguments":{"a":1,"a":"\\u003a"}',
    "a repeated name": b'"name":"add"',
    "not a number": b'"arguments":{"a":NaN}',
    "beyond double precision": b'"arguments":{"a":1e999}',
    "half a pair": b'"arguments":{"a":"\\ud800"}',
    "too deep": b'"arguments":{"a":' + b"[" * 40 + b"]" * 40 + b"}",
    "too wide": b'"arguments":{%s}' % b",".join(b'"k%d":1' % number for number in range(1001)),
    "too many digits": b'"arguments":{"a":' + b"9" * 5000 + b"}",
    "names that differ in case": b'"arguments":{"a":1,"A":2}',
    "names that fold alike": '"arguments":{"s":1,"ſ":2}'.encode(),
    "a parameter in another case": b'"Arguments":{}',
    "white space behind": b'"arguments":{}}}    \n{"a":{',
}


@pytest.mark.parametrize("part", DOUBTFUL.values(), ids=DOUBTFUL.keys())
@pytest.mark.parametrize("era", [MODERN, LEGACY])
def test_what_is_doubtful_is_left_to_the_full_rule(era: str, part: bytes) -> None:
    """A text that two readers could read in two ways is not taken, and is refused in the same words as ever."""
    body = json.dumps(body_of(era, "add")).encode().replace(b'"name"', part + b',"name"', 1)
    headers = octets_of(fields_of(era, "add"))
    assert parse_usual(headers, body) is None
    told = outcome("POST", headers, body)
    assert told == outcome("POST", tuple(fields_of(era, "add")), body)
    assert not isinstance(told[0], Message)


@given(st.lists(st.tuples(st.sampled_from(["Host", "host", "ACCEPT", "accept", "x-a", "X-A", "dpop"]), st.text("ab"))))
def test_fields_are_found_by_name(fields: Fields) -> None:
    """Every value of a name, in order, whatever the case it came in, and no field is lost."""
    headers = octets_of(fields)
    for name in ("host", "accept", "x-a", "dpop", "origin"):
        assert values_of(headers, name) == tuple(value for each, value in fields if each.lower() == name)
    assert sorted(headers) == sorted((name.lower(), value) for name, value in fields)
    assert set(headers.uncommon) == {(name.lower(), value) for name, value in fields if name.lower() == "x-a"}


def test_fields_as_lists_are_taken() -> None:
    """Servers may hand over a field as a list, and all of them as whatever can be walked over."""
    fields: Any = iter([[b"Host", b"a"], [b"accept", b"b"], [b"x", b"c"]])
    assert sorted(HeaderFields.of(fields)) == [("accept", "b"), ("host", "a"), ("x", "c")]


def test_a_field_that_came_very_often_is_collected_in_one_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many values are written down as came, and not all of them anew for each: anybody may repeat a field."""
    written = []

    class Counting(dict[str, Any]):
        def __setitem__(self, key: str, values: Any) -> None:
            written.append(len(values))
            super().__setitem__(key, values)

        def copy(self) -> Counting:
            return self

    steady = SteadyFields(())
    monkeypatch.setattr(steady, "by_name", Counting())
    monkeypatch.setattr("perhop.core.call._kept", {(): steady})
    headers = HeaderFields.of([(b"x", b"%d" % number) for number in range(1000)])
    assert values_of(headers, "x") == tuple(str(number) for number in range(1000))
    assert sum(written) <= 2 * 1000


def test_what_is_kept_is_of_these_very_fields() -> None:
    """What follows from steady fields is worked out once for the same octets, and anew if any of them differs."""

    def count(steady: SteadyFields) -> int:
        worked_out.append(dict(steady.fields))
        return len(worked_out)

    worked_out: list[dict[str, str]] = []
    one = [("host", "kept-a"), ("mcp-name", "x"), ("authorization", "Bearer 1")]
    assert octets_of(one).steady.follow(count) == 1
    assert octets_of([*one[:2], ("authorization", "Bearer 2")]).steady.follow(count) == 1
    for at in (0, 1):
        other = [*one]
        other[at] = (one[at][0], "other")
        assert octets_of(other).steady.follow(count) == at + 2
    assert not any("authorization" in each for each in worked_out)


def test_long_fields_are_not_kept() -> None:
    """What anybody may send without a token does not stay in memory beyond a bound."""
    for fields in ([("user-agent", "long" * 2000)], [("accept", "")] * 30):
        assert octets_of(fields).steady is not octets_of(fields).steady
