"""`perhop serve`: authorization server and gateway, until stopped."""

from __future__ import annotations

import gc
import signal
import sys
import time
from typing import TYPE_CHECKING

from perhop.cli.carry_out import load_settings
from perhop.cli.options import AsJson, ConfigFile
from perhop.cli.output import emit_json, say
from perhop.control.failure import failure_of
from perhop.errors import OperatorError, PerhopError

if TYPE_CHECKING:
    from perhop.settings import Settings
    from perhop.wiring.plane import Plane

STOPPING = (signal.SIGINT, signal.SIGTERM)


def serve(as_json: AsJson = False, config: ConfigFile = None) -> None:
    """Serve until stopped. Refuses to make what `perhop init` should have made.

    SIGHUP does what `perhop apply` does.
    """
    import logging

    import uvloop

    from perhop.wiring.libraries import check_libraries, installed_version

    settings = load_settings(config)
    check_libraries(installed_version)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("perhop").setLevel(logging.INFO)
    # A turn of this loop costs a fraction of what one of Python's own does, and a call takes several.
    uvloop.run(_serve(settings, as_json=as_json))


async def _serve(settings: Settings, *, as_json: bool) -> None:
    import asyncio

    from perhop.control.running import control_socket
    from perhop.control.socket import is_answered
    from perhop.serving.serve import serving

    if await is_answered(settings.socket_path):
        advice = f"stop that one first, or serve another folder: it answers on `{settings.socket_path}`"
        raise OperatorError("perhop serves this installation already", advice=advice)
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def stop_once() -> None:
        stop.set()
        for number in STOPPING:  # a second one is the system's: it ends the process at once
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in STOPPING:
        loop.add_signal_handler(number, stop_once)
    async with serving(settings, clock=time.time, control=control_socket) as running:
        reloads: set[asyncio.Task[None]] = set()

        def reload() -> None:
            task = asyncio.create_task(_reload(running.plane))
            reloads.add(task)
            task.add_done_callback(reloads.discard)

        loop.add_signal_handler(signal.SIGHUP, reload)
        _announce(settings, running.plane)
        if as_json:
            _announce_to_programs(settings)
        _spare_what_stays()
        await stop.wait()
        say(f"stopping: calls that run may end, within {settings.drain} s; once more to end at once")


def _spare_what_stays() -> None:
    """What is there once a server is up stays: garbage collection need not walk over it again and again.

    And a call leaves next to no cycles behind, so that what it makes and drops is no reason to look for any.
    """
    from perhop.serving.huge_pages import ask_for_huge_pages

    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    ask_for_huge_pages()


async def _reload(plane: Plane) -> None:
    """Nobody waits for an answer: what came of it is said where the server says everything."""
    from perhop.control.operations import run_operation

    try:
        result = await run_operation(plane, "apply", {"dry_run": False})
    except PerhopError as error:
        failure = failure_of(error)
        say(f"nothing was applied: {failure.problem}; {failure.advice}")
    else:
        say(f"in force: configuration {result['version']}, policies {result['policy_version']}")


def _announce(settings: Settings, plane: Plane) -> None:
    from perhop.control.data_planes import ADVICE, needing_bodies

    say(f"perhop serves {settings.issuer}")
    for resource in settings.registry.resources.values():
        where = f"-> {resource.upstream.place}" if resource.upstream else "(no gateway in front)"
        say(f"  {resource.name}: {resource.uri} {where}")
    say(f"  console: {settings.console_url}")
    say(f"  health: http://{settings.listen.ops}/readyz")
    if settings.listen.authz is not None:
        say(f"  other proxies ask at {settings.listen.authz}")
    for name, why in needing_bodies(settings, plane.policy).items():
        say(f"  {name} is closed to a proxy that sends no body: {why}; {ADVICE}")
    if plane.policies_refused:
        say(f"  policies: {plane.policies_refused}; version {plane.policy.version}, approved last, is in force")
    for weakening in settings.unsafe():
        say(f"  UNSAFE: {weakening}")


def _announce_to_programs(settings: Settings) -> None:
    """One line, when it serves: whoever started this process need not guess when."""
    emit_json(
        {
            "issuer": settings.issuer,
            "resources": {resource.name: resource.uri for resource in settings.registry.resources.values()},
            "console": settings.console_url,
            "ops": f"http://{settings.listen.ops}",
            "unsafe": list(settings.unsafe()),
        }
    )
    sys.stdout.flush()
