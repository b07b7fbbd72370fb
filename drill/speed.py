"""How fast a journal is verified: by the command, on the file that is being written, and on a copy."""

from __future__ import annotations

import json
from pathlib import Path

from drill.installation import DrillFailed, perhop
from drill.machine import lap, say


def verify(folder: Path, journal: Path, *more: str, what: str) -> int:
    """Verify a whole journal, say how long that took, and how many records it has. Raises: DrillFailed."""
    key = str(folder / "keys" / "journal.vkey")
    with lap() as took:
        found = json.loads(perhop(folder, "journal", "verify", str(journal), "--public-key", key, "--json", *more))
    if not found["ok"]:
        raise DrillFailed(f"`{journal}` does not verify: {found}")
    size, records = journal.stat().st_size, int(found["records"])
    say(
        f"{what:<44} {took.seconds:8.2f} s   {records} records, {size / 1e6:.0f} MB:"
        f" {records / took.seconds:.0f} records a second, {size / 1e6 / took.seconds:.1f} MB/s"
    )
    return records
