"""A database that comes back from a backup: what it has forgotten is found, and nothing of before is taken."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from perhop.authorization_server.people_store import Consent, FederatedAccount
from perhop.authorization_server.revocation import RevokedObject
from perhop.authorization_server.store import Place, SignIn
from perhop.control.accounts import account_add, account_disable, account_enable, account_password
from perhop.control.operations import disable, key_rotate, token_issue
from perhop.errors import TokenRevoked
from perhop.founding import found
from perhop.journal.query import Filter
from perhop.settings import load
from perhop.wiring.opening import open_plane
from perhop.wiring.plane import Plane
from tests.attacks.configuration import Addresses, write_configuration
from tests.support.commands import perhop
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind
from tests.support.offline_issuer import Clock
from tests.support.token_records import own_token

PASSWORD = THE_SCAN.note("a-first-password-of-a-person", Kind.PASSWORD)
OTHER = THE_SCAN.note("another-password-of-a-person", Kind.PASSWORD)
EVE = FederatedAccount(
    issuer="https://login.example.com", subject_there="eve", subject="user:eve", email=None, groups=None, seen_at=0
)


@dataclass(frozen=True, slots=True)
class Site:
    """An installation whose database can be kept and put back."""

    folder: Path
    clock: Clock

    @asynccontextmanager
    async def opened(self, *, serves: bool = False) -> AsyncIterator[Plane]:
        """Open it, as a command does or as a server does. Time has gone by since."""
        self.clock.now += 1
        settings = load(self.folder / "perhop.yaml", os.environ)
        async with open_plane(settings, clock=self.clock, record_start=serves) as plane:
            yield plane
        self.clock.now += 1

    def keep(self) -> Callable[[], None]:
        """Copy the database; what is returned puts the copy back."""
        shutil.copy(self.folder / "perhop.db", self.folder / "backup.db")
        return lambda: shutil.copy(self.folder / "backup.db", self.folder / "perhop.db") and None


@pytest.fixture
async def site(tmp_path: Path) -> Site:
    """One that has served once."""
    clock = Clock()
    write_configuration(tmp_path, Addresses.free(**dict.fromkeys(("calendar", "rooms", "scripted"), "127.0.0.1:1")))
    await found(tmp_path, environ={}, clock=clock)
    site = Site(tmp_path, clock)
    async with site.opened(serves=True):
        return site


async def _token(plane: Plane) -> str:
    issued = await token_issue(plane, client="planner", resource="calendar", scopes=None)
    return THE_SCAN.note(str(issued["access_token"]), Kind.TOKEN)


async def _start(site: Site) -> None:
    async with site.opened(serves=True):
        pass


async def _revoke(site: Site) -> None:
    async with site.opened() as plane:
        await plane.issuer.revoker.revoke(RevokedObject.AGENT, "poster", why="", by="tests")


async def _issue(site: Site) -> None:
    async with site.opened() as plane:
        await _token(plane)


async def _issue_its_own(site: Site) -> None:
    """Far more than the journal's reader looks at in one go; all but the first have no row."""
    async with site.opened() as plane:
        for _ in range(600):
            await own_token(plane.issuer, "poster", "calendar")


LOST = {
    "a start of the server": _start,
    "revocations": _revoke,
    "tokens that were issued": _issue,
}


@pytest.mark.parametrize("lost", LOST)
async def test_what_the_database_has_forgotten_is_noticed(site: Site, lost: str) -> None:
    """Any of the three is enough: a token of before is refused, and the journal says what was missing."""
    async with site.opened() as plane:
        before = await _token(plane)
    put_back = site.keep()
    await LOST[lost](site)
    put_back()
    async with site.opened() as plane:
        assert plane.issuer.epoch.row.number == 2
        with pytest.raises(TokenRevoked):
            plane.issuer.revocations.check(plane.verify_here(before))
        (told,) = [e for e in plane.reader.find(Filter(event="config.loaded")) if e.part("about").get("lost")]
        assert told.part("about")["lost"] == lost
    async with site.opened(serves=True) as plane:
        assert plane.issuer.epoch.row.number == 2
        site.clock.now += 1
        plane.issuer.revocations.check(plane.verify_here(await _token(plane)))
    put_back()
    async with site.opened() as plane:
        assert plane.issuer.epoch.row.number == 3, "the same copy once more: its epoch is forgotten, too"
        records = [e.part("about") for e in plane.reader.find(Filter(event="config.loaded"))]
        assert [each["lost"] for each in records if "lost" in each] == [lost, "an epoch"]


async def test_tokens_without_a_row_do_not_hide_that_the_database_is_older(site: Site) -> None:
    """The one of their second that has a row is looked for behind them; with the right database nothing is missed."""
    async with site.opened() as plane:
        before = await own_token(plane.issuer, "poster", "calendar")
    put_back = site.keep()
    await _issue_its_own(site)
    async with site.opened() as plane:
        assert plane.issuer.epoch.row.number == 1
        about = [each.part("about") for each in plane.reader.find(Filter(event="token.issued"))]
        assert sum(each.get("kept") == "journal" for each in about) == 599
        plane.issuer.revocations.check(plane.verify_here(before))
    put_back()
    async with site.opened() as plane:
        assert plane.issuer.epoch.row.number == 2
        with pytest.raises(TokenRevoked):
            plane.issuer.revocations.check(plane.verify_here(before))
        told = [e.part("about").get("lost") for e in plane.reader.find(Filter(event="config.loaded"))]
        assert told[-1] == "tokens that were issued"


