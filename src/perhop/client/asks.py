"""How often a person is asked: a server that is never content is not asked for for ever."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from perhop.core.authentication import AuthenticationWanted
from perhop.rules.scope_choice import OFFLINE_ACCESS

MAX_ASKS = 2
"""How often the same scopes are asked for."""
AGAIN_SECONDS = 300
"""A sign-in in some way is not asked for again for so long."""


class Asks:
    """What the person was asked for, for the life of one `SignIn`."""

    def __init__(self) -> None:
        self._scopes: Counter[frozenset[str]] = Counter()
        self._sign_ins: dict[AuthenticationWanted, float] = {}

    @property
    def total(self) -> int:
        """How often the person was asked so far."""
        return self._scopes.total()

    def note(self, scopes: Iterable[str] | None, wanted: AuthenticationWanted | None, *, now: float) -> None:
        """The person is asked for these scopes, and for this sign-in if one is wanted."""
        self._scopes[frozenset(scopes or ()) - {OFFLINE_ACCESS}] += 1
        if wanted is not None:
            self._sign_ins[wanted] = now

    def may_widen(self, scopes: frozenset[str]) -> bool:
        """True if these scopes were not asked for too often."""
        return self._scopes[scopes] < MAX_ASKS

    def may_step_up(self, wanted: AuthenticationWanted, *, now: float) -> bool:
        """False if the person signed in like this so short a time ago that the server could be content with it."""
        last = self._sign_ins.get(wanted)
        window = AGAIN_SECONDS if wanted.max_age is None else wanted.max_age
        return last is None or now - last >= window
