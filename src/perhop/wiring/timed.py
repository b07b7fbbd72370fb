"""Parts of a gate with a watch in front: what the gateway asks of policy and of the exchange, and how long that takes.

They answer exactly as what is behind them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from perhop.core.decision import Allow, Decision, NeedsApproval, Permit, Question
from perhop.core.token import HopToken
from perhop.gateway.gate import Exchanger, Policy
from perhop.policy.lasting import Lasting
from perhop.wiring.metrics import Metrics


@dataclass(frozen=True, slots=True)
class TimedPolicy:
    """Policy, each decision timed."""

    policy: Policy
    metrics: Metrics

    @property
    def version(self) -> str:
        return self.policy.version

    def decide(self, question: Question) -> Decision:
        began = perf_counter()
        try:
            return self.policy.decide(question)
        finally:
            self.metrics.decision_duration.observe(perf_counter() - began)

    def lasting(self, question: Question) -> Lasting | None:
        return self.policy.lasting(question)

    def again(self, lasting: Lasting, arguments: Mapping[str, Any]) -> Allow | NeedsApproval | None:
        began = perf_counter()
        decision = lasting.find(arguments)
        if decision is not None:
            self.metrics.decision_duration.observe(perf_counter() - began)
        return decision

    def may_permit(self, question: Question) -> bool:
        return self.policy.may_permit(question)

    def needing_body(self, server: str) -> tuple[str, ...]:
        return self.policy.needing_body(server)


@dataclass(frozen=True, slots=True)
class TimedExchanger:
    """The exchange, timed."""

    exchanger: Exchanger
    metrics: Metrics

    async def exchange(self, permit: Permit) -> HopToken:
        began = perf_counter()
        try:
            return await self.exchanger.exchange(permit)
        finally:
            self.metrics.exchange_duration.observe(perf_counter() - began, "gateway")
