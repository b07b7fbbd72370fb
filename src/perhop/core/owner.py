"""Owners: who answers for a resource or a client."""

from __future__ import annotations

from dataclasses import dataclass

from perhop.core.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where a team is told of calls that wait for it, and what the messages are signed with."""

    url: str
    secret: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A team; `members` and `deputies` are the e-mail addresses of people. Without a `webhook` it is told nothing."""

    name: str
    contact: str
    members: tuple[str, ...] = ()
    deputies: tuple[str, ...] = ()
    webhook: Webhook | None = None
