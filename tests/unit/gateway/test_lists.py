"""Answers of an upstream: what is not read says nothing that counts."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.core.call import Target
from perhop.gateway.catalogue import AT_ONCE, Catalogue
from perhop.gateway.lists import ListFilter, error_of
from perhop.gateway.tool_pins import Approval, Pinned, ResourcePins

FILTER = ListFilter(
    is_shown=lambda _: False,
    is_own_task=lambda _: False,
    may_serve=lambda _: False,
    is_private=False,
    catalogue=Catalogue(ResourcePins("https://a.example/mcp", clock=lambda: 0.0)),
    max_bytes=1 << 20,
)

NAMES = ["tools", "prompts", "resources", "resourceTemplates", "tasks", "supportedVersions", "task", "taskId"]
NAMES += ["method", "error", "isError", "ISERROR", "content", "result", "iserror"]

inner: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([True, False, None, 1, "isError", 'x": true', "tools", "ä", "notifications/tasks"]),
    lambda held: st.lists(held, max_size=3) | st.dictionaries(st.sampled_from(NAMES), held, max_size=3),
    max_leaves=5,
)
messages = st.fixed_dictionaries(
    {"id": st.just(1), "result": st.dictionaries(st.sampled_from(NAMES), inner, max_size=3) | inner},
    optional={"error": st.just({"code": -3}) | inner, "method": st.just("notifications/tasks")},
)


@given(messages, st.booleans(), st.sampled_from([(",", ":"), (", ", ": "), (",", " :\t")]))
async def test_what_is_not_read_is_what_reading_would_pass(
    message: Any, is_ascii: bool, separators: tuple[str, str]
) -> None:
    """A message is judged as it is with an escape in it, which makes it one that is read."""
    octets = json.dumps(message, ensure_ascii=is_ascii, separators=separators).encode()
    read = await FILTER.judge(octets.replace(b"{", b'{"zz":"\\u0001",', 1))
    judged = await FILTER.judge(octets)
    assert judged.error == read.error
    assert (judged.octets is None) == (read.octets is None)
    if judged.octets is None:
        assert judged.error == error_of(message)


def escaped(name: str) -> str:
    """With its first letter as an escape."""
    return f"\\u{ord(name[0]):04x}{name[1:]}"


@pytest.mark.parametrize("spelled", [str, escaped], ids=["plain", "escaped"])
@pytest.mark.parametrize("name", ["tools", "prompts", "resources", "resourceTemplates", "tasks", "supportedVersions"])
async def test_a_list_is_found_however_it_is_spelled(name: str, spelled: Any) -> None:
    """No spelling of a member that holds a list keeps it from being filtered."""
    octets = b'{"result":{"%s" : [{"name":"a"}]}}' % spelled(name).encode()
    assert (await FILTER.judge(octets)).octets == b'{"result":{"%s":[]}}' % name.encode()


@pytest.mark.parametrize("spelled", [str, escaped], ids=["plain", "escaped"])
@pytest.mark.parametrize(
    ("member", "error"),
    [('"%s" :\n true', "tool_error"), ('"%s":false', None)],
    ids=["true", "false"],
)
async def test_a_tools_own_error_is_told(member: str, error: str | None, spelled: Any) -> None:
    """A tool's own error reaches the journal, whatever white space and escapes the upstream writes."""
    octets = b'{"result":{"content":[],%s}}' % (member % spelled("isError")).encode()
    assert (await FILTER.judge(octets)).error == error


async def test_what_is_longer_than_a_list_may_be_is_not_read_for_the_journal_alone() -> None:
    """It holds nothing that is filtered or kept; reading sixteen megabytes of small values would take seconds."""
    start, rest = b'{"id":1,"error":{"code":-3},"result":[', b"[]," * (FILTER.max_bytes // 3)
    assert (await FILTER.judge(start + b"1]}")).error == "-3"
    judged = await FILTER.judge(start + rest + b"1]}")
    assert (judged.messages, judged.octets, judged.error) == ((), None, None)


class Others:
    """Another task of the same loop, which counts its turns."""

    def __init__(self) -> None:
        self.turns = 0
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            self.turns += 1
            await asyncio.sleep(0)

    def stop(self) -> None:
        self._task.cancel()


async def test_others_get_their_turn_while_a_long_list_is_filtered() -> None:
    """Policy may be asked about every item: no upstream holds up everybody by the length of its lists."""
    others = Others()
    listed = json.dumps({"result": {"resources": [{"uri": f"note://{number}"} for number in range(10 * AT_ONCE)]}})
    await FILTER.judge(listed.encode())
    others.stop()
    assert others.turns >= 10


async def test_others_get_their_turn_while_a_long_list_is_held_against_what_was_approved() -> None:
    """Each definition wants a digest. Nothing is shown before all of them have been looked at."""
    pins = ResourcePins("https://a.example/mcp", clock=lambda: 0.0)
    pins.take(Pinned(approval=Approval(definitions={}, by="ann", at=0), quarantined=()))
    known_when_shown: set[int] = set()
    turns_before_any_is_shown = 0

    def is_shown(_: Target) -> bool:
        nonlocal turns_before_any_is_shown
        turns_before_any_is_shown = turns_before_any_is_shown or others.turns
        known_when_shown.add(len(pins.quarantined))
        return False

    pinned = ListFilter(
        is_shown=is_shown,
        is_own_task=lambda _: False,
        may_serve=lambda _: False,
        is_private=False,
        catalogue=Catalogue(pins),
        max_bytes=1 << 20,
    )
    others = Others()
    listed = json.dumps({"result": {"tools": [{"name": f"tool-{number}"} for number in range(10 * AT_ONCE)]}})
    await pinned.judge(listed.encode())
    others.stop()
    assert known_when_shown == {10 * AT_ONCE}
    assert turns_before_any_is_shown >= 9
