"""Secrets, wrapped at birth."""

from __future__ import annotations

import hashlib
from typing import NoReturn, final


@final
class Secret:
    """A text that must not be printed: `repr` and `str` show a fingerprint, `reveal` the text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself: for the wire and for files of mode 0600 only."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret(sha256:{hashlib.sha256(self._text.encode()).hexdigest()[:12]})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")
