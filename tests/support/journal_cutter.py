"""A writer for faults: `python -m tests.support.journal_cutter FOLDER SEGMENT STEPS`.

It cuts the journal of the folder where the segment ends, takes so many steps of the sweep, and is killed at the next.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from perhop.journal.keys import load_journal_key
from perhop.journal.writer import Journal
from perhop.storage.journal_db import JournalDatabase
from tests.support.archives import cut_at
from tests.support.journals import JournalFolder


class KilledInSweep(JournalDatabase):
    """The real store, in a process that dies when it is to take one step too many."""

    steps = 0

    def sweep(self) -> bool:
        if self.steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.steps -= 1
        return super().sweep()


async def cut(folder: Path, segment: Path, steps: int) -> None:
    """Cut, and wait for what comes."""
    made = JournalFolder(folder=folder, key=load_journal_key(folder / "keys"))
    store = KilledInSweep(made.path)
    store.steps = steps
    journal = Journal(store, key=made.key, clock=time.time)
    await cut_at(made, journal, segment)
    await journal.swept()


if __name__ == "__main__":
    asyncio.run(cut(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
