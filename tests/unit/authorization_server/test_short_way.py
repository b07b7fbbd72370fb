"""A token request by the short way of our own listener: the same bounds, and the same answer as by ASGI."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from perhop.authorization_server.direct_request import answer_at_once
from perhop.authorization_server.form import MAX_BODY_BYTES, read_body
from perhop.core.call import HeaderFields, Headers
from perhop.core.short_way import SHORT_WAY
from perhop.errors import BodyTooLarge


class Way:
    """The listener's side: a body that is here, or is not, and what is answered."""

    on_gone: Callable[[], None] | None = None

    def __init__(self, body: bytes | None = None, *, takes: bool = True) -> None:
        self._body, self._takes = body, takes
        self.answered: list[tuple[int, Headers, bytes]] = []

    def fields(self) -> HeaderFields:
        return HeaderFields.of([])

    def take_body(self) -> bytes | None:
        return self._body

    def answer(self, status: int, headers: Headers, body: bytes) -> bool:
        self.answered += [(status, headers, body)] if self._takes else []
        return self._takes

    def give_up(self) -> None:
        pass


def scope_of(way: Way | None) -> dict[str, Any]:
    return {"type": "http", "method": "POST", "path": "/token", "headers": []} | ({SHORT_WAY: way} if way else {})


def request_by(way: Way | None, *pieces: bytes) -> Request:
    """What of its body does not come by the short way comes in these pieces."""
    coming = [{"type": "http.request", "body": each, "more_body": True} for each in pieces[:-1]]
    coming += [{"type": "http.request", "body": each, "more_body": False} for each in pieces[-1:]]

    async def receive() -> dict[str, Any]:
        return coming.pop(0)

    return Request(scope_of(way), receive)


@pytest.mark.parametrize(
    ("way", "pieces"), [(Way(b"a=1"), ()), (Way(None), (b"a=", b"1")), (None, (b"a=1",)), (Way(b""), ())]
)
async def test_a_body_is_the_same_by_either_way(way: Way | None, pieces: tuple[bytes, ...]) -> None:
    """All at once where it is here, and piece by piece where it is not, or where another server listens."""
    expected = b"".join(pieces) or (way.take_body() if way else None)
    assert await read_body(request_by(way, *pieces), max_bytes=MAX_BODY_BYTES) == expected


@pytest.mark.parametrize("is_short", [True, False])
async def test_a_body_has_one_bound_by_either_way(is_short: bool) -> None:
    """As many bytes as there may be are read, and one more is refused."""

    def asking(body: bytes) -> Request:
        return request_by(Way(body)) if is_short else request_by(None, body[:9], body[9:])

    assert await read_body(asking(b"a" * 100), max_bytes=100) == b"a" * 100
    with pytest.raises(BodyTooLarge):
        await read_body(asking(b"a" * 101), max_bytes=100)


@pytest.mark.parametrize(
    "answer",
    [
        JSONResponse({"access_token": "t"}, headers={"cache-control": "no-store", "pragma": "no-cache"}),
        JSONResponse({"error": "invalid_client"}, 401, {"www-authenticate": 'Basic realm="perhop"'}),
        Response(status_code=204),
    ],
    ids=lambda answer: str(answer.status_code),
)
async def test_an_answer_is_the_same_by_either_way(answer: Response) -> None:
    """Status, body and every header field; its length comes last, where the short way wants it."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    way = Way()
    assert answer_at_once(scope_of(way), answer)
    await answer(scope_of(None), request_by(None).receive, send)
    ((status, headers, body),) = way.answered
    encoded = {(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers}
    assert (status, body) == (sent[0]["status"], sent[1]["body"])
    assert encoded - {(b"content-length", b"0")} == set(sent[0]["headers"]) - {(b"content-length", b"0")}
    assert headers[-1] == ("content-length", str(len(body)))


@pytest.mark.parametrize(
    ("way", "answer"),
    [
        (None, Response(b"a")),
        (Way(takes=False), Response(b"a")),
        (Way(), Response(b"a", background=BackgroundTask(lambda: None))),
    ],
    ids=["another server listens", "the way does not take it", "something is to be done afterwards"],
)
def test_what_the_short_way_does_not_take_is_left(way: Way | None, answer: Response) -> None:
    """Nothing was sent, and the caller is told so."""
    assert not answer_at_once(scope_of(way), answer)
    assert way is None or way.answered == []
