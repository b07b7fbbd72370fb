"""A journal whose disk is full: nothing is forwarded; when there is room again, calls flow without a restart."""

from __future__ import annotations

import asyncio
import contextlib
import re
import resource
import time
from pathlib import Path

import httpx2

from tests.support.installations import Installation, await_verdict, installed
from tests.support.upstreams import RecordingUpstream, modern, recording_upstream

FULL = 4096
"""No file of the process may grow beyond: its write-ahead log is longer long since."""

RECOVERY_SECONDS = 20.0


async def _call(installation: Installation, token: str) -> httpx2.Response:
    headers, body = modern("tools/call", {"name": "echo", "arguments": {"message": "hello"}})
    async with httpx2.AsyncClient(timeout=30) as http:
        return await http.post(installation.url, content=body, headers={**headers, "authorization": f"Bearer {token}"})


async def _health(installation: Installation) -> tuple[int, bool, str]:
    """What readiness and metrics say of the journal."""
    async with httpx2.AsyncClient(timeout=30) as http:
        ready = await http.get(f"http://{installation.ops}/readyz")
        metrics = (await http.get(f"http://{installation.ops}/metrics")).text
    value = re.search(r"^perhop_journal_healthy (\S+)$", metrics, re.M)
    assert value is not None
    return ready.status_code, ready.json()["journal"]["ok"], value[1]


def _limit(installation: Installation, size: int) -> None:
    """Let no file of the server grow beyond this many bytes."""
    _, hard = resource.prlimit(installation.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(installation.process.pid, resource.RLIMIT_FSIZE, (size, hard))


def _calls(upstream: RecordingUpstream) -> int:
    """How many calls have come through; the gateway's self-test asks the upstream on its own account, at any time."""
    return sum(each.message.get("method") == "tools/call" for each in upstream.received)


async def _until_flowing(installation: Installation, token: str) -> None:
    deadline = time.monotonic() + RECOVERY_SECONDS
    while (await _call(installation, token)).status_code != 200:
        assert time.monotonic() < deadline, installation.process.output()


async def test_with_the_disk_full_nothing_is_forwarded_and_afterwards_calls_flow_again(tmp_path: Path) -> None:
    """503 and no upstream call while the journal cannot grow; 200 after it can, in the same process."""
    async with recording_upstream() as (url, upstream), contextlib.AsyncExitStack() as stack:
        # The upstream lives on this loop, so whatever blocks goes to a thread.
        installing = installed(tmp_path / "perhop", url, unsafe_open=True)
        installation = await asyncio.to_thread(installing.__enter__)
        stack.push_async_callback(asyncio.to_thread, installing.__exit__, None, None, None)
        await asyncio.to_thread(await_verdict, installation, ["open", "inconclusive", "enforces"])
        token = await asyncio.to_thread(installation.token)
        assert (await _call(installation, token)).status_code == 200
        _limit(installation, FULL)
        forwarded = _calls(upstream)
        for _ in range(3):
            refused = await _call(installation, token)
            assert refused.status_code == 503
            assert refused.json()["error"]["data"]["reason"] == "journal.unavailable"
            assert int(refused.headers["retry-after"]) >= 1
        assert _calls(upstream) == forwarded
        assert await _health(installation) == (503, False, "0.0")
        _limit(installation, resource.RLIM_INFINITY)
        await _until_flowing(installation, token)
        assert _calls(upstream) == forwarded + 1
        assert await _health(installation) == (200, True, "1.0")
        await asyncio.to_thread(installation.run, "journal", "verify")
