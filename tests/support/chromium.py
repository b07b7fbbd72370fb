"""Debian's Chromium, without a window and with scripts switched off: what a person's browser makes of a page.

It is driven over a pair of pipes (`--remote-debugging-pipe`) by what a person does: keys and clicks.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from scripts.fetch_debian import chromium as program
from scripts.fetch_debian import environment
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind
from tests.support.processes import end_group

SECONDS = 30
_FLAGS = (
    *("--headless=new", "--remote-debugging-pipe", "--no-first-run", "--no-default-browser-check", "--disable-gpu"),
    *("--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update"),
    *("--hide-scrollbars", "--lang=en"),
)
_LIMIT = 1 << 26


class _BetweenPages(Exception):
    """The page that was there is gone, and the next one is not there yet."""


class Tab:
    """One tab. Every wait is for something that the browser says, and ends after half a minute."""

    def __init__(self, reader: asyncio.StreamReader, commands: int) -> None:
        self._reader = reader
        self._commands = commands
        self._next = 0
        self._session: str | None = None
        self._answers: dict[int, dict[str, Any]] = {}
        self._loads = 0
        self._shows = ""
        self._is_whole = False

    async def begin(self) -> None:
        """Open the tab; from here on no script runs in it."""
        target = await self.ask("Target.createTarget", url="about:blank")
        attached = await self.ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "DOM", "Network"):
            await self.ask(f"{domain}.enable")
        await self.ask("Emulation.setScriptExecutionDisabled", value=True)

    async def open(self, url: str) -> None:
        """Go there, and wait until it is shown."""
        loads = self._loads
        await self.ask("Page.navigate", url=url)
        await self._until_loaded(loads)

    async def arrive(self, prefix: str) -> None:
        """Wait until a page whose address begins so is shown whole, wherever the browser goes by itself before."""
        async with asyncio.timeout(SECONDS):
            # A page that is on its way has its address already; what is found in it then is gone a moment later.
            while not (self._is_whole and self._shows.startswith(prefix)):
                await self._hear()

    async def type_into(self, selector: str, text: str) -> None:
        await self.ask("DOM.focus", nodeId=await self._node(selector))
        await self.ask("Input.insertText", text=text)

    async def click(self, selector: str) -> None:
        """Click in the middle of it, and wait for the page that it leads to."""
        node = await self._node(selector)
        await self.ask("DOM.scrollIntoViewIfNeeded", nodeId=node)
        quad = (await self.ask("DOM.getBoxModel", nodeId=node))["model"]["content"]
        at = {"x": (quad[0] + quad[4]) / 2, "y": (quad[1] + quad[5]) / 2, "button": "left", "clickCount": 1}
        loads = self._loads
        for event in ("mousePressed", "mouseReleased"):
            await self.ask("Input.dispatchMouseEvent", type=event, **at)
        await self._until_loaded(loads)
        cookies = (await self.ask("Network.getCookies"))["cookies"]
        for cookie in cookies:
            THE_SCAN.note(cookie["value"], Kind.COOKIE)

    async def html(self) -> str:
        """The page as the browser has it."""
        root = (await self.ask("DOM.getDocument", depth=0))["root"]["nodeId"]
        return str((await self.ask("DOM.getOuterHTML", nodeId=root))["outerHTML"])

    async def url(self) -> str:
        """Where it is. Between two pages it is nowhere for a moment, and is asked again."""
        async with asyncio.timeout(SECONDS):
            while True:
                with suppress(_BetweenPages):
                    history = await self.ask("Page.getNavigationHistory")
                    return str(history["entries"][history["currentIndex"]]["url"])
                await asyncio.sleep(0.02)

    async def picture(self, *, width: int = 900, scale: float = 1, scheme: str = "light") -> bytes:
        """The whole page as PNG, as wide as this."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.ask("Emulation.setEmulatedMedia", features=features)
        shape = {"width": width, "height": 600, "deviceScaleFactor": scale, "mobile": False}
        await self.ask("Emulation.setDeviceMetricsOverride", **shape)
        size = (await self.ask("Page.getLayoutMetrics"))["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": width, "height": size["height"], "scale": 1}
        taken = await self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(taken["data"])

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its answer."""
        self._next += 1
        number = self._next
        session = {"sessionId": self._session} if self._session is not None else {}
        sent = json.dumps({"id": number, "method": method, "params": params, **session}).encode() + b"\0"
        while sent:
            sent = sent[os.write(self._commands, sent) :]
        async with asyncio.timeout(SECONDS):
            while number not in self._answers:
                await self._hear()
        answer = self._answers.pop(number)
        if "error" in answer and "Not attached" in answer["error"].get("message", ""):
            raise _BetweenPages(method)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return dict(answer["result"])

    async def _hear(self) -> None:
        message = json.loads((await self._reader.readuntil(b"\0"))[:-1])
        if "id" in message:
            self._answers[message["id"]] = message
        elif message["method"] == "Page.loadEventFired":
            self._loads += 1
            self._is_whole = True
        elif message["method"] == "Page.frameNavigated" and "parentId" not in message["params"]["frame"]:
            frame = message["params"]["frame"]
            self._shows = frame.get("unreachableUrl") or frame["url"]
            self._is_whole = False

    async def _until_loaded(self, before: int) -> None:
        async with asyncio.timeout(SECONDS):
            while self._loads == before:
                await self._hear()

    async def _node(self, selector: str) -> int:
        root = (await self.ask("DOM.getDocument", depth=0))["root"]["nodeId"]
        node = int((await self.ask("DOM.querySelector", nodeId=root, selector=selector))["nodeId"])
        assert node, f"the page has no `{selector}`"
        return node


@asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Tab]:
    """A browser with one tab, and a profile of its own in this folder, while the block runs."""
    # Beyond what the browser wants as 3 and 4, so that nothing is overwritten on the way there.
    ours, theirs = _high(os.pipe()), _high(os.pipe())
    commands, hears = ours[1], theirs[0]

    def as_three_and_four() -> None:
        os.dup2(ours[0], 3)
        os.dup2(theirs[1], 4)

    with (folder.with_name(f"{folder.name}.log")).open("wb") as log:
        process = subprocess.Popen(
            [program(), *_FLAGS, f"--user-data-dir={folder}", "about:blank"],
            env=os.environ | environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(3, 4),
            preexec_fn=as_three_and_four,
            start_new_session=True,
        )
    os.close(ours[0])
    os.close(theirs[1])
    reader = asyncio.StreamReader(limit=_LIMIT)
    pipe = os.fdopen(hears, "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        tab = Tab(reader, commands)
        await tab.begin()
        yield tab
    finally:
        transport.close()
        with suppress(OSError):
            os.close(commands)
        await asyncio.to_thread(end_group, process)


def _high(pair: tuple[int, int]) -> tuple[int, int]:
    moved = tuple(fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 64) for each in pair)
    for each in pair:
        os.close(each)
    return moved[0], moved[1]
