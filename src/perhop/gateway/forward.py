"""Forward: the permitted call to the upstream, and its answer back, as it comes.

What goes out is written here: the caller's own credentials are not among what this module gets to see.

Spec: MCP 2026-07-28 transports
Spec: RFC 9110 §7.6
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import NamedTuple, assert_never

from perhop.core.call import CallKind, Headers
from perhop.core.decision import Permit
from perhop.core.token import HopToken, NoCredential, Onward
from perhop.errors import AnswerUnfit, RequestMalformed, UpstreamUnavailable
from perhop.gateway.answer import Answer, Piece, StreamedAnswer, WholeAnswer
from perhop.gateway.decide import may_see
from perhop.gateway.gate import Gate
from perhop.gateway.lists import Judged, ListFilter, says_nothing
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
# What is filtered is read as UTF-8; a client that goes by another charset would read something else.
_CHARSET_IS_UTF8 = re.compile(r'(?!.*charset).*|[^;]*;\s*charset="?utf-?8"?\s*', re.IGNORECASE)
_NOT_STORED = ("cache-control", "no-store")
_HTTP_METHODS = {CallKind.STREAM: "GET", CallKind.END: "DELETE"}
_ALWAYS_SENT = (("accept-encoding", "identity"),)


async def forward(request: Request, permit: Permit, onward: Onward, gate: Gate) -> Answer:
    """Send the permitted call on and return the answer when its head has come.

    A JSON answer is read whole, since lists in it are filtered; a stream passes event by event.

    Raises: UpstreamUnavailable, AnswerUnfit, AnswerTooLong, TokenRevoked, TokenExpired, RequestMalformed
    """
    call = permit.call
    if call.kind is CallKind.RESPONSE:
        _claim(permit, gate)
    ending = Ending.of(permit, gate, give_up=request.body.give_up, task=request.body.task)
    try:
        http_method, own = _HTTP_METHODS.get(call.kind, "POST"), _own_headers(permit, onward)
        headers = call.headers + _ALWAYS_SENT
        upstream = await ending.before(gate.upstream.send(http_method, headers, call.body, own, permit.bound))
    except BaseException:
        ending.stop()
        if call.kind is CallKind.RESPONSE:
            _give_back(permit, gate)
        raise
    closing = _Closing(upstream, ending)
    try:
        head = _head_of(upstream)
        if call.session is not None or call.kind is CallKind.RESPONSE:
            _note_session(permit, upstream, gate)
        document = None if head.is_stream else upstream.whole
        if document is None and not head.is_stream:
            document = await ending.before(_read_whole(upstream, gate.limits.answer_bytes))
        elif document is not None and len(document) > gate.limits.answer_bytes:
            raise _too_long(gate.limits.answer_bytes)
        if head.problem is not None:
            raise head.problem()
        headers = head.returned if head.session is None else _with_session(head, permit, gate)
        if document is None:
            pieces = cut(_Translation(request, permit, upstream, gate).events(), ending, last_words(call))
            return StreamedAnswer(
                status=upstream.status, headers=(*headers, ("x-accel-buffering", "no")), pieces=pieces, close=closing
            )
        error = None
        if not says_nothing(document):
            document, error = await _Translation(request, permit, upstream, gate).document(document)
        if upstream.whole is None:
            await upstream.close()
        ending.stop()
        return WholeAnswer(upstream.status, (*headers, ("content-length", str(len(document)))), document, error)
    except BaseException:
        await closing()
        raise


def upstream_headers(permit: Permit, onward: Onward) -> Headers:
    """Every header of the outgoing request. `Authorization` is the hop token or is not there.

    Spec: MCP 2026-07-28 authorization
    """
    return (*permit.call.headers, *_ALWAYS_SENT, *_own_headers(permit, onward))


def _own_headers(permit: Permit, onward: Onward) -> Headers:
    """What this call has for itself: its place in the trace, its session, and its credential.

    `traceparent` is ours, whatever the caller sent: what it says of its own trace correlates on its side only.
    """
    call = permit.call
    own: Headers = ((TRACEPARENT, render_traceparent(permit.bound.txn or permit.bound.jti, call.id)),)
    if call.session is not None:
        own = (*own, (SESSION, call.session))
    if call.last_event_id is not None:
        # Octets as a header's text has them: an id is UTF-8, whatever it says. WHATWG HTML §9.2.4
        own = (*own, (LAST_EVENT, call.last_event_id.encode().decode("latin-1")))
    match onward:
        case HopToken():
            minted, upstream = onward.minted, permit.resource.upstream
            # INVARIANT: a token goes to its own audience and nowhere else.
            if upstream is None or minted.draft.audience != upstream.resource:
                raise RuntimeError("the exchange returned a token for another audience")
            return (*own, ("authorization", f"Bearer {minted.raw.reveal()}"))
        case NoCredential():
            return own
        case _:
            assert_never(onward)


class _Head(NamedTuple):
    """What the head of an answer means, whoever asked. `problem` makes the fact if it must not reach the caller."""

    is_stream: bool
    returned: Headers
    session: str | None
    problem: Callable[[], UpstreamUnavailable | AnswerUnfit] | None


_MOST_HEADS = 256
_heads: dict[tuple[int, Headers], _Head] = {}


def _head_of(upstream: UpstreamReply) -> _Head:
    """The same for the same status and headers: an upstream answers alike time and again."""
    key = (upstream.status, upstream.headers)
    head = _heads.get(key)
    if head is None:
        head = _read_head(upstream)
        if head.session is None:
            if len(_heads) >= _MOST_HEADS:
                _heads.clear()
            _heads[key] = head
    return head


def _read_head(upstream: UpstreamReply) -> _Head:
    return _Head(
        is_stream=media_type(upstream) == EVENT_STREAM,
        returned=(*[field for field in upstream.headers if field[0] in _RETURNED], _NOT_STORED),
        session=upstream.header(SESSION),
        problem=_problem_of(upstream),
    )


def media_type(upstream: UpstreamReply) -> str:
    """The media type of an answer, without its parameters."""
    return (upstream.header("content-type") or "").partition(";")[0].strip().lower()


def _problem_of(upstream: UpstreamReply) -> Callable[[], UpstreamUnavailable | AnswerUnfit] | None:
    """Refuse heads that must not reach the caller: they are about our own credential, or send the caller elsewhere.

    Nothing is tried again with another token: what an upstream answers must never widen what it gets.
    """
    if upstream.status > 599 or not _is_writable(upstream):
        return partial(AnswerUnfit, "a status, a session id or a header that cannot go on to the caller")
    if sum(name == "content-type" for name, _ in upstream.headers) > 1:
        return partial(AnswerUnfit, "an answer with more than one media type")
    if not _CHARSET_IS_UTF8.fullmatch(upstream.header("content-type") or ""):
        return partial(AnswerUnfit, "an answer in another charset than utf-8")
    status, challenges = upstream.status, upstream.header("www-authenticate") is not None
    if status in (401, 407) or (status == 403 and challenges):
        return partial(UpstreamUnavailable, f"the upstream refused our credential with {status}")
    if 300 <= status < 400:
        return partial(UpstreamUnavailable, f"the upstream redirects with {status}")
    if upstream.header("content-encoding") not in (None, "identity"):
        return partial(AnswerUnfit, "the upstream compressed what it was asked not to")
    return None


def _is_writable(upstream: UpstreamReply) -> bool:
    """False for text that is no header's, and for a session id beyond ASCII. Spec: MCP 2025-11-25 transports."""
    try:
        for name, value in upstream.headers:
            if name == SESSION or name in _RETURNED:
                value.encode("ascii" if name == SESSION else "latin-1")
    except UnicodeEncodeError:
        return False
    return True


