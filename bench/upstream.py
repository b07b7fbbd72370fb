"""The MCP server behind: as fast as Python allows, so that what is measured is what stands before it.

`python -m bench.upstream PORT`, on asyncio, httptools and uvloop. Speaks both eras, without sessions. Of the token that
it is given it looks at the audience, and at nothing else: each path is a resource of its own, and a token for another
one is refused, as the gateway's self-test wants to see; under `/open` nothing is asked for.

`subscriptions/listen` is answered with a stream that says that it listens, and then nothing more until the peer goes.

Tools: `echo` (a short answer), `large` (100 KB), and either name with `-stream`, whose answer is a stream of one event.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from typing import Any

import httptools
import uvloop

SHORT, LARGE = 89, 100 * 1024
REVISIONS = ("2026-07-28", "2025-11-25", "2025-06-18")
LISTEN = "subscriptions/listen"
TOOLS = ("echo", "large", "echo-stream", "large-stream")

# What revision 2026-07-28 asks of results, and the one before allows.
_MODERN, _FRESH = {"resultType": "complete"}, {"ttlMs": 60_000, "cacheScope": "public"}
_SCHEMA = {"type": "object", "properties": {"amount": {"type": "integer"}, "text": {"type": "string"}}}
_STATUS = {200: b"200 OK", 202: b"202 Accepted", 401: b"401 Unauthorized", 405: b"405 Method Not Allowed"}


def result_text(tool: str) -> str:
    """What a tool says."""
    return "x" * (LARGE if tool.startswith("large") else SHORT)


class _Connection(asyncio.Protocol):
    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._path = ""
        self._parser = httptools.HttpRequestParser(self)
        self._body = bytearray()
        self._token = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body.clear()
        self._token = b""

    def on_url(self, url: bytes) -> None:
        self._path = url.decode("ascii")

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"authorization":
            self._token = value.removeprefix(b"Bearer ")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._parser.get_method() != b"POST":
            self._send(405, b"", b"")
        elif not self._path.startswith("/open") and not _is_for(self._token, self._origin + self._path):
            self._send(401, b'www-authenticate: Bearer error="invalid_token"\r\n', b"")
        else:
            self._answer(json.loads(self._body))

    def _answer(self, message: dict[str, Any]) -> None:
        if "id" not in message:
            self._send(202, b"", b"")
            return
        if message["method"] == LISTEN:
            self._hold_open(message["id"])
            return
        tool = str(message.get("params", {}).get("name", ""))
        head = b'{"jsonrpc":"2.0","id":%s,"result":' % json.dumps(message["id"]).encode()
        body = head + _result(message["method"], tool) + b"}"
        if tool.endswith("-stream"):
            self._transport.write(_STREAM_HEAD + _chunk(body) + b"0\r\n\r\n")
        else:
            self._send(200, b"content-type: application/json\r\n", body)

    def _hold_open(self, rpc_id: object) -> None:
        about = {"io.modelcontextprotocol/subscriptionId": rpc_id}
        params = {"_meta": about, "notifications": {"toolsListChanged": True}}
        listening = {"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params}
        self._transport.write(_STREAM_HEAD + _chunk(json.dumps(listening).encode()))

    def _send(self, status: int, headers: bytes, body: bytes) -> None:
        head = b"HTTP/1.1 %s\r\n%scontent-length: %d\r\n\r\n" % (_STATUS[status], headers, len(body))
        self._transport.write(head + body)


_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _chunk(message: bytes) -> bytes:
    event = b"event: message\r\ndata: " + message + b"\r\n\r\n"
    return b"%x\r\n%s\r\n" % (len(event), event)


def _is_for(token: bytes, resource: str) -> bool:
    parts = token.split(b".")
    if len(parts) != 3:
        return False
    claims = json.loads(base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4)))
    return bool(claims.get("aud") == resource)


def _result(method: str, tool: str) -> bytes:
    match method:
        case "tools/call":
            return _CALLED.get(tool) or b'{"content":[],"isError":true}'
        case "tools/list":
            tools = [{"name": each, "inputSchema": _SCHEMA} for each in TOOLS]
            return json.dumps({"tools": tools, **_MODERN, **_FRESH}).encode()
        case "initialize":
            about = {"name": "bench", "version": "1"}
            handshake = {"protocolVersion": REVISIONS[1], "capabilities": {"tools": {}}, "serverInfo": about}
            return json.dumps(handshake).encode()
        case "server/discover":
            about = {"name": "bench", "version": "1"}
            told = {"supportedVersions": [REVISIONS[0]], "capabilities": {"tools": {}}, "serverInfo": about}
            return json.dumps({**told, **_MODERN, **_FRESH}).encode()
        case _:
            return b"{}"


_CALLED = {
    tool: json.dumps({"content": [{"type": "text", "text": result_text(tool)}], "isError": False, **_MODERN}).encode()
    for tool in TOOLS
}


async def _serve(port: int) -> None:
    origin = f"http://127.0.0.1:{port}"
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(origin), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
