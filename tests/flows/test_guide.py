"""The guide is walked as it is written: its files, its commands, and what they print."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.sources import ROOT
from tests.support.walkthrough import move_ports, walking


def test_the_first_resource(tmp_path: Path) -> None:
    """A server that checks nobody gets a gateway, a token, policies and a record, as the page says."""
    with walking(tmp_path) as walk:
        walk.follow(ROOT / "docs/guide/first-resource.md")


def test_two_servers_and_what_comes_after(tmp_path: Path) -> None:
    """The examples run: an agent over two hops; then the leak, and the day-to-day work, in the same folder."""
    folder = tmp_path / "travel"
    shutil.copytree(ROOT / "examples", folder)
    with walking(folder) as walk:
        move_ports(walk, [*folder.glob("*.py"), folder / "perhop.yaml"])
        for page in ("guide/second-hop.md", "guide/people.md", "incident.md", "guide/operate.md"):
            walk.follow(ROOT / "docs" / page)
