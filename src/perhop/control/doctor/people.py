"""Checks of what people need: the console, and somebody in each team who can sign in there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import httpx2

from perhop.authorization_server.people import is_local_way_open
from perhop.authorization_server.store import Account
from perhop.control.doctor.finding import Seen, failed, ok, skipped, some, warning
from perhop.control.doctor.patient import Patient
from perhop.core.registry import Registry
from perhop.policy.engine import PolicyEngine
from perhop.policy.policy_set import load_policies
from perhop.rules.approval import is_of_team
from perhop.settings import Settings
from perhop.storage.accounts import SqlAccounts
from perhop.storage.engine import open_database


async def console(patient: Patient) -> list[Seen]:
    """Whether the console answers, and whether each team that must approve calls has somebody who can."""
    return [await _reachable(patient), *await _deciders(patient)]


async def _reachable(patient: Patient) -> Seen:
    """By its listener, under the name that people call: the proxy between them may be in another network."""
    if not patient.serves:
        return skipped("perhop does not serve here")
    settings = patient.settings
    host = settings.console_url.partition("://")[2]
    try:
        answer = await patient.http.get(f"http://{settings.listen.console}/sign-in", headers={"host": host})
    except httpx2.HTTPError as error:
        return failed(f"{settings.listen.console} does not answer: {type(error).__name__}", "restart `perhop serve`")
    if answer.status_code != 200:
        return failed(
            f"{settings.listen.console} answers {answer.status_code} to people of {settings.console_url}",
            "run `perhop apply`, or look into the log of `perhop serve`",
        )
    return ok(f"answers for {settings.console_url}")


async def _deciders(patient: Patient) -> list[Seen]:
    settings = patient.settings
    wanting = _wanting_approval(settings)
    if not wanting:
        return []
    database = open_database(settings.database_path)
    try:
        accounts = await SqlAccounts(database).list()
    finally:
        await database.close()
    return list(_teams(wanting, settings.registry, accounts))


def _wanting_approval(settings: Settings) -> dict[str, list[str]]:
    """Name of an owner -> its resources at which a policy of the folder may ask for approval.

    Raises: PolicyError
    """
    engine = PolicyEngine(load_policies(settings.policies_dir), settings.registry)
    wanting: dict[str, list[str]] = {}
    for resource in settings.registry.resources.values():
        if engine.wanting_approval(resource.name):
            wanting.setdefault(resource.owner, []).append(resource.name)
    return wanting


def _teams(wanting: Mapping[str, list[str]], registry: Registry, accounts: Iterable[Account]) -> Iterator[Seen]:
    """Who has an address of a provider's domain gets an account at the first sign-in there."""
    owners, ways = registry.owners, registry.sign_in
    local = [each.email for each in accounts if not each.disabled and is_local_way_open(each.email, ways)]
    for name, resources in wanting.items():
        team = (*owners[name].members, *owners[name].deputies)
        able = {email for email in local if is_of_team(email, owners[name])}
        able.update(email for email in team if ways.provider_for(email) is not None)
        if not able:
            yield warning(
                f"nobody can approve calls of {some(resources)}: no member or deputy has an account",
                f"run `perhop account add EMAIL` with an address of `owners.{name}`",
                part=name,
            )
        else:
            yield ok(f"accounts that can approve calls of {some(resources)}: {len(able)}", part=name)
