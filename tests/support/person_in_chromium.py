"""A person at a real browser, as an OAuth client of others needs one: goes to a page, and brings back the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from mcp.client.auth import AuthorizationCodeResult

from tests.support.chromium import Tab, chromium
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind

_PAGE = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 4\r\nconnection: close\r\n\r\ndone"


class NotLetIn(Exception):
    """The page that a person came to asks nothing."""


class PersonInChromium:
    """Signs in if asked to, consents, and brings back what the redirect carries. `seen` are the pages, as HTML."""

    def __init__(self, tab: Tab, *, email: str, password: str) -> None:
        self._tab, self._email, self._password = tab, email, password
        self.seen: list[str] = []
        self.answer: dict[str, list[str]] = {}

    async def go(self, url: str) -> None:
        """Raises: NotLetIn."""
        await self._tab.open(url)
        if 'name="email"' in await self._tab.html():
            await self._tab.type_into("input[name=email]", self._email)
            await self._tab.type_into("input[name=password]", self._password)
            await self._tab.click("button")
        self.seen.append(await self._tab.html())
        if 'value="allow"' not in self.seen[-1]:
            raise NotLetIn
        await self._tab.click("button[value=allow]")
        self.answer = parse_qs(urlsplit(await self._tab.url()).query)
        THE_SCAN.note(self.answer["code"][0], Kind.CODE)

    async def come_back(self) -> AuthorizationCodeResult:
        return AuthorizationCodeResult(
            code=self.answer["code"][0], state=self.answer["state"][0], iss=self.answer["iss"][0]
        )


@asynccontextmanager
async def person_in_chromium(
    folder: Path, *, callback: str, email: str, password: str
) -> AsyncIterator[PersonInChromium]:
    """The person, while somebody listens where the browser comes back to; the profile is made in this folder."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_PAGE)
        await writer.drain()
        writer.close()

    home = urlsplit(callback)
    async with await asyncio.start_server(answer, home.hostname, home.port), chromium(folder / "profile") as tab:
        yield PersonInChromium(tab, email=email, password=password)
