"""The self-test: an upstream gets our tokens only after it has refused one that is good nowhere.

Spec: RFC 8707 §2
Spec: MCP 2026-07-28 authorization
"""

from __future__ import annotations

import asyncio
import logging
from typing import NoReturn

from perhop.core.resource import Resource
from perhop.errors import Refused, Unavailable
from perhop.gateway.catalogue import Catalogue
from perhop.gateway.own_tokens import AudienceTokens, presenting, presenting_own
from perhop.gateway.readiness import Readiness, Verdict
from perhop.gateway.revision_survey import survey_revisions
from perhop.gateway.revisions import UpstreamRevisions
from perhop.gateway.tool_listing import Listing, Outcome, Presenting, list_tools, reach
from perhop.gateway.upstream.interface import Upstream

PATIENCE_SECONDS = 10.0
RETRY_SECONDS = 1.0
"""While nothing answers: no token is made then."""

RETEST_SECONDS = 30.0
REPEAT_SECONDS = 300.0

_log = logging.getLogger("perhop.gateway")


class SelfTest:
    """Tests one upstream, again and again, and writes the verdict where every call looks at it."""

    def __init__(
        self,
        *,
        resource: Resource,
        tokens: AudienceTokens,
        upstream: Upstream,
        readiness: Readiness,
        catalogue: Catalogue,
        revisions: UpstreamRevisions,
    ) -> None:
        self._resource = resource
        self._tokens = tokens
        self._upstream = upstream
        self._readiness = readiness
        self._catalogue = catalogue
        self._revisions = revisions

    async def run(self) -> Verdict:
        """Test once. An upstream that does not answer has shown nothing, and keeps the verdict it had."""
        try:
            verdict = await self._test()
        except (TimeoutError, Unavailable, Refused) as failure:
            _log.warning("self-test of `%s`: %s", self._resource.name, str(failure) or type(failure).__name__)
            verdict = Verdict.INCONCLUSIVE
        had_passed = self._readiness.verdict is Verdict.ENFORCES
        if not (had_passed and verdict is Verdict.INCONCLUSIVE):
            self._readiness.verdict = verdict
        return verdict

    async def keep_running(self) -> NoReturn:
        """Test until the upstream has passed, then every few minutes; the verdict may fall again."""
        retest = RETRY_SECONDS
        while True:
            if not await self._is_reachable():
                self._readiness.was_tried = True
                await asyncio.sleep(RETRY_SECONDS)
                continue
            verdict = await self.run()
            self._readiness.was_tried = True
            is_settled = verdict is Verdict.ENFORCES or not self._is_testable
            await asyncio.sleep(REPEAT_SECONDS if is_settled else retest)
            # A server that has just begun may not take tokens of a moment ago yet.
            retest = RETRY_SECONDS if is_settled else min(2 * retest, RETEST_SECONDS)

    @property
    def _is_testable(self) -> bool:
        """False for an upstream that gets no token at all."""
        upstream = self._resource.upstream
        return upstream is not None and upstream.credential.is_token

    async def _is_reachable(self) -> bool:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await reach(self._upstream)
        except (TimeoutError, Unavailable):
            return False
        return True

    async def _test(self) -> Verdict:
        own = presenting_own(self._resource, self._tokens)
        async with asyncio.timeout(PATIENCE_SECONDS):
            listed = await list_tools(self._upstream, own)
        await self._catalogue.learn(list(listed.tools))
        if listed.outcome is Outcome.ACCEPTED:
            await self._survey(listed, own)
        if not self._is_testable:
            return Verdict.INCONCLUSIVE
        async with asyncio.timeout(PATIENCE_SECONDS):
            canary = await list_tools(self._upstream, presenting(self._resource, self._tokens, self._tokens.canary()))
            if canary.outcome is Outcome.REFUSED:
                # A server that refuses everybody by then has shown nothing of audiences.
                listed = await list_tools(self._upstream, own)
            return judge(listed, canary)

    async def _survey(self, listed: Listing, own: Presenting) -> None:
        """Find out which revisions it speaks; what comes of it changes nothing of the verdict."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                spoken = await survey_revisions(self._upstream, own, listed)
        except (TimeoutError, Unavailable, Refused) as failure:
            _log.info("revisions of `%s`: %s", self._resource.name, str(failure) or type(failure).__name__)
            return
        self._revisions.learn(spoken)


def judge(right: Listing, canary: Listing) -> Verdict:
    """`enforces` only if the other token was refused with 401 and the right one is taken all the same."""
    match right.outcome, canary.outcome:
        case _, Outcome.ACCEPTED:
            return Verdict.OPEN
        case Outcome.ACCEPTED, Outcome.REFUSED:
            return Verdict.ENFORCES
        case _:
            return Verdict.INCONCLUSIVE
