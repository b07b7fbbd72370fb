"""What keeps somebody from being signed in: too many wrong passwords, or an OpenID provider's answer that is not good.

Shown to the person as a page; nothing is sent to an application.
"""

from __future__ import annotations

from perhop.errors.root import Refused
from perhop.errors.unavailable import Unavailable


class SignInRefused(Refused):
    """Nobody is signed in."""

    description = "the sign-in did not come to an end, so nobody is signed in"
    reason = "client.authentication"


class SignInThrottled(SignInRefused):
    """Too many wrong passwords from there; `retry_after` says in seconds when the next one is looked at."""

    status = 429
    description = "too many wrong passwords came from where you are"
    reason = "limit.exceeded"

    def __init__(self, detail: str = "", *, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class AttemptUnknown(SignInRefused):
    """No sign-in of this `state` was begun in this browser, or not lately, or its answer was here before.

    Spec: RFC 9700 §4.7.1
    """

    description = "this sign-in was not begun in this browser, or too long ago"
    reason = "session.mismatch"


class AnswerOfAnother(SignInRefused):
    """The answer is another server's than the one that was asked. Spec: RFC 9700 §4.4.2, RFC 9207 §2.4."""

    reason = "token.issuer"


class ProviderRefused(SignInRefused):
    """The provider says no: the person did not sign in there, or it does not take us."""

    description = "you were not signed in there"


class IdTokenRefused(SignInRefused):
    """The provider's ID token, or its UserInfo, is not good; carries the reason of the fact that said so."""

    def __init__(self, fact: Refused) -> None:
        super().__init__(fact.detail)
        self.fact = fact


class PersonNotAdmitted(SignInRefused):
    """The provider has signed somebody in whom we do not let in."""

    status = 403
    description = "your account there does not sign in here"


class ProviderUnavailable(Unavailable):
    """The provider did not answer, or not as itself: nobody is signed in through it until it does."""

    description = "the sign-in there does not answer, and nobody is signed in without it"
    reason = "upstream.unavailable"
    retry_after = 30
