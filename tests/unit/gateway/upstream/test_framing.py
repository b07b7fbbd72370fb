"""Lines of a stdio server: cut however they come, bounded, and read strictly."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perhop.errors import AnswerUnfit
from perhop.gateway.upstream.framing import (
    MAX_VALUES,
    Answered,
    Asked,
    LineSplitter,
    Notified,
    parse_line,
    render_line,
)

BOUND = 10


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({min(place, len(octets)) for place in places} | {0, len(octets)})
    return [octets[start:end] for start, end in itertools.pairwise(ends)]


@given(
    lines=st.lists(st.binary(max_size=2 * BOUND).filter(lambda line: b"\n" not in line), max_size=6),
    places=st.lists(st.integers(0, 150), max_size=12),
)
def test_however_the_octets_come_the_lines_are_the_same(lines: list[bytes], places: list[int]) -> None:
    """Empty lines are left out, and None stands for one that is too long, wherever the chunks were cut."""
    splitter = LineSplitter(BOUND)
    octets = b"".join(line + b"\n" for line in lines)
    got = [each for chunk in cut(octets, places) for each in splitter.feed(chunk)]
    wanted = [
        None if len(line) > BOUND else line.removesuffix(b"\r") for line in lines if len(line) > BOUND or line.strip()
    ]
    assert got == wanted


@pytest.mark.parametrize(("length", "is_kept"), [(BOUND, True), (BOUND + 1, False)])
def test_a_line_is_kept_up_to_the_bound(length: int, is_kept: bool) -> None:
    """At the bound it is a line, one byte above it is not, and the next line is read again."""
    splitter = LineSplitter(BOUND)
    assert list(splitter.feed(b"x" * length + b"\nnext\n")) == [b"x" * length if is_kept else None, b"next"]


def test_an_endless_line_takes_no_memory() -> None:
    """What has no end is skipped as it comes, and is told once."""
    splitter = LineSplitter(BOUND)
    assert [each for _ in range(1000) for each in splitter.feed(b"x" * 1000)] == []
    assert len(splitter._pending) == 0
    assert list(splitter.feed(b"\n{}\n")) == [None, b"{}"]


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({"id": 1, "result": {}}, Answered),
        ({"id": 1, "error": {"code": 1, "message": ""}}, Answered),
        ({"method": "notifications/message", "params": {}}, Notified),
        ({"method": "notifications/initialized"}, Notified),
        ({"id": "own", "method": "ping"}, Asked),
        ({"id": 1, "method": "roots/list", "params": {}}, Asked),
    ],
)
def test_a_message_is_one_of_three_kinds(message: dict[str, Any], kind: type) -> None:
    """An answer, a notification or a request, whatever its order of members."""
    assert isinstance(parse_line(json.dumps({"jsonrpc": "2.0", **message}).encode()), kind)


@pytest.mark.parametrize(
    "line",
    [
        b"not JSON",
        b"[]",
        b'"text"',
        b'{"jsonrpc":"1.0","id":1,"result":{}}',
        b'{"id":1,"result":{}}',
        b'{"jsonrpc":"2.0","id":1}',
        b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}',
        b'{"jsonrpc":"2.0","id":"1","result":{}}',
        b'{"jsonrpc":"2.0","id":true,"result":{}}',
        b'{"jsonrpc":"2.0","id":1.0,"result":{}}',
        b'{"jsonrpc":"2.0","id":null,"error":{}}',
        b'{"jsonrpc":"2.0","id":1,"id":2,"result":{}}',
        b'{"jsonrpc":"2.0","method":1}',
        b'{"jsonrpc":"2.0","method":"m","params":[]}',
        b'{"jsonrpc":"2.0","method":"m","result":{}}',
        b'{"jsonrpc":"2.0","id":null,"method":"m"}',
        b'{"jsonrpc":"2.0","method":"m\xff"}',
        b"[" * 1000 + b"]" * 1000,
    ],
)
def test_what_is_no_message_for_us_is_unfit(line: bytes) -> None:
    """Answers must carry an id as we give them: a whole number."""
    with pytest.raises(AnswerUnfit):
        parse_line(line)


def a_line(result: str) -> bytes:
    return b'{"jsonrpc":"2.0","id":1,"result":{"a":' + result.encode() + b"}}"


@pytest.mark.parametrize(
    "value",
    ["1", "1.5", "[]", "{}", '""', '"\\""', '"\\\\"', '{"a":"b"}', '[["a"]]'],
)
def test_a_line_of_too_many_values_is_not_read(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a line costs are its values: with too many it is unfit before a parser has seen it, whatever they are."""
    monkeypatch.setattr("perhop.gateway.upstream.framing.parse_json", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(AnswerUnfit, match="values"):
        parse_line(a_line("[" + ",".join([value] * (MAX_VALUES + 1)) + "]"))


@pytest.mark.parametrize(
    "text",
    [
        "A" * (12 * 1024 * 1024),
        "1,2,3\n" * 1_000_000,
        json.dumps([{"name": "a", "value": [1, 2]}] * 100_000),
    ],
)
def test_a_long_text_is_one_value(text: str) -> None:
    """An image in base64, a table, JSON within JSON: what stands inside of a string counts for nothing."""
    read = parse_line(a_line(json.dumps(text)))
    assert isinstance(read, Answered)
    assert read.message["result"] == {"a": text}


@given(text=st.text())
def test_a_message_is_one_line(text: str) -> None:
    """Whatever it holds, it is written without a line end inside."""
    line = render_line({"text": text})
    assert line.count(b"\n") == 1
    assert json.loads(line) == {"text": text}
