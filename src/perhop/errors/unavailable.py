"""Parts that did not answer: always closed."""

from __future__ import annotations

from typing import ClassVar

from perhop.errors.root import PerhopError


class Unavailable(PerhopError):
    """A part that we need is down: 503 with `Retry-After`, closed, never open."""

    status: ClassVar[int] = 503
    error: ClassVar[str] = "temporarily_unavailable"
    description: ClassVar[str] = "the service is not available"
    reason: ClassVar[str] = "upstream.unavailable"
    retry_after: int = 1

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.description)
        self.detail = detail


class JournalUnavailable(Unavailable):
    reason = "journal.unavailable"


class StorageUnavailable(Unavailable):
    """The database did not answer. Shares the journal's code: nothing can be recorded, so nothing is done."""

    reason = "journal.unavailable"


class UpstreamUnavailable(Unavailable):
    """The upstream cannot be reached, broke off, or is left alone for a while: then `retry_after` says how long."""

    reason = "upstream.unavailable"

    def __init__(self, detail: str = "", *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class AnswerTooLong(Unavailable):
    """The upstream's answer did not end in the time that a call may take."""

    reason = "upstream.unavailable"
    description = "the call took too long"


class AnswerUnfit(Unavailable):
    """What the upstream answered cannot be judged, so it does not pass."""

    reason = "upstream.unavailable"
    description = "the answer cannot be passed on"


class StreamSuperseded(Unavailable):
    """The gateway stops, or goes on by another configuration: a stream that has no end of its own is cut."""

    description = "the stream ends here and may be opened anew"


class UpstreamOpen(Unavailable):
    """The upstream took a token that is good nowhere, or could not be shown to refuse it."""

    reason = "upstream.open"
    retry_after = 30


class BodyNeeded(Unavailable):
    """Another proxy asks without the body of a call that only its body can decide."""

    reason = "policy.error"
    retry_after = 30


class KeysUnavailable(Unavailable):
    """The issuer's keys, or its revocation feed, could not be had or are stale."""

    reason = "upstream.unavailable"


class IssuerUnavailable(Unavailable):
    """The authorization server did not answer, or did not answer as itself. Spec: RFC 8414 §3.3."""

    reason = "upstream.unavailable"


class ReplayUnavailable(Unavailable):
    """Whether a token was used before cannot be told, so it is not taken."""

    reason = "upstream.unavailable"


class OwnerMissing(Unavailable):
    """Client or resource has no owner in force: nothing is issued, nothing passes."""

    reason = "owner.missing"
    retry_after = 30
