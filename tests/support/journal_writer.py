"""A writer of its own, for faults: `python -m tests.support.journal_writer FOLDER`.

It prints the id of every call whose permit was acknowledged, one a line, before it goes on.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from pathlib import Path

from perhop.errors import JournalUnavailable
from perhop.journal.keys import load_journal_key
from perhop.journal.writer import Journal
from perhop.storage.journal_db import open_journal
from tests.support.journals import a_permit

ROOM = 256 * 1024


def _open(folder: Path) -> Journal:
    return open_journal(folder / "journal.db", key=load_journal_key(folder / "keys"), clock=time.time)


def _say(*words: object) -> None:
    print(*words, flush=True)


async def full(folder: Path) -> None:
    """Append until no file may grow any more, see it fail, lift the limit, and go on in the same process."""
    journal = _open(folder)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    biggest = max(each.stat().st_size for each in folder.iterdir())
    resource.setrlimit(resource.RLIMIT_FSIZE, (biggest + ROOM, hard))
    number, failures = 0, 0
    # Opening the file anew after a fault tidies its log and may make a little room: full is full three times in a row.
    while number < 100_000 and failures < 3:
        number += 10
        try:
            await asyncio.gather(*(journal.append(a_permit(number + each)) for each in range(10)))
        except JournalUnavailable as error:
            failures += 1
            _say("full", error.status, journal.healthy)
        else:
            failures = 0
            for each in range(10):
                _say("ack", f"call-{number + each}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await journal.append(a_permit(number + 10))
    _say("ack", f"call-{number + 10}")
    _say("healthy", journal.healthy)
    await journal.close()


if __name__ == "__main__":
    asyncio.run(full(Path(sys.argv[1])))
