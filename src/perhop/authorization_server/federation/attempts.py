"""Sign-ins that were begun and not ended: from our button to the provider, until its answer comes back.

Kept in memory: after a restart a sign-in is begun anew, as an open form is. Each is answered once.

Spec: RFC 9700 §4.7.1
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from perhop.authorization_server.store import Place
from perhop.core.secret import Secret

ATTEMPT_LIFETIME = 600
"""Seconds that a person has at the provider: as long as our own forms are good."""

MAX_ATTEMPTS = 2048
"""With the longest request that there can be, 16 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One sign-in under way. `browser` is the digest of a cookie that only the browser has where it was begun.

    `issuer` is the provider that was asked, `back` the path of ours that it leads to. Times are in seconds.
    """

    state: str
    provider: str
    issuer: str
    place: Place
    browser: str
    network: str
    nonce: str
    verifier: Secret
    redirect_uri: str
    back: str
    began_at: int
    max_age: int | None = None


class Attempts:
    """At most `capacity` at once. Anybody may begin one; where they are full, the network with most loses one.

    So a flood from somewhere pushes out its own, and nobody else's.
    """

    def __init__(self, capacity: int = MAX_ATTEMPTS) -> None:
        self._capacity = capacity
        self._under_way: dict[str, Attempt] = {}  # in the order in which they began

    def __len__(self) -> int:
        return len(self._under_way)

    def add(self, attempt: Attempt) -> None:
        """Expect an answer to it from now on."""
        self._forget(attempt.began_at)
        if len(self._under_way) >= self._capacity:
            self._push_out()
        self._under_way[attempt.state] = attempt

    def take(self, state: str, *, now: int) -> Attempt | None:
        """The attempt of this state, which is over with that; None if there is none, or it is too old.

        Does not look who brings the answer: whoever knows a `state` that is not theirs ends the sign-in.
        """
        self._forget(now)
        return self._under_way.pop(state, None)

    def _forget(self, now: int) -> None:
        for state, attempt in tuple(self._under_way.items()):
            if now - attempt.began_at < ATTEMPT_LIFETIME:
                return
            del self._under_way[state]

    def _push_out(self) -> None:
        ((busiest, _),) = Counter(each.network for each in self._under_way.values()).most_common(1)
        del self._under_way[next(state for state, each in self._under_way.items() if each.network == busiest)]
