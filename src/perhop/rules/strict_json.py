"""Strict JSON from a peer: one text has one meaning, or it is refused.

Duplicate keys, NaN, infinities, lone surrogates, a byte order mark and trailing bytes are refused, because another
parser on the way might read them differently. What the values mean is left to the caller.

Most texts that programs write are *exact*: read and written again, they are the same octets. Nothing can be wrong with
such a text but its size and depth, and a library reads it in a fraction of the time that the strict way takes.
There are two forms of writing that count: without white space, and as Python's `json` does it where nobody says how.

Spec: RFC 8259 §8.1
Spec: RFC 7493 §2
"""

from __future__ import annotations

import json
import math
import re
from _json import make_encoder
from collections.abc import Callable
from functools import cache
from itertools import accumulate
from json.encoder import encode_basestring
from json.scanner import make_scanner
from typing import Any, NoReturn

import orjson

from perhop.errors import JsonUnparsable

MAX_DEPTH = 32
MAX_KEYS = 1000
MAX_DIGITS = 4300
"""Digits of one number: Python's own bound for turning text into an integer."""

MAX_EXACT_BYTES = 256 * 1024
MAX_SPACED_BYTES = 16 * 1024
"""Of an exact text, and of one with white space. What turns out not to be exact is read twice, and may not cost more
than the largest text does."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# The end of the text also ends a string, so that an unclosed quote costs one pass and not one pass per quote.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_MARKS = bytes(byte for byte in range(256) if byte not in b"[{:")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")


def parse_json(raw: bytes, *, max_bytes: int, max_depth: int = MAX_DEPTH, max_keys: int = MAX_KEYS) -> Any:
    """Parse one JSON text. Integers of any size up to 4,300 digits stay integers.

    Spec: RFC 8259 §2
    Raises: JsonUnparsable
    """
    if len(raw) > max_bytes:
        raise JsonUnparsable(f"larger than {max_bytes} bytes")
    if raw.startswith(_BYTE_ORDER_MARK):
        raise JsonUnparsable("byte order mark")
    colons = _colons_in(raw, max_depth)
    if colons is None:
        raise JsonUnparsable(f"nested deeper than {max_depth}")
    exact = _read_exact(raw) if colons <= max_keys else None
    if exact is not None:
        return exact[0]
    scan, decoder = _reader(max_keys)
    try:
        text = raw.decode("utf-8")
        try:
            value, end = scan(text, 0)
        except StopIteration:
            value, end = None, -1
        if end != len(text):  # white space around it, or an error to be named
            value = decoder.decode(text)
        if _SURROGATE_ESCAPE.search(raw) is not None:
            # A pair of escapes has become one character by now; what cannot be encoded was alone.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise JsonUnparsable(f"not UTF-8: {error.reason}") from None
    except json.JSONDecodeError as error:
        raise JsonUnparsable(error.msg.lower()) from None
    except (ValueError, RecursionError):
        # A process may have a lower bound on digits, or little stack left: still the peer's text, still refused.
        raise JsonUnparsable("beyond what this process can parse") from None
    return value


def parse_exact(raw: bytes, *, max_depth: int = MAX_DEPTH, max_keys: int = MAX_KEYS) -> tuple[Any, bytes] | None:
    """What `parse_json` gives for a text that is written as it would be written anew, and the text without white space.

    No member came twice in it, since one is left; no number lost a digit; nothing stands for itself in two spellings.
    None for a text that is not so, or too large or deep: it may be a good one. `max_keys` are those of all objects
    together.
    """
    colons = _colons_in(raw, max_depth)
    return _read_exact(raw) if colons is not None and colons <= max_keys else None


def _read_exact(raw: bytes) -> tuple[Any, bytes] | None:
    """The same for a text whose depth and members were looked at."""
    if len(raw) > MAX_EXACT_BYTES:
        return None
    try:
        value = orjson.loads(raw)
        octets = orjson.dumps(value)
        if octets == raw:
            return value, octets
        # White space and escapes only make a text longer.
        if len(octets) < len(raw) <= MAX_SPACED_BYTES and json.dumps(value).encode() == raw:
            return value, octets
    except (ValueError, TypeError, RecursionError):  # no JSON; or what can be read and not written
        pass
    return None


def render_json(value: Any) -> bytes:
    """Write a parsed value: no white space, members in the order they came, UTF-8."""
    return "".join(_write(value, 0)).encode()


def without_strings(raw: bytes) -> bytes:
    """A text less its strings: the brackets and commas that are left are its own."""
    return _STRING.sub(b"", raw)


@cache
def _reader(max_keys: int) -> tuple[Callable[[str, int], tuple[Any, int]], json.JSONDecoder]:
    """Made once for each bound, which are few and our own."""

    def parse_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(pairs) > max_keys:
            raise JsonUnparsable(f"more than {max_keys} keys in one object")
        members = dict(pairs)
        if len(members) != len(pairs):
            raise JsonUnparsable("duplicate key")
        return members

    decoder = json.JSONDecoder(
        object_pairs_hook=parse_object,
        parse_int=_parse_integer,
        parse_float=_parse_float,
        parse_constant=_refuse_constant,
    )
    return make_scanner(decoder), decoder  # type: ignore[arg-type]  # whatever has a decoder's attributes


def _colons_in(raw: bytes, max_depth: int) -> int | None:
    """At least as many as there are members; None for a text that is nested deeper, before a parser, which recurses,
    sees it."""
    marks = raw.translate(None, _NOT_MARKS)
    colons = marks.count(b":")
    return colons if len(marks) - colons <= max_depth or _depth(raw) <= max_depth else None


def _depth(raw: bytes) -> int:
    brackets = without_strings(raw).translate(_STEPS, _NOT_BRACKETS)
    return max(accumulate(memoryview(brackets).cast("b")), default=0)


def _parse_integer(text: str) -> int:
    if len(text.lstrip("-")) > MAX_DIGITS:
        raise JsonUnparsable(f"a number of more than {MAX_DIGITS} digits")
    return int(text)


def _parse_float(text: str) -> float:
    if len(text) > MAX_DIGITS:
        raise JsonUnparsable(f"a number of more than {MAX_DIGITS} digits")
    value = float(text)
    if not math.isfinite(value):
        raise JsonUnparsable("a number beyond the range of double precision")
    return value


def _refuse_constant(text: str) -> NoReturn:
    raise JsonUnparsable(f"`{text}` is not JSON")


# The interpreter's own writer in C: `JSONEncoder.encode` makes one for each text that it writes.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))
_write = make_encoder(None, _ENCODER.default, encode_basestring, None, ":", ",", False, False, False)
