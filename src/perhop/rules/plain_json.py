"""JSON as nearly all messages are, read by the C scanner alone: a part of what `strict_json` takes, as the same values.

What is not taken here may be good JSON: `parse_json` looks at it, and says what is wrong if it is not.

Spec: RFC 8259 §8.1
Spec: RFC 7493 §2
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from json.scanner import make_scanner
from typing import Any

MAX_PLAIN_BYTES = 4096
"""A text that is no longer holds no number of more than 4,300 digits, and no object of more than 1,000 members."""
TOO_MANY = MAX_PLAIN_BYTES
"""So many members no such text has."""


def parse_plain(raw: bytes) -> tuple[Any, int] | None:
    """The value of one JSON text, if its objects have this number of members together, and are not nested too deep.

    Where they have, no member came twice; where not, and for None, `parse_json` must judge. The name of every member
    ends with a quote right before a colon, so that there are no more members than such places; and a value lacks those
    that came twice.
    """
    if len(raw) > MAX_PLAIN_BYTES or (b"\\" in raw and b"\\u" in raw):
        return None
    names = raw.count(b'":')
    if raw.count(b":") != names and (b" :" in raw or b"\t" in raw or b"\r" in raw or b"\n" in raw):
        return None
    try:
        text = raw.decode()
        value, end = _scan(text, 0)
    except (ValueError, StopIteration, RecursionError):
        return None
    return (value, names) if end == len(text) else None


def members_of(value: Any, nested: int = 8) -> int:
    """So many members have the objects in a value together; TOO_MANY at least where they are nested deeper."""
    inner: Iterable[Any]
    if type(value) is dict:
        count, inner = len(value), value.values()
    elif type(value) is list:
        count, inner = 0, value
    else:
        return 0
    for each in inner:
        kind = type(each)
        if kind is dict or kind is list:
            count += members_of(each, nested - 1) if nested else TOO_MANY
    return count


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("beyond the range of double precision")
    return value


def _refuse(text: str) -> None:
    raise ValueError(f"`{text}` is not JSON")


_DECODER: Any = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse)
_scan = make_scanner(_DECODER)
