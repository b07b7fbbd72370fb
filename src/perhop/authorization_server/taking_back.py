"""Taking a consent back: what a person allowed a client at a resource ends, with all that came of it."""

from __future__ import annotations

from dataclasses import dataclass

from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.revocation import RevokedObject
from perhop.journal.record import Event, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBack:
    """What ended: `jtis` are the tokens that were in force, `families` the refresh families."""

    had_consent: bool
    families: tuple[str, ...]
    jtis: tuple[str, ...]

    @property
    def is_something(self) -> bool:
        return self.had_consent or bool(self.families) or bool(self.jtis)


async def take_back(subject: str, client_id: str, resource: str, issuer: Issuer, *, why: str, by: str) -> TakenBack:
    """Remove the consent -> end its refresh families -> revoke the tokens in force, with all that came from them.

    `resource` is its URI. In force when it returns, even if the journal then fails. What was allowed under a task ends,
    too; the task itself stays, and another yes can be asked for.

    Raises: StorageUnavailable, JournalUnavailable
    """
    stood = await issuer.stores.consents.take_back(subject, client_id, resource, now=issuer.now())
    jtis: set[str] = set()
    for family in stood.families:
        ended = await issuer.revoker.end_family(family, why=why, by=by)
        jtis.update(ended.jtis if ended is not None else ())
    for token in await issuer.stores.lineage.live("sub", subject, now=issuer.now()):
        if (token.agent, token.audience) == (client_id, resource) and token.jti not in jtis:
            jtis.update((await issuer.revoker.revoke(RevokedObject.TOKEN, token.jti, why=why, by=by)).jtis)
    taken = TakenBack(had_consent=stood.had_consent, families=stood.families, jtis=tuple(sorted(jtis)))
    if taken.had_consent:
        await issuer.journal.append(_record(subject, client_id, resource, issuer, why=why, by=by))
    return taken


def _record(subject: str, client_id: str, resource: str, issuer: Issuer, *, why: str, by: str) -> Record:
    named = issuer.registry.resource_at(resource)
    return Record(
        event=Event.REVOCATION,
        reason="token.revoked",
        resource=named.name if named is not None else None,
        owner=named.owner if named is not None else None,
        tenant=named.tenant if named is not None else None,
        client=client_id,
        about={"kind": "consent", "value": subject, "why": why, "by": by},
    )
