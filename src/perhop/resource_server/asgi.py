"""The guard in front of any ASGI application.

A request that is admitted finds its token at `asgi_scope["perhop.token"]`, and everywhere below by `current_token()`.
WebSockets are refused. The application's own lifespan runs inside the guard's.

Spec: RFC 9728 §3
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, assert_never, final
from urllib.parse import unquote

from perhop.core.call import HeaderFields, Headers, values_of
from perhop.core.secret import Secret
from perhop.core.token import BoundToken
from perhop.errors import HeadersTooLarge, RequestRefused, SettingsError
from perhop.resource_server.at_once import Waiting
from perhop.resource_server.inner_request import answering_with, as_bearer
from perhop.resource_server.refusal import Challenge
from perhop.resource_server.request_body import begin_body, replay, rest_of_body
from perhop.rules.challenge import metadata_path
from perhop.rules.header_bounds import check_header_bounds
from perhop.rules.plain_request import PlainFields, plain_fields
from perhop.rules.trace_context import call_id_in

if TYPE_CHECKING:
    from perhop.resource_server.guard import Admitted, Guard

AsgiScope = MutableMapping[str, Any]
AsgiMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[AsgiMessage]]
Send = Callable[[AsgiMessage], Awaitable[None]]
AsgiApp = Callable[[AsgiScope, Receive, Send], Awaitable[None]]

TOKEN_KEY = "perhop.token"
METADATA_MAX_AGE = 300

_serving: ContextVar[Passed] = ContextVar("perhop_serving")


def current_token() -> BoundToken:
    """The token for which the request being served was admitted. Raises LookupError outside of such a request."""
    return _serving.get().admitted.token


def admitted_with_proof(raw: str) -> Admitted | None:
    """What was admitted, where the request being served came with exactly this token, and a proof of its key.

    A proof is good once, so for a framework that asks again this is the only answer; None for a bearer token.
    """
    admitted = _served()
    is_it = admitted is not None and admitted.token.sender_key is not None and admitted.presented.reveal() == raw
    return admitted if is_it else None


def was_admitted(token: BoundToken) -> bool:
    """True where this token's own request is being served: the whole check has passed, its call included."""
    admitted = _served()
    return admitted is not None and admitted.token.token.fingerprint == token.token.fingerprint


def current_subject_token() -> Secret:
    """The same token as it was presented: to exchange it for the next hop, and for nothing else.

    Raises LookupError outside of an admitted request.
    """
    return _serving.get().admitted.presented


def current_call_id() -> str | None:
    """The id under which the gateway's journal has this call, as the request says: for correlation, never for a check.

    None where no gateway has sent it. Raises LookupError outside of an admitted request.
    """
    return _serving.get().call_id


class GuardedApp:
    """An ASGI application behind a guard. Every path but that of the resource's metadata needs a token."""

    def __init__(self, guard: Guard, app: AsgiApp) -> None:
        self.guard = guard
        self._app = app
        self._metadata_path = described_at(guard)

    async def __call__(self, asgi_scope: AsgiScope, receive: Receive, send: Send) -> None:
        match asgi_scope["type"]:
            case "http" if asgi_scope["path"] == self._metadata_path:
                await serve_metadata(self.guard, asgi_scope, send)
            case "http":
                await self._serve(asgi_scope, receive, send)
            case "lifespan":
                await live(self.guard, self._app, asgi_scope, receive, send)
            case "websocket":
                # MCP has no WebSocket transport, and no guard stands before one here.
                await send({"type": "websocket.close", "code": 1008})
            case other:
                raise RuntimeError(f"nothing of ASGI type `{other}` passes the guard")

    async def _serve(self, asgi_scope: AsgiScope, receive: Receive, send: Send) -> None:
        outcome = await admit(self.guard, asgi_scope, receive)
        match outcome:
            case Passed():
                with outcome.in_force(asgi_scope):
                    await self._app(outcome.inner(asgi_scope), outcome.receive, outcome.answering(send))
            case Challenge():
                await send_challenge(outcome, send)
            case None:
                pass  # the peer has gone away
            case _:
                assert_never(outcome)


async def live(guard: Guard, app: AsgiApp, asgi_scope: AsgiScope, receive: Receive, send: Send) -> None:
    """The application's lifespan inside the guard's. A guard that cannot start says so to the server, which then ends.

    Raised instead, it would pass for an application without lifespan, and the server would serve. That the application
    has shut down is told when the guard has, too: a server that hears it may end at once.
    """
    last: list[AsgiMessage] = []

    async def holding_back(message: AsgiMessage) -> None:
        if message["type"].startswith("lifespan.shutdown."):
            last.append(message)
        else:
            await send(message)

    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(guard.running())
        except SettingsError as error:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": f"{error}; {error.advice()}"})
            return
        await app(asgi_scope, receive, holding_back)
    for message in last:
        await send(message)


