"""What became of a call that waited: who decided, when, why, and what happens next."""

from __future__ import annotations

from starlette.responses import Response

from perhop.authorization_server.store import SignIn
from perhop.console.console import Console
from perhop.console.shown_call import emails_by_subject
from perhop.console.words import at, sentence, until
from perhop.core.approval import Approval, ApprovalState
from perhop.errors import ApprovalClosed


async def show_decided(
    approval: Approval, person: SignIn, console: Console, *, notice: ApprovalClosed | None = None, status: int = 200
) -> Response:
    """The page. `notice` says why a decision that was just sent changed nothing.

    Raises: StorageUnavailable
    """
    emails = await emails_by_subject(console)
    values = {
        "approval": approval,
        "outcome": _outcome(approval, now=console.now()),
        "decided_by": emails.get(approval.decided_by or "", approval.decided_by),
        "decided_at": at(approval.decided_at) if approval.decided_at is not None else "",
        "used_at": at(approval.used_at) if approval.used_at is not None else "",
        "until": until(approval.expires_at, now=console.now()),
        "notice": sentence(notice) if notice is not None else "",
    }
    return console.page("decided", values, person=person, status=status)


def _outcome(approval: Approval, *, now: int) -> str:
    """One word for each thing that there is to say."""
    is_over = approval.expires_at <= now
    match approval.state:
        case ApprovalState.WAITING:
            return "late" if is_over else "closed"
        case ApprovalState.APPROVED:
            return "unused" if is_over else "approved"
        case ApprovalState.DENIED:
            return "denied"
        case ApprovalState.USED:
            return "used"
        case ApprovalState.EXPIRED:
            return "late"
