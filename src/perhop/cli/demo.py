"""`perhop demo`: see it work, and see the attacks refused."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from perhop.cli.output import AsJson, ExitCode, emit_json, emit_table, emit_text, say, stderr, stdout
from perhop.cli.trace import hop_tree
from perhop.demo.attacks import Outcome
from perhop.demo.run import Report, perform, staged
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
    """Run two real MCP servers behind a gateway, an agent that needs both, and the attacks that are refused."""
    for noisy in ("uvicorn", "mcp", "fastmcp", "httpx2", "FastMCP"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="perhop-demo-") as temporary:
        report = asyncio.run(_run(data if data is not None else Path(temporary), keep=keep, as_json=as_json))
    if not report.ok:
        raise typer.Exit(ExitCode.FAILURE)


async def _run(folder: Path, *, keep: bool, as_json: bool) -> Report:
    async with contextlib.AsyncExitStack() as stack:
        with stderr.status("starting authorization server, gateway and two MCP servers") as status:
            scene = await stack.enter_async_context(staged(folder))
            report = await perform(scene, status.update)
        if as_json:
            emit_json(report.as_json())
        else:
            _print(report)
        if keep:
            await _keep_running(scene)
    return report


async def _keep_running(scene: Scene) -> None:
    say(f"running at {scene.addresses.issuer}; files in {scene.folder}; interrupt to stop")
    for resource in scene.settings.registry.resources.values():
        say(f"  {resource.name}: {resource.uri}")
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


def _print(report: Report) -> None:
    _print_outcomes("What the agent did", report.steps)
    stdout.print(hop_tree(report.hops))
    stdout.print()
    _print_outcomes("What was tried", report.attacks)
    journal = report.journal
    emit_text(f"journal: {journal.records} records, {'verified' if journal.ok else 'NOT VERIFIED'}")
    emit_text("all as expected" if report.ok else "NOT as expected")


def _print_outcomes(title: str, outcomes: tuple[Outcome, ...]) -> None:
    emit_table(
        ("", "WHAT", "AT", "EXPECTED", "SEEN", "REASON"),
        (
            ("ok" if each.ok else "WRONG", each.title, each.at, each.expected, each.observed, each.reason)
            for each in outcomes
        ),
        title=title,
    )
    stdout.print()
