"""What clients got for themselves, kept for the next request that says the same: their resource, and their scopes.

It follows from the form, the client and the registry, and from nothing else where no task is named. Standing, which
changes meanwhile, is looked at each time; what was refused is not kept.
"""

from __future__ import annotations

from typing import NamedTuple

from perhop.authorization_server.form import Form
from perhop.core.client import Client
from perhop.core.resource import Resource

MOST_KEPT = 1024


class KeptGrant(NamedTuple):
    """For this form of this client: what it may have, and where."""

    form: Form
    client: Client
    resource: Resource
    scopes: frozenset[str]


class KeptGrants:
    """Of one registry: another one begins with none.

    INVARIANT: a grant is found by the very form and the very client of which it was made, which it holds: neither ever
    changes, and no other object can have their place. Forms are the same object only where they were kept themselves.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], KeptGrant] = {}

    def find(self, form: Form, client: Client) -> KeptGrant | None:
        """What this client got by this form, if that is known."""
        return self._kept.get((id(form), id(client)))

    def keep(self, form: Form, client: Client, resource: Resource, scopes: frozenset[str]) -> None:
        """Remember it, if the form is one that may come again."""
        if not form.is_kept:
            return
        if len(self._kept) >= MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[id(form), id(client)] = KeptGrant(form, client, resource, scopes)
