"""The operation on approvals: a person decides, and shows with a password who they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perhop.authorization_server.interaction.login import check_password
from perhop.authorization_server.store import Place
from perhop.control.grants import subjects_named
from perhop.control.operator import by_operator
from perhop.core.approval import Approver
from perhop.wiring.plane import Plane


async def decide_approval(
    plane: Plane, *, approval: str, allow: bool, email: str, password: str, why: str
) -> Mapping[str, Any]:
    """Decide in the name of the person whose password this is.

    Raises: NotFound, SignInFailed, ApprovalClosed, ApproverRefused, StorageUnavailable, JournalUnavailable
    """
    account = await check_password(email, password, Place.CONSOLE, plane.issuer)
    others = frozenset(await subjects_named(plane.issuer.stores, account.email)) - {account.subject}
    approver = Approver(subject=account.subject, email=account.email, signed_in_at=plane.issuer.now(), others=others)
    decided = await plane.approvals.decide(approval, allow=allow, approver=approver, why=why, by=by_operator())
    return {
        "approval": decided.id,
        "state": decided.state.value,
        "decided_by": account.email,
        "expires_in": max(0, decided.expires_at - plane.issuer.now()),
    }
