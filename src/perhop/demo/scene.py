"""The scene of the demo: who is on stage, and how the outside is spoken to. Everything goes over HTTP, as outside."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from perhop.client import TokenSource
from perhop.client.credentials import KeyCredential, authenticate
from perhop.core.secret import Secret
from perhop.demo.configuration import Addresses
from perhop.demo.servers import BookingServer, CalendarServer
from perhop.journal.query import Filter
from perhop.resource_server import ServerRecords
from perhop.settings import Settings
from perhop.storage.journal_reader import JournalQueries
from perhop.tokens.keys import SigningKey

MODERN = "2026-07-28"
LEGACY = "2025-11-25"


@dataclass(frozen=True, slots=True)
class Seen:
    """What was observed: HTTP status, then the OAuth or JSON-RPC code if any; `reason` as the part recorded it."""

    observed: str
    reason: str | None


class GuardLog(logging.Handler):
    """Keeps the reasons of the guards' refusals: a guard writes them to its log, and tells no peer."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.last: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple) and record.args and str(record.msg).startswith("refused"):
            self.last = str(record.args[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The running demo."""

    settings: Settings
    addresses: Addresses
    keys: Mapping[str, SigningKey]
    calendar: CalendarServer
    booking: BookingServer
    records: tuple[ServerRecords, ...]
    reader: JournalQueries
    http: httpx2.AsyncClient
    guard_log: GuardLog
    folder: Path
    sources: dict[str, TokenSource] = field(default_factory=dict)

    def source(self, client: str) -> TokenSource:
        """The client library, as this client."""
        if client not in self.sources:
            self.sources[client] = TokenSource(
                issuer=self.addresses.issuer, client_id=client, private_key=self.keys[client]
            )
        return self.sources[client]

    async def token(self, client: str, resource: str) -> Secret:
        """A token of this client for a resource behind the gateway."""
        return (await self.source(client).token_for(self.addresses.resource(resource))).raw

    async def at_gateway(self, resource: str, token: str, message: Mapping[str, Any], **headers: str) -> Seen:
        """Send one MCP message to the gateway."""
        mark = self.reader.size()
        response = await self.post(self.addresses.resource(resource), token, message, **headers)
        return Seen(_observed(response), self.reason_since(mark))

    async def at_server(self, url: str, token: str, message: Mapping[str, Any]) -> Seen:
        """Call a server past the gateway."""
        self.guard_log.last = None
        response = await self.post(url, token, message)
        return Seen(_observed(response), self.guard_log.last)

    async def at_sts(self, client: str, form: list[tuple[str, str]]) -> Seen:
        """Ask the token endpoint, authenticated as this client."""
        mark = self.reader.size()
        _, identity = authenticate(
            KeyCredential(self.keys[client]),
            client_id=client,
            issuer=self.addresses.issuer,
            jti=secrets.token_urlsafe(16),
            now=int(time.time()),
        )
        response = await self.http.post(
            f"{self.addresses.issuer}/token",
            content=str(httpx2.QueryParams([*form, *identity])),
            headers={"content-type": "application/x-www-form-urlencoded"},
        )
        return Seen(_observed(response), self.reason_since(mark))

    async def post(self, url: str, token: str, message: Mapping[str, Any], **headers: str) -> httpx2.Response:
        """POST one message with the headers of its revision, unless they are given otherwise."""
        modern = "_meta" in message.get("params", {})
        mirrored = {
            "mcp-protocol-version": MODERN,
            "mcp-method": str(message["method"]),
            "mcp-name": str(message["params"].get("name", "")),
        }
        sent = {
            "accept": "application/json, text/event-stream",
            "content-type": "application/json",
            "authorization": f"Bearer {token}",
            **(mirrored if modern else {}),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return await self.http.post(url, content=json.dumps(message), headers=sent)

    def reason_since(self, seq: int) -> str | None:
        """The reason of our own last refusal since this record; a guard reports when it does."""
        entries = self.reader.find(Filter(first=seq + 1))
        reasons = [entry.text("reason") for entry in entries if not entry.part("report")]
        return next((reason for reason in reversed(reasons) if reason), None)


def call(tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A tool call of the 2026-07-28 revision."""
    meta = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
    return {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": tool, "arguments": dict(arguments), "_meta": meta},
    }


def _observed(response: httpx2.Response) -> str:
    """HTTP status, then the OAuth or JSON-RPC error code if the body holds one."""
    try:
        error = response.json().get("error")
    except (ValueError, AttributeError):
        error = None
    code = error.get("code") if isinstance(error, dict) else error
    return f"{response.status_code} {code}" if code is not None else str(response.status_code)
