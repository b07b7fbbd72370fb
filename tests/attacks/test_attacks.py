"""Every attack of the table, at every door that it is meant for, on one running installation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from tests.attacks.catalogue import ROWS
from tests.attacks.row import Door, Row, Seen, Sights
from tests.attacks.world import World, attacked

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with attacked(tmp_path_factory.mktemp("attacked")) as running:
        yield running


@pytest.mark.parametrize("row", ROWS, ids=[row.slug for row in ROWS])
async def test_attack(row: Row, world: World) -> None:
    """What the row expects is seen at each of its doors, and gateway and guard answer alike."""
    seen: dict[Door, Sights] = {}
    for door, attempt in row.attempts.items():
        seen[door] = await attempt(world)
        world.tried.add((row.slug, door))
    wrong = [
        (door.value, variant, sight.outcome, row.expected[door].outcome)
        for door, sights in seen.items()
        for variant, sight in sights.items()
        if sight.outcome != row.expected[door].outcome
    ]
    assert wrong == []
    if {Door.GATEWAY, Door.GUARD} <= seen.keys() and not row.differs:
        assert _answers(seen[Door.GATEWAY]) == _answers(seen[Door.GUARD])


def _answers(sights: Sights) -> Mapping[str, Any]:
    """What each variant was told, without what only one of the doors has: its metadata's address, a record's id."""
    return {variant: _told(seen) for variant, seen in sights.items()}


def _told(seen: Seen) -> Any:
    if seen.answer is None or seen.answer.status < 400:
        return seen.observed
    challenge = {name: value for name, value in seen.answer.challenge.items() if name != "resource_metadata"}
    message = seen.answer.message
    if isinstance(message, dict) and isinstance(message.get("error"), dict):
        message["error"].get("data", {}).pop("record", None)
    kept = {name: seen.answer.header(name) for name in ("cache-control", "content-type", "retry-after", "allow")}
    return seen.observed, challenge, message, kept
