"""Check of the webhooks of owners. Nothing is told: a request without a body and a signature shows whether one answers.

The URL is never told, since a key may stand in it.
"""

from __future__ import annotations

from perhop.client.fetch import fetch, why_unreachable
from perhop.control.doctor.answers import MAX_BYTES, SECONDS
from perhop.control.doctor.finding import Seen, failed, ok
from perhop.control.doctor.patient import Patient
from perhop.core.owner import Webhook
from perhop.errors import IssuerUnavailable

_FIX = "mend the receiver, or `webhook` of the owner; until then look at `perhop approval list`"


async def webhooks(patient: Patient) -> list[Seen]:
    """What a running server says of its last attempts; else whether somebody answers."""
    told = (patient.readiness or {}).get("webhooks", {})
    seen = []
    for owner in patient.settings.registry.owners.values():
        if owner.webhook is None:
            continue
        problem = told.get(owner.name, {}).get("problem", "") or await _problem_of(owner.webhook, patient)
        seen.append(failed(problem, _FIX, part=owner.name) if problem else ok("it answers", part=owner.name))
    return seen or [ok("none is configured")]


async def _problem_of(webhook: Webhook, patient: Patient) -> str:
    """Why nobody answers there; whatever is answered, somebody does."""
    try:
        await fetch(patient.http, patient.http.build_request("HEAD", webhook.url), max_bytes=MAX_BYTES, seconds=SECONDS)
    except IssuerUnavailable as failure:
        return why_unreachable(failure, seconds=SECONDS)
    return ""
