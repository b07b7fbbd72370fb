"""Own lists: an upstream's tools, asked for by the gateway itself, for whoever is to approve them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from perhop.authorization_server.hop import HopExchanger
from perhop.core.resource import Resource
from perhop.errors import AnswerTooLong, AnswerUnfit, ToolsNotListed
from perhop.gateway.own_tokens import list_own
from perhop.gateway.tool_listing import Listing, Outcome
from perhop.gateway.tool_review import ListedTools, read_listed
from perhop.gateway.upstream.interface import Condition, Upstream
from perhop.wiring.plane import Plane
from perhop.wiring.upstreams import Upstreams

PATIENCE_SECONDS = 30.0
STARTING_SECONDS = 0.05


async def list_tools_of(plane: Plane, resource: Resource) -> ListedTools:
    """Ask the resource's upstream for its tools, and quarantine what is not as approved.

    Raises: ToolsNotListed, UpstreamUnavailable, AnswerUnfit, AnswerTooLong, StorageUnavailable, JournalUnavailable
    """
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), _way_to(plane, resource) as upstream:
            listing = await list_own(upstream, resource, HopExchanger(plane.current_issuer))
    except TimeoutError:
        raise AnswerTooLong(f"the upstream of `{resource.name}` has not listed its tools in time") from None
    _check_whole(listing, resource, is_serving=resource.name in plane.open_upstreams)
    plane.tool_pins.of(resource.name).compare(listing.tools)
    return read_listed(listing.tools)


@contextlib.asynccontextmanager
async def _way_to(plane: Plane, resource: Resource) -> AsyncIterator[Upstream]:
    """The way that the running gate takes; without one, a way that is open for this only."""
    running = plane.open_upstreams.get(resource.name)
    if running is not None:
        yield running
        return
    upstreams = Upstreams(inherited=plane.settings.inherited)
    try:
        prepared = upstreams.prepare([resource], plane.settings.upstream_pool)
        prepared.take()
        way = prepared.ways[resource.name]
        is_local = resource.upstream is not None and resource.upstream.command is not None
        while is_local and way.state.condition is Condition.STARTING:  # noqa: ASYNC110 - a state wakes nobody
            await asyncio.sleep(STARTING_SECONDS)
        yield way
    finally:
        await upstreams.aclose()


def _check_whole(listing: Listing, resource: Resource, *, is_serving: bool) -> None:
    match listing.outcome:
        case Outcome.ACCEPTED if listing.is_whole:
            return
        case Outcome.ACCEPTED:
            raise AnswerUnfit(f"the list of the tools of `{resource.name}` did not come to its end")
        case Outcome.REFUSED | Outcome.UNCLEAR:
            advice = "see the log of its server, and what `perhop doctor` says of upstreams"
            if not is_serving and resource.upstream is not None and resource.upstream.credential.is_token:
                advice = "start `perhop serve` and try again: the server asks it for the keys of our tokens"
            raise ToolsNotListed(f"the upstream of `{resource.name}` did not list its tools", advice=advice)
