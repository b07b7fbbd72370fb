"""What policy says no with."""

from __future__ import annotations

from perhop.errors.root import Refused


class PolicyRefused(Refused):
    """The token is good, the call is not allowed."""

    status = 403
    error = "access_denied"
    description = "the call is not allowed"
    reason = "policy.denied"

    def __init__(
        self,
        detail: str = "",
        *,
        policies: tuple[str, ...] = (),
        policy_version: str = "",
        approval: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.policies = policies
        self.policy_version = policy_version
        self.approval = approval


class PolicyDenied(PolicyRefused):
    pass


class AuthenticationInsufficient(PolicyDenied):
    """Policy forbids the call until the person has signed in as it wants; the challenge says how.

    `max_age` is in seconds; `scopes` are those of the token, so that the next one has no less. Spec: RFC 9470 §3.
    """

    status = 401
    error = "insufficient_user_authentication"
    description = "the person has to sign in again for this call"

    def __init__(
        self,
        *,
        max_age: int | None,
        acr_values: tuple[str, ...],
        scopes: tuple[str, ...],
        policies: tuple[str, ...],
        policy_version: str,
    ) -> None:
        super().__init__("policy wants another sign-in", policies=policies, policy_version=policy_version)
        self.max_age = max_age
        self.acr_values = acr_values
        self.scopes = scopes


class PolicyUndecidable(PolicyRefused):
    """A policy failed to evaluate; unsure means no."""

    reason = "policy.error"


class ApprovalRequired(PolicyRefused):
    """The call waits for a person of the owner's team; repeated as it is, it passes once that person has approved.

    `expires_in` and `retry_after` are seconds.
    """

    description = "the call needs the approval of the resource's owner: repeat it unchanged once that is given"
    reason = "approval.required"
    retry_after = 10

    def __init__(self, approval: str, *, expires_in: int, policies: tuple[str, ...], policy_version: str) -> None:
        super().__init__(policies=policies, policy_version=policy_version, approval=approval)
        self.expires_in = expires_in


class ApprovalWanted(PolicyRefused):
    """Policy would permit the call once a person has approved it; a mere question asks nobody for that."""

    description = "the call needs the approval of the resource's owner"
    reason = "approval.required"


class ApprovalDenied(PolicyDenied):
    """A person of the owner's team has said no to exactly this call."""

    description = "the owner of the resource denied this call"


class TooManyApprovals(PolicyRefused):
    """So many calls of the agent wait for a person that no more can."""

    status = 429
    description = "too many calls wait for approval"
    reason = "limit.exceeded"


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


class RateExceeded(PolicyRefused):
    """The agent calls more often than `limits.calls_per_agent` lets it; `retry_after` is in seconds."""

    status = 429
    description = "too many calls: wait, and repeat this one"
    reason = "limit.exceeded"

    def __init__(self, detail: str = "", *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class ToolQuarantined(PolicyRefused):
    """The tool is not among those that the resource's owner approved, or is not as it was approved."""

    description = "the tool is not as its owner approved it"
    reason = "tool.quarantined"
