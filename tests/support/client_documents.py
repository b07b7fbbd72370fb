"""A site that publishes clients' documents, over https on loopback, under names of its own; and what real ones say."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from perhop.core.newcomer import TrustRule
from tests.support.certificates import make_ca

HOST = "apps.example.com"
OTHER_HOST = "other.example.com"
PATH = "/oauth/client.json"
HOSTED_CALLBACK = "https://apps.example.com/callback"

Answer = Callable[[str], bytes | Awaitable[bytes]]

CHATGPT = {
    "client_id": "https://chatgpt.com/oauth/client.json",
    "client_uri": "https://chatgpt.com/",
    "redirect_uris": ["https://chatgpt.com/connector_platform_oauth_redirect"],
    "token_endpoint_auth_method": "private_key_jwt",
    "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "client_name": "ChatGPT",
    "logo_uri": "https://persistent.oaistatic.com/sonic/misc/openai-logo.png",
    "token_endpoint_auth_signing_alg": "RS256",
    "jwks_uri": "https://chatgpt.com/oauth/jwks.json",
}
"""https://chatgpt.com/oauth/client.json as it was in October 2026."""

CLAUDE = {
    "client_id": "https://claude.ai/oauth/mcp-oauth-client-metadata",
    "client_name": "Claude",
    "client_uri": "https://claude.ai",
    "redirect_uris": ["https://claude.ai/api/mcp/auth_callback"],
    "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
}
"""https://claude.ai/oauth/mcp-oauth-client-metadata as it was in September 2026."""

CLAUDE_CODE = {
    "client_id": "https://claude.ai/oauth/claude-code-client-metadata",
    "client_name": "Claude Code",
    "client_uri": "https://claude.ai",
    "redirect_uris": ["http://localhost/callback", "http://127.0.0.1/callback"],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
}
"""https://claude.ai/oauth/claude-code-client-metadata as it was in September 2026."""

VS_CODE = {
    "client_name": "Visual Studio Code",
    "logo_uri": "https://code.visualstudio.com/assets/branding/code-stable.png",
    "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
    "application_type": "native",
    "client_id": "https://vscode.dev/oauth/client-metadata.json",
    "client_uri": "https://vscode.dev/product",
    "redirect_uris": ["http://127.0.0.1:33418/", "https://vscode.dev/redirect"],
}
"""https://vscode.dev/oauth/client-metadata.json as it was in 2026."""


def as_answer(document: Any, *headers: str, status: str = "200 OK", media_type: str = "application/json") -> bytes:
    """A whole HTTP answer with this document, or with these bytes."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    lines = (
        f"HTTP/1.1 {status}",
        f"content-type: {media_type}",
        f"content-length: {len(body)}",
        "connection: close",
        *headers,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@dataclass
class Site:
    """The site: `answers` by path, as bytes or as what makes them; `asked` are the requests, host and path."""

    port: int
    ca_pem: str
    name: str = HOST
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    looked_up: list[str] = field(default_factory=list)
    addresses: dict[str, list[Sequence[str]]] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return f"{self.name}:{self.port}"

    def url(self, path: str = PATH, *, host: str | None = None) -> str:
        return f"https://{host or self.name}:{self.port}{path}"

    def rule(self, **changes: Any) -> TrustRule:
        """A rule that admits this site's documents, on loopback as it is."""
        usual: dict[str, Any] = {
            "host": self.host,
            "owner": "travel-team",
            "expires": date(2030, 1, 31),
            "reaches": {"calendar": ("calendar:read",)},
            "inner_networks": (ip_network("127.0.0.0/8"),),
            "ca_pem": self.ca_pem,
        }
        return TrustRule(**(usual | changes))

    def document(self, path: str = PATH, **changes: Any) -> dict[str, Any]:
        """A good document; None leaves a member out."""
        usual: dict[str, Any] = {
            "client_id": self.url(path),
            "client_name": "Journey",
            "redirect_uris": [HOSTED_CALLBACK],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "none",
        }
        return {name: value for name, value in (usual | changes).items() if value is not None}

    def publish(self, *headers: str, path: str = PATH, **changes: Any) -> str:
        """Put a document there, good but for these changes; returns its URL."""
        self.answers[path] = as_answer(self.document(path, **changes), *headers)
        return self.url(path)

    async def resolve(self, host: str, _port: int) -> Sequence[str]:
        """Every name leads here, unless a test says otherwise: then each look gives the next answer."""
        self.looked_up.append(host)
        planned = self.addresses.get(host)
        return planned.pop(0) if planned else ("127.0.0.1",)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            self.heads.append(head)
            path = head.split(" ")[1]
            host = next(line[5:].strip() for line in head.split("\r\n") if line.lower().startswith("host:"))
            self.asked.append((host, path))
            answer = self.answers.get(path, as_answer(b"", status="404 Not Found"))
            answer = answer(path) if callable(answer) else answer
            writer.write(answer if isinstance(answer, bytes) else await answer)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def a_site(folder: Path, *, name: str = HOST) -> AsyncIterator[Site]:
    """Serve while the block runs; as `127.0.0.1` it needs nobody who resolves its name."""
    ca_pem, tls = make_ca(folder, *((HOST, OTHER_HOST) if name == HOST else ()))
    site = Site(port=0, ca_pem=ca_pem, name=name)
    server = await asyncio.start_server(site._serve, "127.0.0.1", 0, ssl=tls)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
        await server.wait_closed()
