"""Readiness: whether a resource may take traffic, by what its self-test has shown."""

from __future__ import annotations

from enum import StrEnum

from perhop.core.resource import CredentialKind, Upstream
from perhop.errors import UpstreamOpen


class Verdict(StrEnum):
    """What the self-test has shown of an upstream."""

    UNTESTED = "untested"
    ENFORCES = "enforces"
    OPEN = "open"
    INCONCLUSIVE = "inconclusive"


class Readiness:
    """The verdict on one upstream, written by its self-test and looked at on every call.

    `was_tried`: the self-test has come to an end once, with a verdict or because nothing answered in time.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self.verdict = Verdict.UNTESTED
        self.was_tried = False

    @property
    def passes(self) -> bool:
        """True if calls may pass: an upstream that gets tokens must have refused one that is good nowhere."""
        match self._upstream.credential:
            case CredentialKind.NONE:
                return True
            case CredentialKind.EXCHANGE | CredentialKind.CALL:
                enforces = self.verdict is Verdict.ENFORCES
                return enforces or self._upstream.unsafe_open_upstream

    def check(self) -> None:
        """Refuse while the upstream has not been shown to check the audience.

        Raises: UpstreamOpen
        """
        if self.verdict is not Verdict.ENFORCES and not self.passes:
            raise UpstreamOpen(f"the self-test says `{self.verdict.value}`")
