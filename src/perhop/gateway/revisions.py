"""The revisions that one upstream is known to speak, and the answer to a client that speaks none of them.

The upstream of one era behind a client of the other would answer with something that misleads: a client of the
handshake learns from nothing but our words that it is too old, and one that speaks both must be led to the era that is
spoken. What is not known is for the upstream itself to answer.

Spec: MCP 2026-07-28 versioning
Spec: MCP 2025-11-25 lifecycle
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from perhop.core.call import CallKind
from perhop.errors import HeaderMismatch, OnlyPostAllowed, RevisionUnsupported
from perhop.rules.mcp_message import Message
from perhop.rules.mcp_methods import SUPPORTED_REVISIONS, Era, era_of

Spoken = Mapping[Era, tuple[str, ...]]
"""The revisions of each era that is known of: none for an era that is not spoken, and no entry for one unknown."""


class UpstreamRevisions:
    """What is known of one upstream, written by its self-test and looked at on every call."""

    def __init__(self) -> None:
        self._spoken: Spoken = {}

    def learn(self, spoken: Spoken) -> None:
        """What was just seen counts, instead of all that was known before."""
        self._spoken = dict(spoken)

    def may_serve(self, revision: object) -> bool:
        """True for a revision that we serve and that the upstream is not known not to speak."""
        era = era_of(revision) if isinstance(revision, str) else None
        return era is not None and self._spoken.get(era) != ()

    def is_spoken(self, era: Era) -> bool:
        """False for an era that the upstream is known not to speak."""
        return self._spoken.get(era) != ()

    def check(self, message: Message, *, has_version: bool) -> None:
        """Refuse a message of an era that the upstream is known not to speak.

        `has_version` says whether the request named its revision in the header.

        Spec: MCP 2026-07-28 versioning
        Spec: MCP 2026-07-28 transports
        Raises: RevisionUnsupported, HeaderMismatch, OnlyPostAllowed
        """
        if self._spoken.get(message.era) != ():
            return
        if message.era is Era.LEGACY:
            if message.kind in (CallKind.STREAM, CallKind.END):
                raise OnlyPostAllowed(f"{message.kind.value}, and the upstream speaks no revision with a handshake")
            if message.method != "initialize" and not has_version:
                raise HeaderMismatch("no `MCP-Protocol-Version`, and the upstream speaks no revision without it")
        raise RevisionUnsupported(
            _requested(message),
            f"the upstream does not speak the {message.era.value} era",
            supported=self.supported(),
        )

    def narrow(self, fact: RevisionUnsupported) -> RevisionUnsupported:
        """The same refusal, naming only what the upstream may speak.

        Where that leaves nothing, what it is known to speak is the truth, whatever the client could do with it.
        """
        left = tuple(each for each in fact.supported if self.may_serve(each))
        return RevisionUnsupported(fact.requested, fact.detail, supported=left or self.supported())

    def supported(self) -> tuple[str, ...]:
        """What may be named as supported: what is known to be spoken, and all of an era that nothing is known of."""
        return tuple(each for each in SUPPORTED_REVISIONS if self._may_speak(each))

    def _may_speak(self, revision: str) -> bool:
        era = era_of(revision)
        return era is not None and revision in self._spoken.get(era, (revision,))


def _requested(message: Message) -> str:
    """What the client asks for: in a handshake the body says it."""
    asked = message.params.get("protocolVersion") if message.method == "initialize" else None
    return asked[:64] if isinstance(asked, str) else message.revision


def narrow_versions(result: Mapping[str, object], may_serve: Callable[[object], bool]) -> list[object] | None:
    """The versions that a discovery may advertise; None where it names none, or none that has to go.

    Spec: MCP 2026-07-28 discovery
    """
    named = result.get("supportedVersions")
    if not isinstance(named, list):
        return None
    left = [each for each in named if may_serve(each)]
    return left if len(left) < len(named) else None