def _claim(permit: Permit, gate: Gate) -> None:
    """Make this the one answer to what the server has asked: of several that came at once, one goes on.

    Raises: RequestMalformed
    """
    if not gate.open_requests.answered(session_key(permit.bound, permit.call.session), permit.call.rpc_id):
        raise RequestMalformed("what the server of this session has asked was answered meanwhile")


def _give_back(permit: Permit, gate: Gate) -> None:
    """The server has not taken the answer: it may come again."""
    rpc_id = permit.call.rpc_id
    if rpc_id is not None:
        gate.open_requests.opened(session_key(permit.bound, permit.call.session), rpc_id)


def _note_session(permit: Permit, upstream: UpstreamReply, gate: Gate) -> None:
    """Keep the open requests in step with what the upstream has taken."""
    call = permit.call
    if call.kind is CallKind.RESPONSE and upstream.status >= 300:
        _give_back(permit, gate)
    if call.session is not None and (upstream.status == 404 or (call.kind is CallKind.END and upstream.status < 300)):
        gate.open_requests.ended(session_key(permit.bound, call.session))


def _with_session(head: _Head, permit: Permit, gate: Gate) -> Headers:
    """What goes back, and the session id that the upstream gave, sealed; a revision without sessions gets none."""
    if head.session is None or permit.call.revision in MODERN_REVISIONS:
        return head.returned
    return ((SESSION, gate.sealer.seal_session(head.session, permit.bound)), *head.returned)


async def _read_whole(upstream: UpstreamReply, max_bytes: int) -> bytes:
    chunks, length = [], 0
    async for chunk in upstream.chunks:
        chunks.append(chunk)
        length += len(chunk)
        if length > max_bytes:
            raise _too_long(max_bytes)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_long(max_bytes: int) -> AnswerUnfit:
    return AnswerUnfit(f"an answer of more than {max_bytes} bytes")


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

    async def document(self, octets: bytes) -> tuple[bytes, str | None]:
        """A body that is not a stream, and what the journal says of it. Raises: AnswerUnfit."""
        judged = await self._filter.judge(octets)
        self._note(judged)
        return (octets if judged.octets is None else judged.octets), judged.error

    async def events(self) -> AsyncIterator[Piece]:
        """A stream, event by event. Raises: AnswerUnfit."""
        async for raw in split_events(self._chunks, max_bytes=self._gate.limits.answer_bytes):
            yield await self._event(raw)

    async def _event(self, raw: bytes) -> Piece:
        event = parse_event(raw)
        sealed = self._seal(event.id) if event.id else None
        if not event.data:
            return Piece(rewrite_event(event, data=None, event_id=sealed))
        judged = await self._filter.judge(event.data)
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
