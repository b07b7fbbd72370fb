"""A file keeps sign-ins from one start of a program to the next, for its owner alone."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perhop.client.file_store import FileStore
from perhop.client.proof_key import ProofKey
from perhop.core.secret import Secret
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


async def test_nobody_waits_for_a_person_to_refresh(tmp_path: Path) -> None:
    """While one program has a person in the browser, another one gets its next token; a third one asks nobody else."""
    path, world = (
        tmp_path / "sign-ins.json",
        SignInWorld(grant={"expires_in": 300, "refresh_token": "a-refresh-token-beside-a-person"}),
    )
    await world.call(world.sign_in(store=FileStore(path)))
    world.needed = frozenset({"mcp:write"})
    world.comes_back.clear()
    asking = [asyncio.create_task(world.call(world.sign_in(store=FileStore(path)))) for _ in range(2)]
    while len(world.visits) == 1:
        await asyncio.sleep(0)
    world.clock.now += 290
    async with asyncio.timeout(30):  # who waits for the person waits for ever
        refreshed = await world.sign_in(store=FileStore(path)).held()
    assert refreshed is not None
    assert world.forms[-1]["grant_type"] == "refresh_token"
    world.comes_back.set()
    assert [answer.status_code for answer in await asyncio.gather(*asking)] == [200, 200]
    assert len(world.visits) == 2


async def test_signing_out_of_one_server_brings_nothing_back_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refresh token that another program keeps meanwhile is the one that is there afterwards."""
    path, world = (
        tmp_path / "sign-ins.json",
        SignInWorld(grant={"expires_in": 300, "refresh_token": "the-refresh-token-before-another-left"}),
    )
    await world.call(world.sign_in(store=FileStore(path)))
    server, other = parse_resource_uri(SERVER), parse_resource_uri("https://other.example.com/mcp")
    ours, theirs = FileStore(path), FileStore(path)
    kept = theirs.signed_in(server)
    assert kept is not None
    newer = replace(kept, refresh=Secret("the-refresh-token-after-another-left"))
    ours.keep(other, kept)
    waits_or_done = threading.Event()
    sync, lock = os.fsync, fcntl.flock

    def keep() -> None:
        theirs.keep(server, newer)
        waits_or_done.set()

    thread = threading.Thread(target=keep)

    def flock(file: int, operation: int) -> None:
        if threading.current_thread() is thread:
            waits_or_done.set()
        lock(file, operation)

    def fsync(file: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        thread.start()
        waits_or_done.wait()
        sync(file)

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(os, "fsync", fsync)
    ours.forget(other)
    thread.join()
    assert FileStore(path).signed_in(server) == newer
    assert FileStore(path).signed_in(other) is None


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


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"servers": {}}',
        '{"servers": [], "clients": {}}',
        '{"servers": {}, "clients": 5}',
        "[" * 200_000,
        '{"servers": {}, "clients": {}, "x": ' + "[" * 200_000 + "]" * 200_000 + "}",
        "\x00",
    ],
)
def test_a_file_that_is_no_store_is_left_as_it_is(tmp_path: Path, text: str) -> None:
    """The error names the file and says what to do; nothing is written, not even to forget something."""
    path = tmp_path / "sign-ins.json"
    store = FileStore(path)
    _write(path, text)
    for act in (lambda: FileStore(path), lambda: store.forget_client(ISSUER), lambda: store.client(ISSUER)):
        with pytest.raises(SettingsError, match="no store of sign-ins") as raised:
            act()
        assert str(path) in raised.value.problem
        assert raised.value.advice() == "remove the file, and sign in anew"
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("at", "value"),
    [
        ((), 5),
        ((), "text"),
        (("access",), None),
        (("access", "token"), 5),
        (("access", "token"), "a token\r\nx: y"),
        (("access", "resource"), "no uri"),
        (("access", "resource"), 5),
        (("access", "scopes"), "mcp:read"),
        (("access", "scopes"), [[]]),
        (("access", "expires_at"), "inf"),
        (("access", "expires_at"), float("nan")),
        (("access", "expires_at"), 10**400),
        (("access", "obtained_at"), None),
        (("access", "proof_key"), 5),
        (("access", "proof_key"), "no key"),
        (("refresh",), 5),
        (("refresh",), "\ud800"),
        (("asked",), 5),
        (("issuer",), "no issuer"),
        (("client_id",), 1),
        (("indicator",), None),
    ],
)
async def test_a_sign_in_that_cannot_be_read_is_said_to_be_one(
    tmp_path: Path, at: tuple[str, ...], value: object
) -> None:
    """Each member is looked at when it is read, and not when it is used."""
    path, world = tmp_path / "sign-ins.json", SignInWorld()
    await world.call(world.sign_in(store=FileStore(path)))
    written = _with(path, ("servers", SERVER, *at), value)
    with pytest.raises(SettingsError, match="no store of sign-ins"):
        FileStore(path).signed_in(parse_resource_uri(SERVER))
    assert path.read_text() == written


@pytest.mark.parametrize(
    ("at", "value"),
    [
        ((), 5),
        ((), []),
        (("client_id",), 1),
        (("secret",), 5),
        (("method",), "weird"),
        (("method",), []),
        (("redirect_uri",), 7),
    ],
)
async def test_a_registration_that_cannot_be_read_is_said_to_be_one(
    tmp_path: Path, at: tuple[str, ...], value: object
) -> None:
    """As a sign-in is."""
    path, world = (
        tmp_path / "sign-ins.json",
        SignInWorld(
            registration={
                "client_id": "c",
                "client_secret": "a secret of a client in a file",
                "token_endpoint_auth_method": "client_secret_basic",
            }
        ),
    )
    await world.call(world.sign_in(store=FileStore(path)))
    assert FileStore(path).client(ISSUER) is not None
    written = _with(path, ("clients", ISSUER, *at), value)
    with pytest.raises(SettingsError, match="no store of sign-ins"):
        FileStore(path).client(ISSUER)
    assert path.read_text() == written


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _with(path: Path, at: tuple[str, ...], value: object) -> str:
    """The file with this in the place of that; what it holds now."""
    document = json.loads(path.read_text())
    place: Any = document
    for member in at[:-1]:
        place = place[member]
    assert at[-1] in place
    place[at[-1]] = value
    _write(path, json.dumps(document))
    return path.read_text()


def test_one_key_remembers_its_nonces(tmp_path: Path) -> None:
    """A key is the same object whenever it is read, so that a nonce is not asked for with every call."""
    pem = ProofKey(SigningKey.generate()).as_pem().reveal()
    store = FileStore(tmp_path / "sign-ins.json")
    assert store._proof_key(pem) is store._proof_key(pem)
