"""`perhop demo`: see it work, and see the attacks refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perhop.cli.options import AsJson
from perhop.cli.output import emit_json, emit_table, emit_text, progress, say
from perhop.cli.trace import hop_tree
from perhop.control.failure import ExitCode
from perhop.errors import OperatorError

if TYPE_CHECKING:
    from perhop.demo.outcome import Outcome
    from perhop.demo.run import Report
    from perhop.demo.scene import Scene


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave it running until interrupted, and print the URLs.")
    ] = False,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Keep its files there, laid out as by init.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """See it work, and see the attacks refused. Two real MCP servers, an agent that needs both, and a thief."""
    import asyncio
    import logging
    import tempfile

    for noisy in ("uvicorn", "mcp", "fastmcp", "httpx2", "FastMCP"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="perhop-demo-") as temporary:
        report = asyncio.run(_run(data if data is not None else Path(temporary), keep=keep, as_json=as_json))
    if not report.ok:
        raise typer.Exit(ExitCode.FAILURE)


async def _run(folder: Path, *, keep: bool, as_json: bool) -> Report:
    from contextlib import AsyncExitStack

    async with AsyncExitStack() as stack:
        with progress("starting authorization server, gateway and two MCP servers") as tell:
            try:
                from perhop.demo.run import perform, staged
            except ModuleNotFoundError as error:
                advice = "run `pip install '/path/to/perhop[demo]'`, from your checkout"
                raise OperatorError(f"the demo needs `{error.name}`, which is not installed", advice=advice) from error
            scene = await stack.enter_async_context(staged(folder))
            report = await perform(scene, tell)
        if as_json:
            emit_json(report.as_json())
        else:
            _print(report)
        if keep:
            await _keep_running(scene)
    return report


async def _keep_running(scene: Scene) -> None:
    import asyncio
    import signal

    say(f"running at {scene.addresses.issuer}; files in {scene.folder}; interrupt to stop")
    for resource in scene.settings.registry.resources.values():
        say(f"  {resource.name}: {resource.uri}")
    say(f"Look around: perhop journal tail --config {scene.folder / 'perhop.yaml'}")
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


def _print(report: Report) -> None:
    emit_text("What the agent did")
    emit_table(
        ("", "STEP", "AT", "SEEN"),
        ((_verdict(each), each.title, each.at, _seen(each, expected=not each.ok)) for each in report.steps),
    )
    emit_text("\nWhat came of its token")
    emit_text("\n".join(hop_tree(report.hops)))
    emit_text("\nWhat was tried against it")
    _print_attacks(report.attacks)
    journal = report.journal
    emit_text(f"\njournal: {journal.records} records, {'verified' if journal.ok else 'NOT VERIFIED'}")
    emit_text("all as expected" if report.ok else "NOT as expected")


def _print_attacks(attacks: Sequence[Outcome]) -> None:
    emit_table(
        ("", "TRIED", "AT", "EXPECTED", "SEEN"),
        ((_verdict(each), each.id, each.at, each.expected, _seen(each)) for each in attacks),
    )


def _verdict(outcome: Outcome) -> str:
    return "ok" if outcome.ok else "WRONG"


def _seen(outcome: Outcome, *, expected: bool = False) -> str:
    """What was observed and why, as the part that refused it recorded."""
    said = (outcome.observed, outcome.reason, f"(expected {outcome.expected})" if expected else None)
    return " ".join(each for each in said if each)
