"""A message that says nothing, as the gateway sees at a glance, says nothing by the full rule either."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from perhop.gateway.catalogue import Catalogue
from perhop.gateway.lists import ListFilter, says_nothing
from perhop.gateway.open_tasks import task_opened_by
from perhop.gateway.tool_pins import ResourcePins

KEYS = st.sampled_from(
    ["tools", "Tools", "tasks", "isError", "error", "method", "taskId", "task", "code", "x", "result"]
)
LEAVES = st.sampled_from([True, False, None, 1, -32602, "x", "tools", '"error"', "é"])
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3))
MESSAGES = st.fixed_dictionaries({"result": st.dictionaries(KEYS, VALUES, max_size=3)}) | st.dictionaries(KEYS, VALUES)
FULL = ListFilter(
    is_shown=lambda _: False,
    is_own_task=lambda _: False,
    may_serve=lambda _: False,
    is_private=True,
    catalogue=Catalogue(ResourcePins("calendar", clock=lambda: 0.0)),
    max_bytes=1_000_000,
)


def escaped(text: str, places: list[int]) -> str:
    """The same JSON, with letters of it written as escapes where that may be."""
    for place in sorted({each for each in places if each < len(text) and text[each].isalpha()}, reverse=True):
        text = text[:place] + f"\\u{ord(text[place]):04x}" + text[place + 1 :]
    return text


@given(message=MESSAGES, indent=st.sampled_from([None, 1]), places=st.lists(st.integers(0, 60), max_size=2))
async def test_what_says_nothing_passes_as_it_is(
    message: dict[str, Any], indent: int | None, places: list[int]
) -> None:
    """Nothing of it is filtered, recorded or kept."""
    octets = escaped(json.dumps(message, ensure_ascii=False, indent=indent), places).encode()
    if says_nothing(octets):
        judged = await FULL.judge(octets)
        assert (judged.octets, judged.error) == (None, None)
        assert not any(task_opened_by(each) for each in judged.messages)
        assert not any("method" in each for each in judged.messages)


def test_a_usual_answer_says_nothing() -> None:
    """A tool's text, as most answers are; and a tool's own error says something."""
    result = {"content": [{"type": "text", "text": '{"tools": "isError"}'}], "isError": False}
    assert says_nothing(json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode())
    assert not says_nothing(json.dumps({"jsonrpc": "2.0", "id": 1, "result": {**result, "isError": True}}).encode())
