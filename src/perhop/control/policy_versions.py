"""The operations on versions of the policies: proposing, approving, and going back to one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from perhop.control.operator import by_operator
from perhop.control.policy_folder import replaced
from perhop.errors import OperatorError, PolicyError
from perhop.journal.record import Event, Record
from perhop.policy.policy_set import digest_of, load_sources
from perhop.policy.versions import (
    Approval,
    PolicyVersion,
    check_name,
    check_reviewer,
    find_version,
)
from perhop.settings import Settings
from perhop.storage.engine import open_database
from perhop.storage.policy_versions import SqlPolicyVersions
from perhop.wiring.plane import Plane
from perhop.wiring.policies import PolicyFiles
from perhop.wiring.reload import put_in_force, read_again


async def propose(plane: Plane, *, by: str | None) -> Mapping[str, Any]:
    """Keep what the folder holds as a version that somebody else may approve.

    Raises: PolicyError, StorageUnavailable, JournalUnavailable
    """
    files = await asyncio.to_thread(PolicyFiles.in_folder, plane.settings.policies_dir)
    rows = plane.stores.policy_versions
    known = await rows.get(files.digest)
    if known is not None:
        return {"proposed": False, **shown(known)}
    author = check_name(by or by_operator())
    await plane.journal.append(
        _changed("proposed", version=files.policy_set.version, digest=files.digest, author=author)
    )
    kept = await rows.keep(files.digest, files.sources, author=author, now=plane.issuer.now())
    return {"proposed": True, **shown(kept)}


async def approve(plane: Plane, *, version: str, by: str | None) -> Mapping[str, Any]:
    """Approve a version in the name of somebody else than its author.

    Raises: NotFound, PolicyError, StorageUnavailable, JournalUnavailable
    """
    rows = plane.stores.policy_versions
    kept = find_version(version, await rows.all())
    await asyncio.to_thread(PolicyFiles.kept, kept)
    reviewer = check_name(by or by_operator())
    check_reviewer(reviewer, kept)
    if kept.approval is None:
        # Recorded first: what lets policies in is never there without a record.
        await plane.journal.append(
            _changed("approved", version=kept.version, digest=kept.digest, author=kept.author, reviewer=reviewer)
        )
        approval = Approval(reviewer=reviewer, entered_by=by_operator(), at=plane.issuer.now())
        await rows.approve(kept.digest, approval)
    approved = await rows.get(kept.digest)
    assert approved is not None
    return {"approved": kept.approval is None, **shown(approved)}


async def rollback(plane: Plane, *, version: str) -> Mapping[str, Any]:
    """Write the files of a version into the folder of policies, and put them in force; all of it, or nothing.

    What the folder holds now is kept as a version, unless it cannot be read.

    Raises: NotFound, OperatorError, StorageUnavailable, JournalUnavailable
    """
    rows = plane.stores.policy_versions
    kept = find_version(version, await rows.all())
    files = await asyncio.to_thread(PolicyFiles.kept, kept)
    settings, _ = await read_again(plane)
    before = await _keep_present(plane, settings)
    writing = replaced(settings.policies_dir, files.sources)
    applied = await put_in_force(plane, settings, by=by_operator(), writing=writing)
    return {
        "version": applied.policy_version,
        "before": before,
        "serving": bool(plane.followers),
        "changes": [each.as_json() for each in applied.changes],
    }


async def _keep_present(plane: Plane, settings: Settings) -> str | None:
    try:
        present = load_sources(settings.policies_dir)
    except PolicyError:
        return None
    rows, now = plane.stores.policy_versions, plane.issuer.now()
    return (await rows.keep(digest_of(present), present, author=by_operator(), now=now)).version


async def policy_versions(settings: Settings) -> tuple[list[PolicyVersion], str | None]:
    """Every version that is kept, and the digest of the one in force; read from the files.

    Raises: OperatorError, StorageUnavailable
    """
    database = open_database(settings.database_path)
    try:
        rows = SqlPolicyVersions(database)
        last = await rows.last_in_force()
        return list(await rows.all()), last.digest if last is not None else None
    finally:
        await database.close()


def version_in_folder(settings: Settings) -> str | None:
    """The digest of what the folder holds; None if it cannot be read."""
    try:
        return digest_of(load_sources(settings.policies_dir))
    except OperatorError:
        return None


def shown(version: PolicyVersion) -> dict[str, Any]:
    """A version as commands show it, without its files."""
    approval, last = version.approval, version.in_force[-1] if version.in_force else None
    return {
        "version": version.version,
        "digest": version.digest,
        "author": version.author,
        "kept_at": _utc(version.kept_at),
        "reviewer": approval.reviewer if approval is not None else None,
        "approved_at": _utc(approval.at) if approval is not None else None,
        "in_force": [{"since": _utc(each.since), "by": each.by} for each in version.in_force],
        "last_in_force": _utc(last.since) if last is not None else None,
    }


def _changed(change: str, **about: str) -> Record:
    return Record(event=Event.POLICY_CHANGED, about={"change": change, **about, "by": by_operator()})


def _utc(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
