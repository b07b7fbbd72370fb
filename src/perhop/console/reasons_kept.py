"""Reasons that were typed and could not be taken, since the person has to sign in anew: kept for the way back.

In memory, so that they stand in no URL and in no cookie; a restart loses them, as it does every open form.
"""

from __future__ import annotations

from perhop.authorization_server.interaction.form_seal import FORM_LIFETIME

MOST = 1000


def clean_reason(text: str | None) -> str:
    """A reason as it is kept: browsers send each end of a line as two characters."""
    return (text or "").replace("\r\n", "\n").replace("\r", "\n").strip()


class ReasonsKept:
    """By session and approval, for as long as a form is good, and so many of them at most: the oldest go first."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[str, int]] = {}

    def keep(self, session: str, path: str, why: str, *, now: int) -> None:
        """`session` is the hash of the cookie, `path` the page to which the reason belongs."""
        if not why:
            return
        self._kept = {key: kept for key, kept in self._kept.items() if kept[1] > now}
        while len(self._kept) >= MOST:
            del self._kept[next(iter(self._kept))]
        self._kept[session, path] = (why, now + FORM_LIFETIME)

    def of(self, session: str, path: str, *, now: int) -> str:
        """The reason that this session has typed there before; empty if there is none."""
        why, until = self._kept.get((session, path), ("", 0))
        return why if until > now else ""
