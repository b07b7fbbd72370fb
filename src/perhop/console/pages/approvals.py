"""`/approvals`: the calls that wait for a person of the teams of whoever is signed in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from perhop.authorization_server.interaction.pages import see_other
from perhop.authorization_server.store import SignIn
from perhop.console.console import HOME, Console
from perhop.console.paths import path_of
from perhop.console.shown_call import emails_by_subject, first_line
from perhop.console.words import ago, left
from perhop.core.approval import Approval
from perhop.errors import ApprovalClosed
from perhop.gateway.approvals import StoredApproval
from perhop.rules.approval import is_of_team


async def home(_: Request, __: Console) -> Response:
    """There is one thing to do here so far."""
    return see_other(HOME)


async def approvals(request: Request, console: Console) -> Response:
    """The list, the oldest first; of what the calls say it has the beginning, by which one is told from another.

    Raises: StorageUnavailable
    """
    person = await console.person(request)
    if person is None:
        return see_other("/sign-in")
    teams = [name for name, each in console.issuer.registry.owners.items() if is_of_team(person.email, each)]
    waiting = await console.approvals.waiting() if teams else ()
    emails = await emails_by_subject(console) if waiting else {}
    mine = [each for each in waiting if _is_for(person, each.approval, console)]
    # Calls can be long, and each is opened and read.
    said = await asyncio.to_thread(lambda: [_said(each, console) for each in mine])
    rows = [_row(each.approval, begins, person, emails, console) for each, begins in zip(mine, said, strict=True)]
    return console.page("approvals", {"teams": teams, "rows": rows}, person=person)


def _is_for(person: SignIn, approval: Approval, console: Console) -> bool:
    owner = console.approvals.owner_of(approval)
    return owner is not None and is_of_team(person.email, owner)


def _said(stored: StoredApproval, console: Console) -> str | None:
    """How what the call says begins; None once that is forgotten. Blocks."""
    try:
        params = console.approvals.params_of(stored)
    except ApprovalClosed:
        return None
    return None if params is None else first_line(params)


def _row(
    approval: Approval, said: str | None, person: SignIn, emails: Mapping[str, str], console: Console
) -> dict[str, object]:
    now = console.now()
    return {
        "path": path_of(approval.id),
        "id": approval.id,
        "said": said,
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
