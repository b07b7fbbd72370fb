"""What a question comes to, in one word."""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

from perhop.core.decision import Allow, Decision, Deny, NeedsApproval


class Outcome(StrEnum):
    """`error` is a refusal, too: a policy could not be evaluated.

    `approval` is a permit once a person of the owner's team has approved the call, and a refusal until then.
    """

    PERMIT = "permit"
    APPROVAL = "approval"
    DENY = "deny"
    ERROR = "error"

    @classmethod
    def of(cls, decision: Decision) -> Outcome:
        """The outcome of a decision."""
        match decision:
            case Allow():
                return cls.PERMIT
            case NeedsApproval():
                return cls.APPROVAL
            case Deny(failed=failed):
                return cls.ERROR if failed else cls.DENY
            case _:
                assert_never(decision)
