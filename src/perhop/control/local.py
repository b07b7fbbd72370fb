"""Where an operation runs: in the running server if one answers on the control socket, else here on the files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from perhop.control.socket import ask
from perhop.errors import JournalLocked
from perhop.settings import Settings

LOCK_SECONDS = 10.0
"""How long a command waits for another one, or for a server that holds the lock but does not answer yet."""

_RETRY_SECONDS = 0.05


async def carry_out(settings: Settings, operation: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Run one operation. The journal's lock keeps a server and a command from both writing.

    Raises: OperatorError, Refused, Unavailable
    """
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        answered = await ask(settings.socket_path, operation, arguments)
        if answered is not None:
            return answered
        # Only who works on the files needs what works on them: a command that a server answers is quick.
        from perhop.control.operations import run_operation
        from perhop.wiring.opening import open_plane

        try:
            async with open_plane(settings, clock=time.time, record_start=False) as plane:
                return await run_operation(plane, operation, arguments)
        except JournalLocked:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(_RETRY_SECONDS)
