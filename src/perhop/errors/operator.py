"""Mistakes that an operator can mend."""

from __future__ import annotations

from typing import ClassVar

from perhop.errors.root import PerhopError


class OperatorError(PerhopError):
    """A mistake that an operator can mend: what is wrong, where, and what to do."""

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, *, advice: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self._advice = advice

    def advice(self) -> str:
        """One sentence that says what to do; may be empty."""
        return self._advice


class SettingsError(OperatorError):
    exit_code = 2


class PolicyError(OperatorError):
    pass


class KeyUnusable(OperatorError):
    """A key file that is missing, weak, unreadable or open to others."""


class JournalDamaged(OperatorError):
    """The journal's file cannot be read, or does not hold together; nothing is written to it any more."""

    exit_code = 7


class JournalLocked(OperatorError):
    """Another process writes the journal; it has one writer at a time."""


class NotFound(OperatorError):
    exit_code = 6


class CheckFailed(OperatorError):
    """A check found problems."""

    exit_code = 7


class ExportFailed(OperatorError):
    """Records cannot be written to where an export goes; they wait in the journal, and nothing is lost."""


class ToolsNotListed(OperatorError):
    """An upstream that answers did not list its tools for the gateway itself."""

    exit_code = 5


class TokenNotGranted(OperatorError):
    """The authorization server refused our own token request; `error` is its code. Spec: RFC 6749 §5.2."""

    exit_code = 3

    def __init__(self, error: str, *, description: str = "", advice: str = "") -> None:
        super().__init__(f"the authorization server refused a token: `{error}` {description}".rstrip(), advice=advice)
        self.error = error


class IssueRefused(OperatorError):
    """The rules give this client no such token, whoever asks."""

    exit_code = 3


class WrongDestination(OperatorError):
    """A request that carries a token would have gone elsewhere than to the token's audience."""


class ApprovalClosed(OperatorError):
    """There is nothing left to decide, or nothing left to see."""


class ApproverRefused(OperatorError):
    """This person may not decide on this call."""

    exit_code = 3


class SignInStale(OperatorError):
    """The person must show again who they are."""

    exit_code = 4
