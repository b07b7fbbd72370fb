"""Archiving a part of the journal: what can go, the segment with it, and the cut.

The heavy work is done by the command, which only reads the live file. The cut is an operation of the one writer: it
looks again, cheaply, at everything that would make a cut wrong, and trusts nobody for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perhop.control.operator import by_operator
from perhop.errors import NotFound, OperatorError
from perhop.journal.archived import Archived, segment_name
from perhop.journal.canonical import format_time
from perhop.journal.keys import VKEY_FILE, load_vkey
from perhop.journal.store import Cut, SignedTree
from perhop.settings import Settings
from perhop.storage.export_files import CursorFile
from perhop.storage.journal_segment import (
    ArchivableJournal,
    Ends,
    archive_folder,
    check_ends,
    read_ends,
    sha256_of,
    verify_segment,
    write_segment,
    written_before,
)
from perhop.wiring.plane import Plane

LOOK_BACK_SECONDS = 24 * 3600
"""Records that never go. Revocation looks for the descendants of a live token among the permits, audiences of a chain
among its ancestors', and an outcome belongs beside its permit: a token lives 15 minutes, a call as long as `max_call`,
the row of an expired token a day."""

FOLDER = "journal-archive"

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would go: records `first` to `last`, under `note`, from before `until`. `why` says why no more.

    Nothing goes where `last` is smaller than `first`. `written` is the segment that an interrupted run left.
    """

    base: SignedTree
    last: int
    note: str
    until: str
    kept: int
    why: str
    written: Path | None

    @property
    def first(self) -> int:
        return self.base.frontier.size + 1

    @property
    def records(self) -> int:
        return self.last - self.first + 1

    @property
    def file(self) -> str:
        return segment_name(self.first, self.last)


def archive_folder_of(settings: Settings) -> Path:
    """Where segments go if nobody says otherwise: beside the journal."""
    return settings.journal_path.with_name(FOLDER)


def make_plan(settings: Settings, *, before: float, now: float, folder: Path) -> Plan:
    """The most that can go of the records before this time (seconds since the epoch), up to a stored checkpoint.

    Raises: NotFound, OperatorError, ExportFailed, JournalDamaged, JournalUnavailable
    """
    if before > now - LOOK_BACK_SECONDS:
        raise OperatorError(
            f"records since {format_time(now - LOOK_BACK_SECONDS)} stay: live tokens are looked up in the journal",
            advice="archive up to an earlier time, a day ago at the latest",
        )
    with ArchivableJournal(settings.journal_path) as journal:
        _check_is_live(journal, settings.journal_path)
        base, size = journal.base(), journal.size()
        stays = journal.first_from(before)
        most, why = (size, "") if stays is None else (stays[0] - 1, f"record {stays[0]} is of {stays[1]}")
        taken, export = _taken(settings, size)
        if taken < most:
            most, why = taken, f"the export `{export}` has not yet taken record {taken + 1}"
        written = next(
            (each for each in reversed(written_before(folder, base.frontier.size + 1)) if each[0] <= most), None
        )
        found = journal.last_checkpoint_upto(written[0] if written is not None else most)
        last, note = found if found is not None and found[0] > base.frontier.size else (base.frontier.size, "")
        if written is not None and last != written[0]:
            written = None
        first_kept = journal.record(last + 1)
    return Plan(
        base=base,
        last=last,
        note=note,
        until=(first_kept.text("time") if first_kept is not None else None) or format_time(before),
        kept=size - last,
        why=why,
        written=written[1] if written is not None else None,
    )


def _check_is_live(journal: ArchivableJournal, path: Path) -> None:
    if journal.is_sealed():
        raise OperatorError(f"`{path}` is a sealed segment", advice="restore the live journal to this place")


def _taken(settings: Settings, size: int) -> tuple[int, str]:
    """How far the export that lags behind most has got, and its name."""
    cursors = ((CursorFile(settings.cursor_path(each.name)).load(), each.name) for each in settings.exports)
    return min(cursors, default=(size, ""))


def write_planned(settings: Settings, plan: Plan, *, folder: Path, tell: Progress) -> tuple[Path, str]:
    """The segment of this plan, written and verified, or found and verified; with its SHA-256 (hex).

    Raises: OperatorError, JournalDamaged, JournalUnavailable
    """
    key = load_vkey(settings.keys_dir / VKEY_FILE)
    with archive_folder(folder):
        path = plan.written
        if path is None:
            path = write_segment(settings.journal_path, folder, plan.base, plan.last, key, tell)
        else:
            verify_segment(path, plan.base, plan.last, key, tell)
        tell("reading what was written")
        return path, sha256_of(path)


async def cut_journal(plane: Plane, *, file: str, sha256: str) -> Mapping[str, Any]:
    """Let the journal begin after this segment, and record what was archived. Takes no look at the segment's bodies.

    `swept` is False where the server goes on to take the records out of the file by itself.

    Raises: OperatorError, JournalDamaged, JournalUnavailable
    """
    path = Path(file)
    # Nobody else moves the base meanwhile: there is one writer, and it makes one cut at a time.
    async with plane.changing:
        ends = await asyncio.to_thread(read_ends, path)
        base, last = await asyncio.to_thread(_check, plane, ends), ends.end.frontier.size
        first = base.frontier.size + 1
        root = ends.end.frontier.root().hex()
        archived = Archived(first=first, last=last, root=root, file=path.name, sha256=sha256)
        if Archived.of({"event": "journal.archived", "about": archived.as_json()}) is None:
            raise OperatorError(f"`{path.name}` and `{sha256}` are no name of a segment and its SHA-256")
        seq = await plane.journal.cut(Cut(base.frontier.size, ends.end), archived.record(by=by_operator()))
    is_served = bool(plane.followers)
    if not is_served:
        await plane.journal.swept()
    return {**archived.as_json(), "seq": seq, "swept": not is_served}


def _check(plane: Plane, ends: Ends) -> SignedTree:
    settings, last = plane.settings, ends.end.frontier.size
    with ArchivableJournal(settings.journal_path) as journal:
        base, stored = journal.base(), journal.last_checkpoint_upto(last)
        stays = journal.first_from(plane.issuer.clock() - LOOK_BACK_SECONDS)
        size = journal.size()
    if stored is None or stored[0] != last:
        raise NotFound(f"the journal has no checkpoint over {last} records", advice="run the command again")
    check_ends(ends, base, stored[1], plane.journal_key.verify_key)
    if stays is not None and stays[0] <= last:
        raise OperatorError(
            f"record {stays[0]} is of {stays[1]}, and the last day stays in the journal",
            advice="archive up to an earlier time; look whether the clocks are right",
        )
    taken, export = _taken(settings, size)
    if taken < last:
        raise OperatorError(
            f"the export `{export}` has not yet taken record {taken + 1}", advice="run the command again when it has"
        )
    return base
