"""Operations on what people have allowed: listing it, taking it back, and who a person is by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perhop.authorization_server.interaction.passwords import parse_email
from perhop.authorization_server.stores import Stores
from perhop.authorization_server.taking_back import take_back
from perhop.control.operator import by_operator
from perhop.core.registry import Registry
from perhop.errors import NotFound, SettingsError
from perhop.wiring.plane import Plane


async def subjects_named(stores: Stores, person: str) -> tuple[str, ...]:
    """The subjects that a person may have: a `sub` as it is, or those of every account with this e-mail address.

    Raises: NotFound, StorageUnavailable
    """
    if person.startswith("user:"):
        return (person,)
    email = parse_email(person)
    local = await stores.accounts.get(email)
    federated = [each.subject for each in await stores.federated_accounts.list() if each.email == email]
    found = (*((local.subject,) if local is not None else ()), *federated)
    if not found:
        raise NotFound(f"there is no account `{person}`", advice="run `perhop account list`")
    return found


async def revoke_grants(
    plane: Plane, *, person: str | None, client: str | None, resource: str | None, why: str, dry_run: bool = False
) -> Mapping[str, Any]:
    """Take back every consent that all of the names given name, with its refresh families and tokens.

    With `dry_run` nothing happens, and nothing is recorded.

    Raises: NotFound, SettingsError, StorageUnavailable, JournalUnavailable
    """
    if person is None and client is None and resource is None:
        raise SettingsError("nothing is named to revoke", advice="name a person, a client or a resource")
    stores = plane.issuer.stores
    subjects = await subjects_named(stores, person) if person is not None else None
    uri = _uri(resource, plane.registry) if resource is not None else None
    chosen = [
        each
        for each in await _standing(stores, now=plane.issuer.now())
        if (subjects is None or each[0] in subjects) and client in (None, each[1]) and uri in (None, each[2])
    ]
    families, tokens = 0, 0
    for subject, client_id, at in () if dry_run else chosen:
        taken = await take_back(subject, client_id, at, plane.issuer, why=why, by=by_operator())
        families, tokens = families + len(taken.families), tokens + len(taken.jtis)
    grants = [{"subject": subject, "client": client_id, "resource": at} for subject, client_id, at in chosen]
    return {"revoked": not dry_run, "grants": grants, "families": families, "live": tokens}


async def _standing(stores: Stores, *, now: int) -> Sequence[tuple[str, str, str]]:
    """Person, client and resource of every consent, and of every refresh family in force."""
    consents = [(each.subject, each.client_id, each.resource) for each in await stores.consents.all()]
    families = [(each.subject, each.client_id, each.resource) for each in await stores.refresh_tokens.in_force(now=now)]
    return list(dict.fromkeys((*consents, *families)))


def _uri(resource: str, registry: Registry) -> str:
    named = registry.resources.get(resource)
    if named is None and "://" not in resource:
        raise NotFound(f"the configuration defines no resource `{resource}`", advice="run `perhop resource list`")
    return named.uri if named is not None else resource
