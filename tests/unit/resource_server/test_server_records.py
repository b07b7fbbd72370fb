"""Delivery of a guard's reports: it goes on while a guard is there, whatever the authorization server answers."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from perhop.client import TokenSource
from perhop.errors import JournalUnavailable
from perhop.resource_server import Admitted, Challenge, Guard, ServerRecords, SqliteReplay, server_records
from perhop.resource_server.reports_file import ReportsFile
from tests.support.offline_issuer import Clock, OfflineIssuer

ORIGIN = "https://records.example.com"
PATIENCE_SECONDS = 15.0
SUPPRESSED = "journal.suppressed"
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


class Journal:
    """The endpoint for records of an issuer without a socket. `next_answers` come before it takes anything."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.issuer = OfflineIssuer(clock=self.clock)
        self.asked: list[httpx2.Request] = []
        self.taken: list[dict[str, Any]] = []
        self.next_answers: list[Callable[[], Awaitable[httpx2.Response]]] = []
        self.is_away = False

    def http(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=httpx2.MockTransport(self._handle))

    async def _handle(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path != "/records":
            return await self.issuer._handle(request)
        self.asked.append(request)
        if self.is_away:
            raise httpx2.ConnectError("nobody listens", request=request)
        if self.next_answers:
            return await self.next_answers.pop(0)()
        self.taken += json.loads(request.content)["records"]
        return httpx2.Response(200, json={"recorded": 1, "known": 0, "refused": {}})


class Site:
    """Two guards that share records, and the journal that these go to."""

    def __init__(self, folder: Path) -> None:
        self.journal = Journal()
        issuer, clock, http = self.journal.issuer, self.journal.clock, self.journal.http()
        tokens = TokenSource(issuer=issuer.url, client_id="c", client_secret="s" * 40, http=http, clock=clock)
        self.path = folder / "records.db"
        self.records = ServerRecords(tokens, self.path, http=http, clock=clock)
        self.one, self.two = (
            Guard(
                resource=f"{ORIGIN}/{name}",
                issuers=[issuer.url],
                records=self.records,
                replay=SqliteReplay(folder / "used.db"),
                http=http,
                clock=clock,
            )
            for name in ("one", "two")
        )

    async def call(self, guard: Guard, token: str | None = None) -> Admitted | Challenge:
        token = token or self.journal.issuer.mint(guard.resource)
        headers = [("authorization", f"Bearer {token}"), ("content-type", "application/json")]
        path = guard.resource.removeprefix(ORIGIN)
        return await guard.check(method="POST", path=path, headers=headers, body=PING, address="192.0.2.7")

    def kept(self) -> int:
        with closing(sqlite3.connect(self.path)) as connection:
            (count,) = connection.execute("SELECT count(*) FROM report").fetchone()
        return int(count)


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(server_records, "FIRST_PAUSE", 0.01)
    made = Site(tmp_path)
    yield made
    for guard in (made.one, made.two):
        await guard.aclose()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def writers() -> set[threading.Thread]:
    """The writing threads of all files of this process."""
    return {each for each in threading.enumerate() if each.name == "perhop-reports"}


async def test_of_guards_that_share_records_the_last_to_end_closes_them(site: Site) -> None:
    """One ends while the journal is away: what the other one saw is delivered all the same, without a new request."""
    of_others = writers()
    async with site.two.running():
        async with site.one.running():
            site.journal.is_away = True
            assert isinstance(await site.call(site.two), Admitted)
            await until(lambda: site.journal.asked)
        assert writers() - of_others
        site.journal.is_away = False
        await until(lambda: site.journal.taken)
    assert not writers() - of_others


async def test_a_guard_that_ends_leaves_the_requests_of_the_other(site: Site) -> None:
    """Requests that run beside the end of another guard are answered, and each that was served has its report."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        for _ in range(10):
            calls = [asyncio.create_task(site.call(site.two)) for _ in range(20)]
            await site.one.aclose()
            assert all(isinstance(each, Admitted) for each in await asyncio.gather(*calls))
    await site.two.aclose()
    assert len({each["id"] for each in site.journal.taken}) + site.kept() == 200  # at least once: some came twice


async def test_what_was_counted_is_not_lost_when_the_file_takes_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count of a flood is offered again until it is taken."""
    offer, refusals = ReportsFile.offer, 2

    def refuse_counts(file: ReportsFile, body: str) -> None:
        nonlocal refusals
        if refusals and SUPPRESSED in body:
            refusals -= 1
            raise JournalUnavailable("too many reports wait for the disk")
        offer(file, body)

    monkeypatch.setattr(ReportsFile, "offer", refuse_counts)
    forged = site.journal.issuer.mint(site.one.resource)[:-8] + "AAAAAAAA"
    async with site.one.running():
        for _ in range(25):
            await site.call(site.one, forged)
        site.journal.clock.now += 1
        await until(lambda: any(each["event"] == SUPPRESSED for each in site.journal.taken))
    # By its id: a report that was on its way when the guard ended comes once more.
    counted = {each["id"]: each["about"]["count"] for each in site.journal.taken if each["event"] == SUPPRESSED}
    assert (refusals, list(counted.values())) == (0, [15])


class Endless(httpx2.AsyncByteStream):
    """An answer that goes on and on; says how much of it was read."""

    def __init__(self) -> None:
        self.read = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(1000):
            self.read += 64 * 1024
            yield b" " * 64 * 1024


async def test_an_answer_that_does_not_end_is_left(site: Site) -> None:
    """One MiB is read, nothing is decompressed, and the report is delivered by the next attempt."""
    body = Endless()
    unasked = httpx2.Response(200, headers={"content-encoding": "gzip"}, stream=Endless())
    for answer in (httpx2.Response(200, stream=body), unasked):
        site.journal.next_answers.append(lambda answer=answer: asyncio.sleep(0, answer))
    async with site.one.running():
        assert isinstance(await site.call(site.one), Admitted)
        await until(lambda: site.journal.taken)
    assert body.read <= 2 * 1024 * 1024
    assert {each.headers["accept-encoding"] for each in site.journal.asked} == {"identity"}


async def test_a_turn_ends(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """An authorization server that holds the request for ever is asked again when the turn is over."""
    monkeypatch.setattr(server_records, "TURN_SECONDS", 0.2)
    site.journal.next_answers.append(lambda: asyncio.sleep(3600, httpx2.Response(200)))
    async with site.one.running():
        assert isinstance(await site.call(site.one), Admitted)
        await until(lambda: site.journal.taken)


async def test_delivery_goes_on_after_whatever_it_is(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A fault that nobody thought of is in the log, and is not the last delivery."""

    async def fails() -> httpx2.Response:
        raise KeyError("nobody thought of it")

    site.journal.next_answers.append(fails)
    async with site.one.running():
        assert isinstance(await site.call(site.one), Admitted)
        await until(lambda: site.journal.taken)
    assert "nobody thought of it" in caplog.text
