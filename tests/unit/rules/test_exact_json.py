"""JSON that is written as it would be written anew: what is taken is what the strict way gives, for every text."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.errors import JsonUnparsable
from perhop.rules import strict_json
from perhop.rules.strict_json import MAX_DEPTH, MAX_EXACT_BYTES, MAX_KEYS, MAX_SPACED_BYTES, parse_exact, parse_json

_strings = st.sampled_from(
    ['"a"', '"b"', '"A"', '"\\u0061"', '"a:"', '":"', '":a"', '"\\":"', '"\\\\"', '"a\\n"', '""', '"\\u0000"', '"\\/"']
)
_numbers = st.one_of(
    st.sampled_from(["1", "-1", "1.5", "1e999", "-1e999", "NaN", "Infinity", "01", "-0", "-0.0", "1.0", "1.50", "+1"]),
    st.integers().map(str),
    st.integers(min_value=2**62, max_value=2**66).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"-?[0-9]{1,25}(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)
_scalars = st.one_of(
    _strings,
    _numbers,
    st.text(max_size=3).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.sampled_from(["null", "true", "false", '"\x01"', '"\\ud800"', '"\ud800"', '"\x7f"', '"\u2028"', "nul"]),
)
_spaces = st.sampled_from(["", "", " "])
"""Behind colons and commas; the same in a whole text, or it is not exact."""


def _object(space: str, members: list[tuple[str, str]]) -> str:
    return "{" + f",{space}".join(f"{name}:{space}{value}" for name, value in members) + "}"


def _list(space: str, values: list[str]) -> str:
    return "[" + f",{space}".join(values) + "]"


def _texts_with(space: str) -> st.SearchStrategy[str]:
    return st.recursive(
        _scalars,
        lambda inner: st.one_of(
            st.lists(st.tuples(_strings, inner), max_size=4).map(lambda members: _object(space, members)),
            st.lists(inner, max_size=3).map(lambda values: _list(space, values)),
        ),
        max_leaves=8,
    )


_texts = _spaces.flatmap(_texts_with)


def _strictly(raw: bytes, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the strict way says alone. Raises: JsonUnparsable."""
    with monkeypatch.context() as context:
        context.setattr(strict_json, "parse_exact", lambda *_, **__: None)
        return parse_json(raw, max_bytes=len(raw))


def _value(raw: bytes) -> Any:
    exact = parse_exact(raw)
    assert exact is not None
    assert exact[1] == raw
    return exact[0]


def _same(one: Any, other: Any) -> bool:
    """Equal, of the same types, members in the same order."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(_same, one.values(), other.values()))
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other) and (not isinstance(one, float) or math.copysign(1, one) == math.copysign(1, other))


@given(text=_texts)
def test_what_is_taken_is_what_the_strict_way_gives(text: str) -> None:
    """Whatever the names, the values and the space between: nothing is taken that is refused, or read otherwise."""
    raw = text.encode("utf-8", "surrogatepass")
    exact = parse_exact(raw)
    if exact is not None:
        value, octets = exact
        with pytest.MonkeyPatch.context() as monkeypatch:
            assert _same(value, _strictly(raw, monkeypatch)), raw
            assert _same(value, _strictly(octets, monkeypatch)), raw


REFUSED = [
    '{"a":1,"a":2}',
    '{"a":1,"a":1}',
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
    '{"a":1,}',
    "{'a':1}",
    '{"a":01}',
    '{"a":"\x01"}',
    "",
    "[" * 200 + "]" * 200,
    "[" * 4000,
    "[" * 100_000 + "]" * 100_000,
    '{"a":' * 33 + "1" + "}" * 33,
    '{"a":' + "1" * 4301 + "}",
    "{" + ",".join(f'"{number:x}":1' for number in range(1001)) + "}",
]


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_what_the_strict_way_refuses_is_not_taken(text: str) -> None:
    """Each thing for which the strict way exists is left to it."""
    assert parse_exact(text.encode()) is None
    with pytest.raises(JsonUnparsable):
        parse_json(text.encode(), max_bytes=1 << 20)


def test_bytes_that_are_no_text_are_not_taken() -> None:
    """What is not UTF-8 is left to the strict way, which refuses it."""
    for raw in (b'{"a":"\xff"}', b'{"a":"\xed\xa0\x80"}', b'{"a":"\xc0\xaf"}', b'{"a":"\xf4\x90\x80\x80"}'):
        assert parse_exact(raw) is None
        with pytest.raises(JsonUnparsable):
            parse_json(raw, max_bytes=len(raw))


@pytest.mark.parametrize(
    "text",
    [
        "1" + "0" * 30,
        str(2**64),
        str(-(2**63) - 1),
        "-0",
        "1E5",
        "1e5",
        "1.50",
        "0.1e1",
        "1.00000000000000000000001",
        '"\\u0061"',
        '"\\/"',
        '"\\uD83D\\uDE00"',
        ' {"a":1}',
        '{"a": 1,"b":1}',
        '{"a": "\u00e4"}',
        '{"a" :1}',
        "[1,  2]",
        '{"a":1}\n',
    ],
)
def test_another_spelling_is_left_to_the_strict_way_which_takes_it(text: str) -> None:
    """A good text that would be written otherwise is not exact, and no digit of a number is lost."""
    assert parse_exact(text.encode()) is None
    assert parse_json(text.encode(), max_bytes=100) == json.loads(text)


def test_what_programs_write_is_taken() -> None:
    """The short way is taken where it is meant to be, whatever stands in the strings, and up to its bounds."""
    value = {
        "url": "https://example.com:1/",
        "at": "12:30",
        "quoted": 'a "b" c\n\\',
        "n": [1, 2.5, -0.0, 2**63, -(2**63), {"x": None}],
        "ü": "ü\u2028\x7f😀",
        "[{[{[{[{[{[{[{[{[{[{[{[{[{[{[{[{[{[{[{[{": True,
    }
    raw = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    assert _same(_value(raw), value)
    assert parse_exact(json.dumps(value).encode()) == parse_exact(raw)
    assert parse_exact(json.dumps(value, ensure_ascii=False).encode()) is None
    many = json.dumps({f"{number:x}": 1 for number in range(MAX_KEYS)}, separators=(",", ":")).encode()
    assert parse_exact(many) == (json.loads(many), many)
    assert parse_exact(many, max_keys=MAX_KEYS - 1) is None
    deep = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert parse_exact(deep) == (json.loads(deep), deep)
    assert parse_exact(b"[" + deep + b"]") is None
    wide = b"[" + b",".join([b"[]"] * 100) + b"]"
    assert parse_exact(wide) == (json.loads(wide), wide)


@pytest.mark.parametrize(("separators", "most"), [((",", ":"), MAX_EXACT_BYTES), ((", ", ": "), MAX_SPACED_BYTES)])
def test_a_large_text_is_left_to_the_strict_way(separators: tuple[str, str], most: int) -> None:
    """What is read twice must not be large: one octet more than that is read once."""
    for more, is_taken in ((0, True), (1, False)):
        empty = json.dumps({"a": 1, "b": ""}, separators=separators)
        raw = json.dumps({"a": 1, "b": "x" * (most + more - len(empty))}, separators=separators).encode()
        assert len(raw) == most + more
        assert (parse_exact(raw) is not None) == is_taken
        assert parse_json(raw, max_bytes=1 << 20) == json.loads(raw)
