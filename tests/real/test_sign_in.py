"""A person lets our own client in, at a browser, by discovery alone: for the official SDK's client and FastMCP's."""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from perhop.client import PersonsBrowser, RegisteredClient, SignIn
from tests.real.test_people import EMAIL, PASSWORD, ROOT, installation
from tests.support.chromium import Tab, chromium
from tests.support.installations import Installation

__all__ = ["installation"]


class _Ann:
    """Ann at Chromium, with scripts switched off: signs in, consents, and ends on the program's own page."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab
        self.last_page = ""
        self._loop = asyncio.get_running_loop()
        self._ways: list[concurrent.futures.Future[None]] = []

    def open_url(self, url: str) -> bool:
        self._ways.append(asyncio.run_coroutine_threadsafe(self._go(url), self._loop))
        return True

    async def visits(self) -> int:
        """How often she was sent to her browser, when she is back from all of it."""
        await asyncio.gather(*(asyncio.wrap_future(way) for way in self._ways))
        return len(self._ways)

    async def _go(self, url: str) -> None:
        await self.tab.open(url)
        await self.tab.type_into("#email", EMAIL)
        await self.tab.type_into("#password", PASSWORD)
        await self.tab.click("button")
        await self.tab.click("button[value=allow]")
        self.last_page = await self.tab.html()


def _guide(function: str) -> Callable[..., Awaitable[object]]:
    """A function of the guide for clients, as it stands there."""
    page = (ROOT / "docs" / "guide" / "tokens-in-your-client.md").read_text(encoding="utf-8")
    (block,) = (each for each in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if f"def {function}(" in each)
    names: dict[str, Callable[..., Awaitable[object]]] = {}
    exec(compile(block, "<guide>", "exec"), names)
    return names[function]


@asynccontextmanager
async def _signing_in(installation: Installation, folder: Path) -> AsyncIterator[tuple[SignIn, _Ann]]:
    async with chromium(folder / "profile") as tab:
        ann = _Ann(tab)
        client = RegisteredClient.at(installation.issuer, client_id="desk-app")
        person = PersonsBrowser(open_url=ann.open_url, patience=60)
        async with SignIn(installation.url, clients=[client], person=person) as sign_in:
            yield sign_in, ann


async def test_the_two_clients_call_for_a_person_who_was_asked_once(installation: Installation, tmp_path: Path) -> None:
    """By the guide: the SDK's client leads Ann to her browser, FastMCP's goes on with what she allowed."""
    async with _signing_in(installation, tmp_path) as (sign_in, ann):
        for call in (_guide("with_the_sdk"), _guide("with_fastmcp")):
            assert "simple text" in str(await call(sign_in, "test_simple_text"))
        assert await ann.visits() == 1
        assert "close this page" in ann.last_page
    calls = [
        each for each in installation.records("--event", "call.permitted") if each["call"]["method"] == "tools/call"
    ]
    assert [(call["in"]["agent"], call["in"]["aud"]) for call in calls] == [("desk-app", installation.url)] * 2
    assert all(call["in"]["sub"].startswith("user:") for call in calls)
