"""Forward: the permitted call to the upstream, and its answer back, as it comes.

What goes out is written here: the caller's own credentials are not among what this module gets to see.

Spec: MCP 2026-07-28 transports
Spec: RFC 9110 §7.6
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import assert_never

from perhop.core.call import CallKind, Headers
from perhop.core.decision import Permit
from perhop.core.token import HopToken, NoCredential, Onward
from perhop.errors import AnswerUnfit, UpstreamUnavailable
from perhop.gateway.answer import Answer, Piece
from perhop.gateway.decide import may_see
from perhop.gateway.exchange import upstream_of
from perhop.gateway.gate import Gate
from perhop.gateway.lists import Judged, ListFilter
from perhop.gateway.open_tasks import Opening, task_opened_by
from perhop.gateway.request import Request
from perhop.gateway.sessions import session_key
from perhop.gateway.sse import bare_id, parse_event, rewrite_event, split_events
from perhop.gateway.streams import Ending, cut, last_words
from perhop.gateway.upstream.interface import UpstreamReply
from perhop.rules.mcp_headers import LAST_EVENT, SESSION, VERSION
from perhop.rules.mcp_methods import MODERN_REVISIONS
from perhop.rules.session_seal import Principal
from perhop.rules.trace_context import TRACEPARENT, render_traceparent

EVENT_STREAM = "text/event-stream"

_RETURNED = frozenset({"content-type", "retry-after", "allow", VERSION})
_HTTP_METHODS = {CallKind.STREAM: "GET", CallKind.END: "DELETE"}


async def forward(request: Request, permit: Permit, onward: Onward, gate: Gate) -> Answer:
    """Send the permitted call on and return the answer when its head has come.

    A JSON answer is read whole, since lists in it are filtered; a stream passes event by event.

    Raises: UpstreamUnavailable, AnswerUnfit, AnswerTooLong, TokenRevoked, TokenExpired
    """
    call = permit.call
    ending = Ending.of(permit, gate)
    try:
        http_method = _HTTP_METHODS.get(call.kind, "POST")
        headers = upstream_headers(permit, onward)
        upstream, document = await ending.before(_exchange_messages(http_method, headers, call.body, gate))
    except BaseException:
        ending.stop()
        raise
    closing = _Closing(upstream, ending)
    try:
        _check_head(upstream)
        _note_session(permit, upstream, gate)
        translation = _Translation(request, permit, upstream, gate)
        if document is None:
            pieces = cut(translation.events(), ending, last_words(call))
            return Answer(
                status=upstream.status, headers=_stream_headers(upstream, permit, gate), pieces=pieces, close=closing
            )
        piece = translation.document(document)
        await closing()
        headers = (*_returned_headers(upstream, permit, gate), ("content-length", str(len(piece.octets))))
        return Answer(status=upstream.status, headers=headers, pieces=_Single(piece), close=closing, is_whole=True)
    except BaseException:
        await closing()
        raise


async def _exchange_messages(
    http_method: str, headers: Headers, body: bytes, gate: Gate
) -> tuple[UpstreamReply, bytes | None]:
    """The head of the upstream's answer; and its body, read whole, unless it is a stream.

    Raises: UpstreamUnavailable, AnswerUnfit, AnswerTooLong
    """
    upstream = await gate.upstream.send(http_method, headers, body)
    if media_type(upstream) == EVENT_STREAM:
        return upstream, None
    try:
        return upstream, await _read_whole(upstream, gate.limits.answer_bytes)
    except BaseException:
        await upstream.close()
        raise


def upstream_headers(permit: Permit, onward: Onward) -> Headers:
    """Every header of the outgoing request. `Authorization` is the hop token or is not there.

    Spec: MCP 2026-07-28 authorization
    """
    call = permit.call
    headers = [*call.headers, ("accept-encoding", "identity"), (TRACEPARENT, _traceparent(permit))]
    if call.session is not None:
        headers.append((SESSION, call.session))
    if call.last_event_id is not None:
        headers.append((LAST_EVENT, call.last_event_id))
    match onward:
        case HopToken():
            # INVARIANT: a token goes to its own audience and nowhere else.
            if onward.audience != upstream_of(permit).resource:
                raise RuntimeError("the exchange returned a token for another audience")
            headers.append(("authorization", f"Bearer {onward.minted.raw.reveal()}"))
        case NoCredential():
            pass
        case _:
            assert_never(onward)
    return tuple(headers)


def media_type(upstream: UpstreamReply) -> str:
    """The media type of an answer, without its parameters."""
    return (upstream.header("content-type") or "").partition(";")[0].strip().lower()


def _traceparent(permit: Permit) -> str:
    """Ours, whatever the caller sent: what it says of its own trace correlates on its side only."""
    return render_traceparent(permit.bound.txn or permit.bound.jti, permit.call.id)


def _check_head(upstream: UpstreamReply) -> None:
    """Refuse heads that must not reach the caller: they are about our own credential, or send the caller elsewhere.

    Nothing is tried again with another token: what an upstream answers must never widen what it gets.
    """
    challenges = upstream.header("www-authenticate") is not None
    if upstream.status in (401, 407) or (upstream.status == 403 and challenges):
        raise UpstreamUnavailable(f"the upstream refused our credential with {upstream.status}")
    if 300 <= upstream.status < 400:
        raise UpstreamUnavailable(f"the upstream redirects with {upstream.status}")
    if upstream.header("content-encoding") not in (None, "identity"):
        raise AnswerUnfit("the upstream compressed what it was asked not to")


def _note_session(permit: Permit, upstream: UpstreamReply, gate: Gate) -> None:
    """Keep the open requests in step with what the upstream has taken."""
    call = permit.call
    if call.kind is not CallKind.RESPONSE and call.session is None:
        return
    key = session_key(permit.bound, call.session)
    if call.kind is CallKind.RESPONSE and upstream.status < 300:
        gate.open_requests.answered(key, call.rpc_id)
    if call.session is not None and (upstream.status == 404 or (call.kind is CallKind.END and upstream.status < 300)):
        gate.open_requests.ended(key)


def _returned_headers(upstream: UpstreamReply, permit: Permit, gate: Gate) -> Headers:
    """The upstream's headers that go back, by name; a session id goes back sealed."""
    headers = [(name, value) for name, value in upstream.headers if name in _RETURNED]
    session = upstream.header(SESSION)
    if session is not None and permit.call.revision not in MODERN_REVISIONS:
        headers.append((SESSION, gate.sealer.seal_session(session, permit.bound)))
    return (*headers, ("cache-control", "no-store"))


