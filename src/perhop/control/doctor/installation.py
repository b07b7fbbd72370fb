"""Checks of what lies in the folder: libraries, keys, databases, journal, policies. They need no server."""

from __future__ import annotations

import asyncio
import re
import shlex
import stat
from functools import partial
from pathlib import Path

from perhop.control.archiving import archive_folder_of
from perhop.control.doctor.finding import Seen, failed, ok, some, warning
from perhop.control.doctor.patient import Patient
from perhop.control.known_schemas import known_schemas
from perhop.control.policy_versions import policy_versions, version_in_folder
from perhop.journal.keys import VKEY_FILE, load_journal_key, load_vkey
from perhop.journal.verify import verify_journal
from perhop.policy.check import check as check_policies
from perhop.policy.finding import Severity
from perhop.policy.policy_set import load_policies, load_sources
from perhop.settings import Settings
from perhop.storage.engine import open_database
from perhop.storage.export_files import CursorFile
from perhop.storage.journal_db import checkpoint_path
from perhop.storage.journal_reader import JournalQueries, JournalSnapshot
from perhop.storage.key_states import SqlKeyStates
from perhop.storage.schema_revision import check_migrated
from perhop.tokens.keys import KeyState
from perhop.wiring.keys import load_signing_key
from perhop.wiring.libraries import FLOORS, outdated

MEBIBYTE = 1024 * 1024
LITTLE_ROOM = 1024 * MEBIBYTE
NO_ROOM = 64 * MEBIBYTE

_PROBE = b"perhop doctor signs this, and nothing else"


async def libraries(patient: Patient) -> list[Seen]:
    """Versions that must not read tokens and requests."""
    if found := outdated(patient.installed):
        return [failed(", ".join(found), "install the pinned requirements, or newer versions")]
    return [ok(f"none of {', '.join(FLOORS)} is a version known to be unsafe")]


async def modes(patient: Patient) -> list[Seen]:
    """Who may read what is secret."""
    settings = patient.settings
    folder = settings.keys_dir
    secret = [*folder.glob("*.pem"), *folder.glob("*.secret"), settings.database_path, settings.journal_path]
    secret += archive_folder_of(settings).glob("journal-*.db")
    if read_by_others := sorted(str(each) for each in secret if each.is_file() and _is_open(each)):
        fix = f"run `chmod 600 {shlex.join(read_by_others)}`, and replace the keys that others may have read"
        return [failed(f"others may read {some(read_by_others)}", fix)]
    if _is_open(settings.file) and re.search(r"\bsecret\s*:", settings.file.read_text(encoding="utf-8")):
        return [failed(f"others may read the secrets in `{settings.file}`", f"run `chmod 600 {settings.file}`")]
    if folder.is_dir() and _is_open(folder):
        return [warning(f"others may look into `{folder}`", f"run `chmod 700 {folder}`")]
    return [ok("keys, secrets and databases are for their owner alone")]


def _is_open(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & 0o077)


async def keys(patient: Patient) -> list[Seen]:
    """Whether every key signs, and the key that shall sign is there."""
    folder = patient.settings.keys_dir
    signing = [load_signing_key(file) for file in sorted(folder.glob("signing-*.pem"))]
    if not signing:
        return [failed(f"there is no signing key in `{folder}`", "restore it, or run `perhop init` in a new folder")]
    for key in signing:
        if not key.public().is_signature(key.algorithm, key.sign(_PROBE), over=_PROBE):
            return [failed(f"the key {key.kid} makes signatures that do not hold", "restore the file from a backup")]
    active = await _active_key(patient)
    if active is not None and active not in {key.kid for key in signing}:
        lost = folder / f"signing-{active}.pem"
        return [failed(f"the active signing key `{lost}` is missing", "restore the file from a backup")]
    journal_key = load_journal_key(folder)
    if not journal_key.verify_key.verifies(journal_key.sign(_PROBE), _PROBE):
        return [failed("the journal's key makes signatures that do not hold", "restore the file from a backup")]
    return [ok(f"signing keys: {len(signing)}, and the journal's key; each signs, and its signature holds")]


async def _active_key(patient: Patient) -> str | None:
    database = open_database(patient.settings.database_path)
    try:
        states = await SqlKeyStates(database).all()
    finally:
        await database.close()
    return next((kid for kid, (state, _) in states.items() if state == KeyState.ACTIVE), None)


