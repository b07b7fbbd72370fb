"""Canonical JSON: one value has one text."""

from __future__ import annotations

import json
import struct
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from perhop.errors import ParamsMalformed
from perhop.rules.canonical_json import MAX_CONTAINERS, canonical_json

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "rfc8785-3.2.json").read_text("utf-8"))


def test_rfc_8785_sample() -> None:
    """The sample of RFC 8785 §3.2.2 comes out as the RFC has it."""
    sample = VECTORS["3.2.2"]
    assert canonical_json(json.loads(sample["input"])).decode() == sample["canonical"]


def test_rfc_8785_order_of_keys() -> None:
    """Keys are sorted by UTF-16 code units, as in RFC 8785 §3.2.3."""
    sample = VECTORS["3.2.3"]
    assert list(json.loads(canonical_json(json.loads(sample["input"]))).values()) == sample["order"]


@pytest.mark.parametrize(("bits", "text"), VECTORS["B"])
def test_rfc_8785_numbers(bits: str, text: str) -> None:
    """The doubles of RFC 8785 appendix B come out as the RFC has them."""
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_json(number).decode() == text


@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_has_the_text_of_another_implementation(number: float) -> None:
    """Whatever its size: the library that the wider field uses says the same."""
    assert canonical_json(number) == rfc8785.dumps(number)


@given(digits=st.integers(-(10**17), 10**17), power=st.integers(-40, 40))
def test_every_decimal_has_the_text_of_another_implementation(digits: int, power: int) -> None:
    """Above all around the powers at which an exponent begins."""
    number = float(f"{digits}e{power}")
    assert canonical_json(number) == rfc8785.dumps(number)


@pytest.mark.parametrize("inner", [[], {}, {"\u00e9": 1}, [0.5], MappingProxyType({})])
def test_very_many_lists_and_objects_have_no_canonical_form(inner: object) -> None:
    """Each takes its time, in which nobody else has a turn; there may be as many of other values as there is room."""
    assert canonical_json([inner] * 5)
    with pytest.raises(ParamsMalformed):
        canonical_json({"a": [[inner] * MAX_CONTAINERS]})
    assert canonical_json([1.5] * (MAX_CONTAINERS + 1)).count(b"1.5") == MAX_CONTAINERS + 1


def test_integers_of_any_size_are_plain_decimal() -> None:
    """An integer beyond doubles keeps every digit, where RFC 8785 would refuse or round it."""
    assert canonical_json([2**53 + 1, -(10**40)]) == b"[9007199254740993,-1" + b"0" * 40 + b"]"


def test_whole_double_and_integer_are_the_same_number() -> None:
    """1 and 1.0 are one JSON number and have one text; true is none."""
    assert canonical_json([1, 1.0, True]) == b"[1,1,true]"


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), -float("inf"), "\ud800", {"\udc00": 1}, 10**5000],
    ids=["NaN", "Infinity", "-Infinity", "lone surrogate", "lone surrogate in a key", "5,001 digits"],
)
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    """NaN, infinities, lone surrogates and numbers of absurd length are refused."""
    with pytest.raises(ParamsMalformed):
        canonical_json({"a": [value]})


def test_enums_tuples_and_read_only_mappings_are_written_as_their_values() -> None:
    """What our own records are made of is written as plain JSON."""

    class Colour(StrEnum):
        RED = "red"

    assert canonical_json(MappingProxyType({"c": (Colour.RED, None)})) == b'{"c":["red",null]}'


def test_other_types_are_a_mistake_of_ours() -> None:
    """Bytes are no JSON value."""
    with pytest.raises(TypeError):
        canonical_json({"a": b"bytes"})


NAMES = st.text(max_size=4) | st.sampled_from(["a", "ab", "A", "_", "", "\ufb33", "\U0001f600", "\ud7ff"])


def json_values(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.none() | st.booleans() | numbers | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=8,
    )


def read_only(value: Any) -> Any:
    """The same value of types for which only the way value by value stands."""
    if isinstance(value, dict):
        return MappingProxyType({name: read_only(each) for name, each in value.items()})
    return _List([read_only(each) for each in value]) if isinstance(value, list) else value


class _List(list[Any]):
    """A list by another name."""


@given(json_values(st.integers() | st.floats(allow_nan=False, allow_infinity=False)))
def test_both_ways_lead_to_one_text(value: object) -> None:
    """What is plain enough for Python's encoder comes out as it does value by value."""
    assert canonical_json(value) == canonical_json(read_only(value))


def test_names_that_are_no_text_are_a_mistake_of_ours() -> None:
    """A number is no name, wherever it stands; Python's encoder would make one of it."""
    for value in ({1: "a"}, {"a": {1: "a"}}, [{None: 1}]):
        with pytest.raises(TypeError):
            canonical_json(value)


@given(json_values(st.integers() | st.floats(allow_nan=False, allow_infinity=False)))
def test_canonical_form_is_a_fixed_point(value: object) -> None:
    """The canonical form reads back as something of the same canonical form."""
    text = canonical_json(value)
    assert canonical_json(json.loads(text)) == text


@given(json_values(st.integers()))
def test_values_are_kept(value: object) -> None:
    """Strings, integers, booleans, lists and objects read back as they were."""
    assert json.loads(canonical_json(value)) == value
