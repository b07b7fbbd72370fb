"""Which policies are put in force: those of the folder, if they may be; else, at a start, those that were before.

Every set that was in force is kept whole, with whoever brought it in.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perhop.errors import PolicyError
from perhop.gateway.tool_pins import ToolPinRows
from perhop.journal.record import Event, Record
from perhop.policy.declared import Schemas, check_declared
from perhop.policy.policy_set import PolicySet, digest_of, load_sources, parse_policies
from perhop.policy.versions import PolicyVersion, PolicyVersionRows, check_approved
from perhop.settings import Settings
from perhop.wiring.changes import changed_policies

LONGEST_WHY = 1000

_NOTHING = {
    "nothing-approved.cedar": '@id("perhop.nothing-approved") @reason("no version of the policies is approved")\n'
    "forbid (principal, action, resource);\n"
}

_log = logging.getLogger("perhop.policy")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFiles:
    """The files of one set, and what they say. A long set takes seconds to make: not for the event loop."""

    sources: Mapping[str, str]
    digest: str
    policy_set: PolicySet

    @classmethod
    def of(cls, sources: Mapping[str, str]) -> PolicyFiles:
        """Raises: PolicyError."""
        return cls(sources=sources, digest=digest_of(sources), policy_set=parse_policies(sources))

    @classmethod
    def in_folder(cls, folder: Path) -> PolicyFiles:
        """The set that this folder holds.

        Raises: PolicyError
        """
        return cls.of(load_sources(folder))

    @classmethod
    def kept(cls, version: PolicyVersion) -> PolicyFiles:
        """The set as it was kept.

        Raises: PolicyError
        """
        if not version.is_intact:
            raise PolicyError(
                f"what is kept as version `{version.version}` is not what it was", advice="restore a backup"
            )
        return cls.of(version.sources)


@dataclass(frozen=True, slots=True)
class Started:
    """What a start goes by. `refused` says why it is not what the folder holds; empty if it is."""

    files: PolicyFiles
    refused: str = ""


async def policies_to_apply(settings: Settings, rows: PolicyVersionRows, pins: ToolPinRows) -> PolicyFiles:
    """What the folder holds, if it may be put in force.

    A set that is in force already is not held against the tools again: that an owner has approved others must not keep
    a server from starting.

    Raises: PolicyError, StorageUnavailable
    """
    files = await asyncio.to_thread(PolicyFiles.in_folder, settings.policies_dir)
    last = await rows.last_in_force()
    if last is None or last.digest != files.digest:
        check_declared(files.policy_set.policies, settings.registry, await approved_schemas(pins))
    if settings.policy_review_required:
        check_approved(files.policy_set.version, await rows.get(files.digest))
    return files


async def approved_schemas(pins: ToolPinRows) -> Schemas:
    """The input schemas of all tools that owners have approved.

    Raises: StorageUnavailable
    """
    return {
        resource: {name: tool.input_schema for name, tool in pinned.approval.definitions.items()}
        for resource, pinned in (await pins.all()).items()
    }


async def policies_to_start(settings: Settings, rows: PolicyVersionRows, pins: ToolPinRows, *, serves: bool) -> Started:
    """What the folder holds; where a review is required and it may not be put in force, what was approved last.

    Where nothing was ever approved, `perhop serve` does not start; a command goes by a set that forbids everything.
    A command also goes by what was in force last where the folder is broken: it may be there to mend that.

    Raises: PolicyError, StorageUnavailable
    """
    try:
        return Started(await policies_to_apply(settings, rows, pins))
    except PolicyError as error:
        is_required = settings.policy_review_required
        if serves and not is_required:
            raise
        last = await rows.last_in_force(approved=is_required)
        if last is None and (serves or not is_required):
            raise
        files = PolicyFiles.of(_NOTHING) if last is None else await asyncio.to_thread(PolicyFiles.kept, last)
        if serves:
            _log.warning("the policies of the folder are not in force: %s", error.problem)
        return Started(files, error.problem)


async def in_force_record(files: PolicyFiles, rows: PolicyVersionRows, *, by: str) -> Record | None:
    """The record of another set that is put in force; None if it was in force before.

    Raises: StorageUnavailable
    """
    last = await rows.last_in_force()
    if last is not None and last.digest == files.digest:
        return None
    kept = await rows.get(files.digest)
    about: dict[str, Any] = {
        "change": "in force",
        "version": files.policy_set.version,
        "digest": files.digest,
        "policies": await asyncio.to_thread(_names_of_changes, last, files.policy_set),
        "author": kept.author if kept is not None else by,
        "by": by,
    }
    if last is not None:
        about["old"] = last.version
    if kept is not None and kept.approval is not None:
        about["reviewer"] = kept.approval.reviewer
    return Record(event=Event.POLICY_CHANGED, about=about)


def refused_record(problem: str, *, by: str) -> Record:
    """The record of policies that were not put in force, and why."""
    return Record(event=Event.POLICY_CHANGED, about={"change": "refused", "why": problem[:LONGEST_WHY], "by": by})


async def keep_in_force(files: PolicyFiles, rows: PolicyVersionRows, *, by: str, now: int) -> None:
    """Keep the set that is put in force, and note that it is.

    Raises: StorageUnavailable
    """
    await rows.keep(files.digest, files.sources, author=by, now=now)
    await rows.put_in_force(files.digest, by=by, now=now)


async def last_policies(rows: PolicyVersionRows) -> PolicySet:
    """What was in force last; nothing if nothing was, or if it was written for another version of perhop.

    Raises: StorageUnavailable
    """
    return await asyncio.to_thread(_as_kept, await rows.last_in_force())


def _names_of_changes(last: PolicyVersion | None, new: PolicySet) -> list[str]:
    return [each.name for each in changed_policies(_as_kept(last), new)]


def _as_kept(version: PolicyVersion | None) -> PolicySet:
    try:
        return PolicyFiles.kept(version).policy_set if version is not None else PolicySet((), "")
    except PolicyError:
        return PolicySet((), "")
