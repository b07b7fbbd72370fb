"""Load: wrk in a closed loop for throughput, and requests at a fixed rate, in an open loop, for latency.

In the closed loop every connection sends its next request when the last was answered: the subject is never idle, and
latencies seen there are queueing. In the open loop a request is due at its time, whatever became of those before it,
and its latency counts from when it was due.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from bench.processes import LOAD_CORE, cpu_seconds, pinned
from scripts.fetch_debian import environment, wrk
from scripts.fetch_real import ROOT

CONNECTIONS = 32
OVERTIME_SECONDS = 60
"""How long answers of an open loop may still come after the last request was due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is sent: one body, and one header set a variant (one token each, say), taken in turn by every request.

    `values` are the `Authorization` values; no such header without any. `bodies` are there where each variant has a
    body of its own, with the first value.
    """

    url: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    values: Sequence[str] = ()
    bodies: Sequence[bytes] = ()
    method: str = "POST"


class LoadFailed(RuntimeError):
    """Some requests were not answered as they should be: what was measured is not what is claimed."""


_SCRIPT = """\
local requests = {}
function init(args)
  local file = io.open(os.getenv("BENCH_REQUESTS"), "rb")
  while true do
    local length = file:read("*n")
    if not length then break end
    file:read(1)
    requests[#requests + 1] = file:read(length)
  end
  file:close()
end
local sent = 0
function request()
  sent = sent + 1
  return requests[(sent - 1) % #requests + 1]
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\n{"requests": %d, "micros": %d, "errors": %d, "p50": %d, "p99": %d}\\n', summary.requests,
    summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


def rendered(ask: Ask) -> list[bytes]:
    """Every variant as octets on the wire."""
    url = urlsplit(ask.url)
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    fixed = {"host": url.netloc, **ask.headers}
    first = {"authorization": ask.values[0]} if ask.values else {}
    if ask.bodies:
        variants = [({**fixed, **first}, body) for body in ask.bodies]
    else:
        variants = [({**fixed, "authorization": value}, ask.body) for value in ask.values] or [(fixed, ask.body)]
    return [
        f"{ask.method} {target} HTTP/1.1\r\n".encode()
        + b"".join(f"{name}: {value}\r\n".encode() for name, value in {**head, "content-length": len(body)}.items())
        + b"\r\n"
        + body
        for head, body in variants
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """What a closed loop came to: requests, seconds, and the CPU seconds that the subject took meanwhile."""

    requests: int
    seconds: float
    cpu: float

    @property
    def figures(self) -> dict[str, float]:
        return {
            "cpu_us": 1e6 * self.cpu / self.requests,
            "requests_a_second": self.requests / self.seconds,
        }


def closed_loop(ask: Ask, pid: int, *, seconds: float, connections: int = CONNECTIONS) -> Closed:
    """Ask without a pause; `pid` is the subject, whose CPU time is read before and after.

    Raises: LoadFailed if any answer was an error.
    """
    with tempfile.TemporaryDirectory() as folder:
        script, requests = Path(folder) / "ask.lua", Path(folder) / "requests"
        script.write_text(_SCRIPT, encoding="utf-8")
        with requests.open("wb") as file:
            for each in rendered(ask):
                file.write(f"{len(each)}\n".encode() + each)
        command = [*pinned(LOAD_CORE), str(wrk()), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
        url = urlsplit(ask.url)
        command += ["--timeout", "20s", "-s", str(script), f"http://{url.netloc}/"]
        # What wrk reads before it begins is its own time, not the subject's.
        before = cpu_seconds(pid)
        done = subprocess.run(
            command, env={"BENCH_REQUESTS": str(requests), **environment()}, capture_output=True, text=True, check=False
        )
        cpu = cpu_seconds(pid) - before
    line = done.stdout.strip().rpartition("\n")[2]
    if done.returncode or not line.startswith("{"):
        raise LoadFailed(f"wrk ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}")
    said = json.loads(line)
    if not said["requests"]:
        raise LoadFailed(f"{ask.url} answered nothing in {seconds:.0f} s")
    if said["errors"]:
        raise LoadFailed(f"{said['errors']} of {said['requests']} answers from {ask.url} were errors")
    return Closed(requests=said["requests"], seconds=said["micros"] / 1e6, cpu=cpu)


def open_loop(ask: Ask, *, rate: float, seconds: float, connections: int = 16) -> list[float]:
    """Ask at a fixed rate; the seconds that each answer took, from when its request was due. In a process of its own.

    Raises: LoadFailed if any answer was an error.
    """
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "ask.json"
        wanted.write_text(
            json.dumps({"url": ask.url, "asks": [each.decode("latin-1") for each in rendered(ask)]}), encoding="utf-8"
        )
        words = ["-m", "bench.load", str(wanted), str(rate), str(seconds), str(connections)]
        command = [*pinned(LOAD_CORE), sys.executable, *words]
        try:
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds + OVERTIME_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise LoadFailed(f"{ask.url} left requests unanswered for {OVERTIME_SECONDS} s") from None
    if done.returncode:
        raise LoadFailed(done.stderr[-1000:])
    return [float(word) for word in done.stdout.split()]


def percentile(latencies: Sequence[float], part: float) -> float:
    """The latency that this part of all stays under."""
    ordered = sorted(latencies)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


async def _paced(url: str, asks: Sequence[bytes], rate: float, seconds: float, connections: int) -> list[float]:
    """Requests in turn on a few connections, each due at its time; late ones wait for a free connection."""
    address = urlsplit(url)
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(connections):
        free.put_nowait(await asyncio.open_connection(address.hostname, address.port))
    begin = time.perf_counter() + 0.05
    latencies: list[float] = []

    async def one(number: int) -> None:
        due = begin + number / rate
        await asyncio.sleep(due - time.perf_counter())
        reader, writer = await free.get()
        writer.write(asks[number % len(asks)])
        status = await _read_answer(reader)
        latencies.append(time.perf_counter() - due)
        if status >= 400:
            raise LoadFailed(f"{url} answered {status}")
        free.put_nowait((reader, writer))

    await asyncio.gather(*(one(number) for number in range(round(rate * seconds))))
    return latencies


async def _read_answer(reader: asyncio.StreamReader) -> int:
    """Read one answer to its end; its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    status = int(head.split(" ", 2)[1])
    length = head.partition("\r\ncontent-length:")[2].partition("\r\n")[0].strip()
    if length:
        await reader.readexactly(int(length))
        return status
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        await reader.readexactly(size + 2)
    await reader.readuntil(b"\r\n")
    return status


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    octets = [each.encode("latin-1") for each in asked["asks"]]
    took = asyncio.run(_paced(asked["url"], octets, float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
    sys.stdout.write(" ".join(f"{each:.7f}" for each in took))
