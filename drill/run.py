"""The drill: `make drill`, or `python -m drill.run [--quick] [--records N] [--kills N] [--only PART]...`.

Results go to stdout and to drill/results/; how far it is goes to stderr. Exit code 0 only if everything held.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from drill import order, theft, traces
from drill.busy import CACHE, busy_site
from drill.installation import DrillFailed, serving, serving_tools
from drill.kills import kill_many
from drill.machine import heading, lap, machine, say, tell
from drill.speed import verify
from perhop.storage.journal_reader import copy_journal
from scripts.fetch_real import RealSoftwareMissing

RESULTS = Path(__file__).parent / "results"
PARTS = ("theft", "kills", "order")


def main() -> int:
    """Run what was asked for, and say whether it held."""
    options = _options()
    CACHE.mkdir(parents=True, exist_ok=True)
    with _kept_as_file(), tempfile.TemporaryDirectory(prefix="run-", dir=CACHE) as place:
        say(machine())
        held = True
        for part in options.only or PARTS:
            try:
                _PARTS[part](Path(place) / part, options)
            except* (DrillFailed, RealSoftwareMissing) as failed:
                held = False
                say("".join(f"FAILED: {each}\n" for each in _leaves(failed)).rstrip())
        say(f"\n{'everything held' if held else 'NOT everything held'}")
    return 0 if held else 1


def _leaves(group: BaseExceptionGroup[Exception]) -> Iterator[BaseException]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _leaves(each)
        else:
            yield each


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="an incident drill: theft, kills, and what the journal promises")
    parser.add_argument("--quick", action="store_true", help="20,000 records and 25 kills")
    parser.add_argument("--records", type=int, help="records in the journal before the theft (1,000,000)")
    parser.add_argument("--kills", type=int, help="how often the server is killed (1,000)")
    parser.add_argument("--lanes", type=int, default=2, help="installations that are killed at the same time (2)")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other moments (1)")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part alone; may come again")
    options = parser.parse_args()
    options.records = options.records or (20_000 if options.quick else 1_000_000)
    options.kills = options.kills or (25 if options.quick else 1_000)
    return options


def _theft(folder: Path, options: argparse.Namespace) -> None:
    outside = folder.with_name("outside")
    outside.mkdir()
    site = busy_site(options.records, folder, tell=tell)
    older = folder.with_name("older") / "journal.db"
    older.parent.mkdir()
    for name in ("journal.db", "journal.checkpoint"):
        shutil.copy(site.folder / name, older.with_name(name))
    with serving_tools(site), serving(site):
        played = asyncio.run(theft.play(site, pages=5 if options.quick else 25, outside=outside))
        heading("Verifying")
        say(machine())
        tell("verifying the journal that is being written")
        verify(site.folder, site.folder / "journal.db", what="the file of the running server")
    copy = folder.with_name("copy") / "journal.db"
    copy.parent.mkdir()
    copy_journal(site.folder / "journal.db", copy)
    verify(site.folder, copy, what="a copy")
    heading("Traces removed")
    traces.remove_all(site, copy, older, played.jti, tell=tell)


def _kills(folder: Path, options: argparse.Namespace) -> None:
    folder.mkdir()
    with lap() as took:
        seen = asyncio.run(kill_many(folder, kills=options.kills, seed=options.seed, lanes=options.lanes, tell=tell))
    heading("Killed at any moment")
    for line in seen.lines():
        say(line)
    say(f"in                             {took.seconds:.0f} s; {machine()}")


def _order(folder: Path, _: argparse.Namespace) -> None:
    heading("On disk before it is forwarded")
    for line in order.show(folder):
        say(line)


_PARTS = {"theft": _theft, "kills": _kills, "order": _order}


class _Both(io.TextIOBase):
    """Everything that is written, to two streams."""

    def __init__(self, streams: Sequence[io.TextIOBase]) -> None:
        self._streams = streams

    def write(self, text: str) -> int:
        for stream in self._streams:
            stream.write(text)
        return len(text)

    def flush(self) -> None:
        for stream in self._streams:
            stream.flush()


@contextlib.contextmanager
def _kept_as_file() -> Iterator[None]:
    RESULTS.mkdir(exist_ok=True)
    name = f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.txt"
    with (
        (RESULTS / name).open("w", encoding="utf-8") as file,
        contextlib.redirect_stdout(_Both([sys.stdout, file])),  # type: ignore[list-item]
    ):
        yield


if __name__ == "__main__":
    sys.exit(main())
