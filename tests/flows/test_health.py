"""The operations listener of a server that runs: what it says of each part, and of one that fails."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
import sqlite3
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from perhop.control.running import control_socket
from perhop.serving import serve
from perhop.serving.health import readiness, startup
from perhop.serving.serve import Serving, serving
from perhop.serving.stage import Course
from perhop.settings import load
from perhop.tokens.keys import Algorithm, Keyring, KeyState
from tests.support.upstreams import Received, RecordingUpstream, Scripted, json_answer, recording_upstream


@dataclass
class Site:
    """An installation that is served in this process, in front of an upstream that answers once `go` is set."""

    running: Serving
    upstream: RecordingUpstream
    http: httpx2.AsyncClient
    go: asyncio.Event

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        answer = await self.http.get(f"http://{self.running.plane.settings.listen.ops}{path}")
        return answer.status_code, answer.json()

    async def until(self, path: str, status: int) -> dict[str, Any]:
        """Ask until the answer is this status."""
        async with asyncio.timeout(10):
            while (seen := await self.get(path))[0] != status:
                await asyncio.sleep(0.02)
        return seen[1]


@contextlib.asynccontextmanager
async def _site(folder: Path) -> AsyncIterator[Site]:
    go = asyncio.Event()

    async def answer(_: Received) -> Scripted:
        await go.wait()
        return json_answer({"tools": []})

    async with recording_upstream() as (url, upstream), httpx2.AsyncClient() as http:
        upstream.script = answer
        file = folder / "perhop.yaml"
        file.write_text(re.sub(r'(upstream: {url: )"[^"]+"', rf'\1"{url}"', file.read_text()))
        async with serving(load(file, {}), clock=time.time, control=control_socket) as running:
            yield Site(running, upstream, http, go)


async def test_it_has_started_when_every_upstream_was_tried(folder: Path) -> None:
    """Until then `/startupz` is 503 and names what it waits for; liveness and readiness do not wait."""
    async with _site(folder) as site:
        status, waiting = await site.get("/startupz")
        assert (status, waiting) == (503, {"started": False, "stage": "serving", "waits_for": ["calendar"]})
        assert await site.get("/livez") == await site.get("/healthz") == (200, {"live": True})
        assert (await site.get("/readyz"))[0] == 200
        site.go.set()
        assert (await site.until("/startupz", 200))["waits_for"] == []


async def test_an_upstream_that_is_away_does_not_hold_up_the_start(folder: Path) -> None:
    """Nothing answers there, and that is known: the server has started, and tells of the way what is wrong."""
    async with _site(folder) as site:
        site.go.set()
        await site.until("/startupz", 200)
    file = folder / "perhop.yaml"  # the upstream of a moment ago has gone
    async with (
        serving(load(file, {}), clock=time.time, control=control_socket) as running,
        httpx2.AsyncClient() as http,
    ):
        site = Site(running, site.upstream, http, site.go)
        await site.until("/startupz", 200)
        status, detail = await site.get("/readyz")
        assert (status, detail["upstreams"]) == (200, {"calendar": "is given no token"})
        told = detail["upstream_detail"]["calendar"]
        assert (told["condition"], told["owner"], told["verdict"]) == ("failed", "travel", "untested")
        assert told["problem"]


HERE = ("127.0.0.1", "127.0.0.1:9", "localhost:8422", "LOCALHOST", "[::1]:8422", "127.0.0.2")
ELSEWHERE = (
    "evil.example",
    "evil.example:8422",
    "127.0.0.1.evil.example",
    "127.0.0.1@evil.example",
    "10.0.0.7:8422",
    "",
)


async def test_on_this_machine_no_page_reads_it_under_a_name_of_its_own(folder: Path) -> None:
    """A page whose name resolves to loopback is answered 421 and nothing more, whatever it asks for.

    Spec: RFC 9110 §7.4
    """
    async with _site(folder) as site:
        ops = f"http://{site.running.plane.settings.listen.ops}"
        for path in ("/livez", "/readyz", "/metrics", "/metrics/", "/none"):
            for host in ELSEWHERE:
                refused = await site.http.get(f"{ops}{path}", headers={"host": host})
                assert (refused.status_code, refused.text) == (421, "not a host of this machine"), host
        for host in HERE:
            assert (await site.http.get(f"{ops}/livez", headers={"host": host})).status_code == 200, host
        assert (await site.http.get(f"{ops}/metrics/")).status_code == 404


async def test_a_probe_names_another_listener_as_it_likes(folder: Path) -> None:
    """An address of the network, or the name of a service: where it is bound to more than loopback, each is good."""
    file = folder / "perhop.yaml"
    file.write_text(re.sub(r'(ops: "?)127\.0\.0\.1', r"\g<1>0.0.0.0", file.read_text()))
    async with _site(folder) as site:
        port = site.running.plane.settings.listen.ops.port
        for host in (*HERE, "10.0.0.7:8422", "perhop.default.svc:8422"):
            answer = await site.http.get(f"http://127.0.0.1:{port}/livez", headers={"host": host})
            assert answer.status_code == 200, host


async def test_every_listener_goes_by_the_room_there_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a system allows few open files, connections beyond them are refused, and nothing fails for want of one."""
    monkeypatch.setattr(serve, "room_for_connections", lambda: 2)
    async with _site(folder) as site:
        listen = site.running.plane.settings.listen
        for address in (listen.ops, listen.console, listen.traffic):
            _, idle = await asyncio.open_connection(address.host, address.port)
            async with httpx2.AsyncClient() as http:
                assert (await http.get(f"http://{address}/livez")).status_code == 503, address
            idle.close()


