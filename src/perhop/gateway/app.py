"""The gateway as an ASGI application: each resource at the path of its `uri`, and its metadata beside it.

Spec: RFC 9728 §3.1
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from perhop.core.call import HeaderFields, Headers, Reply
from perhop.core.resource import DataPlane
from perhop.core.short_way import ShortWay, short_way
from perhop.gateway.body import Receive, RequestBody
from perhop.gateway.gate import Gate
from perhop.gateway.pipeline import handle
from perhop.gateway.refusal import with_nonce
from perhop.gateway.request import Request
from perhop.gateway.sender_watch import SenderWatch
from perhop.rules.challenge import metadata_path, resource_metadata_document
from perhop.rules.mcp_message import render_json

AsgiScope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

Asked = TypeVar("Asked")

METADATA_MAX_AGE = 300

_log = logging.getLogger("perhop.gateway")


def gates_by_path(gates: Iterable[Gate]) -> Mapping[str, Gate]:
    """What `GatewayApp` wants: every gate under the path, and the query if it has one, of its resource."""
    return {_path_of(gate): gate for gate in gates}


class GatewayApp:
    """Answers at the paths of its gates and at the paths of their metadata; 404 elsewhere.

    Of a resource whose calls another proxy carries, only the metadata is here.
    """

    def __init__(self, gates: Mapping[str, Gate]) -> None:
        self._gates: Mapping[bytes, Gate] = {}
        self._metadata: Mapping[str, Gate] = {}
        self.take(gates)

    def take(self, gates: Mapping[str, Gate]) -> None:
        """Answer by these gates from now on; requests on their way end with the gates they began with."""
        self._gates = {
            path.encode(): gate for path, gate in gates.items() if gate.resource.data_plane is DataPlane.GATEWAY
        }
        self._metadata = {metadata_path(gate.resource.uri): gate for gate in gates.values()}

    async def __call__(self, asgi_scope: AsgiScope, receive: Receive, send: Send) -> None:
        await (self.answering(asgi_scope, receive, send) or send_whole(send, 404, (), b""))

    def answering(self, asgi_scope: AsgiScope, receive: Receive, send: Send) -> Awaitable[None] | None:
        """What answers a request, when it is awaited; None if it is not for this application.

        For whoever routes several applications on one listener. Not async, nor is `_answer`: every turn of the event
        loop would have to step through them.
        """
        if asgi_scope["type"] != "http":
            return None
        gate = self._gate_at(asgi_scope)
        if gate is not None:
            return _answer(gate, asgi_scope, receive, send)
        described = self._metadata.get(raw_path(asgi_scope))
        return None if described is None else _send_metadata(described, asgi_scope["method"], send)

    def _gate_at(self, asgi_scope: AsgiScope) -> Gate | None:
        """By the path as it came, not decoded: what is not written like the resource's own path is another path."""
        path: bytes = asgi_scope.get("raw_path") or asgi_scope["path"].encode()
        query = asgi_scope.get("query_string")
        if not query and (gate := self._gates.get(path)) is not None:
            return gate
        path = path.partition(b"?")[0]
        # With its query it may be a resource of its own.
        return (self._gates.get(b"%s?%s" % (path, query)) if query else None) or self._gates.get(path)


def _answer(gate: Gate, asgi_scope: AsgiScope, receive: Receive, send: Send) -> Awaitable[None]:
    """Answers one request, when it is awaited."""
    way = short_way(asgi_scope)
    headers = way.fields() if way is not None else read_headers(asgi_scope)
    lengths = headers.by_name.get("content-length")
    body = RequestBody(
        receive,
        seconds=gate.limits.body_seconds,
        stated_length=lengths[0] if lengths else None,
        way=way,
    )
    http_method = asgi_scope["method"]
    if http_method != "POST":
        body.settle()
    client = asgi_scope.get("client")
    request = Request(http_method=http_method, headers=headers, address=client[0] if client else None, body=body)
    reply = _telling_nonce if _may_use_dpop(headers) else handle
    return answer_while_wanted(reply, request, gate, body, send)


def _may_use_dpop(headers: HeaderFields) -> bool:
    """False only where `uses_dpop` is. Nearly every request has one bearer token, and nothing else to say of it."""
    said = headers.by_name.get("authorization", ())
    return "dpop" in headers.by_name or not all(value.startswith("Bearer ") for value in said)


async def _telling_nonce(request: Request, gate: Gate) -> Reply:
    return with_nonce(await handle(request, gate), request, gate)


async def answer_while_wanted(
    reply: Callable[[Asked, Gate], Awaitable[Reply]], asked: Asked, gate: Gate, body: RequestBody, send: Send
) -> None:
    """Send the reply to what is asked; a sender who goes away takes the call along, up to the upstream."""
    sender = SenderWatch(body)
    try:
        try:
            replied = await reply(asked, gate)
        except Exception:
            # What went wrong is ours: logged and recorded, and the peer learns no more than that.
            _log.exception("a request failed")
            await send_whole(send, 500, (("cache-control", "no-store"),), b"")
        else:
            await _send_reply(replied, body.way, send)
    except asyncio.CancelledError:
        # Ours if nobody else has cancelled the task, too.
        if not (sender.is_gone and sender.task.uncancel() == 0):
            raise
    finally:
        sender.end()
        if sender.watching is not None:
            await asyncio.wait({sender.watching})


async def _send_reply(reply: Reply, way: ShortWay | None, send: Send) -> None:
    body, was_sent = reply.body, False
    try:
        if isinstance(body, bytes):
            if way is None or not way.answer(reply.status, reply.headers, body):
                await send({"type": "http.response.start", "status": reply.status, "headers": _encode(reply.headers)})
                await send({"type": "http.response.body", "body": body, "more_body": False})
        else:
            await send({"type": "http.response.start", "status": reply.status, "headers": _encode(reply.headers)})
            async for chunk in body:
                if chunk:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        was_sent = True
    finally:
        if reply.ended is not None:
            reply.ended(was_sent)
        if not isinstance(body, bytes):
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()


async def _send_metadata(gate: Gate, http_method: str, send: Send) -> None:
    if http_method not in ("GET", "HEAD"):
        await send_whole(send, 405, (("allow", "GET, HEAD"),), b"")
        return
    document = resource_metadata_document(
        gate.resource.uri,
        authorization_servers=[gate.issuer],
        scopes=gate.resource.advertised_scopes(),
        name=gate.resource.name,
        must_be_bound=gate.resource.must_be_bound,
    )
    headers = (("content-type", "application/json"), ("cache-control", f"public, max-age={METADATA_MAX_AGE}"))
    await send_whole(send, 200, headers, render_json(document))


async def send_whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send an answer that is there already."""
    headers = (*headers, ("content-length", str(len(body))))
    await send({"type": "http.response.start", "status": status, "headers": _encode(headers)})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def read_headers(asgi_scope: AsgiScope) -> HeaderFields:
    """The header fields of a request, names in lower case."""
    return HeaderFields.of(asgi_scope["headers"])


def _encode(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def raw_path(asgi_scope: AsgiScope) -> str:
    """The path of a request as it came, not decoded."""
    raw = asgi_scope.get("raw_path") or asgi_scope["path"].encode()
    return bytes(raw).decode("latin-1").partition("?")[0]


def _path_of(gate: Gate) -> str:
    uri = urlsplit(gate.resource.uri)
    return (uri.path or "/") + (f"?{uri.query}" if uri.query else "")
