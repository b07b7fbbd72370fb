"""A connection as our own protocol serves it, held against uvicorn's."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from perhop.core.call import HeaderFields
from perhop.core.short_way import SHORT_WAY, short_way
from perhop.serving import http_protocol
from perhop.serving.http_protocol import BoundedHttpProtocol

Defaults = list[tuple[bytes, bytes]]
DATE: Defaults = [(b"Date", b"Thu, 01 Jan 1970 00:00:00 GMT"), (b"x-default", b"1")]
NO_DEFAULTS: Defaults = []
TURNS = 6
"""More turns of the loop than any application here takes to go on."""


class Wire(asyncio.Transport):
    """A transport that keeps what is written, and how reading stands."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.told: list[str] = []

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 5) if name in ("peername", "sockname") else default

    def write(self, octets: bytes | bytearray | memoryview) -> None:
        if not self.is_closing():
            self.written += bytes(octets)

    def is_closing(self) -> bool:
        return "close" in self.told

    def close(self) -> None:
        self.told.append("close")

    def abort(self) -> None:
        self.told.append("abort")

    def pause_reading(self) -> None:
        self.told.append("pause")

    def resume_reading(self) -> None:
        self.told.append("resume")


@dataclass
class Connection:
    """A protocol on a wire, and what its application has seen."""

    kind: type[HttpToolsProtocol]
    app: Callable[..., Any]
    defaults: Defaults = field(default_factory=lambda: DATE)

    def __post_init__(self) -> None:
        config = uvicorn.Config(self.app, interface="asgi3", ws="none", log_config=None, access_log=False)
        self.state = ServerState()
        self.state.default_headers = self.defaults
        self.wire = Wire()
        self.protocol = self.kind(config, self.state, {"from": "lifespan"}, asyncio.get_running_loop())
        self.protocol.connection_made(self.wire)

    async def feed(self, octets: bytes) -> None:
        """What came in one read; back when all that follows from it has happened."""
        if not self.wire.is_closing():
            self.protocol.data_received(octets)
        for _ in range(TURNS):
            await asyncio.sleep(0)

    def lose(self) -> None:
        """The connection is lost, and every timer of it goes along."""
        self.protocol.connection_lost(None)


Seen = list[tuple[Any, ...]]


def echo(seen: Seen, status: int, *, is_short: bool, read: bool = True) -> Callable[..., Any]:
    """An application that writes down what it sees, changes the scope as frameworks do, and answers with the body."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        way = short_way(scope)
        fields = HeaderFields.of(scope["headers"]) if way is None else way.fields()
        told = {name: value for name, value in scope.items() if name != SHORT_WAY}
        seen.append((told["headers"].copy(), told.pop("state").copy(), tuple(fields), fields.by_name, told.copy()))
        scope["state"]["mine"] = scope["client"] = scope["mine"] = 1
        scope["headers"].append((b"mine", b"1"))
        body, more = b"", read
        if is_short and way is not None and read and (taken := way.take_body()) is not None:
            body, more = taken, False
            assert way.take_body() is None
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message["body"], message["more_body"]
        seen.append((body,))
        answer = (("content-type", "text/x"), ("content-length", str(len(body))))
        if is_short and way is not None and way.answer(status, answer, body):
            return
        encoded = [(name.encode(), value.encode()) for name, value in answer]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": body})

    return app


HEADS = st.sampled_from(
    (
        b"POST /mcp HTTP/1.1\r\nhost: a\r\nauthorization: Bearer x\r\n",
        b"POST /mcp HTTP/1.1\r\nhost: a\r\nauthorization: Bearer y\r\n",
        b"POST /mcp?a=b HTTP/1.1\r\nHost: a\r\nx: 1\r\nX: 2\r\n",
        b"PUT /m%63p HTTP/1.1\r\nhost: a\r\nconnection: keep-alive\r\n",
        b"HEAD /mcp HTTP/1.1\r\nhost: a\r\n",
        b"POST /mcp HTTP/1.0\r\nhost: a\r\n",
        b"POST /mcp HTTP/1.1\r\nhost: a\r\nconnection: close\r\n",
        b"POST /mcp HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n",
        b"\r\nPOST /mcp HTTP/1.1\r\nhost: a\r\n",
    )
)
BODIES = st.sampled_from((b"", b"one", b"two", b"three", b"\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n", b"z" * 70_000))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One request, whole."""
    head, body = draw(HEADS), draw(BODIES)
    if draw(st.sampled_from((False, False, False, True))):
        chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
        return head + b"transfer-encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n"
    return head + b"content-length: %d\r\n\r\n" % len(body) + body + draw(st.sampled_from((b"", b"", b"", b"\r\n")))


