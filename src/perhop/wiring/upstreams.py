"""The ways to upstreams that are open: opened when a resource has one, kept while it stays the same, then closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

from perhop.core.resource import Resource, Upstream
from perhop.gateway.upstream.http import HttpUpstream, Patience, open_session, tls_trusting
from perhop.gateway.upstream.interface import OpenUpstream
from perhop.gateway.upstream.orphan_watch import OrphanWatch
from perhop.gateway.upstream.stdio import StdioUpstream

DRAIN_SECONDS = 10.0
"""For calls that still run on a way that is no longer wanted."""

_log = logging.getLogger("perhop.upstream")


class Upstreams:
    """Made in a running event loop, and closed by whoever made it. `inherited` is what local servers get to see."""

    def __init__(self, *, inherited: Mapping[str, str]) -> None:
        self._inherited = inherited
        self._session = open_session()
        self._watch = OrphanWatch()
        self._ways: dict[str, tuple[Upstream, OpenUpstream]] = {}
        self._closing: dict[asyncio.Task[None], OpenUpstream] = {}

    def take(self, resources: Iterable[Resource]) -> Mapping[str, OpenUpstream]:
        """The ways of these resources, by name. A way whose upstream is unchanged is the one that was open.

        A way that is not wanted any more takes nothing new, and is closed beside us when what runs on it has ended.
        """
        before, self._ways = self._ways, {}
        for resource in resources:
            if resource.upstream is not None:
                kept = before.get(resource.name)
                if kept is not None and kept[0] == resource.upstream:
                    self._ways[resource.name] = before.pop(resource.name)
                else:
                    self._ways[resource.name] = (resource.upstream, self._open(resource.name, resource.upstream))
        for name, (_, way) in before.items():
            self._close_beside(name, way, DRAIN_SECONDS)
        return {name: way for name, (_, way) in self._ways.items()}

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

    def _open(self, name: str, upstream: Upstream) -> OpenUpstream:
        if upstream.command is not None:
            return StdioUpstream(
                name,
                upstream.command,
                answer_seconds=upstream.answer_timeout,
                inherited=self._inherited,
                watch=self._watch,
            )
        return HttpUpstream(
            upstream.place,
            self._session,
            patience=Patience(
                connect=upstream.connect_timeout,
                answer=upstream.answer_timeout,
                circuit_failures=upstream.circuit_failures,
                circuit_seconds=upstream.circuit_seconds,
            ),
            tls=None if upstream.ca_certificates is None else tls_trusting(upstream.ca_certificates),
        )

    def _close_beside(self, name: str, way: OpenUpstream, within: float) -> None:
        closing = asyncio.create_task(_close(name, way, within))
        self._closing[closing] = way
        closing.add_done_callback(self._closing.pop)


async def _close(name: str, way: OpenUpstream, within: float) -> None:
    try:
        await way.close(within=within)
    except Exception:
        _log.exception("`%s` was not closed properly", name)
