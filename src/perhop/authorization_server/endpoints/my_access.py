"""`/my-access`: a person sees which applications act for them, and stops them.

On this listener, not at the console: who consents is signed in here, and the console is for the people of the owners.

Spec: RFC 9700 §4.7.1
Spec: RFC 9700 §4.16
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from perhop.authorization_server.endpoints.refuse import record_refusal
from perhop.authorization_server.form import Form, read_form
from perhop.authorization_server.interaction.login import (
    SESSION_COOKIE,
    current_sign_in,
    set_cookie,
    sign_out,
    site_of,
)
from perhop.authorization_server.interaction.pages import see_other, task_in_words
from perhop.authorization_server.interaction.rendering import in_words
from perhop.authorization_server.interaction.sign_in_form import (
    Purpose,
    is_sign_in_sent,
    show_sign_in,
    take_sign_in,
)
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.store import SignIn
from perhop.authorization_server.taking_back import take_back
from perhop.authorization_server.trail import Trail
from perhop.errors import Refused, Unavailable

PATH = "/my-access"

_STOP, _END_TASK, _SIGN_OUT = "my access: stop", "my access: end task", "my access: sign out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """What one client may do at one resource, from when; `used_at` is when it last got a token by it."""

    client: str
    resource: str
    scopes: frozenset[str]
    since: int
    used_at: int | None


async def my_access(request: Request, issuer: Issuer) -> Response:
    """Take what was sent, if a form of this page was; then show what stands."""
    trail = Trail.of(request)
    try:
        return await _answer(request, trail, issuer)
    except (Refused, Unavailable) as fact:
        return issuer.pages.refused(await record_refusal(fact, trail, issuer))


async def _answer(request: Request, trail: Trail, issuer: Issuer) -> Response:
    purpose = Purpose(action=_action(issuer))
    sent = await read_form(request) if request.method == "POST" else None
    if sent is not None and is_sign_in_sent(sent, purpose, request, issuer):
        return await take_sign_in(sent, purpose, request, trail, issuer)
    person = await current_sign_in(request, site_of(issuer), issuer)
    if person is None:
        return show_sign_in(purpose, request, issuer)
    if sent is not None:
        taken = await _take(sent, person, request, issuer)
        if taken is not None:
            return taken
    return issuer.pages.my_access(
        person=person.shown,
        action=purpose.action,
        grants=await _grants(person, issuer),
        tasks=_tasks(person, issuer),
        sign_out=issuer.form_seal.seal(_SIGN_OUT, person.id_hash, now=issuer.now()),
    )


async def _take(sent: Form, person: SignIn, request: Request, issuer: Issuer) -> Response | None:
    """Do what the form says; None, and nothing is done, if it was not shown to this session not long ago.

    Raises: StorageUnavailable, JournalUnavailable
    """
    seal, why, by = sent.one("seal") or "", "the person took it back", person.subject
    client, resource, task = (sent.one(name) or "" for name in ("client", "resource", "task"))
    match sent.all("decision"):
        case ("stop",) if issuer.form_seal.is_good(seal, *_stopping(person, client, resource), now=issuer.now()):
            await take_back(person.subject, client, resource, issuer, why=why, by=by)
        case ("end-task",) if issuer.form_seal.is_good(seal, _END_TASK, person.id_hash, task, now=issuer.now()):
            await issuer.tasks.end(task, why=why, by=by)
        case ("sign-out",) if issuer.form_seal.is_good(seal, _SIGN_OUT, person.id_hash, now=issuer.now()):
            await sign_out(request, site_of(issuer), issuer)
            response = see_other(_action(issuer))
            set_cookie(response, SESSION_COOKIE, "", site_of(issuer), max_age=0)
            return response
        case _:
            return None
    return see_other(_action(issuer))


def _stopping(person: SignIn, client: str, resource: str) -> tuple[str, ...]:
    """What a button is good for: this session, and this one client at this one resource."""
    return _STOP, person.id_hash, client, resource


async def granted_to(subject: str, issuer: Issuer) -> Sequence[Granted]:
    """What stands of this person's consents, and refresh families without one; the newest first.

    Raises: StorageUnavailable
    """
    found = {
        (each.client_id, each.resource): Granted(
            client=each.client_id,
            resource=each.resource,
            scopes=each.scopes,
            since=each.granted_at,
            used_at=each.used_at,
        )
        for each in await issuer.stores.consents.all(subject)
    }
    for family in await issuer.stores.refresh_tokens.in_force(now=issuer.now(), subject=subject):
        # What was allowed under a task only is kept with the task, and not as a consent.
        key = (family.client_id, family.resource)
        found.setdefault(
            key,
            Granted(
                client=family.client_id,
                resource=family.resource,
                scopes=family.scopes,
                since=family.began_at,
                used_at=None,
            ),
        )
    return sorted(found.values(), key=lambda each: -each.since)


async def _grants(person: SignIn, issuer: Issuer) -> list[Mapping[str, Any]]:
    now, registry = issuer.now(), issuer.registry
    rows: list[Mapping[str, Any]] = []
    for each in await granted_to(person.subject, issuer):
        resource, client = registry.resource_at(each.resource), registry.clients.get(each.client)
        known = resource.scopes if resource is not None else {}
        rows.append(
            {
                "client": each.client,
                "purpose": client.purpose if client is not None else "",
                "uri": each.resource,
                "resource": resource.name if resource is not None else "",
                "owner": resource.owner if resource is not None else "",
                "scopes": [(name, known[name].says if name in known else "") for name in sorted(each.scopes)],
                "since": ago(each.since, now=now),
                "used": ago(each.used_at, now=now) if each.used_at is not None else "",
                "seal": issuer.form_seal.seal(*_stopping(person, each.client, each.resource), now=now),
            }
        )
    return rows


def _tasks(person: SignIn, issuer: Issuer) -> list[Mapping[str, Any]]:
    now = issuer.now()
    return [
        {
            "id": task.id,
            "client": task.client,
            **task_in_words(task, now=now),
            "seal": issuer.form_seal.seal(_END_TASK, person.id_hash, task.id, now=now),
        }
        for task in issuer.tasks.approved_by(person.subject)
    ]


def ago(then: int, *, now: int) -> str:
    """How long ago, as people say it."""
    return f"{in_words(now - then)} ago" if now - then >= 60 else "just now"


def _action(issuer: Issuer) -> str:
    return urlsplit(issuer.endpoint(PATH)).path