@st.composite
def reads(draw: st.DrawFn) -> Sequence[bytes]:
    """A connection's octets, as they may come: mostly a request a read, and sometimes cut or run together."""
    made: list[bytes] = []
    for each in draw(st.lists(requests(), min_size=1, max_size=6)):
        match draw(st.sampled_from(("whole", "whole", "again", "cut", "joined"))):
            case "again":
                made += [each, each, each]
            case "cut":
                at = draw(st.integers(0, len(each)))
                made += [each[:at], each[at:]]
            case "joined" if made:
                made[-1] += each
            case _:
                made.append(each)
    return [each for each in made if each]


async def served(
    kind: type[HttpToolsProtocol], octets: Sequence[bytes], status: int, *, is_short: bool, read: bool
) -> tuple[Any, ...]:
    seen: Seen = []
    connection = Connection(kind, echo(seen, status, is_short=is_short, read=read))
    for each in octets:
        await connection.feed(each)
    written, told = connection.wire.written, connection.wire.told
    connection.lose()
    await connection.feed(b"")
    assert not connection.state.tasks
    return seen, written, [each for each in told if each == "close"][:1], connection.state.total_requests


@settings(max_examples=150, deadline=None)
@given(reads(), st.sampled_from((200, 202, 204, 304, 599)), st.booleans(), st.booleans())
def test_a_connection_is_served_as_uvicorn_does(
    octets: Sequence[bytes], status: int, is_short: bool, read: bool
) -> None:
    """What an application sees and what goes out are uvicorn's, whatever came before and whichever way is gone."""

    async def both() -> None:
        theirs = await served(HttpToolsProtocol, octets, status, is_short=False, read=read)
        assert await served(BoundedHttpProtocol, octets, status, is_short=is_short, read=read) == theirs

    asyncio.run(both())


REPEATED = b"POST /mcp HTTP/1.1\r\nhost: a\r\nauthorization: Bearer x\r\ncontent-length: 3\r\n\r\n"


@pytest.mark.parametrize("at", range(len(REPEATED)), ids=str)
async def test_a_head_that_differs_in_one_octet_is_another(at: int) -> None:
    """What the same connection asked before is given to no request that is not the same, octet for octet."""
    changed = REPEATED[:at] + (b"1" if REPEATED[at : at + 1] != b"1" else b"0") + REPEATED[at + 1 :]
    octets = [REPEATED + b"one", REPEATED + b"two", changed + b"six"]
    theirs = await served(HttpToolsProtocol, octets, 200, is_short=False, read=True)
    ours = await served(BoundedHttpProtocol, octets, 200, is_short=True, read=True)
    if ours[1].endswith(b"connection: close\r\n\r\n") and ours[1] != theirs[1]:
        return  # refused before any application has seen it, by a rule that uvicorn does not have
    if theirs[1].startswith(ours[1] + b"HTTP/1.1 400 "):
        theirs = (theirs[0], ours[1], *theirs[2:])  # what is no HTTP is refused by both, and by us only between answers
    assert ours == theirs


NAMES = st.sampled_from(
    ("content-type", "Allow", "x-a", "content-length", "connection", "transfer-encoding", "bad name")
)
VALUES = st.sampled_from(("text/x", "1", "3", "close", "chunked", "keep-alive", "bad\nvalue", "\xe9"))
ANSWERS = st.lists(st.tuples(NAMES, VALUES), max_size=4).map(tuple)


