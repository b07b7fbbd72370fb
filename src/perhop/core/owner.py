"""Owners: who answers for a resource or a client."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A team; `members` and `deputies` are the e-mail addresses of people."""

    name: str
    contact: str
    members: tuple[str, ...] = ()
    deputies: tuple[str, ...] = ()
