"""The order of things, as the kernel sees it: the permit is on disk before the server gets the first byte of the call.

`perhop serve` runs under strace. In the trace stand the write of the permit to the journal's log, the fdatasync that
puts it on disk, and what goes out to the server's socket.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2

from drill.installation import DrillFailed, Site, found, free_site, get_token, port_of, serving, serving_tools
from drill.wire import tool_call
from perhop.journal.keys import load_journal_key
from perhop.rules.canonical_json import canonical_json
from scripts.fetch_debian import environment, strace

TRACED = "fdatasync,fsync,pwrite64,pwritev,write,writev,sendto,sendmsg"
LOG = "journal.db-wal"

_LINE = re.compile(r"(?P<pid>\d+) +(?P<time>\d+\.\d+) (?P<rest>.*)")
_TOOK = re.compile(r" <(\d+\.\d+)>$")
_BEGUN = re.compile(r"(?P<call>\w+)\((?P<what>.*?)(?P<unfinished> <unfinished \.\.\.>)?$", re.S)
_RESUMED = re.compile(r"<\.\.\. (?P<call>\w+) resumed>(?P<what>.*)", re.S)


@dataclass(frozen=True, slots=True)
class Step:
    """One call of the system: when it began and ended, as line numbers and as times."""

    call: str
    what: str
    began: int
    ended: int
    began_at: float
    ended_at: float

    @property
    def is_done(self) -> bool:
        """True if it ended well."""
        return re.search(r"\) += -", self.what) is None


@dataclass(frozen=True, slots=True)
class Order:
    """What matters of a trace: the permit is written, it is on disk, and the call leaves."""

    written: Step
    synced: Step | None
    sent: Step

    @property
    def is_right(self) -> bool:
        """The sync of the permit was over before the first byte of the call was given to the socket."""
        return self.synced is not None and self.synced.is_done and self.synced.ended < self.sent.began

    def lines(self) -> Iterator[str]:
        """For people: the steps in their order, with the time since the first."""
        steps = [("the permit is written to the log", self.written), ("the call's first byte leaves", self.sent)]
        if self.synced is not None:
            steps.append(("the permit is on disk", self.synced))
        zero = self.written.began_at
        for words, step in sorted(steps, key=lambda each: each[1].began):
            span = f"{(step.began_at - zero) * 1000:9.3f} to {(step.ended_at - zero) * 1000:9.3f} ms"
            yield f"{words:<34} {span}   {step.call} {_target(step)}"
        if self.synced is None:
            yield "the permit is on disk              never"
        yield f"{'in this order':<34} {'yes' if self.is_right else 'NO'}"


def _target(step: Step) -> str:
    """`journal.db-wal`, or the addresses of a connection."""
    inside = step.what.partition("<")[2].partition(">,")[0].partition(">)")[0]
    return inside.rpartition("/")[2]


def steps_of(trace: str) -> list[Step]:
    """The calls of a trace of `strace -f -ttt`, in the order in which they began."""
    steps: list[Step] = []
    open_: dict[str, tuple[str, str, int, float]] = {}
    for number, line in enumerate(trace.splitlines()):
        parts = _LINE.fullmatch(line)
        if parts is None:
            continue
        pid, at, rest = parts["pid"], float(parts["time"]), parts["rest"]
        if resumed := _RESUMED.fullmatch(rest):
            if pid in open_:
                call, what, began, began_at = open_.pop(pid)
                what += resumed["what"]
                steps.append(Step(call, what, began, number, began_at, began_at + _seconds(what)))
        elif begun := _BEGUN.fullmatch(rest):
            if begun["unfinished"]:
                open_[pid] = (begun["call"], begun["what"], number, at)
            else:
                what = begun["what"]
                steps.append(Step(begun["call"], what, number, number, at, at + _seconds(what)))
    return sorted(steps, key=lambda step: step.began)


def _seconds(what: str) -> float:
    took = _TOOK.search(what)
    return float(took[1]) if took is not None else 0.0


def order_in(steps: Sequence[Step], *, mac: str, marker: str, port: int) -> Order:
    """Find the permit with this MAC, its sync, and the first byte of the call with this text to this port.

    Raises: DrillFailed
    """
    written = next((step for step in steps if LOG in step.what and mac in step.what and "write" in step.call), None)
    if written is None:
        raise DrillFailed("the trace does not show the permit being written to the journal's log")
    synced = next(
        (each for each in steps if "sync" in each.call and LOG in each.what and each.began > written.ended), None
    )
    to_server = [step for step in steps if f"->127.0.0.1:{port}]" in step.what and "sync" not in step.call]
    body = next((number for number, step in enumerate(to_server) if marker in step.what), None)
    if body is None:
        raise DrillFailed("the trace does not show the call leaving for the server")
    socket = _socket(to_server[body])
    first = next(step for step in reversed(to_server[: body + 1]) if _socket(step) == socket and '"POST ' in step.what)
    return Order(written=written, synced=synced, sent=first)


def _socket(step: Step) -> str:
    return step.what.partition(">")[0] + step.what.partition("->")[0]


def is_tracing_allowed() -> bool:
    """False where the system lets nobody trace, as in some containers."""
    command: list[str | Path] = [strace(), "-o", "/dev/null", "true"]
    done = subprocess.run(command, env=os.environ | environment(), capture_output=True, check=False)
    return done.returncode == 0


def traced(folder: Path) -> Order:
    """Serve under strace, send one call, and read the trace.

    Raises: DrillFailed, RealSoftwareMissing
    """
    if not is_tracing_allowed():
        raise DrillFailed("this machine allows no ptrace: run where `strace true` works")
    (order,) = _traced(folder, calls=1)
    return order


def traced_under_load(folder: Path, *, calls: int, at_once: int, pool: str) -> list[Order]:
    """The same of many calls with one token, so many at a time: token, decision and hop token come from memory.

    Raises: DrillFailed, RealSoftwareMissing
    """
    return _traced(folder, calls=calls, at_once=at_once, more={"upstream_pool": pool})


def _traced(folder: Path, *, calls: int, at_once: int = 1, more: Mapping[str, str] | None = None) -> list[Order]:
    if not is_tracing_allowed():
        raise DrillFailed("this machine allows no ptrace: run where `strace true` works")
    site = free_site(folder)
    found(site)
    configuration = folder / "perhop.yaml"
    configured = {**json.loads(configuration.read_text(encoding="utf-8")), **(more or {})}
    configuration.write_text(json.dumps(configured), encoding="utf-8")
    key = load_journal_key(folder / "keys")
    markers = [uuid.uuid4().hex for _ in range(calls)]
    file = folder / "trace"
    prefix: Sequence[str | Path] = [
        strace(),
        "-f",
        "-yy",
        "-ttt",
        "-T",
        "-s",
        "8192",
        "-e",
        f"trace={TRACED}",
        "-o",
        file,
    ]
    with serving_tools(site), serving(site, prefix=prefix) as running:
        try:
            asyncio.run(_call(site, markers, at_once))
        except DrillFailed as failed:
            raise DrillFailed(f"{failed}\n{running.output()}") from None
    steps = steps_of(file.read_text(encoding="utf-8", errors="replace"))
    # Of these many steps, those that can matter: others hold neither a MAC nor a marker.
    steps = [each for each in steps if LOG in each.what or f"->127.0.0.1:{port_of(site.hub)}]" in each.what]
    macs = [key.mac(canonical_json({"text": marker})) for marker in markers]
    port = port_of(site.hub)
    return [order_in(steps, mac=mac, marker=marker, port=port) for mac, marker in zip(macs, markers, strict=True)]


async def _call(site: Site, markers: Sequence[str], at_once: int) -> None:
    """Call with each of these texts, so many at a time, with one token. Raises: DrillFailed."""
    left = list(markers)
    async with httpx2.AsyncClient(timeout=60) as http:
        bearer = {"authorization": f"Bearer {await get_token(http, site)}"}

        async def call_on() -> None:
            while left:
                headers, body = tool_call("search", {"text": left.pop()})
                answer = await http.post(site.uri("hub"), headers=headers | bearer, content=body)
                if not answer.is_success or answer.json()["result"].get("isError"):
                    raise DrillFailed(f"a call was answered {answer.status_code}: {answer.text}")

        await asyncio.gather(*(call_on() for _ in range(at_once)))


def show(folder: Path) -> list[str]:
    """The order as lines. Raises: DrillFailed, RealSoftwareMissing."""
    order = traced(folder)
    if not order.is_right:
        raise DrillFailed("\n".join(order.lines()))
    return list(order.lines())
