"""Parts of a gate with a watch in front: what the gateway asks of policy and of the exchange, and how long that takes.

They answer exactly as what is behind them.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

from perhop.core.decision import Allow, Decision, NeedsApproval, Permit, Question
from perhop.core.token import HopToken
from perhop.gateway.gate import Exchanger, Policy
from perhop.policy.lasting import Lasting
from perhop.wiring.metrics import Metrics


class TimedPolicy:
    """Policy, each decision timed."""

    __slots__ = ("_add", "_policy", "lasting", "may_permit", "needing_body")

    def __init__(self, policy: Policy, metrics: Metrics) -> None:
        self._policy = policy
        self._add = metrics.decision_duration.adding()
        self.lasting = policy.lasting
        self.may_permit = policy.may_permit
        self.needing_body = policy.needing_body

    @property
    def version(self) -> str:
        return self._policy.version

    def decide(self, question: Question) -> Decision:
        began = perf_counter()
        try:
            return self._policy.decide(question)
        finally:
            self._add(perf_counter() - began)

    def again(self, lasting: Lasting, arguments: Mapping[str, Any]) -> Allow | NeedsApproval | None:
        began = perf_counter()
        decision = lasting.find(arguments)
        if decision is not None:
            self._add(perf_counter() - began)
        return decision


class TimedExchanger:
    """The exchange, timed."""

    __slots__ = ("_add", "_exchanger")

    def __init__(self, exchanger: Exchanger, metrics: Metrics) -> None:
        self._exchanger = exchanger
        self._add = metrics.exchange_duration.adding("gateway")

    def exchange(self, permit: Permit) -> HopToken:
        began = perf_counter()
        try:
            return self._exchanger.exchange(permit)
        finally:
            self._add(perf_counter() - began)
