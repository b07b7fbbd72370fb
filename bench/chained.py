"""Load in which each request needs the answer to the one before: refresh tokens, each good once, in families.

Every connection follows a family of its own: it sends its token and takes the next one from the answer. In a process of
its own on the load's core: `python -m bench.chained`, told by JSON on its stdin.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from urllib.parse import urlencode, urlsplit

from bench.load import Ask, Closed, LoadFailed, rendered
from bench.processes import LOAD_CORE, cpu_seconds, pinned

NEXT = "refresh_token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Where to ask with which form beside `refresh_token`; one first token a connection."""

    url: str
    form: Mapping[str, str]
    first: Sequence[str]
    headers: Mapping[str, str] = field(default_factory=dict)


def chained_loop(chain: Chain, pid: int, *, seconds: float) -> tuple[Closed, Chain]:
    """Ask without a pause on every connection, each behind its own last answer; and where the families stand then.

    Raises: LoadFailed if any answer was an error.
    """
    told = json.dumps({**asdict(chain), "seconds": seconds})
    before = cpu_seconds(pid)
    command = [*pinned(LOAD_CORE), sys.executable, "-m", "bench.chained"]
    done = subprocess.run(command, input=told, capture_output=True, text=True, check=False)
    cpu = cpu_seconds(pid) - before
    if done.returncode:
        raise LoadFailed(done.stderr[-1000:])
    said = json.loads(done.stdout)
    found = Closed(requests=said["requests"], seconds=said["seconds"], cpu=cpu)
    return found, Chain(url=chain.url, form=chain.form, first=said["last"], headers=chain.headers)


async def _follow(chain: Chain, seconds: float) -> dict[str, object]:
    began = time.perf_counter()
    ends = await asyncio.gather(*(_family(chain, token, began + seconds) for token in chain.first))
    return {
        "requests": sum(count for count, _ in ends),
        "seconds": time.perf_counter() - began,
        "last": [token for _, token in ends],
    }


async def _family(chain: Chain, token: str, end: float) -> tuple[int, str]:
    address = urlsplit(chain.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    headers = {"content-type": "application/x-www-form-urlencoded", **chain.headers}
    count = 0
    while time.perf_counter() < end:
        body = urlencode({**chain.form, NEXT: token}).encode()
        writer.write(rendered(Ask(url=chain.url, body=body, headers=headers))[0])
        status, said = await _read(reader)
        if status != 200:
            raise LoadFailed(f"{chain.url} answered {status}: {said[:300]!r}")
        token = json.loads(said)[NEXT]
        count += 1
    writer.close()
    return count, token


async def _read(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.partition("\r\ncontent-length:")[2].partition("\r\n")[0])
    return int(head.split(" ", 2)[1]), await reader.readexactly(length)


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    lasting = asked.pop("seconds")
    json.dump(asyncio.run(_follow(Chain(**asked), lasting)), sys.stdout)
