"""Hop tokens that are good for a while yet: the same caller's next call gets the same one.

Saves drafting and minting, never a check: the key holds everything that goes into the token, and policy is asked each
time.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

from perhop.authorization_server.drafts import Child
from perhop.core.decision import Question
from perhop.core.resource import ResourceUri
from perhop.core.token import HopToken, Sender
from perhop.policy.lasting import Lasting

MAX_KEPT = 20_000
MIN_LEFT_SECONDS = 20
"""A token that has less left is not handed out again: it must outlast a slow way to the upstream."""


class HopKey(NamedTuple):
    """What a hop token follows from. `fingerprint` is the SHA-256 of the caller's token, all its claims included;
    `sender` is that token's, so that what follows from one sender is never another's. `tenant` is the resource's: while
    the configuration changes, a call may still bring the resource as it was."""

    fingerprint: str
    presenter: str
    audience: ResourceUri
    scopes: frozenset[str]
    signing_key: str
    policy_version: str
    configuration_version: str
    sender: Sender | None = None
    tenant: str | None = None


@dataclass(slots=True)
class Kept:
    """What is the same for the same key: all that its tokens say but ids and times, the last of these tokens, and what
    was last asked of policy about it. `permitted` is where policy said yes for as long as it and the configuration
    stay, which `under` tells by the object."""

    child: Child
    token: HopToken | None = None
    question: Question | None = None
    permitted: Lasting | None = None
    under: object = None

    def good_token(self, *, now: int) -> HopToken | None:
        """The kept token if it has time left."""
        token = self.token
        if token is not None and token.minted.draft.expires_at - now >= MIN_LEFT_SECONDS:
            return token
        return None


class KeptHopTokens:
    """What is kept of at most MAX_KEPT keys, the least recently used forgotten first. In memory, for one process."""

    def __init__(self) -> None:
        self._kept: OrderedDict[HopKey, Kept] = OrderedDict()

    def find(self, key: HopKey) -> Kept | None:
        """What is kept under exactly this key."""
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
        return kept

    def keep(self, key: HopKey, child: Child) -> Kept:
        """Keep what the tokens of a key say."""
        kept = self._kept[key] = Kept(child)
        self._kept.move_to_end(key)
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return kept
