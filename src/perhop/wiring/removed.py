"""What another configuration no longer has: it is disabled, and its tokens are revoked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from perhop.authorization_server.revocation import RevokedObject
from perhop.journal.canonical import format_time
from perhop.journal.query import Filter
from perhop.journal.record import Event, Record
from perhop.policy.engine import PolicyEngine
from perhop.rules.lifetime import MAX_LIFETIME, MAX_SKEW
from perhop.settings import Settings
from perhop.wiring.plane import Plane


async def disable_removed(plane: Plane) -> Sequence[str]:
    """Hold the file against what stood before: what was removed is disabled and its tokens are revoked.

    So are the tokens of clients whose host no rule admits any more; these are forgotten, and come back with a rule.

    Raises: StorageUnavailable, JournalUnavailable
    """
    issuer = plane.issuer
    removed = await issuer.standing.reconcile(plane.settings.registry, now=issuer.now())
    for kind, name in sorted(removed):
        why = f"{kind} removed from the configuration"
        if kind == "client":
            await issuer.revoker.revoke(RevokedObject.AGENT, name, why=why, by="perhop")
        if kind == "resource":
            for audience in await asyncio.to_thread(_recent_audiences, plane, name):
                await issuer.revoker.revoke(RevokedObject.RESOURCE, audience, why=why, by="perhop")
        if kind == "issuer":
            for client in await asyncio.to_thread(clients_by_issuer, plane, name):
                await issuer.revoker.revoke(RevokedObject.AGENT, client, why=why, by="perhop", keeps_families=True)
    for client in plane.newcomers.unadmitted():
        why = "no rule of `client_documents` admits it any more"
        await issuer.revoker.revoke(RevokedObject.AGENT, client, why=why, by="perhop")
        await plane.newcomers.forget(client)
    return sorted(f"{kind} {name}" for kind, name in removed)


def clients_by_issuer(plane: Plane, issuer: str) -> list[str]:
    """The clients that got a token on the word of this trusted issuer, which may be good still. Blocks."""
    since = format_time(plane.issuer.clock() - MAX_LIFETIME - MAX_SKEW)
    issued = plane.reader.find(Filter(event=Event.TOKEN_ISSUED.value, since=since))
    found = {entry.fields.get("client") for entry in issued if entry.part("about").get("issuer") == issuer}
    return sorted(each for each in found if isinstance(each, str))


def config_loaded(settings: Settings, policy: PolicyEngine, **about: object) -> Record:
    """The record of a configuration that is put in force."""
    versions = {"version": settings.registry.version, "policy_version": policy.version}
    return Record(event=Event.CONFIG_LOADED, about={**versions, "unsafe": list(settings.unsafe()), **about})


def _recent_audiences(plane: Plane, resource: str) -> list[str]:
    """The audiences of a removed resource, as the journal last issued tokens for them: the file no longer says."""
    since = format_time(plane.issuer.clock() - MAX_LIFETIME - MAX_SKEW)
    issued = list(plane.reader.find(Filter(resource=resource, since=since)))
    found = {entry.part("out").get("aud") for entry in issued} | {entry.part("in").get("aud") for entry in issued}
    return sorted(each for each in found if isinstance(each, str))
