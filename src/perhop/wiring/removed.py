"""What another configuration no longer has: it is disabled, and the end of its tokens is owed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from perhop.authorization_server.canary import is_canary
from perhop.authorization_server.records_resource import records_uri
from perhop.authorization_server.revocation import RevokedObject
from perhop.journal.canonical import format_time
from perhop.journal.query import Filter
from perhop.journal.record import Event, Record
from perhop.policy.engine import PolicyEngine
from perhop.rules.lifetime import MAX_LIFETIME, MAX_SKEW
from perhop.settings import Settings
from perhop.storage.token_records import issued_audiences
from perhop.wiring.plane import Owed, Plane


async def disable_removed(plane: Plane) -> list[str]:
    """Hold the file against what stood before: what was removed is disabled, and the end of its tokens is owed.

    Returns `KIND NAME` of each. What is at an address of a resource that stays is left alone, whoever tried it at one
    that goes.

    Raises: StorageUnavailable, JournalUnavailable
    """
    issuer = plane.issuer
    # Disabled once, it is not found a second time: it is held until what follows from it is known.
    plane.removed |= await issuer.standing.reconcile(plane.settings.registry, now=issuer.now())
    removed = sorted(plane.removed)
    owed: list[Owed] = []
    left: dict[str, str] = {}
    for kind, name in removed:
        why = f"{kind} removed from the configuration"
        if kind == "client":
            owed.append(Owed(kind=RevokedObject.AGENT, value=name, why=why))
        if kind == "resource":
            left |= dict.fromkeys(await asyncio.to_thread(_recent_audiences, plane, name), why)
        if kind == "issuer":
            clients = await asyncio.to_thread(clients_by_issuer, plane, name)
            owed += [Owed(kind=RevokedObject.AGENT, value=each, why=why, keeps_families=True) for each in clients]
    if any(kind == "resource" for kind, _ in removed):
        # A family without recent records names its resource by the address alone, which nothing ties to the name.
        issued = await issued_audiences(plane.database, now=issuer.now())
        in_journal = await issuer.stores.lineage.live_in_journal(now=issuer.now())
        issued |= {each.audience for each in in_journal}
        left = dict.fromkeys(issued, "no resource of the configuration is at this address any more") | left
    owed += [Owed(kind=RevokedObject.RESOURCE, value=each, why=left[each]) for each in _at_no_resource(plane, left)]
    plane.owed += owed
    plane.removed.clear()
    return [f"{kind} {name}" for kind, name in removed]


async def forget_unadmitted(plane: Plane) -> int:
    """Revoke and forget the clients whose host no rule admits any more; returns how many live tokens ended.

    They come back with a rule.

    Raises: StorageUnavailable, JournalUnavailable
    """
    live = 0
    for client in plane.newcomers.unadmitted():
        why = "no rule of `client_documents` admits it any more"
        live += (await plane.issuer.revoker.revoke(RevokedObject.AGENT, client, why=why, by="perhop")).live
        await plane.newcomers.forget(client)
    return live


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
    """The audiences of tokens that the journal last saw issued for this resource, or tried at it. Blocks.

    Those of other resources are among them: tokens that were exchanged for it, and tokens that it refused.
    """
    since = format_time(plane.issuer.clock() - MAX_LIFETIME - MAX_SKEW)
    issued = list(plane.reader.find(Filter(resource=resource, since=since)))
    found = {entry.part("out").get("aud") for entry in issued} | {entry.part("in").get("aud") for entry in issued}
    return sorted(each for each in found if isinstance(each, str))


def _at_no_resource(plane: Plane, audiences: Iterable[str]) -> list[str]:
    """Those of these audiences that are neither a resource's of the configuration nor one of our own."""
    issuer, known = plane.issuer, plane.settings.registry

    def is_ours(audience: str) -> bool:
        return audience == records_uri(issuer.url) or is_canary(audience, issuer)

    return sorted(
        each
        for each in audiences
        if known.resource_at(each) is None and known.resource_served_at(each) is None and not is_ours(each)
    )
