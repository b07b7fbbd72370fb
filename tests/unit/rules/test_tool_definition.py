"""A tool's definition: one digest, whatever its JSON looked like, and every difference told."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.errors import AnswerUnfit
from perhop.rules.tool_definition import (
    ABSENT,
    MAX_DEFINITION_BYTES,
    MAX_NAME_LENGTH,
    Difference,
    difference,
    parse_definition,
    set_digest,
)

ECHO = {
    "name": "echo",
    "description": "Says it again",
    "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}},
    "annotations": {"readOnlyHint": True},
}

# The digests are those of `sha256sum` over the text.
VECTORS = (
    ({"name": "a"}, '{"name":"a"}', "d9d719b27480b55cd4918020e7473e716ed3569c8adafe926cf9b10b4f8ef064"),
    (
        {"name": "a", "inputSchema": {"type": "object"}, "_meta": {"changes": 1}},
        '{"inputSchema":{"type":"object"},"name":"a"}',
        "60d4353e9a5499b483d09f13d9e28060e70f34edf787bb7040ba30bd390f85af",
    ),
    (
        {"name": "a", "inputSchema": {"maximum": 2**53 + 1}, "description": "größer als 1"},
        '{"description":"größer als 1","inputSchema":{"maximum":9007199254740993},"name":"a"}',
        "dd8167dec446b18dcf6ac2026a992b0ab94ba7d8256ff7e523e30ca6fdf4734f",
    ),
)

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
definitions = st.dictionaries(st.text(max_size=6), values, max_size=4).map(
    lambda members: {**members, "name": "x", "_meta": None}
)


@pytest.mark.parametrize(("tool", "text", "digest"), VECTORS)
def test_the_digest_is_that_of_the_canonical_form(tool: dict[str, Any], text: str, digest: str) -> None:
    """SHA-256 over the RFC 8785 form, without the definition's own `_meta`."""
    definition = parse_definition(tool)
    assert (definition.text, definition.digest) == (text, digest)


@given(definitions)
def test_order_and_spelling_of_the_json_make_no_difference(tool: dict[str, Any]) -> None:
    """Members in another order, escapes, white space and `_meta`: the same definition."""
    turned = json.loads(json.dumps(dict(reversed(list(tool.items()))), indent=2))
    turned["_meta"] = {"another": 1}
    assert parse_definition(tool) == parse_definition(turned)
    assert difference(parse_definition(tool), parse_definition(turned)) == ()


@given(definitions, st.data())
def test_any_change_of_any_member_changes_the_digest(tool: dict[str, Any], data: st.DataObject) -> None:
    """At whatever depth something is put in the place of something else: another digest, and the place is told."""
    changed = {**copy.deepcopy(tool), "description": "for one member at least"}
    before = parse_definition(changed)
    places = [each for each in _places(changed) if each[0] is not changed or each[1] not in ("name", "_meta")]
    holder, key = data.draw(st.sampled_from(places))
    holder[key] = {"something": "else", "was": holder[key]}
    after = parse_definition(changed)
    assert before.digest != after.digest
    assert len(difference(before, after)) > 0


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a JSON value that something stands at."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in list(items):
        yield value, key
        yield from _places(each)


@given(definitions, definitions)
def test_differences_are_there_exactly_if_the_digests_differ(one: dict[str, Any], other: dict[str, Any]) -> None:
    """What is shown and what is hashed are the same things."""
    before, after = parse_definition(one), parse_definition(other)
    assert bool(difference(before, after)) == (before.digest != after.digest)


@pytest.mark.parametrize(("before", "after"), [(1, True), (0, False), (1, "1"), (None, "null"), ([], {}), ({}, None)])
def test_values_that_only_python_takes_for_the_same_differ(before: object, after: object) -> None:
    """1 is not true, and nothing is not null."""
    one, other = (parse_definition({"name": "x", "a": each}) for each in (before, after))
    assert one.digest != other.digest
    assert difference(one, other) == (Difference("$.a", before, after),)


def test_one_number_has_one_digest() -> None:
    """1 and 1.0 are the same JSON number."""
    assert parse_definition({"name": "x", "a": 1}) == parse_definition({"name": "x", "a": 1.0})


def test_every_difference_has_a_path() -> None:
    """What was changed, added and taken away, each at its place, in the order of the paths."""
    changed = copy.deepcopy(ECHO) | {"odd name": [1, {"b": 2}], "title": None}
    changed["inputSchema"]["properties"] = {"to": {}}  # type: ignore[index]
    del changed["annotations"]
    assert difference(parse_definition(ECHO), parse_definition(changed)) == (
        Difference("$.annotations", {"readOnlyHint": True}, ABSENT),
        Difference("$.inputSchema.properties.text", {"type": "string"}, ABSENT),
        Difference("$.inputSchema.properties.to", ABSENT, {}),
        Difference('$["odd name"]', ABSENT, [1, {"b": 2}]),
        Difference("$.title", ABSENT, None),
    )
    again = changed | {"odd name": [1, {"b": True}, 3]}
    assert [each.path for each in difference(parse_definition(changed), parse_definition(again))] == [
        '$["odd name"][1].b',
        '$["odd name"][2]',
    ]


def test_a_new_tool_differs_in_all_that_it_says() -> None:
    """Of a tool that was not there, and of one that is gone, every member is a difference."""
    definition = parse_definition(ECHO)
    paths = [f"$.{name}" for name in sorted(ECHO)]
    assert [(each.path, each.before) for each in difference(None, definition)] == [(path, ABSENT) for path in paths]
    assert [(each.path, each.after) for each in difference(definition, None)] == [(path, ABSENT) for path in paths]


def test_what_a_definition_says_of_itself() -> None:
    """The schema of the arguments, and the hint that it only reads; both only where they are plainly there."""
    assert parse_definition(ECHO).input_schema == ECHO["inputSchema"]
    assert parse_definition(ECHO).is_read_only
    for said in (None, {}, {"readOnlyHint": 1}, {"readOnlyHint": "true"}, [True]):
        odd = parse_definition({"name": "x", "inputSchema": None, "annotations": said})
        assert not odd.is_read_only
        assert odd.input_schema == {}


@pytest.mark.parametrize(
    "tool",
    [
        {},
        {"name": 1},
        {"name": "x" * (MAX_NAME_LENGTH + 1)},
        {"name": "x", "a": "\ud800"},
        {"name": "x", "a": float("nan")},
        {"name": "x", "a": "x" * (MAX_DEFINITION_BYTES - len('{"a":"","name":"x"}') + 1)},
    ],
    ids=["nothing", "no name", "long name", "lone surrogate", "NaN", "large"],
)
def test_what_nobody_can_approve_is_refused(tool: dict[str, Any]) -> None:
    """A definition without a name or a canonical form, or one above the bounds."""
    with pytest.raises(AnswerUnfit):
        parse_definition(tool)


def test_definitions_have_bounds() -> None:
    """At the bounds of name and size a definition is taken."""
    parse_definition({"name": "x" * MAX_NAME_LENGTH})
    parse_definition({"name": "x", "a": "x" * (MAX_DEFINITION_BYTES - len('{"a":"","name":"x"}'))})


def test_a_set_has_one_digest() -> None:
    """Of the names and digests in it, in whatever order."""
    assert set_digest({"a": "1", "b": "2"}) == set_digest({"b": "2", "a": "1"})
    assert len({set_digest(each) for each in ({}, {"a": "1"}, {"a": "2"}, {"b": "1"}, {"a": "1", "b": "1"})}) == 5
