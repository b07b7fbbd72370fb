"""A bare ASGI application, behind Perhop's guard or alone: `PORT ISSUER RESOURCE`; without a guard where ISSUER is `-`.

The guard as it comes: keys and revocations of the issuer, audience, and the MCP message. Single use is kept in memory.
"""

from __future__ import annotations

import sys

import uvicorn

from perhop.resource_server import Guard
from perhop.resource_server.asgi import AsgiApp, AsgiScope, Receive, Send

_BODY = b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"%s"}]}}' % (b"x" * 89)
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]


async def app(asgi_scope: AsgiScope, receive: Receive, send: Send) -> None:
    """Read the body, and answer."""
    if asgi_scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


def main(port: int, issuer: str, resource: str) -> None:
    """Serve until the process is ended."""
    served: AsgiApp = app if issuer == "-" else Guard(resource=resource, issuers=[issuer]).asgi(app)
    uvicorn.run(served, port=port, loop="uvloop", http="httptools", access_log=False, log_level="error", workers=1)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
