"""Health: whether a server may take traffic, part by part, and whether it has come up at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perhop.errors import StorageUnavailable
from perhop.gateway.gate import Gate
from perhop.gateway.upstream.interface import Upstream, UpstreamState
from perhop.journal.canonical import format_time
from perhop.serving.stage import Course, Stage
from perhop.tokens.statement import read_statement, sign_statement
from perhop.wiring.exports import RunningExport
from perhop.wiring.plane import Plane
from perhop.wiring.revocation_check import Figures
from perhop.wiring.traffic import Traffic
from perhop.wiring.webhooks import Webhooks

PROOF_TYPE = "perhop-readiness+jwt"
"""No verifier of ours takes a statement of this type for anything."""


async def readiness(
    plane: Plane,
    traffic: Traffic,
    exports: Sequence[RunningExport],
    webhooks: Webhooks,
    figures: Figures,
    course: Course,
) -> dict[str, Any]:
    """Every part that traffic needs. An upstream that is not ready closes its own resource, not the server.

    What the check of the revocation bound has found is told, and closes nothing; nor does a webhook.
    """
    journal, database = _journal(plane), await _database(plane)
    signing_key, policy = _signing_key(plane), _policy(plane)
    parts_are_well = all(part["ok"] for part in (journal, database, signing_key, policy))
    return {
        "ready": parts_are_well and course.stage is Stage.SERVING,
        "stage": course.stage.value,
        "draining": course.stage is Stage.STOPPING,
        "journal": journal,
        "database": database,
        "signing_key": signing_key,
        "policy": policy,
        "policy_version": plane.policy.version,
        "config_version": plane.registry.version,
        "upstreams": traffic.verdicts(),
        "upstream_detail": {gate.resource.name: _upstream(gate) for gate in traffic.gates},
        "open_streams": sum(plane.metrics.open_streams().values()),
        "calls_in_flight": sum(plane.metrics.calls_in_flight().values()),
        "exports": {each.name: {"waiting": each.waiting, "problem": each.problem} for each in exports},
        "webhooks": webhooks.status(),
        "revocation": figures.as_json(),
        "unsafe": list(plane.settings.unsafe()),
    }


def startup(traffic: Traffic, course: Course) -> dict[str, Any]:
    """True once the listeners are up and every upstream's first self-test has come to an end, or ran out of time."""
    waiting = [gate.resource.name for gate in traffic.gates if not gate.readiness.was_tried]
    return {
        "started": course.stage is not Stage.STARTING and not waiting,
        "stage": course.stage.value,
        "waits_for": waiting,
    }


def state_of(upstream: Upstream) -> UpstreamState | None:
    """How the way to an upstream stands; None of one that does not tell."""
    state = getattr(upstream, "state", None)
    return state if isinstance(state, UpstreamState) else None


def _journal(plane: Plane) -> dict[str, Any]:
    status = plane.journal.status()
    return {"ok": status.healthy, "records": status.size, "signed": status.signed, "problem": status.problem}


async def _database(plane: Plane) -> dict[str, Any]:
    try:
        await plane.stores.standings.disabled()
    except StorageUnavailable as error:
        return {"ok": False, "problem": error.detail}
    return {"ok": True, "problem": ""}


def _signing_key(plane: Plane) -> dict[str, Any]:
    """Sign with it, and look whether whoever reads our JWKS would take the signature."""
    keyring, now = plane.issuer.keyring, plane.issuer.now()
    named = {"kid": keyring.active.kid, "algorithm": keyring.active.algorithm.value}
    try:
        proof = sign_statement({"iat": now}, typ=PROOF_TYPE, key=keyring.active)
        read_statement(proof, typ=PROOF_TYPE, keys=keyring.verify_keys())
    except Exception as error:  # whatever it is, no token would be signed either
        return {"ok": False, **named, "problem": type(error).__name__}
    return {"ok": True, **named, "problem": ""}


def _policy(plane: Plane) -> dict[str, Any]:
    count = len(plane.policy.policy_set.policies)
    return {"ok": True, "version": plane.policy.version, "policies": count}


def _upstream(gate: Gate) -> dict[str, Any]:
    state = state_of(gate.upstream)
    way = {} if state is None else _way(state)
    return {
        "verdict": gate.readiness.verdict.value,
        "passes": gate.readiness.passes,
        "tools_approved": gate.catalogue.is_pinned,
        "tools_quarantined": len(gate.catalogue.quarantined),
        **way,
        "owner": gate.resource.owner,
    }


def _way(state: UpstreamState) -> dict[str, Any]:
    return {"condition": state.condition.value, "since": format_time(state.since), "problem": state.problem}
