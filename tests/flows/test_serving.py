"""The listeners: what is refused before any application runs, and how a stop lets calls end.

Spec: RFC 6585 §5
Spec: RFC 9110 §15.5.9
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from perhop.errors import OperatorError
from perhop.rules.header_bounds import MAX_HEADER_BYTES
from perhop.serving.http_protocol import HEADER_SECONDS, MAX_UNPARSED_BYTES
from perhop.serving.listeners import bind, listening
from tests.support.processes import LOOPBACK, answers, free_port, free_ports

HOST = b"host: a\r\n"
COUNTED_HOST = len("host") + len("a") + 4


class Witness:
    """An application that keeps the headers of every request that reaches it; answers once `go` is set."""

    def __init__(self) -> None:
        self.seen: list[list[tuple[bytes, bytes]]] = []
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, asgi_scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        self.seen.append(list(asgi_scope["headers"]))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        self.begun.set()
        await self.go.wait()
        await send({"type": "http.response.body", "body": b"-last"})


@asynccontextmanager
async def _listening() -> AsyncIterator[tuple[Witness, int]]:
    witness, port = Witness(), free_port()
    async with listening({f"{LOOPBACK}:{port}": witness}):
        yield witness, port


async def _exchange(port: int, *chunks: bytes) -> bytes:
    """Send the chunks, and read until the peer closes or has answered in full."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
        return await _read_answer(reader)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def _read_answer(reader: asyncio.StreamReader) -> bytes:
    got = b""
    async with asyncio.timeout(HEADER_SECONDS + 5):
        while not got.endswith(b"first-last"):
            chunk = await reader.read(65536)
            if not chunk:
                break
            got += chunk
    return got


def _status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def _request(*, counted: int) -> bytes:
    """A GET whose headers count as this many bytes."""
    filling = counted - COUNTED_HOST - len("x-fill") - 4
    return b"GET / HTTP/1.1\r\n" + HOST + b"x-fill: " + b"a" * filling + b"\r\n\r\n"


@pytest.mark.parametrize(("counted", "status"), [(MAX_HEADER_BYTES, 200), (MAX_HEADER_BYTES + 1, 431)])
async def test_headers_have_a_size(counted: int, status: int) -> None:
    """At the bound a request is served, one byte above it is refused, and no application sees it."""
    async with _listening() as (witness, port):
        assert _status(await _exchange(port, _request(counted=counted))) == status
        assert len(witness.seen) == (status == 200)


async def test_many_small_headers_count_as_one_large_one() -> None:
    """The four bytes around each name and value count as well."""
    filling = b"".join(b"a%04d: b\r\n" % number for number in range(MAX_HEADER_BYTES // 10 + 1))
    async with _listening() as (witness, port):
        assert _status(await _exchange(port, b"GET / HTTP/1.1\r\n" + HOST + filling + b"\r\n")) == 431
        assert witness.seen == []


UPGRADING = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"


async def test_what_follows_an_upgrade_is_no_request() -> None:
    """A request that asks for another protocol ends the connection: its body is not read as the next request.

    Spec: RFC 9110 §7.8
    """
    async with _listening() as (witness, port):
        body = b"POST /smuggled HTTP/1.1\r\n" + HOST + b"content-length: 0\r\n\r\n"
        length = b"content-length: %d\r\n\r\n" % len(body)
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(b"POST / HTTP/1.1\r\n" + HOST + UPGRADING + length)
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert _status(answer) == 400
        with contextlib.suppress(ConnectionError):
            writer.write(body)
            await writer.drain()
            assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        assert witness.seen == []


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"identity, chunked", b"chunked, chunked", b"x,chunked"])
async def test_another_transfer_coding_is_not_read(coding: bytes) -> None:
    """A coded body is not taken for one that is not.

    Spec: RFC 9112 §6.1
    """
    async with _listening() as (witness, port):
        head = b"POST / HTTP/1.1\r\n" + HOST + b"transfer-encoding: " + coding + b"\r\n\r\n"
        assert _status(await _exchange(port, head + b"1\r\na\r\n0\r\n\r\n")) in (400, 501)
        assert witness.seen == []


