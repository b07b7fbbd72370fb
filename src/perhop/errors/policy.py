"""What policy says no with."""

from __future__ import annotations

from perhop.errors.root import Refused


class PolicyRefused(Refused):
    """The token is good, the call is not allowed."""

    status = 403
    error = "access_denied"
    description = "the call is not allowed"
    reason = "policy.denied"

    def __init__(self, detail: str = "", *, policies: tuple[str, ...] = (), policy_version: str = "") -> None:
        super().__init__(detail)
        self.policies = policies
        self.policy_version = policy_version


class PolicyDenied(PolicyRefused):
    pass


class PolicyUndecidable(PolicyRefused):
    """A policy failed to evaluate; unsure means no."""

    reason = "policy.error"


class TaskOutside(PolicyRefused):
    """The token names a task that does not cover this call."""

    reason = "task.outside"


class TaskSuperseded(PolicyRefused):
    """Another task has taken the place of the one that the token names."""

    description = "the task is over"
    reason = "task.superseded"


class TaskExpired(PolicyRefused):
    """The time of the task is over, or an operator has ended it."""

    description = "the task is over"
    reason = "task.expired"


class LimitExceeded(PolicyRefused):
    """The task that the token names has made all the calls, or all the writes, that it may make."""

    status = 429
    description = "the task may make no more calls"
    reason = "limit.exceeded"


class ToolQuarantined(PolicyRefused):
    """The tool is not among those that the resource's owner approved, or is not as it was approved."""

    description = "the tool is not as its owner approved it"
    reason = "tool.quarantined"
