"""Single use: whoever comes second is refused, in one process, in several, and after a restart."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
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


def use_of(store: ReplayStore, token: VerifiedToken) -> str:
    """What the store makes of this token."""
    try:
        asyncio.run(store.use(token))
    except (TokenReplayed, ReplayUnavailable) as refused:
        return type(refused).__name__
    return "took it"


def in_child(act: Callable[[], str]) -> str:
    """What this comes to in a forked child of this process."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(writer, act().encode())
        except BaseException as wrong:
            os.write(writer, repr(wrong).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as seen:
        return seen.read().decode()


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ReplayStore]:
    clock = Clock(NOW)
    made: ReplayStore = MemoryReplay(clock=clock)
    if request.param == "sqlite":
        made = SqliteReplay(tmp_path / "used.db", clock=clock)
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
    """After thousands of uses the old are gone; what is as old is refused unseen, so that no clock brings it back."""
    for number in range(1500):
        await store.use(a_token(f"old-{number}"))
    for number in range(1500):
        await store.use(a_token(f"new-{number}", issued_at=NOW + 1000))
    with pytest.raises(TokenReplayed):
        await store.use(a_token("new-0", issued_at=NOW + 1000))
    with pytest.raises(TokenReplayed):
        await store.use(a_token("old-0"))
    await store.use(a_token("old-0", issued_at=NOW + 1000))  # forgotten it is, and was of another time


async def test_memory_refuses_what_came_before_it(request: pytest.FixtureRequest) -> None:
    """A process cannot know what was used before it began."""
    with started(MemoryReplay(clock=Clock(NOW)), a_resource(request)) as store:
        with pytest.raises(TokenReplayed):
            await store.use(a_token(issued_at=NOW - 1))
        await store.use(a_token(issued_at=NOW))


async def test_memory_refuses_what_another_process_has_taken(request: pytest.FixtureRequest) -> None:
    """A token of an issuer whose clock is ahead was used before the restart: it is refused after it."""
    resource, ahead = a_resource(request), a_token(issued_at=NOW + 40)
    with started(MemoryReplay(clock=Clock(NOW)), resource) as store:
        await store.use(ahead)
    with started(MemoryReplay(clock=Clock(NOW + 10)), resource) as again:
        for token in (ahead, a_token("another", issued_at=NOW + 40)):
            with pytest.raises(TokenReplayed):
                await again.use(token)
        await again.use(a_token("later", issued_at=NOW + 41))


async def test_memory_that_starts_again_remembers(request: pytest.FixtureRequest) -> None:
    """A guard that stops and starts refuses what it has used, and takes the rest of that second."""
    resource, store = a_resource(request), MemoryReplay(clock=Clock(NOW))
    with started(store, resource):
        await store.use(a_token())
    with started(store, resource):
        with pytest.raises(TokenReplayed):
            await store.use(a_token())
        await store.use(a_token("two"))


async def test_memory_that_starts_again_knows_that_another_was_there(request: pytest.FixtureRequest) -> None:
    """While it was stopped another process has served: what that one may have used is refused."""
    resource, store = a_resource(request), MemoryReplay(clock=Clock(NOW))
    with started(store, resource):
        pass
    with started(MemoryReplay(clock=Clock(NOW)), resource) as other:
        await other.use(a_token(issued_at=NOW + 2))
    with started(store, resource):
        with pytest.raises(TokenReplayed):
            await store.use(a_token(issued_at=NOW + 2))
        await store.use(a_token(issued_at=NOW + 3))


async def test_a_mark_from_a_wrong_clock_closes_nothing(request: pytest.FixtureRequest) -> None:
    """A process whose clock was a year ahead does not keep the next one from taking tokens."""
    resource = a_resource(request)
    with started(MemoryReplay(clock=Clock(NOW + 31_000_000)), resource) as wrong:
        await wrong.use(a_token(issued_at=NOW + 31_000_000))
    with started(MemoryReplay(clock=Clock(NOW)), resource) as store:
        await store.use(a_token())


async def test_a_lock_file_that_is_removed_is_taken_again(request: pytest.FixtureRequest) -> None:
    """What was issued until then is refused, since another process may have come between; then it goes on."""
    clock = Clock(NOW)
    with started(MemoryReplay(clock=clock), a_resource(request)) as store:
        await store.use(a_token())
        (file,) = Path(tempfile.gettempdir()).glob("perhop-guard-*.lock")
        file.unlink()
        clock.now = NOW + 5
        with pytest.raises(TokenReplayed):
            await store.use(a_token("two", issued_at=NOW + 4))
        await store.use(a_token("three", issued_at=NOW + 5))
        assert file.exists()


