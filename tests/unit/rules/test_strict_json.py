"""Strict JSON: one text has one meaning, or it is refused."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.errors import JsonUnparsable
from perhop.rules.strict_json import parse_json


def parse(raw: bytes) -> object:
    return parse_json(raw, max_bytes=1 << 20)


REFUSED = {
    "empty": b"",
    "duplicate key": b'{"method":"a","method":"b"}',
    "duplicate key by escape": b'{"a":1,"\\u0061":2}',
    "nested duplicate key": b'[{"x":{"a":1,"a":1}}]',
    "NaN": b"[NaN]",
    "Infinity": b"[Infinity]",
    "-Infinity": b"[-Infinity]",
    "a double beyond range": b"1e400",
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "UTF-16 without mark": '{"a":1}'.encode("utf-16-le"),
    "UTF-32": '{"a":1}'.encode("utf-32-be"),
    "overlong UTF-8": b'"\xc0\xaf"',
    "surrogate in UTF-8": b'"\xed\xa0\x80"',
    "lone high surrogate": b'"\\ud800"',
    "lone low surrogate": b'"\\udc00x"',
    "surrogates in the wrong order": b'"\\ude00\\ud83d"',
    "lone surrogate in a key": b'{"\\uD800":1}',
    "two texts": b"{}{}",
    "two lines": b"{}\n{}",
    "trailing bytes": b"{} x",
    "trailing NUL": b"{}\x00",
    "comment": b"// a\n{}",
    "trailing comma": b"[1,]",
    "single quotes": b"{'a':1}",
    "leading zero": b"01",
    "plus sign": b"+1",
    "bare dot": b"1.",
    "control character in a string": b'"\x01"',
    "tab in a string": b'"\t"',
    "unknown escape": b'"\\x41"',
    "digit of another script": "[１]".encode(),
    "no-break space": "\u00a01".encode(),
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_ambiguous_text_is_refused(raw: bytes) -> None:
    """A text that some parser reads otherwise, or not at all, is refused."""
    with pytest.raises(JsonUnparsable):
        parse(raw)


def test_pair_of_surrogate_escapes_is_one_character() -> None:
    """Two escapes that form a character are that character."""
    assert parse(b'"\\ud83d\\ude00"') == "\U0001f600"


def test_escaped_backslash_before_u_is_no_surrogate() -> None:
    """A backslash that is itself escaped starts no escape."""
    assert parse(b'"\\\\ud800"') == "\\ud800"


def test_large_integer_stays_an_integer() -> None:
    """An integer beyond doubles keeps every digit."""
    assert parse(b"9007199254740993") == 9007199254740993


@pytest.mark.parametrize(("digits", "accepted"), [(4300, True), (4301, False)])
def test_digits_are_bounded(digits: int, accepted: bool) -> None:
    """4,300 digits are a number, one more is a refusal."""
    raw = b"-" + b"9" * digits
    if accepted:
        assert parse(raw) == -(10**digits - 1)
    else:
        with pytest.raises(JsonUnparsable):
            parse(raw)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_depth_is_bounded(opening: str) -> None:
    """A depth of 32 is accepted, 33 is not."""
    closing = "]" if opening == "[" else "}"

    def nested(depth: int) -> bytes:
        return (opening * (depth - 1) + opening + ("" if opening == "[" else "1") + closing * depth).encode()

    parse(nested(32))
    with pytest.raises(JsonUnparsable, match="deeper"):
        parse(nested(33))


def test_brackets_in_strings_are_no_depth() -> None:
    """Brackets within strings nest nothing, also after escaped quotes."""
    assert parse(json.dumps(["[" * 99, '\\"' + "{" * 99, "\\"]).encode()) == ["[" * 99, '\\"' + "{" * 99, "\\"]


def test_keys_are_bounded() -> None:
    """An object has 1,000 keys, and not one more."""

    def keys(count: int) -> bytes:
        return json.dumps({str(number): 0 for number in range(count)}).encode()

    parse(keys(1000))
    with pytest.raises(JsonUnparsable, match="keys"):
        parse(keys(1001))


def test_size_is_bounded() -> None:
    """The bound on bytes is met exactly."""
    assert parse_json(b'"abc"', max_bytes=5) == "abc"
    with pytest.raises(JsonUnparsable, match="larger"):
        parse_json(b'"abc"', max_bytes=4)


@pytest.mark.parametrize(
    "raw",
    [b"[" * 1_000_000, b'"\\' * 500_000, b'{"a":' * 200_000, b'["' + b'\\"' * 400_000 + b'"' + b"[" * 40],
    ids=["brackets", "unclosed quote", "objects", "escapes"],
)
def test_hostile_text_costs_little(raw: bytes) -> None:
    """A megabyte of nesting or of unclosed quotes is refused in linear time and without running out of stack."""
    started = time.perf_counter()
    with pytest.raises(JsonUnparsable):
        parse(raw)
    assert time.perf_counter() - started < 2


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(JSON_VALUES)
def test_what_json_writes_is_read_back(value: object) -> None:
    """Every JSON value survives, escaped to ASCII or not."""
    for ascii_only in (True, False):
        assert parse(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=64))
def test_any_bytes_are_parsed_or_refused(raw: bytes) -> None:
    """No bytes raise anything but the refusal."""
    with contextlib.suppress(JsonUnparsable):
        parse(raw)
