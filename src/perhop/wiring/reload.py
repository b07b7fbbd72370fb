"""Reload: a configuration that was read again is put in force in a running plane, whole or not at all.

A call that has begun ends by what it began with. What a new file takes away is taken away at once: objects that are
gone are disabled and their tokens revoked, and so are the tokens of clients that may ask for less than before. What
stands in the database is never lifted here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from perhop.errors import PolicyError, SettingsError
from perhop.journal.record import Record
from perhop.policy.engine import PolicyEngine
from perhop.settings import Problem, Settings, load_with_expired
from perhop.wiring.changes import (
    Change,
    changed_policies,
    changed_rules,
    changed_settings,
    changes_between,
    narrowed_clients,
)
from perhop.wiring.known_clients import registry_with_newcomers
from perhop.wiring.owed import owed_for_narrowed, settle
from perhop.wiring.plane import Plane
from perhop.wiring.policies import (
    PolicyFiles,
    in_force_record,
    keep_in_force,
    last_policies,
    policies_to_apply,
    refused_record,
)
from perhop.wiring.removed import config_loaded, disable_removed, forget_unadmitted

NEEDS_RESTART = ("issuer", "listen", "database_path", "forwarded_from", "exports", "drain")
"""What sockets, files and tokens of this process hang on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What came of one reload. Where nothing serves, `changes` tells of policies only: see `_applied`."""

    changes: tuple[Change, ...]
    version: str
    policy_version: str
    unsafe: tuple[str, ...]
    revoked: int = 0


async def read_again(plane: Plane) -> tuple[Settings, tuple[Problem, ...]]:
    """What the file says now, and who is expired by it. Read beside the event loop: a long one takes seconds.

    One reading at a time, so that of two that are put in force the one that was read later comes later.

    Raises: SettingsError
    """
    today = datetime.fromtimestamp(plane.issuer.now(), UTC).date()
    async with plane.reading:
        return await asyncio.to_thread(load_with_expired, plane.settings.file, os.environ, today=today)


async def preview(plane: Plane, settings: Settings) -> Applied:
    """What putting this configuration in force would change. Changes nothing.

    Raises: OperatorError
    """
    _check_restart(plane.settings, settings)
    files = await policies_to_apply(settings, plane.stores.policy_versions, plane.stores.tool_pins)
    policy = await asyncio.to_thread(PolicyEngine, files.policy_set, settings.registry)
    return await _applied(plane, settings, policy)


async def put_in_force(
    plane: Plane, settings: Settings, *, by: str, writing: AbstractContextManager[None] | None = None
) -> Applied:
    """Go by this configuration and its policies from now on. If this raises before the change, all is as it was.

    If it raises after it, what could not be revoked stays owed, and is done before the next change.
    `writing` puts the policies into their folder first, and takes them out again if they are not put in force.

    Raises: OperatorError, StorageUnavailable, JournalUnavailable
    """
    async with plane.changing:
        plane.last_reload_was_good = False
        revoked = await settle(plane)
        _check_restart(plane.settings, settings)
        old, newcomers = plane.settings.registry, dict(plane.newcomers.clients)
        with writing or nullcontext():
            applied = await _change_over(plane, settings, by=by)
        narrowed = (
            *narrowed_clients(old.clients, settings.registry.clients),
            *narrowed_clients(newcomers, plane.newcomers.clients),
        )
        plane.owed += [owed_for_narrowed(client, by=by) for client in narrowed]
        try:
            await disable_removed(plane)
            revoked += await forget_unadmitted(plane)
        finally:
            revoked += await settle(plane)
        plane.last_reload_was_good = True
        return replace(applied, revoked=revoked)


async def _change_over(plane: Plane, settings: Settings, *, by: str) -> Applied:
    rows = plane.stores.policy_versions
    files = await _policies(plane, settings, by=by)
    registry = registry_with_newcomers(settings, plane.newcomers)
    policy = await asyncio.to_thread(PolicyEngine, files.policy_set, registry)
    async with AsyncExitStack() as ready:
        over = [await ready.enter_async_context(each.preparing(settings, policy)) for each in plane.followers]
        applied = await _applied(plane, settings, policy)
        # Recorded first: what gives power is never in force without a record.
        for record in _records(applied, settings, policy, await in_force_record(files, rows, by=by), by=by):
            await plane.journal.append(record)
        await keep_in_force(files, rows, by=by, now=plane.issuer.now())
        # INVARIANT: no await between these: every request begins with the one configuration or with the other.
        plane.take(settings, policy)
        for change_over in over:
            change_over()
        plane.policies_refused = ""
    return applied


async def _policies(plane: Plane, settings: Settings, *, by: str) -> PolicyFiles:
    """What the folder holds, if it may be put in force; if not, the journal says why.

    Raises: PolicyError, StorageUnavailable, JournalUnavailable
    """
    try:
        return await policies_to_apply(settings, plane.stores.policy_versions, plane.stores.tool_pins)
    except PolicyError as error:
        await plane.journal.append(refused_record(error.problem, by=by))
        raise


def _check_restart(old: Settings, new: Settings) -> None:
    for name in NEEDS_RESTART:
        if getattr(old, name) != getattr(new, name):
            key = {"database_path": "database"}.get(name, name)
            raise SettingsError(
                f"`{key}` is another one, and cannot change while perhop serves",
                advice="put it back, or stop and start `perhop serve`; nothing was applied",
            )


async def _applied(plane: Plane, settings: Settings, policy: PolicyEngine) -> Applied:
    # A plane that serves nothing was opened a moment ago, by these very files. Of policies the database knows which
    # were in force last; of the configuration nothing is kept.
    before = plane.policy.policy_set if plane.followers else await last_policies(plane.stores.policy_versions)
    return Applied(
        changes=(
            *changes_between(plane.settings.registry, settings.registry),
            *changed_rules(plane.settings.admission.rules, settings.admission.rules),
            *changed_settings(plane.settings, settings),
            *changed_policies(before, policy.policy_set),
        ),
        version=settings.registry.version,
        policy_version=policy.version,
        unsafe=settings.unsafe(),
    )


def _records(
    applied: Applied, settings: Settings, policy: PolicyEngine, policies: Record | None, *, by: str
) -> Iterator[Record]:
    told = [f"{each.change} {each.kind} {each.name}" for each in applied.changes]
    yield config_loaded(settings, policy, changes=told, by=by)
    if policies is not None:
        yield policies
