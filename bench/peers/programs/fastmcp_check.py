"""FastMCP's server, with its own verifier or with none: `PORT KEY ISSUER AUDIENCE`.

KEY is a file with the issuer's public key; `-` is no verifier. One tool, `echo`; stateless, JSON answers, no logs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn
from fastmcp import FastMCP
from fastmcp.server.auth.providers.jwt import JWTVerifier

PORT, KEY, ISSUER, AUDIENCE = sys.argv[1:]


def verifier() -> JWTVerifier | None:
    """Signature, issuer, audience and expiry."""
    if KEY == "-":
        return None
    return JWTVerifier(public_key=Path(KEY).read_text(), issuer=ISSUER, audience=AUDIENCE, algorithm="ES256")


server = FastMCP("bench", auth=verifier())


@server.tool
def echo(amount: int, text: str) -> str:
    """A short answer."""
    del amount, text
    return "x" * 89


app = server.http_app(path="/mcp", json_response=True, stateless_http=True)
uvicorn.run(app, port=int(PORT), loop="uvloop", http="httptools", access_log=False, log_level="error")
