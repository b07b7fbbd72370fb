"""Checks of what stands before the servers: approved tools, servers that the gateway runs, other proxies."""

from __future__ import annotations

from perhop.control.data_planes import ADVICE, needing_bodies
from perhop.control.doctor.finding import Seen, failed, ok, skipped, some, warning
from perhop.control.doctor.patient import Patient
from perhop.gateway.tool_pins import Pinned
from perhop.gateway.upstream.interface import Condition
from perhop.storage.engine import open_database
from perhop.storage.tool_pins import SqlToolPins


async def approvals(patient: Patient) -> list[Seen]:
    """Whether the owners have approved their tools, and what has been seen otherwise since."""
    database = open_database(patient.settings.database_path)
    try:
        pinned = await SqlToolPins(database).all()
    finally:
        await database.close()
    behind = [name for name, each in patient.settings.registry.resources.items() if each.upstream is not None]
    return [_approval(name, pinned.get(name)) for name in behind] or [ok("no gateway is in use")]


def _approval(name: str, pinned: Pinned | None) -> Seen:
    look = f"run `perhop resource tools {name}`"
    if pinned is None:
        words = "the owner has approved no tools: whatever the server says of them passes"
        return warning(words, f"run `perhop resource tools {name} --approve`", part=name)
    if pinned.quarantined:
        names = [each.tool for each in pinned.quarantined]
        return failed(f"quarantined: {some(names)}: not as the owner approved them", look, part=name)
    return ok(f"approved tools: {len(pinned.approval.definitions)}", part=name)


async def local(patient: Patient) -> list[Seen]:
    """How the servers stand that the gateway runs itself."""
    run = [
        name
        for name, each in patient.settings.registry.resources.items()
        if each.upstream is not None and each.upstream.command is not None
    ]
    return [_local(patient, name) for name in run] or [ok("no server is run by a command")]


def _local(patient: Patient, name: str) -> Seen:
    if patient.readiness is None:
        return skipped("perhop does not serve here", part=name)
    detail = patient.readiness.get("upstream_detail", {}).get(name, {})
    condition, problem = detail.get("condition", "unknown"), detail.get("problem", "")
    if condition == Condition.UP:
        return ok("runs", part=name)
    return failed(f"{condition}: {problem or 'no answer yet'}", "see the log of `perhop serve`", part=name)


async def bodies(patient: Patient) -> list[Seen]:
    """Resources that another proxy can carry only with the bodies of calls."""
    needing = needing_bodies(patient.settings)
    return [warning(why, ADVICE, part=name) for name, why in needing.items()] or [ok("headers suffice")]
