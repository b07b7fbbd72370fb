"""A real server that is killed again and again under load, with clients that remember what they were told."""

from __future__ import annotations

from pathlib import Path

from drill.kills import kill_many

KILLS = 25


async def test_whatever_a_client_was_told_is_in_the_journal_after_every_kill(tmp_path: Path) -> None:
    """Each answered call and each tool that a server ran has its permit; the journal verifies each time and goes on.

    `make drill` does it a thousand times.
    """
    seen = await kill_many(tmp_path, kills=KILLS, seed=8)
    assert seen.kills == KILLS
    assert 0 < seen.while_starting < KILLS
    assert seen.acknowledged >= KILLS - seen.while_starting
    assert seen.ended + seen.unfinished == seen.acknowledged
    assert seen.acknowledged <= seen.permits
