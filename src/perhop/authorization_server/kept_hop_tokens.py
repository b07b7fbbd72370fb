"""Hop tokens that are good for a while yet: the same caller's next call gets the same one.

Saves minting, never a check: the key holds everything that went into the token, and policy is asked each time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from perhop.core.resource import ResourceUri
from perhop.core.token import HopToken, Sender, TokenDraft, VerifiedToken

MAX_KEPT = 20_000
MIN_LEFT_SECONDS = 20
"""A token that has less left is not handed out again: it must outlast a slow way to the upstream."""


@dataclass(frozen=True, slots=True)
class HopKey:
    """What a hop token follows from. `fingerprint` is the SHA-256 of the caller's token, all its claims included;
    `sender` is that token's, so that what follows from one sender is never another's."""

    fingerprint: str
    presenter: str
    audience: ResourceUri
    scopes: frozenset[str]
    signing_key: str
    policy_version: str
    configuration_version: str
    sender: Sender | None = None

    @classmethod
    def of(cls, parent: VerifiedToken, draft: TokenDraft, *, kid: str, policy: str, configuration: str) -> HopKey:
        """The key of the token that this draft would become."""
        return cls(
            fingerprint=parent.fingerprint,
            presenter=draft.client_id,
            audience=draft.audience,
            scopes=draft.scopes,
            signing_key=kid,
            policy_version=policy,
            configuration_version=configuration,
            sender=parent.sender,
        )


class KeptHopTokens:
    """At most MAX_KEPT tokens, the least recently used forgotten first. In memory, for one process."""

    def __init__(self) -> None:
        self._kept: OrderedDict[HopKey, HopToken] = OrderedDict()

    def get_or_make(self, key: HopKey, make: Callable[[], HopToken], *, now: int) -> HopToken:
        """The kept token if it has time left, else a new one."""
        kept = self._kept.get(key)
        if kept is not None and kept.minted.draft.expires_at - now >= MIN_LEFT_SECONDS:
            self._kept.move_to_end(key)
            return kept
        made = make()
        self._kept[key] = made
        self._kept.move_to_end(key)
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return made
