"""`/approvals`: the calls that wait for a person of the teams of whoever is signed in."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from perhop.authorization_server.interaction.pages import see_other
from perhop.authorization_server.store import SignIn
from perhop.console.console import HOME, Console
from perhop.console.paths import path_of
from perhop.console.shown_call import emails_by_subject
from perhop.console.words import ago, left
from perhop.core.approval import Approval
from perhop.rules.approval import is_of_team


async def home(_: Request, __: Console) -> Response:
    """There is one thing to do here so far."""
    return see_other(HOME)


async def approvals(request: Request, console: Console) -> Response:
    """The list, the oldest first; it says nothing of what the calls say.

    Raises: StorageUnavailable
    """
    person = await console.person(request)
    if person is None:
        return see_other("/sign-in")
    teams = [name for name, each in console.issuer.registry.owners.items() if is_of_team(person.email, each)]
    waiting = await console.approvals.waiting() if teams else ()
    emails = await emails_by_subject(console) if waiting else {}
    rows = [_row(each, person, emails, console) for each in waiting if _is_for(person, each, console)]
    return console.page("approvals", {"teams": teams, "rows": rows}, person=person)


def _is_for(person: SignIn, approval: Approval, console: Console) -> bool:
    owner = console.approvals.owner_of(approval)
    return owner is not None and is_of_team(person.email, owner)


def _row(approval: Approval, person: SignIn, emails: Mapping[str, str], console: Console) -> dict[str, object]:
    now = console.now()
    return {
        "path": path_of(approval.id),
        "agent": approval.call.agent,
        "method": approval.call.method,
        "name": approval.name,
        "resource": approval.resource,
        "risk": console.issuer.registry.resources[approval.resource].risk.value,
        "person": emails.get(approval.call.subject),
        "asked": ago(approval.asked_at, now=now),
        "left": left(approval.expires_at, now=now),
        "is_own": approval.call.subject == person.subject,
    }
