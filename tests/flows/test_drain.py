"""A stop of `perhop serve`, as a real process with calls under way: nobody who was let in is let down."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.support.installations import Installation, installed_beside
from tests.support.processes import answers
from tests.support.upstreams import (
    Received,
    RecordingUpstream,
    Scripted,
    event,
    json_answer,
    modern,
    recording_upstream,
    stream_answer,
)

PROGRESS = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
DONE = {"jsonrpc": "2.0", "id": 1, "result": {"content": []}}
PATIENCE = 20.0


@dataclass
class Site:
    """A server that runs, its upstream, whose calls wait until `go` is set, and a client with a token."""

    installation: Installation
    upstream: RecordingUpstream
    token: str
    http: httpx2.AsyncClient
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def script(self, received: Received) -> Scripted:
        """Tools by their names: `stream` begins at once, everything ends when it may."""
        if received.method == "GET":
            return stream_answer(self._standing())
        if received.message.get("method") != "tools/call":
            return json_answer({"tools": []})
        if received.message["params"]["name"] == "stream":
            return stream_answer(self._streaming())
        await self.go.wait()
        return json_answer({"content": []})

    def calls_at_upstream(self) -> int:
        """How many tool calls have come to the upstream."""
        posted = (each.message for each in self.upstream.received if each.method == "POST")
        return sum(each["method"] == "tools/call" for each in posted)

    def streams_at_upstream(self) -> int:
        """How many GET streams have been opened there."""
        return sum(each.method == "GET" for each in self.upstream.received)

    async def call(self, tool: str = "slow") -> httpx2.Response:
        headers, body = modern("tools/call", {"name": tool, "arguments": {}})
        return await self.http.post(
            self.installation.url, content=body, headers={**headers, "authorization": f"Bearer {self.token}"}
        )

    async def standing_stream(self) -> bytes:
        """Everything that a GET stream says until it ends."""
        headers = {"accept": "text/event-stream", "mcp-protocol-version": "2025-11-25"}
        answer = await self.http.get(
            self.installation.url, headers={**headers, "authorization": f"Bearer {self.token}"}
        )
        return answer.content

    async def readiness(self) -> tuple[int, dict[str, Any]]:
        answer = await self.http.get(f"http://{self.installation.ops}/readyz")
        return answer.status_code, answer.json()

    async def ended(self) -> int:
        """The exit code, once the process has ended."""
        return await asyncio.to_thread(self.installation.process.exit_code, within=PATIENCE)

    def takes_connections(self) -> bool:
        return answers(int(self.installation.issuer.rpartition(":")[2]))

    async def outcomes(self) -> Counter[str]:
        """How the permitted calls ended, once the journal was verified: every permit has exactly one outcome."""
        records = await asyncio.to_thread(self.installation.written)
        permitted = [each["call"]["id"] for each in records if each["event"] == "call.permitted"]
        ended = {each["call"]["id"]: each["result"] for each in records if each["event"] == "call.ended"}
        assert sorted(permitted) == sorted(ended)
        return Counter(str(each.get("error", each.get("status"))) for each in ended.values())

    async def _streaming(self) -> AsyncIterator[bytes]:
        yield event(PROGRESS)
        await self.go.wait()
        yield event(DONE)

    async def _standing(self) -> AsyncIterator[bytes]:
        yield event(PROGRESS)
        await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def _site(folder: Path, *, drain: int = 8) -> AsyncIterator[Site]:
    async with (
        recording_upstream() as (url, upstream),
        installed_beside(folder / "perhop", url, unsafe_open=True, drain=drain) as installation,
        httpx2.AsyncClient(timeout=PATIENCE, limits=httpx2.Limits(max_connections=None)) as http,
    ):
        site = Site(installation, upstream, await installation.token_for(http), http)
        upstream.script = site.script
        yield site


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


async def test_calls_that_were_let_in_are_answered(tmp_path: Path) -> None:
    """Asked to stop, the server says so first, lets nobody in, cuts the stream without an end, and answers the rest."""
    async with _site(tmp_path) as site:
        plain = [asyncio.create_task(site.call()) for _ in range(8)]
        streams = [asyncio.create_task(site.call("stream")) for _ in range(2)]
        standing = asyncio.create_task(site.standing_stream())
        await _until(lambda: site.calls_at_upstream() == 10 and site.streams_at_upstream() == 1)
        status, before = await site.readiness()
        assert (status, before["stage"], before["open_streams"]) == (200, "serving", 1)
        site.installation.process.ask_to_stop()
        assert await standing == event(PROGRESS) + b": upstream.unavailable\n\n"
        status, during = await site.readiness()
        assert (status, during["ready"], during["draining"], during["calls_in_flight"]) == (503, False, True, 10)
        assert all(during[part]["ok"] for part in ("journal", "database", "signing_key"))
        assert (await site.http.get(f"http://{site.installation.ops}/livez")).status_code == 200
        assert "perhop_stopping 1.0" in (await site.http.get(f"http://{site.installation.ops}/metrics")).text
        await _until(lambda: not site.takes_connections())
        site.go.set()
        assert [answer.status_code for answer in await asyncio.gather(*plain)] == [200] * 8
        assert [answer.content for answer in await asyncio.gather(*streams)] == [event(PROGRESS) + event(DONE)] * 2
        assert await site.ended() == 0
        assert await site.outcomes() == {"200": 10, "cut": 1}


async def test_under_load_no_call_that_was_let_in_fails(tmp_path: Path) -> None:
    """Clients call without a pause while the stop comes: as many are answered 200 as were permitted, and none else."""
    async with _site(tmp_path) as site:
        site.go.set()
        statuses: Counter[int] = Counter()

        async def keep_calling() -> None:
            with contextlib.suppress(httpx2.TransportError):  # the listener is gone
                while True:
                    statuses[(await site.call()).status_code] += 1

        callers = [asyncio.create_task(keep_calling()) for _ in range(8)]
        await _until(lambda: statuses[200] >= 40)
        site.installation.process.ask_to_stop()
        await asyncio.gather(*callers)
        assert await site.ended() == 0
        assert set(statuses) == {200}
        assert await site.outcomes() == {"200": statuses[200]}


async def test_what_does_not_end_in_time_is_cut_and_recorded(tmp_path: Path) -> None:
    """After `drain` seconds a stream ends with an error for its request, a call without an answer with 503."""
    async with _site(tmp_path, drain=1) as site:
        unanswered = asyncio.create_task(site.call())
        streaming = asyncio.create_task(site.call("stream"))
        await _until(lambda: site.calls_at_upstream() == 2)
        site.installation.process.ask_to_stop(signal.SIGINT)
        refused = await unanswered
        assert (refused.status_code, refused.json()["error"]["data"]["reason"]) == (503, "upstream.unavailable")
        last = json.loads((await streaming).content.rpartition(b"data: ")[2])
        assert (last["id"], last["error"]["data"]["reason"]) == (1, "upstream.unavailable")
        assert await site.ended() == 0
        assert await site.outcomes() == {"upstream.unavailable": 1, "cut": 1}


async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    """Whoever cannot wait asks once more: the process dies of the signal, and the journal is whole."""
    async with _site(tmp_path, drain=600) as site:
        hanging = asyncio.create_task(site.call())
        await _until(lambda: site.calls_at_upstream() == 1)
        site.installation.process.ask_to_stop()
        await _until(lambda: not site.takes_connections())
        assert not hanging.done()
        site.installation.process.ask_to_stop()
        assert await site.ended() == -signal.SIGTERM
        with contextlib.suppress(httpx2.TransportError):
            await hanging
        permits = [each for each in await asyncio.to_thread(site.installation.written) if "decision" in each]
        assert [each["event"] for each in permits] == ["call.permitted"]
