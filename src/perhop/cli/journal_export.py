"""`perhop journal export`: the journal's records for other programs. Needs no server; reads files only."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from perhop.cli.carry_out import load_settings
from perhop.cli.journal_file import JournalFile, open_reader, tell_archived
from perhop.cli.options import AsJson, ConfigFile
from perhop.cli.output import progress

FOLLOW_SECONDS = 0.5


def export(
    format_: Annotated[
        str, typer.Option("--format", metavar="json|ocsf", help="The records as they are, or as OCSF events.")
    ] = "json",
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Append to this file instead of printing.")
    ] = None,
    cursor: Annotated[
        Path | None,
        typer.Option("--cursor", metavar="FILE", help="Go on after the record that this file names, and keep it."),
    ] = None,
    first: Annotated[
        int, typer.Option("--first", min=1, max=2**63 - 1, metavar="SEQ", help="From this record on.")
    ] = 1,
    journal: JournalFile = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with new records until interrupted.")] = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Write records for other programs, one a line. Each at least once, in order."""
    from perhop.journal.keys import VKEY_FILE, load_vkey
    from perhop.settings.exports import whose
    from perhop.storage.export_files import AppendedFile, CursorFile, CursorInMemory, Stream
    from perhop.wiring.exports import FORMATS, open_feed

    del as_json  # every line is JSON, asked for or not
    if format_ not in FORMATS:
        raise typer.BadParameter(
            f"there is no format `{format_}`; there are {', '.join(FORMATS)}", param_hint="--format"
        )
    if cursor is not None and first != 1:
        raise typer.BadParameter("the cursor says where to go on; leave one of them out", param_hint="--first")
    settings = load_settings(config)
    what = whose(to, file=settings.file, database=settings.database_path) if to is not None else None
    if what is not None:
        raise typer.BadParameter(f"`{to}` is {what}; name a file that nothing else writes", param_hint="--to")
    place = AppendedFile(to) if to is not None else Stream(sys.stdout.buffer)
    kept = CursorFile(cursor) if cursor is not None else CursorInMemory(first - 1)
    origin = load_vkey(settings.keys_dir / VKEY_FILE).name
    with open_reader(config, journal) as reader, progress("exporting") as tell:
        if kept.load() == 0:
            tell_archived(reader)
        feed = open_feed(reader, format_, place, kept, origin=origin)
        try:
            while (waiting := feed.pump()) or follow:
                tell(f"exporting: {waiting} records wait")
                if not waiting:
                    time.sleep(FOLLOW_SECONDS)
        except KeyboardInterrupt:
            return  # how following ends