def _stream_headers(upstream: UpstreamReply, permit: Permit, gate: Gate) -> Headers:
    return (*_returned_headers(upstream, permit, gate), ("x-accel-buffering", "no"))


async def _read_whole(upstream: UpstreamReply, max_bytes: int) -> bytes:
    chunks, length = [], 0
    async for chunk in upstream.chunks:
        chunks.append(chunk)
        length += len(chunk)
        if length > max_bytes:
            raise AnswerUnfit(f"an answer of more than {max_bytes} bytes")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class _Single(AsyncIterator[Piece]):
    """An answer in one piece."""

    __slots__ = ("_piece",)

    def __init__(self, piece: Piece) -> None:
        self._piece: Piece | None = piece

    async def __anext__(self) -> Piece:
        piece, self._piece = self._piece, None
        if piece is None:
            raise StopAsyncIteration
        return piece


class _Translation:
    """What happens to each message on its way back: lists filtered, ids sealed, server requests noted."""

    def __init__(self, request: Request, permit: Permit, upstream: UpstreamReply, gate: Gate) -> None:
        self._permit = permit
        self._gate = gate
        self._chunks = upstream.chunks
        self._is_modern = permit.call.revision in MODERN_REVISIONS
        # The answer to a handshake names the session that it opens.
        self._session = upstream.header(SESSION) or permit.call.session
        self._filter = ListFilter(
            is_shown=lambda target: may_see(target, request, permit, gate),
            is_own_task=lambda task: gate.open_tasks.is_of(Principal.of(permit.bound), task),
            may_serve=gate.revisions.may_serve,
            is_private=self._is_modern,
            catalogue=gate.catalogue,
            max_bytes=gate.limits.event_to_filter_bytes,
        )

    def document(self, octets: bytes) -> Piece:
        """A body that is not a stream. Raises: AnswerUnfit."""
        if not octets:
            return Piece(b"")
        judged = self._filter.judge(octets)
        self._note(judged)
        return Piece(octets if judged.octets is None else judged.octets, judged.error)

    async def events(self) -> AsyncIterator[Piece]:
        """A stream, event by event. Raises: AnswerUnfit."""
        async for raw in split_events(self._chunks, max_bytes=self._gate.limits.answer_bytes):
            yield self._event(raw)

    def _event(self, raw: bytes) -> Piece:
        event = parse_event(raw)
        sealed = self._seal(event.id) if event.id else None
        if not event.data:
            return Piece(rewrite_event(event, data=None, event_id=sealed))
        judged = self._filter.judge(event.data)
        self._note(judged)
        if judged.octets == b"":
            return Piece(b"" if sealed is None else bare_id(sealed))
        return Piece(rewrite_event(event, data=judged.octets, event_id=sealed), judged.error)

    def _seal(self, event_id: bytes) -> bytes | None:
        if self._is_modern:
            return None
        text = event_id.decode("utf-8", "replace")
        return self._gate.sealer.seal_event(text, self._permit.bound, self._session).encode()

    def _note(self, judged: Judged) -> None:
        """Keep what later messages of this caller are judged by."""
        for message in judged.messages:
            self._note_request(message)
            self._note_task(message)

    def _note_task(self, message: object) -> None:
        """The answer to a permitted call of a tool opens a task: it is this principal's, and stands for this call."""
        call = self._permit.call
        if call.method != "tools/call" or not isinstance(message, dict) or message.get("id") != call.rpc_id:
            return
        task = task_opened_by(message)
        if isinstance(task, str):
            opening = Opening(call.targets[0].name, call.arguments or {}, len(call.body))
            self._gate.open_tasks.opened(Principal.of(self._permit.bound), task, opening)

    def _note_request(self, message: object) -> None:
        """The server asks the client something: its answer may come back, once."""
        if self._is_modern or not isinstance(message, dict) or "method" not in message:
            return
        rpc_id = message.get("id")
        if isinstance(rpc_id, str | int) and not isinstance(rpc_id, bool):
            self._gate.open_requests.opened(session_key(self._permit.bound, self._session), rpc_id)


class _Closing:
    """Lets go of the upstream's answer and of the watch on its end."""

    def __init__(self, upstream: UpstreamReply, ending: Ending) -> None:
        self._upstream = upstream
        self._ending = ending

    async def __call__(self) -> None:
        self._ending.stop()
        await self._upstream.close()