@pytest.mark.parametrize("endless", [b"GET /", b"GET / HTTP/1.1\r\nx-a: "], ids=["target", "header"])
async def test_what_never_ends_is_refused(endless: bytes) -> None:
    """A request line or a header without an end is refused once it is longer than anything legal."""
    async with _listening() as (witness, port):
        answer = await _exchange(port, endless, *[b"a" * 8192] * (MAX_UNPARSED_BYTES // 8192 + 1))
        assert _status(answer) == 431
        assert witness.seen == []


async def test_nothing_behind_a_refused_request_runs() -> None:
    """A second request in the same packet is not looked at."""
    async with _listening() as (witness, port):
        answer = await _exchange(port, _request(counted=MAX_HEADER_BYTES + 1) + _request(counted=100))
        assert _status(answer) == 431
        assert answer.count(b"HTTP/1.1") == 1
        assert witness.seen == []


CHUNKED = b"POST / HTTP/1.1\r\n" + HOST + b"transfer-encoding: chunked\r\n\r\n"


async def test_a_trailer_is_no_header() -> None:
    """What comes after the body does not reach the application as if it had come before it.

    Spec: RFC 9110 §6.5.1
    """
    async with _listening() as (witness, port):
        trailers = b"authorization: Bearer sneaky\r\nmcp-method: x\r\n"
        assert _status(await _exchange(port, CHUNKED + b"1\r\na\r\n0\r\n" + trailers + b"\r\n")) == 200
        assert [name for name, _ in witness.seen[0]] == [b"host", b"transfer-encoding"]


@pytest.mark.parametrize("endless", [b"1\r\na\r\n0\r\nx-a: ", b"1;a="], ids=["trailer", "chunk extension"])
async def test_what_never_ends_around_a_body_ends_the_connection(endless: bytes) -> None:
    """Neither a trailer nor a chunk's header may grow without bound."""
    async with _listening() as (_, port):
        _, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(CHUNKED + endless)
        assert await _refuses_within(writer, 64 * MAX_UNPARSED_BYTES)
        writer.close()


async def _refuses_within(writer: asyncio.StreamWriter, bound: int) -> bool:
    """True if the peer ends the connection before it has taken this many bytes."""
    try:
        for _ in range(bound // 8192):
            writer.write(b"a" * 8192)
            await writer.drain()
            await asyncio.sleep(0)  # lets the peer, in this event loop too, have its turn
    except ConnectionError:
        return True
    return False


async def test_a_body_that_is_broken_is_refused_while_it_is_read() -> None:
    """The request is being read by its application: it is told 400, as nothing else was said to it."""
    async with _listening() as (_, port):
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(CHUNKED + b"1\r\na\r\n")
        await asyncio.sleep(0.1)
        writer.write(b"zz\r\n")
        assert _status(await _read_answer(reader)) == 400
        writer.close()


@pytest.mark.parametrize("behind", [_request(counted=MAX_HEADER_BYTES + 1), b"x\r\n\r\n"], ids=["too large", "no HTTP"])
async def test_a_refusal_does_not_land_in_another_answer(behind: bytes) -> None:
    """While an answer is being sent, what cannot be answered behind it ends the connection without a word."""
    async with _listening() as (witness, port):
        witness.go.clear()
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(_request(counted=100))
        await witness.begun.wait()
        writer.write(behind)
        answer = await _read_answer(reader)
        witness.go.set()
        writer.close()
        assert answer.endswith(b"first")
        assert answer.count(b"HTTP/1.1") == 1


async def test_what_is_no_http_is_refused_and_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """It is 400, and whoever goes on sending it writes nothing into our log."""
    async with _listening() as (witness, port):
        for octets in (b"x\r\n\r\n", b"GET / HTTP/1.1\r\nhost : a\r\n\r\n"):
            caplog.clear()
            answer = await _exchange(port, octets)
            assert (_status(answer), caplog.records) == (400, []), octets
        assert witness.seen == []


async def test_headers_have_a_time() -> None:
    """Headers that end just in time are served; later, on a fresh or a kept connection, it is 408."""
    async with _listening() as (witness, port):

        async def slow(first: bytes, last: bytes, after: float) -> tuple[int, float]:
            began = time.monotonic()
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            writer.write(first)
            reading = asyncio.create_task(_read_answer(reader))
            await asyncio.wait([reading], timeout=after)
            writer.write(last)
            answer = await reading
            writer.close()
            return _status(answer), time.monotonic() - began

        async def kept() -> int:
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            writer.write(_request(counted=100))
            assert _status(await _read_answer(reader)) == 200
            writer.write(b"GET / HTTP/1.1\r\n")
            answer = await _read_answer(reader)
            writer.close()
            return _status(answer)

        start, end = b"GET / HTTP/1.1\r\n" + HOST, b"\r\n"
        in_time, too_late, on_kept = await asyncio.gather(
            slow(start, end, HEADER_SECONDS - 1), slow(start, end, HEADER_SECONDS + 1), kept()
        )
        assert in_time[0] == 200
        assert (too_late[0], on_kept) == (408, 408)
        assert HEADER_SECONDS <= too_late[1] < HEADER_SECONDS + 1
        assert len(witness.seen) == 2


async def test_what_came_while_the_loop_was_busy_is_read_before_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next request lies in a connection whose time ended while others had the loop: it is served, not reset."""
    loop, ahead = asyncio.get_running_loop(), 0.0
    real = loop.time
    monkeypatch.setattr(loop, "time", lambda: real() + ahead)
    async with _listening() as (_, port):
        with socket.create_connection((LOOPBACK, port)) as caller:
            caller.setblocking(False)

            async def answered() -> bool:
                got = b""
                while not got.endswith(b"first-last") and (octets := await loop.sock_recv(caller, 65536)):
                    got += octets
                return _status(got) == 200

            caller.send(_request(counted=100))
            assert await answered()
            # Both are due in the same turn, and the connection's timer is the second.
            loop.call_later(1, caller.send, _request(counted=100))
            ahead = 2 * HEADER_SECONDS
            assert await answered()


def test_no_answer_waits_for_an_acknowledgement() -> None:
    """What is accepted sends its small pieces at once, whichever event loop serves it."""
    with bind(f"{LOOPBACK}:0") as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_stop_lets_calls_end() -> None:
    """What runs when the stop is asked for is answered in full; nobody new is let in."""
    witness, port = Witness(), free_port()
    witness.go.clear()
    stop = asyncio.Event()

    async def serve() -> None:
        async with listening({f"{LOOPBACK}:{port}": witness}):
            await stop.wait()

    serving = asyncio.create_task(serve())
    while not answers(port):
        await asyncio.sleep(0.01)
    call = asyncio.create_task(_exchange(port, _request(counted=100)))
    await witness.begun.wait()
    stop.set()
    async with asyncio.timeout(5):
        while answers(port):
            await asyncio.sleep(0.01)
    witness.go.set()
    assert (await call).endswith(b"first-last")
    await serving


async def test_what_is_cancelled_is_waited_for() -> None:
    """A call that has had its time is cancelled, and the stop ends only when that call has put its things in order."""
    port, begun, in_order = free_port(), asyncio.Event(), asyncio.Event()

    async def endless(asgi_scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.to_thread(time.sleep, 0.2)  # as long as a disk may take, in a thread of its own
            in_order.set()

    async with listening({f"{LOOPBACK}:{port}": endless}, drain=1):
        call = asyncio.create_task(_exchange(port, _request(counted=100)))
        await begun.wait()
    assert in_order.is_set()
    await call


async def test_connections_have_a_number() -> None:
    """Whoever comes when there are as many as there is room for is answered 503, and no application sees it."""
    witness, port = Witness(), free_port()
    async with listening({f"{LOOPBACK}:{port}": witness}, connections=2):
        assert _status(await _exchange(port, _request(counted=100))) == 200
        _, idle = await asyncio.open_connection(LOOPBACK, port)
        assert _status(await _exchange(port, _request(counted=100))) == 503
        assert len(witness.seen) == 1
        idle.close()


async def test_all_listeners_or_none() -> None:
    """A port that is taken is told, and the others are let go again."""
    free, taken = free_ports(2)
    with bind(f"{LOOPBACK}:{taken}"):
        with pytest.raises(OperatorError, match=f"cannot listen on {LOOPBACK}:{taken}"):
            async with listening({f"{LOOPBACK}:{free}": Witness(), f"{LOOPBACK}:{taken}": Witness()}):
                pass
        with socket.socket() as again:
            again.bind((LOOPBACK, free))
