"""Signing keys change while the server runs: no token is refused for it, unless its key was revoked."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import httpx2

from perhop.control.operations import key_rotate
from perhop.tokens.parse import parse_compact
from perhop.wiring.keys import PREPARED_SECONDS
from tests.attacks.row import Door
from tests.attacks.world import World, a_call, attacked, with_token
from tests.support.commands import perhop
from tests.support.installations import Installation, installed

NOTHING_THERE = "http://127.0.0.1:1/mcp"


def _status(installation: Installation, token: str) -> int:
    """How the gateway answers a token: 503 is an upstream that is not there, so the token is good."""
    message = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    headers = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream"}
    return httpx2.post(installation.url, json=message, headers=headers, timeout=30).status_code


def _kid(token: str) -> str | None:
    return parse_compact(token).key_id


def _published(installation: Installation) -> set[str]:
    return {key["kid"] for key in httpx2.get(f"{installation.issuer}/jwks", timeout=10).json()["keys"]}


def test_a_key_is_published_before_it_signs_and_an_old_one_counts_until_it_is_revoked(tmp_path: Path) -> None:
    """Prepared: published, does not sign. Active at once: the old key's tokens stay good. Revoked: they are refused."""
    with installed(tmp_path / "perhop", NOTHING_THERE, unsafe_open=True) as installation:
        first = installation.token()
        prepared = json.loads(installation.run("key", "rotate", "--json"))
        assert prepared["state"] == "prepared"
        assert prepared["kid"] in _published(installation)
        assert _kid(installation.token()) == _kid(first)
        active = json.loads(installation.run("key", "rotate", "--now", "--alg", "Ed25519", "--json"))
        second = installation.token()
        assert _kid(second) == active["kid"] != _kid(first)
        assert (_status(installation, first), _status(installation, second)) == (503, 503)
        last = json.loads(installation.run("key", "rotate", "--revoke-others", "--json"))
        assert last["state"] == "active"
        assert _published(installation) == {last["kid"]}
        revoked_in = int(time.time())
        assert (_status(installation, first), _status(installation, second)) == (401, 401)
        while int(time.time()) == revoked_in:  # what is issued in the second of a revocation counts as issued before it
            time.sleep(0.01)
        assert _status(installation, installation.token()) == 503
        states = {key["kid"]: key["state"] for key in json.loads(installation.run("key", "list", "--json"))}
        assert states == {
            _kid(first): "revoked",
            prepared["kid"]: "revoked",
            active["kid"]: "revoked",
            last["kid"]: "active",
        }


ROTATIONS = 100
LIST_EVENTS = a_call("list_events", {"day": "monday"})
KILLED_WITHIN_SECONDS = 10
"""What is promised is 2 s, on a machine that does nothing else; without the feed a guard would go on for minutes."""


class _Caller:
    """Calls through gateway and guard, with a token that it keeps until it is a minute from its end."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._token, self._expires = "", 0.0
        self.seen: list[int] = []
        self.signed_with: set[str | None] = set()

    async def call(self) -> None:
        """One call, with a fresh token if need be."""
        if self._expires - self._world.clock.now < 60:
            self._token, self._expires = await self._world.token(), self._world.clock.now + 300
            self.signed_with.add(_kid(self._token))
        seen = await self._world.knock(self._world.entrance(Door.GATEWAY), with_token(LIST_EVENTS, self._token))
        self.seen.append(seen.answer.status if seen.answer is not None else 0)


async def test_a_hundred_rotations_under_load_refuse_nobody(tmp_path: Path) -> None:
    """Every key signs in its turn, every call is answered, and the published set does not grow with the rotations."""
    async with attacked(tmp_path) as world:
        ann, bob = _Caller(world), _Caller(world)
        for _ in range(ROTATIONS):
            rotate = key_rotate(world.plane, alg=None, now=False, revoke_others=False)
            rotated, _ = await asyncio.gather(rotate, ann.call())
            # Time stands still while calls are on their way: what expires under them would be refused, and rightly.
            world.clock.now += PREPARED_SECONDS - 60
            await bob.call()
            # Who has just got a token of the old key brings it when the new one signs.
            world.clock.now += 60
            await asyncio.gather(ann.call(), world.plane.advance_keys(), bob.call())
            assert world.plane.issuer.keyring.active.kid == rotated["kid"]
        async with httpx2.AsyncClient() as http:
            published = (await http.get(f"{world.issuer}/jwks")).json()["keys"]
        assert ann.seen == bob.seen == [200] * (2 * ROTATIONS)
        assert len(ann.signed_with | bob.signed_with) >= ROTATIONS
        assert len(published) <= 4


async def test_a_guard_hears_of_revoked_keys_at_once(tmp_path: Path) -> None:
    """It holds good keys for minutes, and refuses a token under one of them as soon as its feed has said so."""
    async with attacked(tmp_path) as world:
        guard = world.entrance(Door.GUARD)
        token = world.forge(guard.audience)
        assert (await world.knock(guard, with_token(LIST_EVENTS, token))).passed == 1
        await key_rotate(world.plane, alg=None, now=False, revoke_others=True)
        began = world.clock.now
        async with asyncio.timeout(KILLED_WITHIN_SECONDS):
            while (seen := await world.knock(guard, with_token(LIST_EVENTS, token))).passed:
                world.clock.now = began
        # By its revocation, or because the keys were fetched anew: whichever the guard came to first.
        assert (seen.observed, seen.reason in ("token.revoked", "token.signature")) == ("401 invalid_token", True)


def test_two_keys_in_a_row_do_not_sign_at_once(folder: Path) -> None:
    """The second `--now` is refused, and says how long to wait; where keys have leaked nothing waits."""
    assert perhop("key", "rotate", "--now", folder=folder).code == 0
    refused = perhop("key", "rotate", "--now", folder=folder)
    assert refused.code == 1
    assert "guards may not look for a second one yet" in refused.err
    assert "leave out `--now`" in refused.err
    assert perhop("key", "rotate", folder=folder).code == 0
    assert perhop("key", "rotate", "--revoke-others", folder=folder).code == 0
