"""The ways to upstreams that are open: opened when a resource has one, kept while it stays the same, then closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

from perhop.core.resource import Resource, Upstream, UpstreamPool
from perhop.gateway.upstream.attempts import Patience
from perhop.gateway.upstream.http import HttpUpstream, open_session
from perhop.gateway.upstream.interface import OpenUpstream
from perhop.gateway.upstream.orphan_watch import OrphanWatch
from perhop.gateway.upstream.own_pool.upstream import OwnHttpUpstream
from perhop.gateway.upstream.stdio import StdioUpstream
from perhop.gateway.upstream.tls import tls_trusting

DRAIN_SECONDS = 10.0
"""For calls that still run on a way that is no longer wanted."""

Made = tuple[Upstream, UpstreamPool | None]
"""What a way was opened for, and what keeps its connections; None for a server that is run by a command."""

_log = logging.getLogger("perhop.upstream")


class PreparedWays:
    """Ways that are open and not in use yet: `take` puts them in the place of those before, `drop` forgets them.

    Whoever prepares calls `drop` in the end, whatever happened: after `take` there is nothing left to forget.
    """

    def __init__(self, upstreams: Upstreams, wanted: dict[str, tuple[Made, OpenUpstream]]) -> None:
        self._upstreams = upstreams
        self._wanted = wanted
        self.ways: Mapping[str, OpenUpstream] = {name: way for name, (_, way) in wanted.items()}

    def take(self) -> None:
        """Use these ways; those before that are not among them are closed when what runs on them has ended."""
        self._settle(self._wanted, self._upstreams.open_ways)

    def drop(self) -> None:
        """Go on with those in use, and close what was opened in vain."""
        self._settle(self._upstreams.open_ways, self._wanted)

    def _settle(
        self,
        kept: dict[str, tuple[Made, OpenUpstream]],
        others: Mapping[str, tuple[Made, OpenUpstream]],
    ) -> None:
        in_use = {id(way) for _, way in kept.values()}
        self._upstreams.settle(kept, {name: way for name, (_, way) in others.items() if id(way) not in in_use})


class Upstreams:
    """Made in a running event loop, and closed by whoever made it. `inherited` is what local servers get to see."""

    def __init__(self, *, inherited: Mapping[str, str]) -> None:
        self._inherited = inherited
        self._session = open_session()
        self._watch = OrphanWatch()
        self._ways: dict[str, tuple[Made, OpenUpstream]] = {}
        self._closing: dict[asyncio.Task[None], OpenUpstream] = {}

    def prepare(self, resources: Iterable[Resource], pool: UpstreamPool) -> PreparedWays:
        """The ways of these resources. A way whose upstream and pool are unchanged is the one that is open."""
        wanted: dict[str, tuple[Made, OpenUpstream]] = {}
        try:
            for resource in resources:
                if resource.upstream is not None:
                    made = (resource.upstream, pool if resource.upstream.command is None else None)
                    kept = self._ways.get(resource.name)
                    is_same = kept is not None and kept[0] == made
                    way = kept[1] if kept is not None and is_same else self._open(resource.name, made)
                    wanted[resource.name] = (made, way)
        except BaseException:
            PreparedWays(self, wanted).drop()
            raise
        return PreparedWays(self, wanted)

    def settle(self, wanted: dict[str, tuple[Made, OpenUpstream]], others: Mapping[str, OpenUpstream]) -> None:
        """Go on with these ways. The others take nothing new, and are closed when what runs on them has ended."""
        self._ways = wanted
        for name, way in others.items():
            self._close_beside(name, way, DRAIN_SECONDS)

    @property
    def open_ways(self) -> dict[str, tuple[Made, OpenUpstream]]:
        """The ways that are in use, by the name of their resource."""
        return dict(self._ways)

    async def aclose(self, within: float = 0.0) -> None:
        """Close every way; what runs may take so many seconds more. No process of ours is left when this returns."""
        for way in list(self._closing.values()):
            self._close_beside("a way that was dropped", way, within)
        for name, (_, way) in self._ways.items():
            self._close_beside(name, way, within)
        self._ways = {}
        while self._closing:
            await asyncio.wait(self._closing)
        await self._session.close()
        await self._watch.close()

    def _open(self, name: str, made: Made) -> OpenUpstream:
        upstream, pool = made
        if upstream.command is not None:
            return StdioUpstream(
                name,
                upstream.command,
                answer_seconds=upstream.answer_timeout,
                inherited=self._inherited,
                watch=self._watch,
            )
        patience = Patience(
            connect=upstream.connect_timeout,
            answer=upstream.answer_timeout,
            circuit_failures=upstream.circuit_failures,
            circuit_seconds=upstream.circuit_seconds,
        )
        tls = None if upstream.ca_certificates is None else tls_trusting(upstream.ca_certificates)
        if pool is UpstreamPool.OWN:
            return OwnHttpUpstream(upstream.place, patience=patience, tls=tls)
        return HttpUpstream(upstream.place, self._session, patience=patience, tls=tls)

    def _close_beside(self, name: str, way: OpenUpstream, within: float) -> None:
        closing = asyncio.create_task(_close(name, way, within))
        self._closing[closing] = way
        closing.add_done_callback(self._closing.pop)


async def _close(name: str, way: OpenUpstream, within: float) -> None:
    try:
        await way.close(within=within)
    except Exception:
        _log.exception("`%s` was not closed properly", name)
