"""Canonical JSON: one value has one text, for digests, MACs and records.

There are two ways to it. Of what is *plain* (texts, integers, booleans, null, and lists and objects of these, all names
in ASCII), Python's own encoder writes the same text in one go. `_text` says what the text is, and takes all the rest:
numbers with a fraction, names that UTF-16 orders in its own way, and what stands for a type of JSON.

Spec: RFC 8785 §3.2
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from json.encoder import c_make_encoder  # type: ignore[attr-defined]
from json.encoder import encode_basestring as _quoted  # Python's escapes for JSON strings are those of §3.2.2.2
from typing import Any

import rfc8785

from perhop.errors import ParamsMalformed

_encode: Callable[[Any, int], Iterable[str]] = c_make_encoder(None, None, _quoted, None, ":", ",", True, False, False)
"""What `json.JSONEncoder` makes anew for every text: names in order, no white space, no watch for cycles."""

_LEAVES = frozenset({str, int, bool, type(None)})
_INNER = frozenset({dict, list, tuple})


def canonical_json(value: Any) -> bytes:
    """The RFC 8785 form of a JSON value.

    Takes None, booleans, integers, floats, strings, lists, tuples and mappings with string keys.

    Spec: RFC 8785 §3.2
    Raises: ParamsMalformed
    """
    try:
        return ("".join(_encode(value, 0)) if _is_plain(value) else _text(value)).encode("utf-8")
    except UnicodeEncodeError:
        raise ParamsMalformed("a lone surrogate has no canonical form") from None
    except rfc8785.CanonicalizationError:
        raise ParamsMalformed("a number without a canonical form") from None
    except (ValueError, RecursionError):
        raise ParamsMalformed("too large or too deep for a canonical form") from None


def _is_plain(value: Any) -> bool:
    """True for a list or an object of which Python's encoder makes the canonical text. By exact types only."""
    kind = type(value)
    if kind is dict:
        if not "".join(value).isascii():
            return False
        value = value.values()
    elif kind not in _INNER:
        return False
    if _LEAVES.issuperset(map(type, value)):
        return True
    inner = [each for each in value if type(each) not in _LEAVES]
    return _INNER.issuperset(map(type, inner)) and all(map(_is_plain, inner))


def _text(value: Any) -> str:
    # By exact type first: nearly every value is one of these.
    kind = type(value)
    if kind is str:
        return _quoted(value)
    if kind is dict:
        return "{" + ",".join([f"{_quoted(key)}:{_text(value[key])}" for key in _in_order(value)]) + "}"
    if kind is list or kind is tuple:
        return "[" + ",".join([_text(each) for each in value]) + "]"
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        # DEVIATES: RFC 8785 §3.2.2.3 knows doubles only; integers of any size are written in plain decimal.
        return int.__repr__(value)
    return _unusual(value)


def _unusual(value: Any) -> str:
    """Floats, and what stands for another type."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return rfc8785.dumps(value).decode("ascii")
    if isinstance(value, Mapping):
        return _text(dict(value))
    if isinstance(value, list | tuple):
        return _text(list(value))
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _in_order(members: dict[str, Any]) -> list[str]:
    """Keys are ordered by UTF-16 code units; of ASCII, that is the order of characters. Spec: RFC 8785 §3.2.3."""
    if "".join(members).isascii():
        return sorted(members)
    return sorted(members, key=_utf16)


def _utf16(key: str) -> bytes:
    return key.encode("utf-16-be")
