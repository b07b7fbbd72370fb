"""Single use: whoever comes second is refused, in one process, in several, and after a restart."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from perhop.core.token import VerifiedToken
from perhop.errors import ReplayUnavailable, SettingsError, TokenReplayed
from perhop.resource_server import MemoryReplay, SqliteReplay
from perhop.resource_server.replay import ReplayStore
from perhop.rules.resource_uri import parse_resource_uri
from tests.support.offline_issuer import Clock

NOW = 1_800_000_000


def a_token(jti: str = "one", *, issuer: str = "https://auth.example.com", issued_at: int = NOW) -> VerifiedToken:
    return VerifiedToken(
        issuer=issuer,
        jti=jti,
        subject="user:a",
        client_id="gateway:calendar",
        audience="https://mcp.example.com/mcp",
        scopes=frozenset(),
        issued_at=issued_at,
        expires_at=issued_at + 30,
        agent="planner",
        fingerprint=f"fingerprint of {jti}",
    )


def a_resource(request: pytest.FixtureRequest) -> str:
    return f"https://mcp.example.com/{os.getpid()}/{abs(hash(request.node.nodeid))}"


@contextmanager
def started(store: ReplayStore, resource: str) -> Iterator[ReplayStore]:
    store.start(parse_resource_uri(resource))
    try:
        yield store
    finally:
        store.stop()


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ReplayStore]:
    clock = Clock(NOW)
    made: ReplayStore = MemoryReplay(clock=clock) if request.param == "memory" else SqliteReplay(tmp_path / "used.db")
    with started(made, a_resource(request)):
        yield made


async def test_a_token_is_used_once(store: ReplayStore) -> None:
    """The second use is refused, whatever its text: issuer and `jti` make a token."""
    await store.use(a_token())
    with pytest.raises(TokenReplayed):
        await store.use(a_token())
    with pytest.raises(TokenReplayed):
        await store.use(replace(a_token(), fingerprint="the same token, its signature written otherwise"))
    await store.use(a_token("two"))
    await store.use(a_token(issuer="https://other.example.com"))


async def test_of_many_at_once_one_wins(store: ReplayStore) -> None:
    """Of fifty uses at the same time one passes."""
    outcomes = await asyncio.gather(*(store.use(a_token()) for _ in range(50)), return_exceptions=True)
    assert outcomes.count(None) == 1
    assert sum(isinstance(each, TokenReplayed) for each in outcomes) == 49


async def test_what_has_expired_is_forgotten_and_nothing_else(store: ReplayStore) -> None:
    """After thousands of uses the old are gone, and one that a guard might still take is not."""
    clock = getattr(store, "_clock", None)
    for number in range(1500):
        await store.use(a_token(f"old-{number}"))
    if clock is not None:
        clock.now = NOW + 1000
    for number in range(1500):
        await store.use(a_token(f"new-{number}", issued_at=NOW + 1000))
    with pytest.raises(TokenReplayed):
        await store.use(a_token("new-0", issued_at=NOW + 1000))
    await store.use(a_token("old-0"))  # long expired: no guard would have asked


async def test_memory_refuses_what_came_before_it(request: pytest.FixtureRequest) -> None:
    """A process cannot know what was used before it began."""
    with started(MemoryReplay(clock=Clock(NOW)), a_resource(request)) as store:
        with pytest.raises(TokenReplayed):
            await store.use(a_token(issued_at=NOW - 1))
        await store.use(a_token(issued_at=NOW))


def test_a_second_process_without_a_shared_store_does_not_start(request: pytest.FixtureRequest) -> None:
    """Neither does a second guard in the same process; when the first has ended, however, it does."""
    resource = a_resource(request)
    words = [sys.executable, "-c", _HOLDER, resource]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "holds\n"
        with pytest.raises(SettingsError, match="another process") as refused:
            MemoryReplay(clock=Clock(NOW)).start(parse_resource_uri(resource))
        assert "SqliteReplay" in refused.value.advice()
        other.send_signal(signal.SIGKILL)
    with started(MemoryReplay(clock=Clock(NOW)), resource), pytest.raises(SettingsError):
        MemoryReplay(clock=Clock(NOW)).start(parse_resource_uri(resource))


_HOLDER = """
import sys, time
from perhop.resource_server import MemoryReplay
from perhop.rules.resource_uri import parse_resource_uri
store = MemoryReplay(clock=time.time)
store.start(parse_resource_uri(sys.argv[1]))
print("holds", flush=True)
sys.stdin.read()
"""


async def test_a_forked_child_does_not_hold_its_parents_lock(request: pytest.FixtureRequest) -> None:
    """Workers that are forked after the start would each take a token once: the child takes none."""
    with started(MemoryReplay(clock=Clock(NOW)), a_resource(request)) as store:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                coroutine = store.use(a_token())
                coroutine.send(None)
                os.write(writer, b"took it")
            except ReplayUnavailable:
                os.write(writer, b"refused")
            except BaseException as wrong:
                os.write(writer, repr(wrong).encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reader, 100) == b"refused"
        os.close(reader)
        os.close(writer)
        await store.use(a_token())


def _race(path: str, jtis: int) -> list[str]:
    store = SqliteReplay(path)
    store.start(parse_resource_uri("https://mcp.example.com/mcp"))
    won = []
    for number in range(jtis):
        try:
            asyncio.run(store.use(a_token(f"race-{number}")))
            won.append(f"race-{number}")
        except TokenReplayed:
            pass
    store.stop()
    return won


def test_of_several_processes_one_wins_each_token(tmp_path: Path) -> None:
    """Three processes race for thirty tokens: each token is taken exactly once."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        won = pool.starmap(_race, [(str(tmp_path / "used.db"), 30)] * 3)
    assert sorted(jti for each in won for jti in each) == sorted(f"race-{number}" for number in range(30))


async def test_a_file_remembers_over_restarts(tmp_path: Path) -> None:
    """What one process used, the next refuses; the file is for its owner alone."""
    with started(SqliteReplay(tmp_path / "used.db"), "https://mcp.example.com/mcp") as first:
        await first.use(a_token())
    with (
        started(SqliteReplay(tmp_path / "used.db"), "https://mcp.example.com/mcp") as again,
        pytest.raises(TokenReplayed),
    ):
        await again.use(a_token())
    assert (tmp_path / "used.db").stat().st_mode & 0o777 == 0o600


async def test_a_file_that_fails_takes_no_token(tmp_path: Path) -> None:
    """Without a place to remember nothing is taken: at the start an error that names it, later 503."""
    with pytest.raises(SettingsError, match="no-folder"):
        SqliteReplay(tmp_path / "no-folder" / "used.db").start(parse_resource_uri("https://mcp.example.com/mcp"))
    with started(SqliteReplay(tmp_path / "used.db"), "https://mcp.example.com/mcp") as store:
        with sqlite3.connect(tmp_path / "used.db") as connection, ThreadPoolExecutor(1):
            connection.execute("DROP TABLE used")
        with pytest.raises(ReplayUnavailable):
            await store.use(a_token())
