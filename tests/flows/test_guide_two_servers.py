"""The longest walk through the guide: two servers, and what comes after them, in one folder."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.sources import ROOT
from tests.support.walkthrough import move_ports, walking

DOCS = ROOT / "docs"


def test_two_servers_and_what_comes_after(tmp_path: Path) -> None:
    """The examples run: an agent over two hops, then tasks, a person, a leak and day-to-day work in the same folder."""
    folder = tmp_path / "travel"
    shutil.copytree(ROOT / "examples", folder)
    settings = folder / "perhop.yaml"
    not_yet = datetime.now(UTC) + timedelta(days=60)
    settings.write_text(re.sub(r"(?<=expires: )\S+", f"{not_yet:%Y-%m-%d}", settings.read_text()))
    with walking(folder) as walk:
        move_ports(walk, [*folder.glob("*.py"), settings])
        for page in ("second-hop.md", "tool-pins.md", "tasks.md", "people.md", "../incident.md", "operate.md"):
            walk.follow(DOCS / "guide" / page)
