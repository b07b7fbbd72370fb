"""Canonical JSON: one value has one text, for digests, MACs and records.

Spec: RFC 8785 §3.2
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import rfc8785

from perhop.errors import ParamsMalformed

_STRINGS = json.JSONEncoder(ensure_ascii=False)


def canonical_json(value: Any) -> bytes:
    """The RFC 8785 form of a JSON value.

    Takes None, booleans, integers, floats, strings, lists, tuples and mappings with string keys.

    Spec: RFC 8785 §3.2
    Raises: ParamsMalformed
    """
    try:
        return _text(value).encode("utf-8")
    except UnicodeEncodeError:
        raise ParamsMalformed("a lone surrogate has no canonical form") from None
    except rfc8785.CanonicalizationError:
        raise ParamsMalformed("a number without a canonical form") from None
    except (ValueError, RecursionError):
        raise ParamsMalformed("too large or too deep for a canonical form") from None


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        # Python's escapes for JSON strings are those of RFC 8785 §3.2.2.2.
        return _STRINGS.encode(value)
    if isinstance(value, bool):  # before int: a bool is one
        return "true" if value else "false"
    if isinstance(value, int):
        # DEVIATES: RFC 8785 §3.2.2.3 knows doubles only; integers of any size are written in plain decimal.
        return int.__repr__(value)
    if isinstance(value, float):
        return rfc8785.dumps(value).decode("ascii")
    if isinstance(value, Mapping):
        members = sorted(value.items(), key=_utf16_order)
        return "{" + ",".join(f"{_STRINGS.encode(key)}:{_text(member)}" for key, member in members) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_text, value)) + "]"
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _utf16_order(member: tuple[str, Any]) -> bytes:
    """Keys are ordered by UTF-16 code units. Spec: RFC 8785 §3.2.3."""
    return member[0].encode("utf-16-be")
