"""Facts that many records share: those of one token are made once, and so is their text.

What is kept is found by a fingerprint or an id, and counts for the very value of which it was made, and for no other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Generic, TypeVar

from perhop.core.token import TokenDraft, VerifiedToken
from perhop.journal.record import DecisionFacts, Inbound, Outbound, RequestFacts

MAX_KEPT = 2048

Source = TypeVar("Source")
Facts = TypeVar("Facts")


class KeptFacts(Generic[Source, Facts]):
    """At most MAX_KEPT facts in `kept`, the oldest forgotten first. In memory, for one process."""

    def __init__(self, make: Callable[[Source], Facts]) -> None:
        self._make = make
        self.kept: dict[str, tuple[Source, Facts]] = {}

    def of(self, key: str, source: Source) -> Facts:
        """The facts of this value; the key only finds them, the value decides."""
        found = self.kept.get(key)
        if found is not None and (found[0] is source or found[0] == source):
            return found[1]
        made = self._make(source)
        if found is None and len(self.kept) >= MAX_KEPT:
            self.kept.pop(next(iter(self.kept)), None)
        self.kept[key] = (source, made)
        return made


_inbound: KeptFacts[VerifiedToken, Inbound] = KeptFacts(Inbound.of)
_outbound: KeptFacts[TokenDraft, Outbound] = KeptFacts(Outbound.of)


def inbound_facts(token: VerifiedToken) -> Inbound:
    """What a record says of the token that came."""
    found = _inbound.kept.get(token.fingerprint)
    return found[1] if found is not None and found[0] is token else _inbound.of(token.fingerprint, token)


def outbound_facts(draft: TokenDraft) -> Outbound:
    """What a record says of the token that goes out."""
    found = _outbound.kept.get(draft.jti)
    return found[1] if found is not None and found[0] is draft else _outbound.of(draft.jti, draft)


@lru_cache(maxsize=MAX_KEPT)
def request_facts(ip: str | None, user_agent: str | None, session: str | None) -> RequestFacts:
    """What a record says of where a request came from."""
    return RequestFacts(ip=ip, user_agent=user_agent, session=session)


@lru_cache(maxsize=MAX_KEPT)
def permitting(policies: tuple[str, ...], policy_version: str) -> DecisionFacts:
    """What a record says of a permit that needed no approval."""
    return DecisionFacts(effect="permit", policies=policies, policy_version=policy_version)
