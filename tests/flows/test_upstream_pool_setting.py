"""The setting `upstream_pool`: what it changes of a running gateway, and a call and a stream with the own pool."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from perhop.core.resource import CredentialKind, Resource, Upstream, UpstreamPool
from perhop.gateway.upstream.http import HttpUpstream
from perhop.gateway.upstream.interface import OpenUpstream
from perhop.gateway.upstream.own_pool.upstream import OwnHttpUpstream
from perhop.wiring.upstreams import Upstreams
from tests.support.gateways import a_resource, gateway
from tests.support.stdio_upstreams import small_server
from tests.support.upstreams import event, json_answer, legacy, modern, stream_answer

PROGRESS = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
DONE: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "result": {"content": []}}


async def test_another_pool_makes_new_ways_over_http_and_leaves_local_servers_alone() -> None:
    """A changed setting needs no restart; with an unchanged one every way stays."""
    upstreams = Upstreams(inherited={"PATH": os.environ["PATH"]})
    local = Upstream(command=small_server("modern").command, resource=None, credential=CredentialKind.NONE)
    resources = [
        a_resource("http://127.0.0.1:1", "http://127.0.0.1:9/mcp"),
        Resource(
            name="local",
            uri=a_resource("http://127.0.0.1:2", "http://127.0.0.1:9/mcp").uri,
            owner="travel-team",
            scopes={},
            upstream=local,
        ),
    ]

    def taken(pool: UpstreamPool) -> tuple[OpenUpstream, OpenUpstream]:
        prepared = upstreams.prepare(resources, pool)
        prepared.take()
        return prepared.ways["calendar"], prepared.ways["local"]

    try:
        library, process = taken(UpstreamPool.AIOHTTP)
        assert isinstance(library, HttpUpstream)
        own, same_process = taken(UpstreamPool.OWN)
        assert isinstance(own, OwnHttpUpstream)
        assert same_process is process
        assert taken(UpstreamPool.OWN) == (own, process)
    finally:
        await upstreams.aclose()


async def test_a_call_and_a_stream_pass_a_gateway_with_the_own_pool(tmp_path: Path) -> None:
    """The upstream gets its own token over one connection, and the caller the answer and the events."""
    async with gateway(tmp_path, pool=UpstreamPool.OWN) as world:
        assert isinstance(world.way, OwnHttpUpstream)
        world.upstream.script = lambda _: json_answer({"ok": True})
        for _ in range(2):
            answer = await world.send(modern("tools/call", {"name": "list_events", "arguments": {}}))
            assert answer.json()["result"] == {"ok": True}
        assert world.upstream.last.header("authorization") not in (None, f"Bearer {world.token()}")
        world.upstream.script = lambda _: stream_answer((event(PROGRESS), event(DONE)))
        streamed = await world.send(legacy("tools/call", {"name": "list_events", "arguments": {}}))
        events = [line[6:] for line in streamed.text.splitlines() if line.startswith("data: {")]
        assert [json.loads(each) for each in events] == [PROGRESS, DONE]
        ended = [record["result"] for record in await world.records(6) if record["event"] == "call.ended"]
        assert [each.get("error") for each in ended] == [None] * 3
