"""Strict JSON from a peer: one text has one meaning, or it is refused.

Duplicate keys, NaN, infinities, lone surrogates, a byte order mark and trailing bytes are refused, because another
parser on the way might read them differently. What the values mean is left to the caller.

Spec: RFC 8259 §8.1
Spec: RFC 7493 §2
"""

from __future__ import annotations

import json
import math
import re
from functools import cache
from itertools import accumulate
from typing import Any, NoReturn

from perhop.errors import JsonUnparsable

MAX_DEPTH = 32
MAX_KEYS = 1000
MAX_DIGITS = 4300
"""Digits of one number: Python's own bound for turning text into an integer."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# The end of the text also ends a string, so that an unclosed quote costs one pass and not one pass per quote.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
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
    _check_depth(raw, max_depth)
    try:
        value = _decoder(max_keys).decode(raw.decode("utf-8"))
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


@cache
def _decoder(max_keys: int) -> json.JSONDecoder:
    """Made once for each bound, which are few and our own."""

    def parse_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(pairs) > max_keys:
            raise JsonUnparsable(f"more than {max_keys} keys in one object")
        members = dict(pairs)
        if len(members) != len(pairs):
            raise JsonUnparsable("duplicate key")
        return members

    return json.JSONDecoder(
        object_pairs_hook=parse_object,
        parse_int=_parse_integer,
        parse_float=_parse_float,
        parse_constant=_refuse_constant,
    )


def _check_depth(raw: bytes, max_depth: int) -> None:
    """Refuse deep nesting before the parser, which recurses, sees it."""
    if raw.count(b"[") + raw.count(b"{") <= max_depth:
        return
    brackets = _STRING.sub(b"", raw).translate(_STEPS, _NOT_BRACKETS)
    if max(accumulate(memoryview(brackets).cast("b")), default=0) > max_depth:
        raise JsonUnparsable(f"nested deeper than {max_depth}")


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
