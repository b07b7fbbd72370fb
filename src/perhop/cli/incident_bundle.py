"""The bundle of an incident, for somebody outside: put together, and checked before its name is there."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path

from perhop.control.investigation import Investigation
from perhop.control.signing import check_signed, sign_up_to
from perhop.errors import CheckFailed, JournalUnavailable, OperatorError
from perhop.journal.bundle import contents
from perhop.journal.bundle.check import check_bundle
from perhop.journal.incident import Incident
from perhop.journal.investigate import HopTree
from perhop.journal.keys import VKEY_FILE, load_vkey
from perhop.journal.proof import make_proofs
from perhop.settings import Settings
from perhop.storage.bundle_file import BundleFile, write_bundle
from perhop.storage.journal_still import JournalStill


def write_incident_bundle(
    target: Path,
    settings: Settings,
    investigation: Investigation,
    found: Incident,
    tree: HopTree,
    page: str,
    *,
    journal: Path | None,
) -> int:
    """Write the bundle, unless it would not verify; returns how many records it has. `journal` is the file that was
    asked, if it is not the live one.

    The investigation must see the journal as it was at one moment: whatever comes after it is not in the report.

    Raises: OperatorError, CheckFailed, JournalDamaged, JournalUnavailable
    """
    if target.exists():
        raise OperatorError(f"`{target}` is there already", advice="name another file: evidence is kept")
    seqs, size = contents.records_of(investigation.reader, found), investigation.reader.size()
    if investigation.reader.was_disturbed():
        raise JournalUnavailable("the journal was written while it was read: ask again")
    # A file that was named is only read; the live one is signed first where that is due.
    if journal is None:
        asyncio.run(sign_up_to(settings, size))
    else:
        check_signed(journal, size)
    key = load_vkey(settings.keys_dir / VKEY_FILE)
    # Records never change, so the proofs may come from a later look, under a checkpoint that covers all of them.
    with JournalStill(journal if journal is not None else settings.journal_path) as signed:
        note = signed.last_checkpoint() or ""
        given: dict[str, Iterable[bytes]] = {
            contents.README: [_readme()],
            contents.INCIDENT: [contents.render_json(found.as_json())],
            contents.PAGE: [page.encode()],
            contents.TREE: [contents.render_json(tree.as_json())],
            contents.RADIUS: [contents.render_json(found.radius.as_json())],
            contents.RECORDS: (json.dumps(each).encode() + b"\n" for each in make_proofs(signed, seqs)),
            contents.CHECKPOINT: [note.encode()],
            contents.KEY: [f"{key.vkey()}\n".encode()],
        }

        def check(draft: Path) -> None:
            with BundleFile(draft) as bundle:
                verdict = check_bundle(bundle, key)
            if not verdict.ok:
                raise CheckFailed(
                    f"no bundle was written, since it would not verify: {verdict.problem}",
                    advice="run `perhop journal verify`; copy `journal.db` as it is, and keep it as evidence",
                )

        made = _with_manifest(found.token.jti, given, records=len(seqs), made_at=investigation.now)
        write_bundle(target, made, check=check)
    return len(seqs)


def _with_manifest(
    token: str, given: dict[str, Iterable[bytes]], *, records: int, made_at: int
) -> Iterator[tuple[str, Iterable[bytes]]]:
    """The files, each hashed on its way, and then the manifest."""
    digests: dict[str, str] = {}

    def hashed(name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
        digest = hashlib.sha256()
        for chunk in chunks:
            digest.update(chunk)
            yield chunk
        digests[name] = digest.hexdigest()

    for name, chunks in given.items():
        yield name, hashed(name, chunks)
    yield contents.MANIFEST, [contents.render_manifest(token, digests, records=records, made_at=made_at)]


def _readme() -> bytes:
    return (files("perhop.cli") / "templates" / "bundle.txt").read_bytes()
