"""What stands on the streams of a stdio server: one JSON-RPC message a line, read strictly, its length bounded.

Spec: MCP 2026-07-28 transports
Spec: MCP 2025-11-25 transports
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from perhop.errors import AnswerUnfit, JsonUnparsable
from perhop.rules.mcp_message import render_json
from perhop.rules.strict_json import parse_json, without_strings

MAX_LINE_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 256
MAX_KEYS = 100_000
"""As for answers over HTTP: wider than what callers may send, since a server may list much."""

MAX_VALUES = 250_000
"""Of one line. To read and write more would hold up everybody: not octets cost time but values, of which a text or an
image is one, however long."""


class LineSplitter:
    """Cuts a stream into lines. A line that is too long is left out whole, and None stands for it."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pending = bytearray()
        self._is_skipping = False

    def feed(self, chunk: bytes) -> Iterator[bytes | None]:
        """The lines that this chunk completes, without their ends; empty ones are left out."""
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            yield from self._end(part)
        if not self._is_skipping:
            self._pending += rest
            if len(self._pending) > self._max_bytes:
                self._is_skipping = True
                self._pending.clear()

    def _end(self, part: bytes) -> Iterator[bytes | None]:
        line = bytes(self._pending) + part
        was_skipping, self._is_skipping = self._is_skipping, False
        self._pending.clear()
        if was_skipping or len(line) > self._max_bytes:
            yield None
        elif line.strip():
            yield line.removesuffix(b"\r")


@dataclass(frozen=True, slots=True)
class Answered:
    """The server's answer to a request of ours, which carries an id of ours."""

    id: int
    message: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Notified:
    """A notification of the server."""

    method: str
    params: Mapping[str, Any]
    message: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of the server, under an id of its own."""

    id: str | int
    method: str
    message: Mapping[str, Any]


ServerMessage = Answered | Notified | Asked


def parse_line(line: bytes) -> ServerMessage:
    """Read one line of a server's stdout. An answer whose id is not one that we give is unfit, too.

    Spec: JSON-RPC 2.0
    Raises: AnswerUnfit
    """
    if len(line) > MAX_VALUES:
        _check_values(line)
    try:
        value = parse_json(line, max_bytes=MAX_LINE_BYTES, max_depth=MAX_DEPTH, max_keys=MAX_KEYS)
    except JsonUnparsable as error:
        raise AnswerUnfit(f"not JSON: {error.detail}") from None
    if not isinstance(value, dict) or value.get("jsonrpc") != "2.0":
        raise AnswerUnfit("not a JSON-RPC 2.0 message")
    if "method" in value:
        return _parse_call(value)
    rpc_id = value.get("id")
    if ("result" in value) == ("error" in value) or not isinstance(rpc_id, int) or isinstance(rpc_id, bool):
        raise AnswerUnfit("neither a request nor an answer to one of ours")
    return Answered(rpc_id, value)


def render_line(message: Mapping[str, Any]) -> bytes:
    """One message as a line; JSON text holds no line end of its own."""
    return render_json(message) + b"\n"


def _check_values(line: bytes) -> None:
    """Refuse more values than are read, before they are. Raises: AnswerUnfit."""
    if _openings(line) <= MAX_VALUES:
        return
    # Two strings for each value at most, a name among them; quotes that are escaped are inside of strings.
    if line.count(b'"') - line.count(b'\\"') > 4 * MAX_VALUES or _openings(without_strings(line)) > MAX_VALUES:
        raise AnswerUnfit(f"a message of more than {MAX_VALUES:,} values")


def _openings(text: bytes) -> int:
    """Each value but the first comes after one of these."""
    return text.count(b",") + text.count(b"[") + text.count(b"{")


def _parse_call(value: Mapping[str, Any]) -> Notified | Asked:
    method, params = value["method"], value.get("params", {})
    if not isinstance(method, str) or not isinstance(params, dict) or "result" in value or "error" in value:
        raise AnswerUnfit("a method or params that are none")
    if "id" not in value:
        return Notified(method, params, value)
    rpc_id = value["id"]
    if not isinstance(rpc_id, str | int) or isinstance(rpc_id, bool):
        raise AnswerUnfit("an id that is neither a text nor an integer")
    return Asked(rpc_id, method, value)
