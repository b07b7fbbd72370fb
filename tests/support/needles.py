"""Looking for very many secrets in very many octets at once, in every form in which they might have been written.

A token is looked for by its parts, as they are and as they might be disguised: its signature, also cut, in base64 at
any offset, in hexadecimal and as octets; its claims, as they stand in the token and as JSON. The first part of a token
is not looked for: it is the same for all tokens under one key.
"""

from __future__ import annotations

import base64
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Generic, TypeVar
from urllib.parse import unquote_to_bytes

T = TypeVar("T")

SHORTEST = 11
"""What is shorter is not found."""

PIECE = 16
_GRAM, _STRIDE = 8, 4
_ESCAPE = re.compile(rb"\\u([0-9a-fA-F]{4})")
_STANDARD = bytes.maketrans(b"-_", b"+/")


class Needles(Generic[T]):
    """Strings of octets, each with a name. How long a search takes does not depend on how many there are.

    The octets that are searched are read as numbers of eight, at every fourth place. Of any needle, eight octets that
    begin at its first, second, third or fourth are such a number: those four are known.
    """

    def __init__(self) -> None:
        self._names: dict[bytes, T] = {}
        self._grams: dict[int, list[tuple[int, bytes]]] = defaultdict(list)

    def add(self, octets: bytes, name: T) -> None:
        """Look for these octets from now on. A second name of the same octets is not taken."""
        assert len(octets) >= SHORTEST, "too short to be found"
        if octets in self._names:
            return
        self._names[octets] = name
        for offset in range(_STRIDE):
            gram = int.from_bytes(octets[offset : offset + _GRAM], sys.byteorder)
            self._grams[gram].append((offset, octets))

    def found_in(self, text: bytes) -> Iterator[tuple[int, T]]:
        """Where they are, and the names of those that are there."""
        for start in range(0, _GRAM, _STRIDE):
            size = max(len(text) - start, 0) // _GRAM * _GRAM
            numbers = memoryview(text)[start : start + size].cast("Q")
            if self._grams.keys().isdisjoint(numbers):
                continue
            for number, gram in enumerate(numbers):
                for offset, octets in self._grams.get(gram, ()):
                    place = start + number * _GRAM - offset
                    if place >= 0 and text.startswith(octets, place):
                        yield place, self._names[octets]


def forms_of(secret: str, *, disguised_in_part: bool = True) -> Iterator[tuple[str, bytes]]:
    """The octets that give a secret away, each with what it is of it. Those of a short one may be too short to find.

    Without `disguised_in_part`, what is spelled otherwise is only found from its beginning; that is much less to know.
    """
    whole = secret.encode("utf-8", "replace")
    parts = whole.split(b".")
    if len(parts) != 3:
        yield from _pieces("text", whole, disguised_in_part)
        return
    # A whole token holds its claims and its signature: it is found by these.
    _, claims, signature = parts
    yield "claims", claims
    yield from (("claims in base64", each) for each in base64_forms(claims))
    yield "claims as JSON", _octets(claims)
    yield from _pieces("signature", signature, disguised_in_part)
    yield from _pieces("signature's octets", _octets(signature), disguised_in_part)


def _pieces(form: str, secret: bytes, disguised_in_part: bool) -> Iterator[tuple[str, bytes]]:
    """What is random is looked for in pieces, so that half of it is found as well."""
    spellings = {
        form: {secret, secret.translate(_STANDARD)},
        f"{form} in base64": list(base64_forms(secret)),
        f"{form} in hexadecimal": [secret.hex().encode(), secret.hex().upper().encode()],
    }
    for name, texts in spellings.items():
        for text in texts:
            end = len(text) - PIECE + 1 if disguised_in_part or name == form else min(len(text) - PIECE + 1, 1)
            for start in range(0, end, PIECE):
                yield name, text[start : start + PIECE]


def base64_forms(text: bytes) -> Iterator[bytes]:
    """The text within any longer text, in base64: at each of three offsets, in both alphabets."""
    for offset in range(3):
        whole = text[offset:]
        coded = base64.b64encode(whole[: len(whole) // 3 * 3])
        yield coded
        yield coded.translate(bytes.maketrans(b"+/", b"-_"))


def readings_of(text: bytes) -> set[bytes]:
    """The text, and what it says once percents and JSON's escapes are decoded, also several times over."""
    seen = {text}
    for _ in range(3):
        seen |= {unquote_to_bytes(each) for each in seen}
        seen |= {_ESCAPE.sub(lambda found: chr(int(found[1], 16)).encode("utf-8", "replace"), each) for each in seen}
    return seen


def _octets(part: bytes) -> bytes:
    try:
        return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except ValueError:
        return b""
