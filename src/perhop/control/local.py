"""Where an operation runs: in the running server if one answers on the control socket, else here on the files."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from perhop.control.operations import run_operation
from perhop.control.socket import ask
from perhop.settings import Settings
from perhop.wiring.plane import open_plane


async def carry_out(settings: Settings, operation: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Run one operation. The journal's lock keeps a server and a command from both writing.

    Raises: OperatorError, Refused, Unavailable
    """
    answered = await ask(settings.socket_path, operation, arguments)
    if answered is not None:
        return answered
    async with open_plane(settings, clock=time.time, record_start=False) as plane:
        return await run_operation(plane, operation, arguments)