@final
class Passed:
    """A request that may go on; `receive` gives its body again."""

    __slots__ = ("_mark", "_traceparent", "admitted", "receive")

    def __init__(self, admitted: Admitted, receive: Receive, traceparent: str) -> None:
        self.admitted = admitted
        self.receive = receive
        self._traceparent = traceparent

    @property
    def call_id(self) -> str | None:
        """The call that the gateway's header names, if the header is of this token's transaction."""
        token = self.admitted.token
        return call_id_in(self._traceparent, token.txn or token.jti)

    def inner(self, asgi_scope: AsgiScope) -> AsgiScope:
        """The request for an application that knows bearer tokens only: one that is bound to a key comes as such."""
        if self.admitted.proved.bound.token.sender is None:
            return asgi_scope
        return as_bearer(asgi_scope, self.admitted.presented)

    def answering(self, send: Send) -> Send:
        """The way back, on which the guard's own headers are put into the answer."""
        return answering_with(self.admitted.answer_headers, send) if self.admitted.answer_headers else send

    def in_force(self, asgi_scope: AsgiScope) -> Passed:
        """For as long as the request is served (`with`, once), its token is where applications look for it."""
        asgi_scope[TOKEN_KEY] = self.admitted.proved.bound
        return self

    def __enter__(self) -> None:
        self._mark: Token[Passed] = _serving.set(self)

    def __exit__(self, *_: object) -> None:
        _serving.reset(self._mark)


def _served() -> Admitted | None:
    passed = _serving.get(None)
    return passed.admitted if passed is not None else None


async def admit(guard: Guard, asgi_scope: AsgiScope, receive: Receive) -> Passed | Challenge | None:
    """Token first; the body is read, and checked, only for a token that is good, and still is when all of it has come.

    None: the peer has gone away.
    """
    method, path = asgi_scope["method"], asgi_scope["path"]
    headers: Headers | None = None
    fields = plain_fields(asgi_scope["headers"])
    admitted = guard.recognise(fields) if fields is not None else None
    if admitted is None:
        try:
            headers = read_headers(asgi_scope)
        except HeadersTooLarge as fact:
            return guard.refuse(fact, address=_address(asgi_scope))
        outcome = await guard.check_token(headers, method=method, path=path, address=_address(asgi_scope))
        if isinstance(outcome, Challenge):
            return outcome
        admitted = outcome
    try:
        begun = begin_body(_first(fields, headers, b"content-length"), receive)
        body = await rest_of_body(begun) if isinstance(begun, Waiting) else begun
    except RequestRefused as fact:
        headers = headers or read_headers(asgi_scope)
        return guard.refuse(fact, admitted=admitted, headers=headers, address=_address(asgi_scope))
    if body is None:
        return None
    if isinstance(begun, Waiting):
        headers = headers or read_headers(asgi_scope)
        changed = await guard.check_again(admitted, headers=headers, address=_address(asgi_scope))
        if changed is not None:
            return changed
    if fields is None or not guard.is_plain_call(admitted, method=method, path=path, fields=fields, body=body):
        headers, address = headers or read_headers(asgi_scope), _address(asgi_scope)
        wrong = await guard.check_message(
            admitted, method=method, path=path, headers=headers, body=body, address=address
        )
        if wrong is not None:
            return wrong
    return Passed(admitted, replay(body, receive), _first(fields, headers, b"traceparent"))


def _first(fields: PlainFields | None, headers: Headers | None, name: bytes) -> str:
    """The field's first value, empty where it did not come."""
    if fields is not None:
        return fields.get(name, b"").decode("latin-1")
    return (values_of(headers or (), name.decode()) or ("",))[0]


def described_at(guard: Guard) -> str:
    """The path of the resource's own metadata as ASGI has it, which is decoded. Spec: RFC 9728 §3.1."""
    return unquote(metadata_path(guard.resource))


async def serve_metadata(guard: Guard, asgi_scope: AsgiScope, send: Send) -> None:
    """Answer with the resource's own metadata; web pages may read it. Spec: RFC 9728 §3.1."""
    if asgi_scope["method"] not in ("GET", "HEAD"):
        await _send(send, 405, (("allow", "GET, HEAD"), ("content-length", "0")), b"")
        return
    body = json.dumps(guard.metadata()).encode()
    headers = (
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        ("cache-control", f"public, max-age={METADATA_MAX_AGE}"),
        ("access-control-allow-origin", "*"),
    )
    await _send(send, 200, headers, b"" if asgi_scope["method"] == "HEAD" else body)


def read_headers(asgi_scope: AsgiScope) -> Headers:
    """The header fields of a request: names lower case, repeats kept.

    Raises: HeadersTooLarge
    """
    fields = list(asgi_scope["headers"])
    check_header_bounds(fields)
    return HeaderFields.of(fields)


def _address(asgi_scope: AsgiScope) -> str | None:
    client = asgi_scope.get("client")
    return str(client[0]) if client else None


async def send_challenge(challenge: Challenge, send: Send) -> None:
    """Answer with what the guard said."""
    await _send(send, challenge.status, challenge.headers, challenge.body)


async def _send(send: Send, status: int, headers: Headers, body: bytes) -> None:
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
