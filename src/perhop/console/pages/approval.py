"""`/approvals/ID`: one exact call, and a person's decision on it.

Spec: RFC 9700 §4.7.1
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from perhop.authorization_server.form import Form, read_form
from perhop.authorization_server.interaction.pages import see_other
from perhop.authorization_server.store import SignIn
from perhop.authorization_server.trail import Trail
from perhop.console.console import Console
from perhop.console.pages.decided import show_decided
from perhop.console.pages.sign_in import show_sign_in
from perhop.console.paths import own_path, path_of
from perhop.console.reasons_kept import clean_reason
from perhop.console.shown_call import ShownCall, emails_by_subject, render_params, shown_call
from perhop.console.words import ago, left, sentence, until
from perhop.core.approval import Approval, ApprovalState, Approver
from perhop.core.owner import Owner
from perhop.errors import ApprovalClosed, ApproverRefused, NotFound, PageMissing, SignInStale
from perhop.gateway.approvals import StoredApproval
from perhop.rules.approval import FRESH_SECONDS, MAX_WHY, check_approver, check_open, is_of_team

_SEALED = "console decision"


@dataclass(frozen=True, slots=True)
class Seen:
    """One person before one call of their team."""

    person: SignIn
    stored: StoredApproval
    owner: Owner
    others: frozenset[str]

    @property
    def approval(self) -> Approval:
        return self.stored.approval

    @property
    def path(self) -> str:
        return path_of(self.approval.id)

    @property
    def approver(self) -> Approver:
        person = self.person
        return Approver(
            subject=person.subject, email=person.email, signed_in_at=person.signed_in_at, others=self.others
        )


async def approval(request: Request, console: Console) -> Response:
    """Find who asks -> find the call, if it is their team's -> take a decision, or show what there is to decide.

    Raises: PageMissing, TokenRequestMalformed, BodyTooLarge, BodyTooSlow, StorageUnavailable, JournalUnavailable
    """
    name = str(request.path_params["approval"])
    person = await console.person(request)
    if person is None:
        return see_other(f"/sign-in?next={own_path(path_of(name))}")
    seen = await _find(name, person, console)
    try:
        if request.method == "POST":
            return await _take_decision(await read_form(request), seen, request, console)
        if _is_over(seen.approval, console):
            return await show_decided(seen.approval, seen.person, console)
        return await _show(seen, console)
    except ApprovalClosed as fact:
        # Somebody else was first, or it was too late: as it stands now.
        seen = await _find(name, person, console)
        return await show_decided(seen.approval, person, console, notice=fact, status=409)


async def _find(name: str, person: SignIn, console: Console) -> Seen:
    """One answer for what is not there and for what is another team's.

    Raises: PageMissing, StorageUnavailable
    """
    try:
        stored = await console.approvals.get(name)
    except NotFound:
        raise PageMissing(f"no approval `{name[:64]}`") from None
    owner = console.approvals.owner_of(stored.approval)
    if owner is None or not is_of_team(person.email, owner):
        raise PageMissing(f"`{person.subject}` is not of the team that decides on `{name[:64]}`")
    emails = await emails_by_subject(console)
    same = {subject for subject, email in emails.items() if email == emails.get(person.subject)}
    return Seen(person, stored, owner, frozenset(same - {person.subject}))


def _is_over(approval: Approval, console: Console) -> bool:
    return approval.state is not ApprovalState.WAITING or approval.expires_at <= console.now()


async def _take_decision(form: Form, seen: Seen, request: Request, console: Console) -> Response:
    """Nothing is decided but by the form that this session was shown, for exactly what it was shown.

    Raises: ApprovalClosed, StorageUnavailable, JournalUnavailable
    """
    check_open(seen.approval, allow=True, policy_version=console.policies.version, now=console.now())
    why = clean_reason(form.one("why"))
    shown = await shown_call(seen.stored, seen.owner, console)
    if not console.issuer.form_seal.is_good(form.one("seal") or "", *_binding(seen, shown), now=console.now()):
        kept = why if console.door.is_known_ours(request.headers) else ""
        notice = "This page was too old, or the call is shown differently now. Look again, then decide."
        return await _show(seen, console, why=kept, notice=notice, status=403)
    if len(why) > MAX_WHY:
        notice = f"The reason has {len(why)} characters. At most {MAX_WHY} are kept: say it shorter."
        return await _show(seen, console, why=why, notice=notice, status=400)
    match form.all("decision"):
        case (("approve" | "deny") as said,):
            return await _decide(said == "approve", why, seen, request, console)
        case _:
            return await _show(seen, console, why=why, notice="Say whether you approve or deny.", status=400)


async def _decide(allow: bool, why: str, seen: Seen, request: Request, console: Console) -> Response:
    ip = Trail.of(request).request.ip
    try:
        await console.approvals.decide(seen.approval.id, allow=allow, approver=seen.approver, why=why, ip=ip)
    except SignInStale:
        notice = "You signed in a while ago. Show once more that it is you, then decide."
        return show_sign_in(
            request, console, path=seen.path, why=why, known_as=seen.person.shown, notice=notice, status=403
        )
    except ApproverRefused as fact:
        return await _show(seen, console, why=why, notice=sentence(fact), status=403)
    return see_other(seen.path)


async def _show(seen: Seen, console: Console, *, why: str = "", notice: str = "", status: int = 200) -> Response:
    shown, now = await shown_call(seen.stored, seen.owner, console), console.now()
    session = seen.person.id_hash
    values = {
        "shown": shown,
        "params": await asyncio.to_thread(render_params, shown.params),  # calls of others go on meanwhile
        "asked": ago(seen.approval.asked_at, now=now),
        "left": left(seen.approval.expires_at, now=now),
        "until": until(seen.approval.expires_at, now=now),
        "hindrance": _hindrance(seen, console),
        "is_fresh": now - seen.person.signed_in_at <= FRESH_SECONDS,
        "why": why or console.reasons_kept.of(session, seen.path, now=now),
        "max_why": MAX_WHY,
        "seal": console.issuer.form_seal.seal(*_binding(seen, shown), now=now),
        "notice": notice,
    }
    return console.page("approval", values, person=seen.person, status=status)


def _binding(seen: Seen, shown: ShownCall) -> tuple[str, ...]:
    return _SEALED, seen.person.id_hash, shown.digest()


def _hindrance(seen: Seen, console: Console) -> str:
    """Why this person cannot decide on it, whatever they do; empty if they can, perhaps after signing in again."""
    now = console.now()
    try:
        check_open(seen.approval, allow=True, policy_version=console.policies.version, now=now)
        check_approver(seen.approver, seen.approval, seen.owner, now=now)
    except (ApprovalClosed, ApproverRefused) as fact:
        return sentence(fact)
    except SignInStale:
        pass
    return ""
