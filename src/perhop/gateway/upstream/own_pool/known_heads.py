"""Heads of answers that llhttp has read before: a server sends the same one again and again, but for a length.

Nothing is parsed here. A head is known if its octets are those of one that llhttp has read, all but the digits of the
length; then it says the same again. An answer is found whole or not at all: whatever is not as usual, llhttp reads.
"""

from __future__ import annotations

from typing import NamedTuple

from perhop.core.call import Headers
from perhop.rules.mcp_headers import SESSION

MOST_HEADS = 128
LONGEST_HEAD = 2048
"""A server chooses what stands in a head: neither how many are kept nor how long they are may fill our memory."""

_NEVER_KEPT = frozenset({SESSION, "www-authenticate", "set-cookie"})
"""What is of one call or one client: it does not come again, and has no business in our memory."""

_LENGTH = b"ength: "
_LENGTH_LINE = b"\r\ncontent-length: "


class KnownHead(NamedTuple):
    """What llhttp said of a head, and whether the connection may be used again after it."""

    status: int
    headers: Headers
    keeps_alive: bool


class KnownHeads:
    """The heads that one upstream has sent, by their octets without the digits of the length."""

    def __init__(self) -> None:
        self._heads: dict[bytes, KnownHead] = {}

    def find(self, data: bytes) -> tuple[KnownHead, bytes] | None:
        """Head and body of an answer that is all of `data`; None if its head is not known, or it is anything else."""
        cut = data.find(_LENGTH, 0, LONGEST_HEAD) + len(_LENGTH)
        behind = data.find(b"\r\n", cut)
        end = data.find(b"\r\n\r\n", behind)
        # The digits are those of just this number, and so the body is neither shorter nor longer.
        if end < 0 or data[cut:behind] != b"%d" % (len(data) - end - 4):
            return None
        # INVARIANT: two heads that are not the same have not the same key. Both were cut behind the first place that
        # looks like a length, and if one was cut earlier, the other would have that place, too.
        known = self._heads.get(data[:cut] + data[behind:end])
        return None if known is None else (known, data[end + 4 :])

    def learn(self, data: bytes, known: KnownHead) -> None:
        """Keep what llhttp said of an answer that is all of `data`, and whose body has just the stated length."""
        end = data.find(b"\r\n\r\n")
        cut = data.find(_LENGTH) + len(_LENGTH)
        behind = data.find(b"\r\n", cut)
        begun = data[:cut]
        if behind > end or end > LONGEST_HEAD or not begun.lower().endswith(_LENGTH_LINE):
            return
        if not _NEVER_KEPT.isdisjoint([name for name, _ in known.headers]):
            return
        if len(self._heads) >= MOST_HEADS:
            self._heads.clear()
        self._heads[begun + data[behind:end]] = known
