"""HTTP/1.1 as an attacker speaks it: every byte of a request is chosen, nothing is normalised, one connection each."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from typing import Any

from perhop.core.call import Headers
from tests.support.leaks.scan import THE_SCAN, Asked

ANSWER_SECONDS = 15.0

_PARAMETER = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """One request. Header values are text, one character a byte; `target` None is the path that it is sent to."""

    method: str = "POST"
    headers: Headers = ()
    body: bytes = b""
    target: str | None = None

    def render(self, *, path: str, host: str) -> bytes:
        """The bytes of this request, framed by its length unless its own headers frame or name it otherwise."""
        names = {name.lower() for name, _ in self.headers}
        fields = list(self.headers)
        if "host" not in names:
            fields.insert(0, ("host", host))
        if not names & {"content-length", "transfer-encoding"} and (self.body or self.method == "POST"):
            fields.append(("content-length", str(len(self.body))))
        if "connection" not in names:
            fields.append(("connection", "close"))
        lines = [f"{self.method} {self.target or path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
        return "\r\n".join((*lines, "", "")).encode("latin-1") + self.body


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Status 0: the connection was closed without a word."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of a header, by its name in lower case."""
        return next((value for each, value in self.headers if each == name), None)

    @property
    def challenge(self) -> dict[str, str]:
        """The parameters of the Bearer challenge; empty if there is none."""
        return dict(_PARAMETER.findall(self.header("www-authenticate") or ""))

    @property
    def message(self) -> Any:
        """The JSON of the body; None if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def code(self) -> str | None:
        """The error code: of OAuth, of JSON-RPC, or of the challenge."""
        error = self.message.get("error") if isinstance(self.message, dict) else None
        code = error.get("code") if isinstance(error, dict) else error
        return str(code) if code is not None else self.challenge.get("error")

    @property
    def observed(self) -> str:
        """Status, then the error code if there is one."""
        return f"{self.status} {self.code}" if self.code is not None else str(self.status)


async def send(address: str, raw: bytes) -> list[Answer]:
    """Send these bytes to HOST:PORT, and read every answer until the connection is closed."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            received = await _converse(reader, writer, raw)
    finally:
        writer.close()
    answers = parse_answers(received)
    for answer in answers:
        THE_SCAN.show_exchange(_asked(raw), answer.status, answer.headers, answer.body)
    return answers


def _asked(raw: bytes) -> Asked:
    """As much of a request as can be made out: its method, its target, its headers and its body."""
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").splitlines() or [""]
    method, _, rest = first.partition(" ")
    fields = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return method, rest.partition(" ")[0], fields, body


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, raw: bytes) -> bytes:
    """Read while writing: a server may refuse, and go, before all has been sent."""
    received = bytearray()

    async def read() -> None:
        while chunk := await reader.read(65536):
            received.extend(chunk)

    reading = asyncio.create_task(read())
    try:
        writer.write(raw)
        await writer.drain()
        await reading
    except ConnectionError:
        await asyncio.gather(reading, return_exceptions=True)
    finally:
        reading.cancel()
    return bytes(received)


def parse_answers(received: bytes) -> list[Answer]:
    """The answers in what a server sent on one connection."""
    answers = []
    while received:
        head, separator, rest = received.partition(b"\r\n\r\n")
        if not separator:
            break
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = tuple((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines))
        body, received = _cut_body(dict(fields), rest)
        answers.append(Answer(int(first.split(" ")[1]), fields, body))
    return answers


def _cut_body(fields: dict[str, str], rest: bytes) -> tuple[bytes, bytes]:
    if fields.get("transfer-encoding") == "chunked":
        body = b""
        while True:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size or b"0", 16)
            body, rest = body + rest[:length], rest[length + 2 :]
            if not length:
                return body, rest
    if "content-length" in fields:
        length = int(fields["content-length"])
        return rest[:length], rest[length:]
    return rest, b""
