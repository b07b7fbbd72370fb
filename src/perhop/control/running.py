"""The control socket of a running server, answered by its own operations."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from perhop.control.operations import run_operation
from perhop.control.socket import listening
from perhop.wiring.plane import Plane


@contextlib.asynccontextmanager
async def control_socket(plane: Plane) -> AsyncIterator[None]:
    """Answer commands while the block runs."""

    async def answer(operation: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return await run_operation(plane, operation, arguments)

    async with listening(plane.settings.socket_path, answer):
        yield