async def answered(
    kind: type[HttpToolsProtocol], head: bytes, status: int, headers: Any, body: bytes, defaults: Defaults
) -> tuple[Any, ...]:
    outcomes: list[str] = []

    async def app(scope: Any, _: Any, send: Any) -> None:
        way = short_way(scope)
        try:
            if way is not None and way.answer(status, headers, body):
                return
            encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
            await send({"type": "http.response.start", "status": status, "headers": encoded})
            await send({"type": "http.response.body", "body": body})
        except Exception as error:
            outcomes.append(f"{type(error).__name__}: {error}")
            raise

    connection = Connection(kind, app, defaults)
    await connection.feed(head)
    written, closed = connection.wire.written, connection.wire.is_closing()
    connection.lose()
    return outcomes, written, closed, connection.state.total_requests


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=200, deadline=None)
@given(
    HEADS.map(lambda head: head + b"\r\n"),
    st.sampled_from((200, 204, 304, 404, 599)),
    ANSWERS,
    st.sampled_from((b"", b"a", b"abc", b"a" * 70_000)),
    st.sampled_from((DATE, NO_DEFAULTS)),
    st.booleans(),
)
def test_an_answer_is_written_as_uvicorn_does(
    head: bytes, status: int, headers: Any, body: bytes, defaults: Defaults, has_length: bool
) -> None:
    """Octets, refusals of what is no answer, and whether the connection stays are uvicorn's."""
    if has_length:
        headers = (*headers, ("content-length", str(len(body))))

    async def both() -> None:
        theirs = await answered(HttpToolsProtocol, head, status, headers, body, defaults)
        assert await answered(BoundedHttpProtocol, head, status, headers, body, defaults) == theirs

    asyncio.run(both())


async def test_a_sender_who_goes_away_is_told_of_once() -> None:
    """The short way says that the connection is lost while there is no answer, and not afterwards."""
    gone: list[str] = []
    request = b"POST /mcp HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"

    async def app(scope: Any, receive: Any, send: Any) -> None:
        way = scope[SHORT_WAY]
        way.on_gone = lambda: gone.append("gone")
        if not waits:
            way.answer(200, (("content-length", "0"),), b"")
        else:
            way.take_body()
            assert (await receive())["type"] == "http.disconnect"

    waits = False
    answered_one = Connection(BoundedHttpProtocol, app)
    await answered_one.feed(request)
    answered_one.lose()
    assert gone == []
    waits = True
    waiting = Connection(BoundedHttpProtocol, app)
    await waiting.feed(request)
    waiting.lose()
    await waiting.feed(b"")
    assert (gone, waiting.state.tasks) == (["gone"], set())


async def breaking(scope: Any, receive: Any, send: Any) -> None:
    """An application that fails in the middle of its answer."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise ConnectionError


LAST = b"POST /mcp HTTP/1.0\r\ncontent-length: 0\r\n\r\n"
KEPT = b"POST /mcp HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"


def unread(ending: str) -> tuple[Connection, bytes]:
    """A connection whose peer takes nothing, and what is sent to it before it ends in this way."""
    app = breaking if ending == "broken answer" else echo([], 200, is_short=ending == "last answer", read=True)
    octets = {
        "last answer": LAST,
        "last answer, by uvicorn": LAST,
        "refused": KEPT + b"GET /#x HTTP/1.1\r\nhost: a\r\n\r\n",
        "no HTTP": b"x\r\n\r\n",
    }
    return Connection(BoundedHttpProtocol, app), octets.get(ending, KEPT)


ENDINGS = (
    "last answer",
    "last answer, by uvicorn",
    "broken answer",
    "refused",
    "no HTTP",
    "nothing more asked",
    "stop",
)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_closed_connection_does_not_wait_for_its_peer(ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it came to be closed: what the peer does not take is dropped in the end, and the connection with it."""
    monkeypatch.setattr(http_protocol, "SEND_SECONDS", 0)
    connection, octets = unread(ending)
    if ending == "nothing more asked":
        monkeypatch.setattr(http_protocol, "ONE_MORE_TURN_SECONDS", 0)
        connection.protocol.timeout_keep_alive = 0
    await connection.feed(octets)
    if ending == "stop":
        assert connection.wire.told == []
        connection.protocol.shutdown()
        await connection.feed(b"")
    assert [each for each in connection.wire.told if each in ("close", "abort")][-2:] == ["close", "abort"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("is_lost_first", [False, True])
async def test_nothing_holds_a_connection_that_is_lost(ending: str, is_lost_first: bool) -> None:
    """No timer is left of it, whether it was lost while it was being closed or while it was being answered."""
    connection, octets = unread(ending)
    if is_lost_first:
        connection.protocol.data_received(octets)
        connection.wire.close()
    else:
        await connection.feed(octets)
        connection.protocol.shutdown()
    connection.lose()
    for _ in range(TURNS):
        await asyncio.sleep(0)
    protocol = weakref.ref(connection.protocol)
    del connection
    gc.collect()
    assert protocol() is None
