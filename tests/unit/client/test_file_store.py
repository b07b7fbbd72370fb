"""A file keeps sign-ins from one start of a program to the next, for its owner alone."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from perhop.client.file_store import FileStore
from perhop.client.proof_key import ProofKey
from perhop.errors import SettingsError
from perhop.rules.resource_uri import parse_resource_uri
from perhop.tokens.keys import SigningKey
from tests.support.sign_in_world import ISSUER, SERVER, SignInWorld


async def test_what_was_kept_is_there_at_the_next_start(tmp_path: Path) -> None:
    """Tokens, registration and what was asked for; the person is not asked again, and the file is closed to others."""
    path, world = (
        tmp_path / "sign-ins.json",
        SignInWorld(grant={"expires_in": 300, "refresh_token": "a-refresh-token-in-a-file"}),
    )
    await world.call(world.sign_in(store=FileStore(path)))
    assert path.stat().st_mode & 0o777 == 0o600
    again = FileStore(path)
    assert (await world.call(world.sign_in(store=again))).status_code == 200
    assert len(world.visits) == 1
    client = again.client(ISSUER)
    assert client is not None
    assert client.client_id == "client-1"
    world.clock.now += 290
    await world.call(world.sign_in(store=FileStore(path)))
    assert world.forms[-1]["refresh_token"] == "a-refresh-token-in-a-file"
    world.sign_in(store=again).sign_out()
    assert FileStore(path).signed_in(parse_resource_uri(SERVER)) is None


async def test_two_programs_do_not_use_one_refresh_token_twice(tmp_path: Path) -> None:
    """Who comes second waits, and finds what the first one got."""
    path, world = (
        tmp_path / "sign-ins.json",
        SignInWorld(grant={"expires_in": 300, "refresh_token": "a-refresh-token-for-two"}),
    )
    await world.call(world.sign_in(store=FileStore(path)))
    world.clock.now += 290
    both = [world.sign_in(store=FileStore(path)) for _ in range(2)]
    await asyncio.gather(*(world.call(each) for each in both))
    assert [form["grant_type"] for form in world.forms] == ["authorization_code", "refresh_token"]


async def test_who_comes_second_waits(tmp_path: Path) -> None:
    """Until the first has let go, and no longer."""
    first, second = (FileStore(tmp_path / "sign-ins.json") for _ in range(2))

    async def enter() -> None:
        async with second.alone():
            pass

    async with first.alone():
        waiting = asyncio.create_task(enter())
        done, _ = await asyncio.wait({waiting}, timeout=0.2)
        assert done == set()
    await waiting


async def test_a_key_of_tokens_is_kept_with_them(tmp_path: Path) -> None:
    """A token that is bound to a key is of use at the next start."""
    path, world = tmp_path / "sign-ins.json", SignInWorld(grant={"token_type": "DPoP", "expires_in": 300})
    await world.call(world.sign_in(store=FileStore(path), dpop=True))
    kept = FileStore(path).signed_in(parse_resource_uri(SERVER))
    assert kept is not None
    assert kept.access.proofs is not None
    assert kept.access.proofs.thumbprint == world.visits[0]["dpop_jkt"]


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """So is one that is a link, or that holds something else."""
    path = tmp_path / "sign-ins.json"
    path.write_text('{"servers": {}, "clients": {}}')
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="open to others"):
        FileStore(path)
    path.chmod(0o600)
    FileStore(path)
    os.symlink(path, tmp_path / "link")
    with pytest.raises(SettingsError, match="cannot be opened"):
        FileStore(tmp_path / "link")
    path.write_text("[]")
    with pytest.raises(SettingsError, match="no store"):
        FileStore(path)


def test_one_key_remembers_its_nonces(tmp_path: Path) -> None:
    """A key is the same object whenever it is read, so that a nonce is not asked for with every call."""
    pem = ProofKey(SigningKey.generate()).as_pem().reveal()
    store = FileStore(tmp_path / "sign-ins.json")
    assert store._proof_key(pem) is store._proof_key(pem)
