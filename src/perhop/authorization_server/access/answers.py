"""Answers to questions about access: each decided, recorded, and only then told.

Spec: AuthZEN 1.0 §6.2, AuthZEN 1.0 §7.2, AuthZEN 1.0 §8.3
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from perhop.authorization_server.access.judge import Judge, Verdict
from perhop.authorization_server.access.record import decision_of, search_record, verdict_record
from perhop.authorization_server.access.search import search
from perhop.authorization_server.issuer import Issuer
from perhop.core.client import Client
from perhop.core.decision import Allow
from perhop.errors import AccessRequestMalformed, ResourceNotServed, ScopeInsufficient
from perhop.journal.record import RequestFacts
from perhop.journal.report import UNREAD
from perhop.rules.authzen import Evaluation, Evaluations, Search, Semantic

Answer = dict[str, Any]

RECORD_ID_BYTES = 8


@dataclass(frozen=True, slots=True)
class _Decided:
    """A verdict, and the id of its record."""

    id: str
    verdict: Verdict


class Answers:
    """Answers one request of one client."""

    def __init__(self, client: Client, request: RequestFacts, issuer: Issuer) -> None:
        self._client = client
        self._request = request
        self._issuer = issuer
        self._judge = Judge(client, issuer)

    async def evaluation(self, asked: Evaluation) -> Answer:
        """The decision on one question.

        Spec: AuthZEN 1.0 §6.2
        Raises: JournalUnavailable
        """
        decided = self._decide(asked)
        await self._record([decided])
        return self._render(decided)

    async def evaluations(self, asked: Evaluations) -> Answer:
        """The decisions on several, in their order, up to the one that ends the list.

        Spec: AuthZEN 1.0 §7.1.2.1
        Raises: JournalUnavailable
        """
        decided: list[_Decided] = []
        for each in asked.items:
            await asyncio.sleep(0)  # others may go on
            decided.append(self._decide(each))
            if _ends(asked.semantic, decided[-1].verdict):
                break
        await self._record(decided)
        return {"evaluations": [self._render(each) for each in decided]}

    async def search(self, asked: Search) -> Answer:
        """What would be permitted.

        Spec: AuthZEN 1.0 §8.3
        Raises: AccessRequestMalformed, JournalUnavailable
        """
        found = await search(asked, self._judge, self._issuer)
        await self._issuer.journal.append(search_record(asked, found, client=self._client, request=self._request))
        return {
            "page": {"next_token": found.next_token, "count": len(found.results)},
            "results": list(found.results),
        }

    def _decide(self, asked: Evaluation | AccessRequestMalformed) -> _Decided:
        verdict = self._judge.judge(asked) if isinstance(asked, Evaluation) else Verdict(action=UNREAD, outcome=asked)
        return _Decided(self._issuer.randomness(RECORD_ID_BYTES).hex(), verdict)

    async def _record(self, decided: Sequence[_Decided]) -> None:
        """On disk before anybody hears of it: somebody else acts on this, and here is all the evidence."""
        records = [
            verdict_record(each.verdict, id_=each.id, client=self._client, request=self._request, issuer=self._issuer)
            for each in decided
        ]
        await asyncio.gather(*(self._issuer.journal.append(each) for each in records))

    def _render(self, decided: _Decided) -> Answer:
        verdict, facts = decided.verdict, decision_of(decided.verdict, self._issuer)
        outcome = verdict.outcome
        if isinstance(outcome, ResourceNotServed):
            return {"decision": False}
        told: Answer = {"policies": list(facts.policies), "policy_version": facts.policy_version, "record": decided.id}
        match outcome:
            case Allow():
                return {"decision": True, "context": told}
            case ScopeInsufficient(scope=scope):
                told = {"reason": outcome.reason, "scope": scope, **told}
            case AccessRequestMalformed(problem=problem):
                told = {"reason": outcome.reason, "error": {"status": 400, "message": problem}, **told}
            case _:
                told = {"reason": outcome.reason, **told}
        return {"decision": False, "context": told}


def _ends(semantic: Semantic, verdict: Verdict) -> bool:
    match semantic:
        case Semantic.EXECUTE_ALL:
            return False
        case Semantic.DENY_ON_FIRST_DENY:
            return not verdict.is_permit
        case Semantic.PERMIT_ON_FIRST_PERMIT:
            return verdict.is_permit
