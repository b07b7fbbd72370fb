"""JSON that the C scanner reads alone: what is taken is what the strict parser gives, for every text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.errors import JsonUnparsable
from perhop.rules.plain_json import MAX_PLAIN_BYTES, members_of, parse_plain
from perhop.rules.strict_json import parse_json

_strings = st.sampled_from(
    ['"a"', '"b"', '"A"', '"\\u0061"', '"a:"', '":"', '":a"', '"\\":"', '"\\\\"', '"a\\n"', '""']
)
_scalars = st.one_of(
    _strings,
    st.sampled_from(["1", "-1", "1.5", "1e999", "-1e999", "NaN", "Infinity", "null", "01", '"\x01"', '"\\ud800"']),
)
_colons = st.sampled_from([":", ":", ":", ": ", " :", "\t:", "\n:", "\r :"])


def _object(members: list[tuple[str, str, str]]) -> str:
    return "{" + ",".join(name + colon + value for name, colon, value in members) + "}"


_texts = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(st.tuples(_strings, _colons, inner), max_size=4).map(_object),
        st.lists(inner, max_size=3).map(lambda values: "[" + ", ".join(values) + "]"),
    ),
    max_leaves=8,
)


def plain(raw: bytes) -> list[Any]:
    """The value where it is taken, which must be what the strict parser gives; empty where it is not."""
    read = parse_plain(raw)
    if read is None or members_of(read[0]) != read[1]:
        return []
    value = parse_json(raw, max_bytes=len(raw))  # raises for what is not to be taken
    assert json.dumps(value) == json.dumps(read[0])
    return [value]


@given(_texts)
def test_what_is_taken_is_what_the_strict_parser_gives(text: str) -> None:
    """Whatever the names, the colons around them and the values: none came twice, and each value is the same."""
    plain(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '{"a" :1,"a":2}',
        '{"a" :1,"a":2,"b":"\\":"}',
        '{"a"\t:1,"a":2}',
        '{"a"\n:1,"a":2}',
        '{"a"\r:1,"a":2}',
        '{"a":1,"\\u0061":2}',
        '{"a":{"b":1,"b":1}}',
        '[{"a":1},{"a":1,"a":1}]',
        '{"a":NaN}',
        '{"a":-Infinity}',
        '{"a":1e999}',
        '{"a":"\\ud800"}',
        '\ufeff{"a":1}',
        '{"a":1}{}',
        '{"a":1}x',
        "",
        "[" * 200 + "]" * 200,
        "[" * 4000,
        '{"a":' * 33 + "1" + "}" * 33,
        '{"a":' + "1" * 4301 + "}",
        "{" + ",".join(f'"{number:x}":1' for number in range(1001)) + "}",
    ],
    ids=range(22),
)
def test_what_the_strict_parser_refuses_is_not_taken(text: str) -> None:
    """Each thing for which the strict parser exists is left to it."""
    assert plain(text.encode()) == []
    with pytest.raises(JsonUnparsable):
        parse_json(text.encode(), max_bytes=1 << 20)


def test_bytes_that_are_no_text_are_not_taken() -> None:
    """What is not UTF-8 is left to the strict parser."""
    for raw in (b'{"a":"\xff"}', b'{"a":"\xed\xa0\x80"}'):
        assert plain(raw) == []


def test_usual_texts_are_taken() -> None:
    """The short way is taken where it is meant to be, whatever stands in the strings."""
    value = {
        "url": "https://example.com:1/",
        "at": "12:30",
        "quoted": 'a "b" c\n',
        "n": [1, 2.5, {"x": None}],
        "ü": "ü",
    }
    for separators in ((",", ":"), (", ", ": ")):
        raw = json.dumps(value, ensure_ascii=False, separators=separators).encode()
        assert plain(raw) == [value]
    assert plain(json.dumps({"a": "x" * (MAX_PLAIN_BYTES - 9)}).encode()) != []
    assert plain(json.dumps({"a": "x" * (MAX_PLAIN_BYTES - 8)}).encode()) == []
