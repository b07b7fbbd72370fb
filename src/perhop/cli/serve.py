"""`perhop serve`: authorization server and gateway, until stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time

from perhop.cli.output import ConfigFile, config_path, say
from perhop.control.running import control_socket
from perhop.serving.serve import serving
from perhop.settings import Settings, load


def serve(config: ConfigFile = None) -> None:
    """Serve until interrupted. Refuses to make what `perhop init` should have made."""
    settings = load(config_path(config), os.environ)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(settings, clock=time.time, control=control_socket):
        _announce(settings)
        await stop.wait()
        say("stopping: calls that run may end")


def _announce(settings: Settings) -> None:
    say(f"perhop serves {settings.issuer}")
    for resource in settings.registry.resources.values():
        where = f"-> {resource.upstream.url}" if resource.upstream else "(no gateway in front)"
        say(f"  {resource.name}: {resource.uri} {where}")
    say(f"  health: http://{settings.listen.ops}/readyz")
    for weakening in settings.unsafe():
        say(f"  UNSAFE: {weakening}")
