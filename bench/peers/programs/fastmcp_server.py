"""FastMCP with its own verifier: `PORT KEY ISSUER AUDIENCE [URL]`; a proxy to the server at the URL if there is one.

Run by the Python of its own environment. KEY is a file with the issuer's public key; `-` is no check at all.
One tool, `echo`; stateless, JSON answers, no logs: its cheapest mode.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import uvicorn
from fastmcp import FastMCP
from fastmcp.server import create_proxy
from fastmcp.server.auth.providers.jwt import JWTVerifier

PORT, KEY, ISSUER, AUDIENCE = sys.argv[1:5]
BEHIND = sys.argv[5] if len(sys.argv) > 5 else ""

verifier = (
    None
    if KEY == "-"
    else JWTVerifier(public_key=Path(KEY).read_text(), issuer=ISSUER, audience=AUDIENCE, algorithm="ES256")
)


def answering() -> FastMCP[Any]:
    """A server that answers itself."""
    server: FastMCP[Any] = FastMCP("bench", auth=verifier)

    @server.tool
    def echo(amount: int, text: str) -> str:  # noqa: ARG001
        """A short answer."""
        return "x" * 89

    return server


server = create_proxy(BEHIND, name="bench", auth=verifier) if BEHIND else answering()
app = server.http_app(path="/mcp", json_response=True, stateless_http=True)
uvicorn.run(app, port=int(PORT), loop="uvloop", http="httptools", access_log=False, log_level="error")