async def test_a_database_that_knows_more_than_the_journal_was_not_put_back(site: Site) -> None:
    """A process that ends between the two writes leaves the database ahead, and nothing is ended for it."""
    journal = site.folder / "journal.db"
    async with site.opened() as plane:
        before = await _token(plane)
    kept = {file: file.read_bytes() for file in (journal, site.folder / "journal.checkpoint")}
    for happens in LOST.values():
        await happens(site)
    for file, content in kept.items():
        file.write_bytes(content)
    async with site.opened(serves=True) as plane:
        assert plane.issuer.epoch.row.number == 1
        plane.issuer.revocations.check(plane.verify_here(before))


async def test_what_the_journal_says_was_taken_is_taken_again(site: Site) -> None:
    """Disabled clients and accounts, revoked keys and old passwords do not come back with the database."""
    async with site.opened() as plane:
        await account_add(plane, email="ann@example.com", password=PASSWORD)
        await account_add(plane, email="bob@example.com", password=PASSWORD)
        await plane.issuer.stores.federated_accounts.keep(EVE)
        leaked = plane.issuer.keyring.active.kid
    put_back = site.keep()
    async with site.opened() as plane:
        await disable(plane, kind="client", name="planner", why="stolen")
        await key_rotate(plane, alg=None, now=False, revoke_others=True)
        await account_disable(plane, person="ann@example.com")
        await account_disable(plane, person=EVE.subject)
        await account_password(plane, email="bob@example.com", password=OTHER)
    put_back()
    async with site.opened() as plane:
        issuer = plane.issuer
        assert issuer.standing.is_disabled("client", "planner")
        assert not plane.is_key_in_force(leaked)
        assert issuer.keyring.active.kid != leaked
        ann, bob = [await issuer.stores.accounts.get(f"{name}@example.com") for name in ("ann", "bob")]
        assert ann is not None
        assert ann.disabled
        eve = await issuer.stores.federated_accounts.of_subject(EVE.subject)
        assert eve is not None
        assert eve.disabled
        assert bob is not None
        assert not bob.disabled
        for password in (PASSWORD, OTHER):
            assert not await issuer.passwords.is_right(bob, password)
        await account_password(plane, email="bob@example.com", password=OTHER)
        assert await issuer.passwords.is_right(await issuer.stores.accounts.get("bob@example.com"), OTHER)
    async with site.opened() as plane:
        assert plane.issuer.epoch.row.number == 2


async def test_what_was_enabled_again_is_not_taken_again(site: Site) -> None:
    """Of an account the journal's last word counts, also after the database was put back."""
    async with site.opened() as plane:
        await account_add(plane, email="ann@example.com", password=PASSWORD)
    put_back = site.keep()
    async with site.opened() as plane:
        await account_disable(plane, person="ann@example.com")
        await account_enable(plane, person="ann@example.com")
    put_back()
    async with site.opened() as plane:
        ann = await plane.issuer.stores.accounts.get("ann@example.com")
        assert ann is not None
        assert not ann.disabled
        assert plane.issuer.epoch.row.number == 2


async def test_sign_ins_and_consents_of_before_are_over(site: Site) -> None:
    """Whoever had ended a session or withdrawn a consent does not find it back."""
    async with site.opened() as plane:
        await account_add(plane, email="ann@example.com", password=PASSWORD)
        ann = await plane.issuer.stores.accounts.get("ann@example.com")
        assert ann is not None
        now = plane.issuer.now()
        signed_in = SignIn(
            id_hash="a" * 64,
            subject=ann.subject,
            email=ann.email,
            signed_in_at=now,
            expires_at=now + 3600,
            place=Place.AUTHORIZE,
        )
        await plane.issuer.stores.sign_ins.add(signed_in)
        consent: dict[str, Any] = {"subject": ann.subject, "client_id": "desk", "resource": "calendar"}
        await plane.issuer.stores.consents.put(Consent(**consent, scopes=frozenset({"x"}), terms="t", granted_at=now))
    put_back = site.keep()
    await _start(site)
    put_back()
    async with site.opened() as plane:
        stores = plane.issuer.stores
        assert await stores.sign_ins.get("a" * 64, place=Place.AUTHORIZE, now=plane.issuer.now()) is None
        assert await stores.consents.get(*consent.values()) is None


def test_everything_is_revoked_by_one_command(folder: Path) -> None:
    """It says before what would end; afterwards what was given is refused, and a new token can be had."""
    assert perhop("token", "issue", "--client", "planner", "--resource", "rooms", folder=folder).code == 0
    counted = perhop("revoke", "--all", "--dry-run", "--json", folder=folder).json
    assert (counted["revoked"], counted["live"]) == (False, 1)
    ended = perhop("revoke", "--all", "--why", "a laptop was stolen", "--yes", folder=folder)
    assert ended.out == "revoked: everything; 1 live token ended\n"
    last = perhop("journal", "query", "--event", "revocation", "--json", folder=folder).out.splitlines()[-1]
    assert "epoch 2 begins: a laptop was stolen" in last
    assert perhop("token", "issue", "--client", "planner", "--resource", "rooms", folder=folder).code == 0