def _execute(database: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(database)) as db:
        db.execute(statement)


async def test_a_database_that_fails_is_told(folder: Path) -> None:
    """Readiness is 503 while the database cannot be asked, and 200 when it can again; liveness does not care."""
    async with _site(folder) as site:
        assert (await site.get("/readyz"))[0] == 200
        database = site.running.plane.settings.database_path
        await asyncio.to_thread(_execute, database, "ALTER TABLE standing RENAME TO away")
        status, detail = await site.get("/readyz")
        assert (status, detail["ready"], detail["database"]["ok"]) == (503, False, False)
        assert (detail["journal"]["ok"], detail["signing_key"]["ok"], detail["policy"]["ok"]) == (True, True, True)
        assert (await site.get("/livez"))[0] == 200
        await asyncio.to_thread(_execute, database, "ALTER TABLE away RENAME TO standing")
        assert (await site.get("/readyz"))[0] == 200


async def test_a_key_that_does_not_sign_is_told(folder: Path) -> None:
    """The key is used, not only looked for: one whose signatures nobody would take makes the server not ready."""
    async with _site(folder) as site:
        plane = site.running.plane
        status, detail = await site.get("/readyz")
        kid = plane.issuer.keyring.active.kid
        assert (status, detail["signing_key"]) == (200, {"ok": True, "kid": kid, "algorithm": "ES256", "problem": ""})
        broken = dataclasses.replace(plane.issuer.keyring.active, algorithm=Algorithm.ED25519)
        plane.issuer = dataclasses.replace(plane.issuer, keyring=Keyring(((broken, KeyState.ACTIVE),)))
        status, detail = await site.get("/readyz")
        assert (status, detail["signing_key"]["problem"]) == (503, "TokenSignatureInvalid")


async def test_a_server_is_ready_only_while_it_serves(folder: Path) -> None:
    """Whatever the parts say: not before its listeners are up, and never again once it stops."""
    async with _site(folder) as site:
        plane, traffic, course = site.running.plane, site.running.traffic, Course()
        site.go.set()
        await site.until("/startupz", 200)
        assert not (
            await readiness(plane, traffic, (), site.running.webhooks, site.running.revocation_check.figures, course)
        )["ready"]
        assert not startup(traffic, course)["started"]
        course.begin()
        assert (
            await readiness(plane, traffic, (), site.running.webhooks, site.running.revocation_check.figures, course)
        )["ready"]
        assert startup(traffic, course)["started"]
        course.stop()
        assert not (
            await readiness(plane, traffic, (), site.running.webhooks, site.running.revocation_check.figures, course)
        )["ready"]
