"""`perhop serve`: authorization server and gateway, until stopped."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from perhop.cli.carry_out import load_settings
from perhop.cli.options import AsJson, ConfigFile
from perhop.cli.output import emit_json, say
from perhop.errors import OperatorError

if TYPE_CHECKING:
    from perhop.settings import Settings


def serve(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Serve until stopped. Refuses to make what `perhop init` should have made."""
    import asyncio
    import logging

    from perhop.wiring.libraries import check_libraries, installed_version

    settings = load_settings(config)
    check_libraries(installed_version)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("perhop").setLevel(logging.INFO)
    asyncio.run(_serve(settings, as_json=as_json))


async def _serve(settings: Settings, *, as_json: bool) -> None:
    import asyncio
    import signal

    from perhop.control.running import control_socket
    from perhop.control.socket import is_answered
    from perhop.serving.serve import serving

    if await is_answered(settings.socket_path):
        advice = f"stop that one first, or serve another folder: it answers on `{settings.socket_path}`"
        raise OperatorError("perhop serves this installation already", advice=advice)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(settings, clock=time.time, control=control_socket):
        _announce(settings)
        if as_json:
            _announce_to_programs(settings)
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


def _announce_to_programs(settings: Settings) -> None:
    """One line, when it serves: whoever started this process need not guess when."""
    emit_json(
        {
            "issuer": settings.issuer,
            "resources": {resource.name: resource.uri for resource in settings.registry.resources.values()},
            "ops": f"http://{settings.listen.ops}",
            "unsafe": list(settings.unsafe()),
        }
    )
    sys.stdout.flush()
