"""The checks of `perhop doctor`: one table, and its run. The page of the documentation is written from the table."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from perhop.control.doctor import (
    configuration,
    gates,
    installation,
    issuer,
    people,
    revocation,
    trusted_issuers,
    upstreams,
    webhooks,
)
from perhop.control.doctor.answers import SECONDS, Answers, ask_upstream
from perhop.control.doctor.finding import Finding, Seen, failed
from perhop.control.doctor.patient import Patient
from perhop.control.socket import is_answered
from perhop.errors import OperatorError, PerhopError
from perhop.settings import Settings
from perhop.wiring.libraries import installed_version


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its name, why it matters, and what does it."""

    name: str
    why: str
    run: Callable[[Patient], Awaitable[list[Seen]]]


CHECKS: Sequence[Check] = (
    Check("configuration", "nothing starts with a file that does not load", configuration.loads),
    Check("libraries", "older versions have known holes in what reads tokens and requests", installation.libraries),
    Check("modes", "whoever reads a signing key is us, to every server", installation.modes),
    Check(
        "keys",
        "without the active key no token is made; without the journal's key nothing is recorded",
        installation.keys,
    ),
    Check("database", "revocations, standing and accounts are in it", installation.database),
    Check("journal", "a record that was changed proves nothing", installation.journal),
    Check("unfinished calls", "of a call that a crash cut off it is not known what it did", installation.unfinished),
    Check("disk", "a journal that cannot write stops all traffic", installation.disk),
    Check("policies", "a policy that cannot be evaluated refuses", installation.policies),
    Check("audiences", "an audience that means two things makes a token good at both", configuration.audiences),
    Check("unsafe switches", "each leaves something open that is closed otherwise", configuration.unsafe),
    Check("clients", "a client that has expired gets no token", configuration.clients),
    Check("owners", "somebody must answer when something goes wrong", configuration.owners),
    Check(
        "proxies",
        "addresses in records and limits are taken from the headers of those that are believed",
        configuration.proxies,
    ),
    Check("console", "a call that waits for approval is lost when nobody can look at it", people.console),
    Check("revocation bound", "so long a revoked token may still be taken", revocation.bound),
    Check("issuer", "clients and servers find the authorization server by this URL alone", issuer.issuer),
    Check("published keys", "servers verify tokens with the keys that are published", issuer.jwks),
    Check("address", "clients call this address, and ask for tokens for it", upstreams.addresses),
    Check("clock", "a token whose times do not fit is refused, or lives too long", issuer.clock),
    Check("certificate", "behind a certificate that ends, everything ends", issuer.certificates),
    Check("upstream", "calls are forwarded to it", upstreams.reachable),
    Check(
        "audience check", "a server that takes tokens of others can be called with any stolen one", upstreams.audience
    ),
    Check("metadata", "it tells clients where to get tokens, and for which audience", upstreams.metadata),
    Check("revisions", "a client must speak one that the server speaks", upstreams.revisions),
    Check(
        "tools", "a tool that no scope lists cannot be called; a scope without a tool allows nothing", upstreams.tools
    ),
    Check("approvals", "what a server says of its tools is what agents act on", gates.approvals),
    Check("local servers", "their calls fail while they do not run", gates.local),
    Check("calls for other proxies", "a proxy that sends no body gets no yes for these", gates.bodies),
    Check("trusted issuers", "nobody gets a token by the word of one without keys", trusted_issuers.trusted_issuers),
    Check("webhooks", "who should approve does not hear of what waits", webhooks.webhooks),
    Check("exports", "who watches the records elsewhere does not see what waits here", installation.exports),
)


async def diagnose(
    settings: Settings,
    *,
    clock: Callable[[], float],
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    installed: Callable[[str], str | None] = installed_version,
) -> list[Finding]:
    """Run every check, in the order of the table, whether or not a server runs. Changes and records nothing."""
    # Made once: it takes longer than most of the checks.
    tls = ssl.create_default_context()
    async with httpx2.AsyncClient(timeout=SECONDS, trust_env=False, verify=tls) as http:
        readiness, answers = await asyncio.gather(_readiness(settings, http), _answers(settings, clock, tls))
        patient = Patient(
            settings=settings,
            http=http,
            tls=tls,
            clock=clock,
            readiness=readiness,
            answers=answers,
            free_bytes=free_bytes,
            installed=installed,
        )
        return [finding for check in CHECKS for finding in await _examine(check, patient)]


def not_loading(problems: Sequence[str]) -> list[Finding]:
    """The findings of a configuration that does not load: nothing else can be looked at then."""
    check = CHECKS[0]
    fix = "see `perhop config check`"
    return [Finding(check=check.name, why=check.why, answer=failed(each, fix)) for each in problems]


async def _examine(check: Check, patient: Patient) -> list[Finding]:
    try:
        answers = await check.run(patient)
    except (PerhopError, httpx2.HTTPError, OSError, ValueError, KeyError) as error:
        advice = error.advice() if isinstance(error, OperatorError) else ""
        answers = [failed(str(error) or type(error).__name__, advice or "see the log of `perhop serve`")]
    return [Finding(check=check.name, why=check.why, answer=each) for each in answers]


async def _readiness(settings: Settings, http: httpx2.AsyncClient) -> Mapping[str, Any] | None:
    """What the running server says of its parts; nothing of an upstream if it cannot be asked."""
    if not await is_answered(settings.socket_path):
        return None
    try:
        detail = (await http.get(f"http://{settings.listen.ops}/readyz")).json()
    except (httpx2.HTTPError, ValueError):
        detail = {}
    return {"upstreams": {}, **(detail if isinstance(detail, dict) else {})}


async def _answers(settings: Settings, clock: Callable[[], float], tls: ssl.SSLContext) -> dict[str, Answers]:
    upstreams_at_urls = {
        resource.name: resource.upstream
        for resource in settings.registry.resources.values()
        if resource.upstream is not None and resource.upstream.url is not None
    }
    asked = (ask_upstream(each, issuer=settings.issuer, clock=clock, tls=tls) for each in upstreams_at_urls.values())
    return dict(zip(upstreams_at_urls, await asyncio.gather(*asked), strict=True))