async def database(patient: Patient) -> list[Seen]:
    """Whether the schema is this version's."""
    check_migrated(patient.settings.database_path)
    return [ok("the schema is this version's")]


async def journal(patient: Patient) -> list[Seen]:
    """Whether anybody has changed the record."""
    key = load_vkey(patient.settings.keys_dir / VKEY_FILE)
    published = checkpoint_path(patient.settings.journal_path)
    # Read before the journal: the journal may have grown since, but never shrunk.
    kept = [published.read_text(encoding="utf-8")] if published.is_file() else []
    with JournalSnapshot(patient.settings.journal_path) as snapshot:
        verify = partial(verify_journal, snapshot, key, checkpoints=kept)
        found = await asyncio.to_thread(snapshot.undisturbed, verify)
    if not found.ok:
        return [failed(found.problem, "keep the files as they are, and see docs/incident.md")]
    if found.is_sealed:
        return [failed("a sealed segment is in the place of the journal", "put the live journal back")]
    archived = f"; those before {found.first} are archived, and not looked at" if found.first > 1 else ""
    return [ok(f"records: {found.records}, verified{archived}")]


async def unfinished(patient: Patient) -> list[Seen]:
    """Calls that a crash cut off."""
    with JournalQueries(patient.settings.journal_path) as reader:
        count = sum(1 for _ in reader.unfinished())
    return [ok(f"permitted calls without an outcome: {count}")]


async def disk(patient: Patient) -> list[Seen]:
    """Room for the journal: without it no call is forwarded."""
    free = patient.free_bytes(patient.settings.journal_path.parent)
    seen = f"{free // MEBIBYTE} MiB left beside the journal"
    if free < NO_ROOM:
        return [failed(seen, "make room: a journal that cannot write stops all traffic")]
    return [ok(seen)] if free >= LITTLE_ROOM else [warning(seen, "make room before it stops all traffic")]


async def policies(patient: Patient) -> list[Seen]:
    """What is wrong, or looks wrong, in the policy files."""
    settings = patient.settings
    schemas = await known_schemas(settings)
    findings = check_policies(load_sources(settings.policies_dir), settings.registry, schemas)
    if errors := [str(each) for each in findings if each.severity is Severity.ERROR]:
        return [failed("; ".join(errors[:3]), "run `perhop policy check`")]
    loaded = load_policies(settings.policies_dir)
    seen = f"policies: {len(loaded.policies)}, version {loaded.version}"
    if settings.policy_review_required and not await _is_approved(settings):
        advice = "run `perhop policy propose`, then `perhop policy approve`"
        return [warning(f"{seen}, which nobody has approved", advice)]
    if doubts := [each for each in findings if each.severity is Severity.WARNING]:
        return [warning(f"{seen}; {doubts[0]}", "run `perhop policy check`")]
    return [ok(seen)]


async def _is_approved(settings: Settings) -> bool:
    versions, _ = await policy_versions(settings)
    there = version_in_folder(settings)
    return any(each.digest == there and each.approval is not None for each in versions)


async def exports(patient: Patient) -> list[Seen]:
    """How far the exports of the journal have got, and whether a running server says that one does not go on."""
    told = (patient.readiness or {}).get("exports", {})
    with JournalQueries(patient.settings.journal_path) as reader:
        size, base = reader.size(), reader.base().frontier.size
    seen = []
    for export in patient.settings.exports:
        taken = CursorFile(patient.settings.cursor_path(export.name)).load()
        waiting = size - (taken or base)
        problem = told.get(export.name, {}).get("problem", "")
        if 0 < taken < base:
            fix = "export them by `perhop journal export --journal SEGMENT` with its cursor, then restart"
            seen.append(
                failed(f"records {taken + 1} to {base} are archived, and were not exported", fix, part=export.name)
            )
        elif problem or waiting < 0:
            why = problem or "its cursor is ahead of the journal"
            seen.append(failed(why, "make room, or mend `to`; nothing is lost meanwhile", part=export.name))
        else:
            seen.append(ok(f"records that wait: {waiting}", part=export.name))
    return seen or [ok("none is configured")]
