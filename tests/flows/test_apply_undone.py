"""What was opened for a configuration that is not put in force after all: it is closed, and what is in force stays."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from perhop.control.operations import run_operation
from perhop.errors import JournalUnavailable
from perhop.gateway.upstream.stdio import StdioUpstream
from perhop.journal.record import Event, Record
from perhop.settings import load
from perhop.wiring.opening import open_plane
from perhop.wiring.plane import Plane
from perhop.wiring.traffic import open_traffic
from tests.support.installations import run_by
from tests.support.processes import await_end_of, is_running
from tests.support.stdio_upstreams import SERVER


@pytest.fixture
async def plane(folder: Path) -> AsyncIterator[Plane]:
    """An installation with traffic, whose calendar is a local server that is up."""
    _serve_by_command(folder, "calendar")
    settings = load(folder / "perhop.yaml", os.environ)
    async with open_plane(settings, clock=time.time, record_start=True) as opened, open_traffic(opened):
        await _until_up(opened.open_upstreams["calendar"])
        yield opened


def _serve_by_command(folder: Path, resource: str) -> None:
    path = folder / "perhop.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document["resources"][resource]["upstream"] = dict(run_by(sys.executable, SERVER, "both"))
    path.write_text(yaml.safe_dump(document), encoding="utf-8")


async def _until_up(way: object) -> list[int]:
    """Its processes, once there are any."""
    assert isinstance(way, StdioUpstream)
    async with asyncio.timeout(60):
        while not way.eras:
            await asyncio.sleep(0.02)
    return way.pids


@pytest.mark.parametrize("failure", [JournalUnavailable("the disk is full"), asyncio.CancelledError()])
async def test_a_server_that_was_started_for_a_configuration_ends_if_that_cannot_be_recorded(
    plane: Plane, folder: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    """The new server's process ends, whatever was raised; the one in force is the same as before, and goes on."""
    before = plane.open_upstreams["calendar"]
    running = await _until_up(before)
    opened: list[StdioUpstream] = []
    started: list[int] = []
    begin, append = StdioUpstream.__init__, plane.journal.append

    def noted(way: StdioUpstream, *arguments: object, **more: object) -> None:
        begin(way, *arguments, **more)  # type: ignore[arg-type]
        opened.append(way)

    async def unwritten(record: Record) -> int:
        if record.event is not Event.CONFIG_LOADED:
            return await append(record)
        started.extend(await _until_up(opened[0]))
        raise failure

    _serve_by_command(folder, "rooms")
    with monkeypatch.context() as patched:
        patched.setattr(StdioUpstream, "__init__", noted)
        patched.setattr(plane.journal, "append", unwritten)
        with pytest.raises(type(failure)):
            await run_operation(plane, "apply", {"dry_run": False})
    assert len(started) == 1
    await asyncio.to_thread(await_end_of, started)
    assert plane.open_upstreams["calendar"] is before
    assert isinstance(before, StdioUpstream)
    assert before.pids == running
    assert all(is_running(pid) for pid in running)
    await run_operation(plane, "apply", {"dry_run": False})
    assert plane.open_upstreams["calendar"] is before
    assert await _until_up(plane.open_upstreams["rooms"])
