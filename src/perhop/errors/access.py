"""What the access endpoints say no with, and why a question about access cannot be answered with yes.

Spec: AuthZEN 1.0 §10.1.2
"""

from __future__ import annotations

from perhop.errors.policy import PolicyRefused
from perhop.errors.root import Refused


class AccessRefused(Refused):
    """The request as a whole is refused; no decision was made."""

    description = "the request is not valid"


class AccessRequestMalformed(AccessRefused):
    """A member is missing or not of its type. `problem` says which, in words of ours, and is told to the peer."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class AccessNotAllowed(AccessRefused):
    """The client answers for no resource, so there is none that it may ask about."""

    status = 403
    error = "unauthorized_client"
    description = "the client serves no resource"
    reason = "presenter.mismatch"


class QuestionUnclear(Refused):
    """What is asked cannot be told for sure; the decision is no."""

    description = "the question cannot be told"


class ResourceNotServed(PolicyRefused):
    """The client asks about a resource that it does not serve, or that there is not: one answer for both."""
