"""How the kernel lets the threads that write take turns with the event loop, where both share a core."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def wait_for_the_core() -> None:
    """From now on, the calling thread does not take the core from another one at the moment when it is woken.

    The event loop wakes a writer while it holds the interpreter's lock: a writer that ran at once would find that it
    cannot go on, and each of them would be taken off the core once for nothing. Its share of the core, and what it may
    use of others, stay as they are. Does nothing where the system does not know it or does not allow it, nor where the
    operator has chosen another policy than the usual one.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            if os.sched_getscheduler(0) == os.SCHED_OTHER:
                os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
