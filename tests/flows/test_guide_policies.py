"""The guide to trying a policy is walked as it is written, on the journal that the demo leaves."""

from __future__ import annotations

from pathlib import Path

from tests.support.sources import ROOT
from tests.support.walkthrough import walking


def test_a_policy_on_trial(tmp_path: Path) -> None:
    """A draft is replayed on the demo's journal, tested, approved, put in force and taken back, as the page says."""
    with walking(tmp_path) as walk:
        walk.follow(ROOT / "docs/guide/try-a-policy.md")
