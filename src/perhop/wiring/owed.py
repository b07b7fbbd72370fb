"""Tokens that another configuration takes back: revoked with the change, and at start where a client was narrowed.

What could not be done, because disk or journal failed, stays owed: the next change does it first.
"""

from __future__ import annotations

from perhop.authorization_server.revocation import RevokedObject, is_over
from perhop.authorization_server.store import TokenRecord
from perhop.core.registry import Registry
from perhop.errors import Unavailable
from perhop.storage.token_records import Given, given_now
from perhop.wiring.plane import Owed, Plane


def owed_for_narrowed(client: str, *, by: str) -> Owed:
    """The tokens of a client that may ask for less than before."""
    # Its refresh tokens give less from now on: no person need be asked again for that.
    why = f"client `{client}` may ask for less than before"
    return Owed(kind=RevokedObject.AGENT, value=client, why=why, by=by, keeps_families=True)


async def settle(plane: Plane) -> int:
    """Revoke all that is owed; returns how many live tokens ended. What fails stays owed, and holds up no other.

    Raises: StorageUnavailable, JournalUnavailable
    """
    ended, failed, first = 0, [], None
    for owed in plane.owed:
        try:
            revoked = await plane.issuer.revoker.revoke(
                owed.kind, owed.value, why=owed.why, by=owed.by, keeps_families=owed.keeps_families
            )
            ended += revoked.live
        except Unavailable as error:
            failed.append(owed)
            first = first or error
    plane.owed = failed
    if first is not None:
        raise first
    return ended


async def revoke_wider(plane: Plane) -> None:
    """Revoke the tokens of clients that were narrowed while nothing served: some are out that they would not get now.

    Raises: StorageUnavailable, JournalUnavailable
    """
    issuer, registry = plane.issuer, plane.registry
    in_journal = await issuer.stores.lineage.live_in_journal(now=issuer.now())
    given = [*await given_now(plane.database, now=issuer.now()), *(Given.of(each) for each in in_journal)]
    for client in sorted({each.client_id for each in given if _is_wider(each, registry)}):
        live = await issuer.stores.lineage.live(RevokedObject.AGENT.value, client, now=issuer.now())
        if any(_counts(each, client, plane) for each in live):
            plane.owed.append(owed_for_narrowed(client, by="perhop"))
    await settle(plane)


def _counts(record: TokenRecord, client: str, plane: Plane) -> bool:
    """True if the client got this token, may not have it now, and it has not been revoked."""
    if record.client_id != client or is_over(record, plane.issuer.revocations):
        return False
    return _is_wider(Given.of(record), plane.registry)


def _is_wider(given: Given, registry: Registry) -> bool:
    """True if its client would not get this now. What is no longer defined at all is not looked at here."""
    client = registry.clients.get(given.client_id)
    if client is None:
        return False
    if given.parent_jti is None:
        resource = registry.resource_at(given.audience)
        return resource is not None and not {*given.scope.split()} <= {*client.reaches.get(resource.name, ())}
    came_to = given.parent_audience or ""
    source = registry.resource_served_at(came_to) or registry.resource_at(came_to)
    return source is not None and source.name not in client.serves
