"""A receiver of webhooks on loopback: it keeps what it got, and answers as it is told."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.gateways import serving
from tests.support.leaks.files import Sight
from tests.support.leaks.scan import THE_SCAN

SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Got:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def approval(self) -> str:
        return str(self.message["data"]["approval"])

    def is_signed_with(self, key: bytes) -> bool:
        """As the specification has it, written down here once more."""
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.body
        mac = hmac.new(key, signed, hashlib.sha256).digest()
        return f"v1,{base64.b64encode(mac).decode()}" in self.headers["webhook-signature"].split(" ")


@dataclass(slots=True)
class Receiver:
    """`answers` are the statuses to come, then 204; `location` goes with each. It hangs while `open` is off."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    location: str = ""
    open: asyncio.Event = field(default_factory=asyncio.Event)
    got: asyncio.Queue[Got] = field(default_factory=asyncio.Queue)

    async def next(self) -> Got:
        """The next request that comes, or has come."""
        return await asyncio.wait_for(self.got.get(), SECONDS)

    async def __call__(self, asgi_scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in asgi_scope["headers"]}
        got = Got(asgi_scope["method"], asgi_scope["raw_path"].decode(), headers, body)
        THE_SCAN.show(Sight.EXPORT, f"webhook at {got.path}", body + b"\n" + str(headers).encode())
        status = 405
        if got.method == "POST":
            status = self.answers.pop(0) if self.answers else 204
            self.got.put_nowait(got)
        await self.open.wait()
        location = [(b"location", self.location.encode())] if self.location else []
        await send({"type": "http.response.start", "status": status, "headers": location})
        await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """One that answers, on a free port."""
    made = Receiver()
    made.open.set()
    async with serving(lambda _: made) as url:
        made.url = f"{url}/hooks/approvals?key=of-the-receiver-and-nobody-else"
        try:
            yield made
        finally:
            made.open.set()
