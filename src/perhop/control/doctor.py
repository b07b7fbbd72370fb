"""The checks of `perhop doctor`, as a table. Reads files, and asks a running server over HTTP as anybody could."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from perhop.control.data_planes import ADVICE, needing_bodies
from perhop.control.socket import is_answered
from perhop.errors import PerhopError
from perhop.gateway.readiness import Verdict
from perhop.journal.keys import VKEY_FILE, load_journal_key, load_vkey
from perhop.journal.verify import verify_journal
from perhop.policy.policy_set import load_policies
from perhop.settings import Settings
from perhop.storage.journal_db import checkpoint_path
from perhop.storage.journal_reader import JournalQueries, JournalSnapshot
from perhop.storage.schema_revision import check_migrated
from perhop.wiring.keys import load_signing_key
from perhop.wiring.traffic import NO_TOKEN

SOON = timedelta(days=30)
MAX_SKEW_SECONDS = 60
REVOCATION_SECONDS = 2
FEED_SECONDS = 10

_GUARD = "is the server up, and guarded? see the log of `perhop serve`"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was seen, and `remedy`, what to do if that is wrong."""

    name: str
    ok: bool
    seen: str
    remedy: str = ""

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "remedy": "" if self.ok else self.remedy}


@dataclass(frozen=True, slots=True)
class _Patient:
    settings: Settings
    http: httpx2.AsyncClient
    now: float


async def _keys(patient: _Patient) -> Finding:
    files = sorted(patient.settings.keys_dir.glob("signing-*.pem"))
    for file in files:
        load_signing_key(file)
    load_journal_key(patient.settings.keys_dir)
    seen = f"signing keys: {len(files)}, and the journal's key"
    return Finding("keys", bool(files), seen, "run `perhop init`")


async def _database(patient: _Patient) -> Finding:
    check_migrated(patient.settings.database_path)
    return Finding("database", True, "schema is this version's")


async def _journal(patient: _Patient) -> Finding:
    key = load_vkey(patient.settings.keys_dir / VKEY_FILE)
    published = checkpoint_path(patient.settings.journal_path)
    # Read before the journal: the journal may have grown since, but never shrunk.
    kept = [published.read_text(encoding="utf-8")] if published.is_file() else []
    with JournalSnapshot(patient.settings.journal_path) as snapshot:
        found = await asyncio.to_thread(verify_journal, snapshot, key, checkpoints=kept)
    return Finding(
        "journal",
        found.ok,
        f"records: {found.records}, verified" if found.ok else found.problem,
        "keep the files, see docs",
    )


async def _unfinished(patient: _Patient) -> Finding:
    with JournalQueries(patient.settings.journal_path) as reader:
        count = sum(1 for _ in reader.unfinished())
    return Finding("unfinished calls", True, f"permitted calls without an outcome: {count}")


async def _policies(patient: _Patient) -> Finding:
    policies = load_policies(patient.settings.policies_dir)
    return Finding("policies", True, f"policies: {len(policies.policies)}, version {policies.version}")


async def _bodies(patient: _Patient) -> Finding:
    needing = needing_bodies(patient.settings)
    seen = "; ".join(f"{name}: {why}" for name, why in needing.items())
    return Finding("calls for other proxies", not needing, seen or "headers suffice", ADVICE)


async def _unsafe(patient: _Patient) -> Finding:
    unsafe = patient.settings.unsafe()
    return Finding("unsafe switches", not unsafe, ", ".join(unsafe) or "none", "remove them from the configuration")


async def _expiry(patient: _Patient) -> Finding:
    limit = (datetime.fromtimestamp(patient.now, UTC) + SOON).date()
    soon = [client.id for client in patient.settings.registry.clients.values() if client.expires < limit]
    return Finding(
        "expiring clients", not soon, ", ".join(soon) or "none within 30 days", "set `expires` after a review"
    )


async def _issuer(patient: _Patient) -> Finding:
    url = f"{patient.settings.issuer}/.well-known/oauth-authorization-server"
    response = await patient.http.get(url)
    named = response.json().get("issuer")
    return Finding(
        "issuer", named == patient.settings.issuer, f"{url} names `{named}`", "make `issuer` the URL it is reached at"
    )


async def _clock(patient: _Patient) -> Finding:
    response = await patient.http.get(f"{patient.settings.issuer}/jwks")
    skew = abs(parsedate_to_datetime(response.headers["date"]).timestamp() - patient.now)
    return Finding("clock", skew <= MAX_SKEW_SECONDS, f"{skew:.0f} s between here and the server", "set the clock")


async def _readiness(patient: _Patient) -> Finding:
    detail = (await patient.http.get(f"http://{patient.settings.listen.ops}/readyz")).json()
    verdicts: dict[str, str] = detail["upstreams"]
    wrong = [name for name, verdict in verdicts.items() if verdict not in (Verdict.ENFORCES, NO_TOKEN)]
    seen = ", ".join(f"{name}: {verdict}" for name, verdict in verdicts.items()) or "none"
    return Finding("upstreams", detail["ready"] and not wrong, seen, _GUARD)


async def _revocation(_: _Patient) -> Finding:
    seen = (
        f"gateway and guards whose feed is up: {REVOCATION_SECONDS} s; a guard cut off: {FEED_SECONDS} s for high risk"
    )
    return Finding("revocation bound", True, f"{seen}, else until a token's expiry (300 s)")


OFFLINE = (_keys, _database, _journal, _unfinished, _policies, _bodies, _unsafe, _expiry, _revocation)
ONLINE = (_issuer, _clock, _readiness)


async def diagnose(settings: Settings, *, now: float) -> list[Finding]:
    """Run every check; those that need a server are left out, with a word, when none runs."""
    async with httpx2.AsyncClient(timeout=5) as http:
        patient = _Patient(settings, http, now)
        found = [await _examine(check, patient) for check in OFFLINE]
        if await is_answered(settings.socket_path):
            return found + [await _examine(check, patient) for check in ONLINE]
    return [*found, Finding("server", True, "not running: metadata, clock and upstreams were not looked at")]


async def _examine(check: Callable[[_Patient], Awaitable[Finding]], patient: _Patient) -> Finding:
    name = check.__name__.strip("_").replace("_", " ")
    try:
        return await check(patient)
    except (PerhopError, httpx2.HTTPError, OSError, ValueError, KeyError) as error:
        advice = getattr(error, "advice", None)
        return Finding(name, False, str(error) or type(error).__name__, advice() if advice else "see the log")
