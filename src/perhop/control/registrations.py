"""The operations on clients that registered themselves: an owner adopts one, or it is rejected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from perhop.authorization_server.newcomers.known import metadata_of
from perhop.control.operator import by_operator
from perhop.core.newcomer import Adoption
from perhop.core.registry import Registry
from perhop.errors import NotFound, SettingsError
from perhop.rules.visible_text import is_unseen
from perhop.wiring.plane import Plane

MAX_PURPOSE = 500


async def adopt_client(
    plane: Plane, *, client: str, owner: str, reaches: Mapping[str, Sequence[str]], expires: str, purpose: str | None
) -> Mapping[str, Any]:
    """An owner answers for a client from now on; it may ask for what it reaches. `purpose` is its own word by default.

    Raises: NotFound, SettingsError, StorageUnavailable, JournalUnavailable
    """
    registry, registrations = plane.registry, plane.newcomers.registrations
    found = registrations.find(client)
    if found is None or not registrations.is_waiting(client):
        raise NotFound(f"no client `{client}` waits to be adopted", advice="run `perhop client list`")
    if owner not in registry.owners:
        raise NotFound(f"the configuration defines no owner `{owner}`", advice="run `perhop owner list`")
    _check_reaches(reaches, registry)
    adoption = Adoption(
        owner=owner,
        purpose=_purpose(purpose if purpose is not None else metadata_of(found).name),
        expires=_day(expires, plane),
        reaches={name: tuple(scopes) for name, scopes in reaches.items()},
        by=by_operator(),
        at=plane.issuer.now(),
    )
    await plane.newcomers.adopt(client, adoption)
    return {
        "client": client,
        "owner": owner,
        "purpose": adoption.purpose,
        "expires": expires,
        "reaches": {name: list(scopes) for name, scopes in adoption.reaches.items()},
    }


async def reject_client(plane: Plane, *, client: str, why: str) -> Mapping[str, Any]:
    """Forget a client that waits.

    Raises: NotFound, StorageUnavailable, JournalUnavailable
    """
    await plane.newcomers.registrations.reject(client, why=why, by=by_operator())
    return {"client": client, "rejected": True}


def _check_reaches(reaches: Mapping[str, Sequence[str]], registry: Registry) -> None:
    if not reaches:
        raise SettingsError("it would reach nothing", advice="name a resource and a scope")
    for name, scopes in reaches.items():
        resource = registry.resources.get(name)
        if resource is None:
            raise NotFound(f"the configuration defines no resource `{name}`", advice="run `perhop resource list`")
        unknown = [scope for scope in scopes if scope not in resource.scopes]
        if unknown or not scopes:
            known = ", ".join(f"`{each}`" for each in resource.scopes)
            raise NotFound(f"resource `{name}` has no scope `{(unknown or [''])[0]}`", advice=f"it has {known}")


def _purpose(text: str) -> str:
    if not 0 < len(text.strip()) <= MAX_PURPOSE or any(is_unseen(each) for each in text):
        raise SettingsError(f"the purpose is not one line of 1 to {MAX_PURPOSE} characters", advice="say it in words")
    return text


def _day(text: str, plane: Plane) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"`{text}` is not a day", advice="write it as 2027-01-31") from None
    if day < datetime.fromtimestamp(plane.issuer.now(), UTC).date():
        raise SettingsError(f"{day.isoformat()} is over", advice="name a day to come")
    return day
