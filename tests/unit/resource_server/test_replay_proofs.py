"""Proofs of possession in the stores of a guard: each counts once, and what is remembered has a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from perhop.core.proof import CheckedProof
from perhop.errors import ProofReplayed, ReplayUnavailable
from perhop.resource_server import MemoryReplay, SqliteReplay
from perhop.resource_server.memory_proofs import MemoryProofs
from perhop.resource_server.replay import TIDY_EVERY, ReplayStore
from tests.support.offline_issuer import Clock
from tests.unit.resource_server.test_replay import a_resource, in_child, started

NOW = 1_800_000_000


def a_proof(jti: str = "one", *, key: str = "k", until: int = NOW + 60) -> CheckedProof:
    return CheckedProof(key=key, jti=jti, until=until)


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[ReplayStore]:
    made: ReplayStore = MemoryReplay(clock=clock)
    if request.param == "sqlite":
        made = SqliteReplay(tmp_path / "used.db", clock=clock)
    with started(made, a_resource(request)):
        yield made


async def test_a_proof_is_used_once(store: ReplayStore) -> None:
    """Key and `jti` make a proof: the same `jti` of another client's key is another one."""
    await store.use_proof(a_proof())
    with pytest.raises(ProofReplayed):
        await store.use_proof(a_proof())
    await store.use_proof(a_proof(key="other"))
    await store.use_proof(a_proof("two"))


async def test_of_many_at_once_one_wins(store: ReplayStore) -> None:
    """Of fifty uses at the same time one passes."""
    outcomes = await asyncio.gather(*(store.use_proof(a_proof()) for _ in range(50)), return_exceptions=True)
    assert outcomes.count(None) == 1
    assert sum(isinstance(each, ProofReplayed) for each in outcomes) == 49


async def test_what_is_stale_is_forgotten_and_does_not_come_back(store: ReplayStore, clock: Clock) -> None:
    """Old proofs go; one that is as old is refused unseen, also when the clock is set back to its time."""
    await store.use_proof(a_proof("old"))
    clock.now += 1000
    for number in range(TIDY_EVERY - 1):
        await store.use_proof(a_proof(f"new-{number}", until=NOW + 1060))
    clock.now -= 1000
    for jti in ("old", "as old, and never seen"):
        with pytest.raises(ProofReplayed):
            await store.use_proof(a_proof(jti))
    with pytest.raises(ProofReplayed):
        await store.use_proof(a_proof("new-0", until=NOW + 1060))


def test_memory_is_bounded_and_then_closed(clock: Clock) -> None:
    """A flood of proofs ends in refusals, and not in a process without memory."""
    proofs = MemoryProofs(clock=clock, most=3)
    for number in range(3):
        proofs.use(a_proof(str(number)))
    with pytest.raises(ReplayUnavailable):
        proofs.use(a_proof("one too many"))
    clock.now += 61
    proofs.use(a_proof("later", until=NOW + 121))


def test_one_sender_does_not_fill_the_memory_for_everybody(clock: Clock) -> None:
    """Proofs of one key have a bound of their own; others are taken, and the key's again when its first are over."""
    proofs = MemoryProofs(clock=clock, most_of_one=3)
    for number in range(3):
        proofs.use(a_proof(str(number), until=NOW + 60 + number))
    with pytest.raises(ReplayUnavailable):
        proofs.use(a_proof("one too many"))
    proofs.use(a_proof("one too many", key="other"))
    clock.now += 61
    proofs.use(a_proof("later", until=NOW + 121))
    with pytest.raises(ReplayUnavailable):
        proofs.use(a_proof("one too many again", until=NOW + 121))


def test_a_full_memory_is_not_walked_over_for_each_proof(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """What is refused costs a look at a number: in one second what may be forgotten is looked for once."""
    proofs = MemoryProofs(clock=clock, most=3)
    looks: list[tuple[int, ...]] = []
    forget = proofs._forget
    monkeypatch.setattr(proofs, "_forget", lambda *now: (looks.append(now), forget(*now)))
    for number in range(53):
        with suppress(ReplayUnavailable):
            proofs.use(a_proof(str(number)))
    assert len(looks) == 1


def test_a_process_has_a_key_of_its_own(clock: Clock) -> None:
    """Another start and a forked child have another key: what came before came with nonces that they do not take."""
    store = MemoryReplay(clock=clock)
    key = store.nonce_key()
    assert store.nonce_key() == key != MemoryReplay(clock=clock).nonce_key()
    assert in_child(lambda: str(store.nonce_key() == key)) == "False"


def test_a_file_has_one_key_for_all(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> None:
    """Workers and later starts share key and proofs; where the file is lost, both are new."""
    file = tmp_path / "used.db"
    with started(SqliteReplay(file, clock=clock), a_resource(request)) as one:
        key = one.nonce_key()
        asyncio.run(one.use_proof(a_proof()))
        assert in_child(lambda: str(one.nonce_key() == key)) == "True"
    with started(SqliteReplay(file, clock=clock), a_resource(request)) as two:
        assert two.nonce_key() == key
        with pytest.raises(ProofReplayed):
            asyncio.run(two.use_proof(a_proof()))
        for each in tmp_path.glob("used.db*"):
            each.unlink()
        asyncio.run(two.use_proof(a_proof("two")))
        assert two.nonce_key() != key