async def test_a_lock_file_that_another_process_made_anew_is_not_taken(request: pytest.FixtureRequest) -> None:
    """Where the file was removed, and another process holds the new one, this one takes no token any more."""
    resource = a_resource(request)
    with started(MemoryReplay(clock=Clock(NOW)), resource) as store:
        (file,) = Path(tempfile.gettempdir()).glob("perhop-guard-*.lock")
        file.unlink()
        with started(MemoryReplay(clock=Clock(NOW)), resource) as other:
            with pytest.raises(ReplayUnavailable):
                await store.use(a_token())
            await other.use(a_token())
        with pytest.raises((ReplayUnavailable, TokenReplayed)):
            await store.use(a_token())


def test_a_lock_file_with_something_else_in_it_is_not_taken(request: pytest.FixtureRequest) -> None:
    """Unsure means no: the start says which file it is."""
    with started(MemoryReplay(clock=Clock(NOW)), a_resource(request)):
        (file,) = Path(tempfile.gettempdir()).glob("perhop-guard-*.lock")
    file.write_text("something else", encoding="ascii")
    with pytest.raises(SettingsError, match="something else"):
        MemoryReplay(clock=Clock(NOW)).start(parse_resource_uri(a_resource(request)))


def test_one_memory_is_for_one_resource(request: pytest.FixtureRequest) -> None:
    """Of a second resource no lock would be held."""
    with started(MemoryReplay(clock=Clock(NOW)), a_resource(request)) as store, pytest.raises(SettingsError):
        store.start(parse_resource_uri("https://other.example.com/mcp"))


def test_a_memory_made_before_a_fork_knows_nothing_of_other_children(request: pytest.FixtureRequest) -> None:
    """The first child serves and ends; the second one, made of the same image, refuses what the first has used."""
    resource, clock = parse_resource_uri(a_resource(request)), Clock(NOW)
    store = MemoryReplay(clock=clock)

    def at(time: float) -> str:
        """What a child of this process that starts at this time makes of the token."""

        def child() -> str:
            clock.now = time
            store.start(resource)
            return use_of(store, a_token(issued_at=NOW + 2))

        return in_child(child)

    assert at(NOW + 1) == "took it"
    assert at(NOW + 3) == "TokenReplayed"


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


def test_a_forked_child_does_not_hold_its_parents_lock(request: pytest.FixtureRequest) -> None:
    """Workers that are forked after the start would each take a token once: the child takes none."""
    with started(MemoryReplay(clock=Clock(NOW)), a_resource(request)) as store:
        assert in_child(lambda: use_of(store, a_token())) == "ReplayUnavailable"
        assert use_of(store, a_token()) == "took it"


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


async def test_a_file_refuses_what_came_before_it(tmp_path: Path) -> None:
    """A file that was just made, or made anew, cannot know what was used before; one that was there can."""
    clock = Clock(NOW)
    with started(SqliteReplay(tmp_path / "used.db", clock=clock), "https://mcp.example.com/mcp") as store:
        with pytest.raises(TokenReplayed):
            await store.use(a_token(issued_at=NOW - 1))
        await store.use(a_token())
        for file in tmp_path.glob("used.db*"):
            file.unlink()
        clock.now = NOW + 5
        for token in (a_token(), a_token("two", issued_at=NOW + 4)):
            with pytest.raises(TokenReplayed):
                await store.use(token)
        await store.use(a_token("three", issued_at=NOW + 5))
    clock.now = NOW + 9
    with started(SqliteReplay(tmp_path / "used.db", clock=clock), "https://mcp.example.com/mcp") as again:
        await again.use(a_token("four", issued_at=NOW + 6))


def test_a_forked_child_uses_the_file_and_leaves_its_parents_connection(tmp_path: Path) -> None:
    """Of parent and child one takes each token, though both came from one store that was open."""
    with started(SqliteReplay(tmp_path / "used.db"), "https://mcp.example.com/mcp") as store:
        assert use_of(store, a_token()) == "took it"
        assert in_child(lambda: use_of(store, a_token())) == "TokenReplayed"
        assert in_child(lambda: use_of(store, a_token("two"))) == "took it"
        assert use_of(store, a_token("two")) == "TokenReplayed"
        assert use_of(store, a_token("three")) == "took it"


async def test_a_file_that_two_guards_share_stays_open_for_the_other(tmp_path: Path) -> None:
    """One of them stops; the other goes on."""
    store = SqliteReplay(tmp_path / "used.db")
    with started(store, "https://mcp.example.com/mcp"):
        with started(store, "https://other.example.com/mcp"):
            await store.use(a_token())
        await store.use(a_token("two"))


async def test_a_file_that_fails_takes_no_token(tmp_path: Path) -> None:
    """Without a place to remember nothing is taken: at the start an error that names it, later 503."""
    with pytest.raises(SettingsError, match="no-folder"):
        SqliteReplay(tmp_path / "no-folder" / "used.db").start(parse_resource_uri("https://mcp.example.com/mcp"))
    with started(SqliteReplay(tmp_path / "used.db"), "https://mcp.example.com/mcp") as store:
        with sqlite3.connect(tmp_path / "used.db") as connection, ThreadPoolExecutor(1):
            connection.execute("DROP TABLE used")
        with pytest.raises(ReplayUnavailable):
            await store.use(a_token())
