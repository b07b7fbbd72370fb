"""The exports of a running server: each follows the journal by itself, and a failing one holds up nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial

import perhop
from perhop.errors import ExportFailed, JournalDamaged, JournalUnavailable
from perhop.journal.export.feed import Cursor, Feed, Place
from perhop.journal.export.json_lines import render_json_line
from perhop.journal.export.ocsf import render_ocsf
from perhop.journal.query import Entry, JournalReader
from perhop.settings import Settings
from perhop.settings.values import Export
from perhop.storage.export_files import AppendedFile, CursorFile, Stream

FORMATS = ("json", "ocsf")
IDLE_SECONDS = 0.5
RETRY_SECONDS = 2.0

_log = logging.getLogger("perhop.export")


def open_feed(reader: JournalReader, format_: str, place: Place, cursor: Cursor, *, origin: str) -> Feed:
    """A feed in one of FORMATS; `origin` is the journal's name."""
    render: Callable[[Entry], str] = render_json_line
    if format_ == "ocsf":
        render = partial(render_ocsf, origin=origin, product_version=perhop.__version__)
    return Feed(reader=reader, render=render, place=place, cursor=cursor)


class RunningExport:
    """One export at work. `waiting` is how many records have not been exported yet; `problem` why it does not go on."""

    def __init__(self, name: str, feed: Feed) -> None:
        self.name = name
        self.waiting = 0
        self.failures = 0
        self.problem = ""
        self._feed = feed
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Follow the journal until stopped; what fails is told once, and tried again.

        At the end what is there is exported, unless it fails: what is left comes after the next start.
        """
        while not self._stopping.is_set():
            await self._pump()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_SECONDS if self.problem else 0 if self.waiting else IDLE_SECONDS):
                    await self._stopping.wait()
        await self._pump()
        while self.waiting and not self.problem:
            await self._pump()

    def stop(self) -> None:
        """End with what the journal holds now."""
        self._stopping.set()

    async def _pump(self) -> None:
        try:
            self.waiting = await asyncio.to_thread(self._feed.pump)
        except (ExportFailed, JournalDamaged, JournalUnavailable) as error:
            self.failures += 1
            if not self.problem:
                _log.error("export `%s` does not go on: %s", self.name, error)
            self.problem = str(error)
            return
        if self.problem:
            _log.info("export `%s` goes on", self.name)
        self.problem = ""


@contextlib.asynccontextmanager
async def exporting(
    settings: Settings, reader: JournalReader, *, origin: str
) -> AsyncIterator[tuple[RunningExport, ...]]:
    """Run every export of the configuration while the block runs."""
    running = tuple(RunningExport(each.name, _feed(each, settings, reader, origin)) for each in settings.exports)
    tasks = [asyncio.create_task(each.run()) for each in running]
    try:
        yield running
    finally:
        for each in running:
            each.stop()
        await asyncio.gather(*tasks)


def _feed(export: Export, settings: Settings, reader: JournalReader, origin: str) -> Feed:
    place = Stream(sys.stdout.buffer) if export.to is None else AppendedFile(export.to)
    return open_feed(reader, export.format, place, CursorFile(settings.cursor_path(export.name)), origin=origin)
