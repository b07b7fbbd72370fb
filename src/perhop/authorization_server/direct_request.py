"""A request that is answered past the router: Starlette's own, with its header fields and its peer read once, and its
answer sent in one piece where our own listener takes it so."""

from __future__ import annotations

from typing import TypeVar

from starlette.datastructures import Address, Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from perhop.core.short_way import short_way

_T = TypeVar("_T")


class DirectRequest(Request):
    """The same answers as Starlette's, each found once."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self._fields = HeaderFields(list(scope["headers"]))
        peer = scope.get("client")
        self._peer = Address(*peer) if peer is not None else None

    @property
    def headers(self) -> Headers:
        return self._fields

    @property
    def client(self) -> Address | None:
        return self._peer


class HeaderFields(Headers):
    """Header fields by their names, as an ASGI server gives them: names in lower case."""

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        super().__init__(raw=raw)
        self._once: dict[bytes, bytes] = dict(raw)
        self._are_single = len(self._once) == len(raw)

    def getlist(self, key: str) -> list[str]:
        """Every value of a field, in order."""
        if not self._are_single:
            return super().getlist(key)
        found = self._once.get(key.encode("latin-1"))
        return [] if found is None else [found.decode("latin-1")]

    def get(self, key: str, default: _T = None) -> str | _T:  # type: ignore[assignment]  # as in the stubs of Mapping
        """The first value of a field."""
        if not self._are_single:
            return super().get(key, default)
        found = self._once.get(key.encode("latin-1"))
        return default if found is None else found.decode("latin-1")


def answer_at_once(scope: Scope, answer: Response) -> bool:
    """Send a whole answer. False where the listener has no short way, or does not take it: then nothing was sent."""
    way = short_way(scope)
    if way is None or answer.background is not None:
        return False
    fields = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in answer.raw_headers
        if name != b"content-length"
    ]
    body = bytes(answer.body)
    return way.answer(answer.status_code, (*fields, ("content-length", str(len(body)))), body)
