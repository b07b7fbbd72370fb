"""`perhop journal verify`: one file of the journal, or the live file with every archived segment before it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perhop.cli.carry_out import load_settings
from perhop.cli.options import AsJson, ConfigFile
from perhop.cli.output import counted, emit_json, emit_text, progress, say
from perhop.control.failure import ExitCode
from perhop.errors import CheckFailed, NotFound, OperatorError

if TYPE_CHECKING:
    from perhop.journal.chain import Chain, Link
    from perhop.journal.keys import JournalVerifyKey
    from perhop.journal.verify import Verification
    from perhop.storage.journal_reader import JournalSnapshot

PublicKey = Annotated[
    Path | None,
    typer.Option("--public-key", metavar="FILE", help="The journal's public key (default: keys/journal.vkey)."),
]


def verify(
    journal_db: Annotated[
        Path | None, typer.Argument(metavar="JOURNAL_DB", help="A journal's file; default: that of the configuration.")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", metavar="FILE", help="A checkpoint that was kept elsewhere (default: the last)."),
    ] = None,
    public_key: PublicKey = None,
    archive: Annotated[
        Path | None,
        typer.Option("--archive", metavar="DIR", help="Verify the archived segments in this folder, too, as one."),
    ] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
) -> None:
    """Check every record against the tree and its signed checkpoints. Names the first that is bad or missing."""
    from perhop.journal.chain import older_checkpoints
    from perhop.journal.keys import VKEY_FILE, load_vkey
    from perhop.journal.verify import verify_journal
    from perhop.storage.journal_reader import JournalSnapshot

    must_be_live = journal_db is None or archive is not None
    if journal_db is None or public_key is None:
        settings = load_settings(config)
        journal_db = journal_db or settings.journal_path
        public_key = public_key or settings.keys_dir / VKEY_FILE
    key = load_vkey(public_key)
    given = _kept_checkpoint(journal_db, checkpoint)
    with JournalSnapshot(journal_db) as snapshot, progress("verifying") as tell:

        def look() -> tuple[Verification, list[str]]:
            kept, older = given, list[str]()
            if archive is not None:
                kept, older = older_checkpoints(given, key, base=_base_size(snapshot))
            found = verify_journal(
                snapshot, key, checkpoints=kept, progress=lambda count: tell(f"verifying: {count} records")
            )
            return found, older

        found, older = snapshot.undisturbed(look)
    if must_be_live and found.is_sealed:
        problem = f"`{journal_db}` is a sealed segment: in the place of the live journal it hides what came after it"
        found = replace(found, ok=False, problem=found.problem or problem)
    if archive is None:
        is_ok = _tell_file(found, as_json=as_json)
    else:
        is_ok = _tell_chain(_chain(found, archive, key, older), as_json=as_json)
    if not is_ok:
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _base_size(snapshot: JournalSnapshot) -> int:
    from perhop.errors import JournalDamaged

    try:
        return snapshot.base().frontier.size
    except JournalDamaged:
        return 0  # the verification says what is wrong with it


def _chain(found: Verification, archive: Path, key: JournalVerifyKey, older: list[str]) -> Chain:
    from perhop.journal.chain import verify_chain
    from perhop.storage.journal_segment import SegmentFolder

    if not archive.is_dir():
        raise NotFound(f"there is no folder `{archive}`", advice="name the folder that holds the segments")
    segments = SegmentFolder(archive)
    with progress("verifying segments") as tell:
        chain = verify_chain(
            found, segments, key, checkpoints=older, progress=lambda name, at: tell(f"verifying {name}: record {at}")
        )
    known = {each.archived.file for each in chain.links}
    if strangers := [name for name in segments.names() if name not in known]:
        say(f"not part of this journal's history, and not looked at: {', '.join(strangers)}")
    return chain


def _kept_checkpoint(file: Path, checkpoint: Path | None) -> list[str]:
    """The checkpoint that was named, else the one published beside the journal, if it is there.

    Read before the journal, which may have grown since, but never shrunk.
    """
    from perhop.storage.journal_db import checkpoint_path

    kept = checkpoint if checkpoint is not None else checkpoint_path(file)
    try:
        return [kept.read_text(encoding="utf-8")]
    except FileNotFoundError:
        if checkpoint is None:
            return []
        raise NotFound(f"there is no checkpoint `{kept}`", advice="check the path") from None
    except UnicodeDecodeError:
        raise CheckFailed(f"`{kept}` is not a checkpoint") from None
    except OSError as error:
        raise OperatorError(f"`{kept}` cannot be read: {error.strerror}") from error


def _tell_file(found: Verification, *, as_json: bool) -> bool:
    if as_json:
        emit_json(_as_json(found))
        if found.problem:
            say(found.problem)
        return found.ok
    if not found.ok:
        emit_text(f"NOT OK: {found.problem}")
        return False
    emit_text(f"ok: {_records(found)}, root {found.root}")
    for line in _rests_on(found):
        emit_text(line)
    return True


def _records(found: Verification) -> str:
    if found.first == 1 and not found.is_sealed:
        return f"{found.records} records"
    sealed = "sealed segment, " if found.is_sealed else ""
    return f"{sealed}records {found.first} to {found.last}"


def _rests_on(found: Verification) -> list[str]:
    """What a file that does not begin with the first record rests on, as far as it says so itself."""
    if found.first == 1:
        return []
    earlier = [each for each in found.archived if each.last < found.first]
    lines = [f"rests on records {each.first} to {each.last} in {each.file}, sha256 {each.sha256}" for each in earlier]
    if not earlier or earlier[0].first > 1:
        upto = earlier[0].first - 1 if earlier else found.first - 1
        lines.insert(0, f"rests on records 1 to {upto} in earlier segments")
    if not found.is_sealed:
        lines.append("`--archive DIR` verifies them, too")
    return lines


def _as_json(found: Verification) -> dict[str, Any]:
    document: dict[str, Any] = {
        "ok": found.ok,
        "records": found.records,
        "root": found.root,
        "first_bad": found.first_bad,
    }
    if found.first > 1 or found.is_sealed:
        document |= {
            "first": found.first,
            "last": found.last,
            "sealed": found.is_sealed,
            "archived": [each.as_json() for each in found.archived],
        }
    return document


def _tell_chain(chain: Chain, *, as_json: bool) -> bool:
    live = chain.live
    problems = [each for each in (*(link.problem for link in chain.links), live.problem) if each]
    if chain.problem and chain.problem not in problems:
        problems.insert(0, chain.problem)
    if as_json:
        emit_json(
            {
                "ok": chain.ok,
                "records": chain.records,
                "root": live.root,
                "first_bad": chain.first_bad,
                "last": live.last,
                "segments": [_link_json(link) for link in chain.links],
            }
        )
        for problem in problems:
            say(problem)
        return chain.ok
    for link in chain.links:
        said = f"{link.archived.file}: records {link.archived.first} to {link.archived.last}"
        emit_text(f"{'NOT OK' if link.problem else 'ok'}: {said}")
    emit_text(f"{'ok' if live.ok else 'NOT OK'}: the live journal: {_records(live)}")
    if chain.ok:
        emit_text(f"ok: {chain.records} records in {counted(len(chain.links) + 1, 'file')}, root {live.root}")
    for problem in problems:
        emit_text(f"NOT OK: {problem}")
    return chain.ok


def _link_json(link: Link) -> dict[str, Any]:
    return {**link.archived.as_json(), "ok": not link.problem, "problem": link.problem or None}
