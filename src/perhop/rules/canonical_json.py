"""Canonical JSON: one value has one text, for digests, MACs and records.

There are two ways to it. Of what is *plain* (texts, integers, booleans, null, and lists and objects of these, all names
in ASCII), orjson writes the same text in one go. `_text` says what the text is, and takes all the rest: numbers with a
fraction or of more than 64 bits, names that UTF-16 orders in its own way, and what stands for a type of JSON.

Either way nobody else has a turn meanwhile, so there is a bound on lists and objects, each of which takes its time.

Spec: RFC 8785 §3.2
"""

from __future__ import annotations

from collections.abc import Mapping
from json.encoder import encode_basestring as _quoted  # Python's escapes for JSON strings are those of §3.2.2.2
from typing import Any

import orjson

from perhop.errors import ParamsMalformed

MAX_CONTAINERS = 100_000
"""Lists and objects in one value: more than a megabyte of pairs of coordinates has."""

_LEAVES = frozenset({str, int, bool, type(None)})
_INNER = frozenset({dict, list, tuple})
_SIMPLE = _LEAVES | {float}


def canonical_json(value: Any) -> bytes:
    """The RFC 8785 form of a JSON value.

    Takes None, booleans, integers, floats, strings, lists, tuples and mappings with string keys.

    Spec: RFC 8785 §3.2
    Raises: ParamsMalformed
    """
    if _is_plain(value):
        try:
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        except orjson.JSONEncodeError:
            pass  # half a surrogate pair, a large number, or too deep: the other way says which
    try:
        return _counted_text(value).encode("utf-8")
    except UnicodeEncodeError:
        raise ParamsMalformed("a lone surrogate has no canonical form") from None
    except (ValueError, RecursionError):
        raise ParamsMalformed("too large, too deep, or a number without a canonical form") from None


def _is_plain(value: Any) -> bool:
    """True for a list or an object of which orjson makes the canonical text. By exact types only."""
    seen, level = 0, [value]
    while level:
        seen += len(level)
        if seen > MAX_CONTAINERS:
            return False
        deeper: list[Any] = []
        for each in level:
            kind = type(each)
            if kind is dict:
                if not "".join(each).isascii():
                    return False
                each = each.values()
            elif kind not in _INNER:
                return False
            if not _LEAVES.issuperset(map(type, each)):
                deeper += [inner for inner in each if type(inner) not in _LEAVES]
        level = deeper
    return True


def _check_containers(value: Any) -> None:
    """Raises: ValueError for too many lists and objects."""
    seen, level = 0, [value]
    while level:
        seen += len(level)
        if seen > MAX_CONTAINERS:
            raise ValueError(f"more than {MAX_CONTAINERS} lists and objects")
        every = (each.values() if isinstance(each, Mapping) else each for each in level)
        level = [inner for each in every for inner in each if type(inner) not in _SIMPLE and _has_members(inner)]


def _has_members(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple)


def _counted_text(value: Any) -> str:
    if _has_members(value):
        _check_containers(value)
    return _text(value)


def _text(value: Any) -> str:
    # By exact type first: nearly every value is one of these.
    kind = type(value)
    if kind is str:
        return _quoted(value)
    if kind is dict:
        return "{" + ",".join([f"{_quoted(key)}:{_text(value[key])}" for key in _in_order(value)]) + "}"
    if kind is list or kind is tuple:
        return "[" + ",".join([_number(each) if type(each) is float else _text(each) for each in value]) + "]"
    if kind is float:
        return _number(value)
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        # DEVIATES: RFC 8785 §3.2.2.3 knows doubles only; integers of any size are written in plain decimal.
        return int.__repr__(value)
    return _unusual(value)


def _unusual(value: Any) -> str:
    """What stands for another type."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return _number(float(value))
    if isinstance(value, Mapping):
        return _text(dict(value))
    if isinstance(value, list | tuple):
        return _text(list(value))
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _number(value: float) -> str:
    """A double as ECMAScript writes it: the digits are Python's, the shortest that are read as this double again.

    Spec: RFC 8785 §3.2.2.3
    Raises: ValueError
    """
    text = float.__repr__(value)
    digits, point, exponent = text.partition("e")
    if not point:
        if text.endswith(".0"):
            return text[:-2] if value else "0"
        if "n" in text:  # nan, inf
            raise ValueError("a number without a canonical form")
        return text
    power = int(exponent)
    if not -7 < power < 21:
        return f"{digits}e{power:+d}"
    # Python has an exponent here, ECMAScript does not: the point is moved.
    sign, digits = ("-", digits[1:]) if value < 0 else ("", digits)
    whole, _, fraction = digits.partition(".")
    if power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{whole}{fraction}"
    return f"{sign}{whole}{fraction}{'0' * (power - len(fraction))}"


def _in_order(members: dict[str, Any]) -> list[str]:
    """Keys are ordered by UTF-16 code units; of ASCII, that is the order of characters. Spec: RFC 8785 §3.2.3."""
    if "".join(members).isascii():
        return sorted(members)
    return sorted(members, key=_utf16)


def _utf16(key: str) -> bytes:
    return key.encode("utf-16-be")
