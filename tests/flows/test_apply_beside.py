"""A long configuration is read beside the event loop: what else comes goes on meanwhile."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from perhop.control.operations import run_operation
from perhop.settings import load
from perhop.settings.sources import read_file
from perhop.wiring.opening import open_plane
from perhop.wiring.plane import Plane

MORE = '@id("test.more") forbid (principal, action, resource == MCP::Tool::"calendar/drop_table");'


@pytest.fixture
async def plane(folder: Path) -> AsyncIterator[Plane]:
    """An installation whose folder of policies holds another set than the one in force."""
    async with open_plane(load(folder / "perhop.yaml", os.environ), clock=time.time, record_start=True) as opened:
        (folder / "policies" / "more.cedar").write_text(MORE, encoding="utf-8")
        yield opened


def _watch(monkeypatch: pytest.MonkeyPatch, place: str, turned: list[bool]) -> None:
    """Let this step wait until the event loop has taken a turn, and note whether it could."""
    module, _, name = place.rpartition(".")
    loop, step = asyncio.get_running_loop(), getattr(import_module(module), name)

    def stepped(*arguments: Any, **more: Any) -> Any:
        has_turned = threading.Event()
        loop.call_soon_threadsafe(has_turned.set)
        turned.append(has_turned.wait(2))
        return step(*arguments, **more)

    monkeypatch.setattr(import_module(module), name, stepped)


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize(
    ("place", "times"),
    [
        ("perhop.settings.load.read_file", {True: 1, False: 1}),
        ("perhop.wiring.policies.parse_policies", {True: 2, False: 3}),
        ("perhop.wiring.reload.PolicyEngine", {True: 1, False: 1}),
    ],
)
async def test_the_event_loop_turns_while_a_configuration_is_read(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, place: str, times: dict[bool, int], *, dry_run: bool
) -> None:
    """The file, which is read once, the policies, and what is made of them."""
    turned: list[bool] = []
    _watch(monkeypatch, place, turned)
    result = await run_operation(plane, "apply", {"dry_run": dry_run})
    assert [each["name"] for each in result["changes"]] == ["test.more"]
    assert turned == [True] * times[dry_run]


async def test_the_event_loop_turns_while_versions_of_policies_are_read(
    plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proposing, approving and going back read whole sets as well."""
    before = plane.policy.version
    turned: list[bool] = []
    for place in ("perhop.settings.load.read_file", "perhop.wiring.policies.parse_policies"):
        _watch(monkeypatch, place, turned)
    proposed = await run_operation(plane, "policy.propose", {"by": "ann"})
    await run_operation(plane, "policy.approve", {"version": proposed["version"], "by": "bob"})
    await run_operation(plane, "policy.rollback", {"version": before})
    assert len(turned) >= 4
    assert all(turned)


async def test_what_was_read_later_is_put_in_force_later(
    plane: Plane, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two at a time, one is not read before the other was, however long that takes."""
    steps: list[str] = []
    go_on = threading.Event()

    def noted(path: Path) -> Any:
        steps.append("begun")
        read = read_file(path)
        go_on.wait(2)
        steps.append("read")
        return read

    monkeypatch.setattr(import_module("perhop.settings.load"), "read_file", noted)
    first = asyncio.create_task(run_operation(plane, "apply", {"dry_run": False}))
    while not steps:
        await asyncio.sleep(0.01)
    file = folder / "perhop.yaml"
    file.write_text(file.read_text(encoding="utf-8") + "\nmax_call: 77\n", encoding="utf-8")
    second = asyncio.create_task(run_operation(plane, "apply", {"dry_run": False}))
    for _ in range(20):
        await asyncio.sleep(0.01)
    go_on.set()
    await asyncio.gather(first, second)
    assert steps == ["begun", "read", "begun", "read"]
    assert plane.settings.max_call == 77
