"""Which file of the journal a command asks, and what it says of the part of time that is not in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perhop.cli.carry_out import load_settings
from perhop.cli.output import say

if TYPE_CHECKING:
    from perhop.storage.journal_reader import JournalQueries

JournalFile = Annotated[
    Path | None,
    typer.Option("--journal", metavar="FILE", help="Ask this file, an archived segment or a copy (default: the live)."),
]


@contextmanager
def open_reader(config: Path | None, journal: Path | None) -> Iterator[JournalQueries]:
    """A reader of the file that was named, which needs no configuration, else of the live journal."""
    from perhop.storage.journal_reader import JournalQueries

    with JournalQueries(journal if journal is not None else load_settings(config).journal_path) as reader:
        yield reader


def tell_archived(reader: JournalQueries, *, since: str | None = None) -> None:
    """Say which part of time an answer does not cover; nothing, if nobody asked for what was before `since`."""
    from perhop.journal.archived_part import archived_part

    part = archived_part(reader)
    if part is None or (since is not None and since >= part.until):
        return
    if reader.is_sealed():
        say(f"note: only records {part.records + 1} to {reader.size()} were asked; others are in other files")
        return
    files = f", the latest in {', '.join(part.files)}" if part.files else ""
    say(f"note: records 1 to {part.records}, before {part.until}, are archived and were not asked{files}")
    say("  ask a segment with `--journal FILE`")
