"""Accounts, sign-ins and consents."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from perhop.authorization_server.people_store import Consent, FederatedAccount
from perhop.authorization_server.store import Account, Place, SignIn
from perhop.storage.retention import forget_expired
from perhop.storage.stores import Stores
from tests.storage.conftest import NOW, Opened

ANN = Account(email="ann@example.com", subject="user:ann", password_hash="$argon2id$1", console_only=True)
BROWSER = SignIn(
    id_hash="cookie",
    subject="user:ann",
    email="ann@example.com",
    signed_in_at=NOW,
    expires_at=NOW + 60,
    place=Place.AUTHORIZE,
)
CONSENT = Consent(
    subject="user:ann",
    client_id="desk-app",
    resource="calendar",
    scopes=frozenset({"calendar:read", "calendar:write"}),
    terms="terms-1",
    granted_at=NOW,
)


async def test_an_account_comes_back_as_it_was(stores: Stores) -> None:
    """Every field of an account is kept."""
    assert await stores.accounts.add(ANN)
    assert await stores.accounts.get("ann@example.com") == ANN
    assert await stores.accounts.get("bob@example.com") is None


async def test_an_address_has_one_account_however_it_is_written(stores: Stores) -> None:
    """Upper and lower case are one address, to add, to find and to disable."""
    assert await stores.accounts.add(ANN)
    assert not await stores.accounts.add(replace(ANN, email="Ann@Example.COM", subject="user:other"))
    assert await stores.accounts.get("ANN@example.com") == ANN
    assert await stores.accounts.disable("Ann@example.com")


async def test_one_of_many_adders_wins(opened: Opened) -> None:
    """Of many additions of one address at once exactly one succeeds."""
    both = (opened.stores, opened.other)
    adds = (both[turn % 2].accounts.add(replace(ANN, subject=f"user:{turn}")) for turn in range(20))
    assert sum(await asyncio.gather(*adds)) == 1


async def test_accounts_are_listed_by_address(stores: Stores) -> None:
    """The list has every account, the disabled too."""
    bob = replace(ANN, email="bob@example.com", subject="user:bob", console_only=False)
    await stores.accounts.add(bob)
    await stores.accounts.add(ANN)
    await stores.accounts.disable("bob@example.com")
    assert await stores.accounts.list() == [ANN, replace(bob, disabled=True)]


async def test_disabling_ends_the_sign_ins(stores: Stores) -> None:
    """A disabled account is signed in nowhere, not even on a sign-in made afterwards."""
    await stores.accounts.add(ANN)
    await stores.sign_ins.add(BROWSER)
    assert await stores.sign_ins.get("cookie", place=Place.AUTHORIZE, now=NOW) == BROWSER
    assert await stores.accounts.disable("ann@example.com")
    await stores.sign_ins.add(replace(BROWSER, id_hash="later"))
    assert await stores.sign_ins.get("cookie", place=Place.AUTHORIZE, now=NOW) is None
    assert await stores.sign_ins.get("later", place=Place.AUTHORIZE, now=NOW) is None


async def test_enabling_lifts_a_disabling_and_no_more(stores: Stores) -> None:
    """The account is good again, the sign-ins of before are not; one that was enabled keeps its sign-ins."""
    await stores.accounts.add(ANN)
    await stores.sign_ins.add(BROWSER)
    assert not await stores.accounts.enable("ann@example.com")
    assert await stores.sign_ins.get("cookie", place=Place.AUTHORIZE, now=NOW) == BROWSER
    await stores.accounts.disable("ann@example.com")
    assert await stores.accounts.enable("Ann@example.com")
    assert await stores.accounts.get("ann@example.com") == ANN
    assert await stores.sign_ins.get("cookie", place=Place.AUTHORIZE, now=NOW) is None
    assert not await stores.accounts.enable("nobody@example.com")


async def test_a_new_password_ends_the_sign_ins_of_the_old(stores: Stores) -> None:
    """Whoever signed in with the old password has to sign in again."""
    await stores.accounts.add(ANN)
    await stores.sign_ins.add(BROWSER)
    assert await stores.accounts.set_password("ann@example.com", "$argon2id$2")
    assert await stores.accounts.get("ann@example.com") == replace(ANN, password_hash="$argon2id$2")
    assert await stores.sign_ins.get("cookie", place=Place.AUTHORIZE, now=NOW) is None


async def test_nobody_has_nothing_changed(stores: Stores) -> None:
    """Changes of an account that is not there say so."""
    assert not await stores.accounts.disable("nobody@example.com")
    assert not await stores.accounts.set_password("nobody@example.com", "x")


async def test_a_sign_in_ends_at_its_expiry(stores: Stores) -> None:
    """A sign-in is good until its expiry, and not in that second."""
    await stores.accounts.add(ANN)
    await stores.sign_ins.add(BROWSER)
    assert await stores.sign_ins.get("cookie", place=Place.AUTHORIZE, now=NOW + 59) == BROWSER
    assert await stores.sign_ins.get("cookie", place=Place.AUTHORIZE, now=NOW + 60) is None


async def test_signing_out_ends_one_sign_in(stores: Stores) -> None:
    """Ending a sign-in leaves the others, and ending it again is no error."""
    await stores.accounts.add(ANN)
    await stores.sign_ins.add(BROWSER)
    await stores.sign_ins.add(replace(BROWSER, id_hash="other"))
    await stores.sign_ins.end("cookie")
    await stores.sign_ins.end("cookie")
    assert await stores.sign_ins.get("cookie", place=Place.AUTHORIZE, now=NOW) is None
    assert await stores.sign_ins.get("other", place=Place.AUTHORIZE, now=NOW) is not None


async def test_a_sign_in_without_an_account_is_none(stores: Stores) -> None:
    """A sign-in whose account is gone signs nobody in."""
    await stores.sign_ins.add(BROWSER)
    assert await stores.sign_ins.get("cookie", place=Place.AUTHORIZE, now=NOW) is None


async def test_expired_sign_ins_are_forgotten(opened: Opened) -> None:
    """Forgetting drops the expired sign-ins and keeps the others."""
    await opened.stores.accounts.add(ANN)
    await opened.stores.sign_ins.add(BROWSER)
    await opened.stores.sign_ins.add(replace(BROWSER, id_hash="other", expires_at=NOW + 61))
    assert await forget_expired(opened.database, now=NOW + 60) == 1
    assert await opened.stores.sign_ins.get("other", place=Place.AUTHORIZE, now=NOW + 60) is not None


async def test_a_consent_comes_back_as_it_was(stores: Stores) -> None:
    """Every field of a consent is kept, for its person, client and resource alone."""
    await stores.consents.put(CONSENT)
    assert await stores.consents.get("user:ann", "desk-app", "calendar") == CONSENT
    assert await stores.consents.get("user:bob", "desk-app", "calendar") is None
    assert await stores.consents.get("user:ann", "other", "calendar") is None
    assert await stores.consents.get("user:ann", "desk-app", "rooms") is None


async def test_a_later_consent_takes_the_place_of_the_earlier(stores: Stores) -> None:
    """What was granted before is not added to what is granted now."""
    await stores.consents.put(CONSENT)
    narrower = replace(CONSENT, scopes=frozenset({"calendar:read"}), terms="terms-2", granted_at=NOW + 1)
    await stores.consents.put(narrower)
    assert await stores.consents.get("user:ann", "desk-app", "calendar") == narrower


async def test_a_consent_is_taken_back_once(stores: Stores) -> None:
    """Taking back tells whether there was something to take back."""
    await stores.consents.put(CONSENT)
    assert (await stores.consents.take_back("user:ann", "desk-app", "calendar", now=NOW)).had_consent
    assert not (await stores.consents.take_back("user:ann", "desk-app", "calendar", now=NOW)).had_consent
    assert await stores.consents.get("user:ann", "desk-app", "calendar") is None


async def test_a_person_of_another_issuer_has_one_name(opened: Opened, stores: Stores) -> None:
    """Whoever asks first gives it, at once by two processes too; another issuer's person of that name is another."""
    both = (stores, opened.other)
    people = (both[turn % 2].federated_accounts.add(_of_an_issuer(subject=f"user:{turn}")) for turn in range(20))
    [known] = {each.subject for each in await asyncio.gather(*people)}
    accounts = stores.federated_accounts
    found = await accounts.find("https://idp.example.com", "u1")
    assert found is not None
    assert found.subject == known
    assert await accounts.find("https://other.example.com", "u1") is None
    other = await accounts.add(_of_an_issuer(issuer="https://other.example.com", subject="user:x"))
    assert other.subject == "user:x"


async def test_a_sign_in_says_more_of_a_person_than_an_assertion(stores: Stores) -> None:
    """The first gives the name, a sign-in adds what the provider says, and a later assertion takes none of it away."""
    accounts = stores.federated_accounts
    await accounts.add(_of_an_issuer(subject="user:first", seen_at=0))
    kept = await accounts.keep(_of_an_issuer(subject="user:second", email="ann@example.com", seen_at=NOW))
    assert (kept.subject, kept.email) == ("user:first", "ann@example.com")
    assert await accounts.add(_of_an_issuer(subject="user:third", seen_at=0)) == kept


def _of_an_issuer(**changes: Any) -> FederatedAccount:
    usual: dict[str, Any] = {"issuer": "https://idp.example.com", "subject_there": "u1", "email": None, "groups": None}
    return FederatedAccount(**(usual | {"seen_at": NOW} | changes))


async def test_a_disabled_account_is_told_by_its_subject(stores: Stores) -> None:
    """An account that is enabled, or none, is not disabled."""
    assert not await stores.accounts.is_disabled("user:ann")
    await stores.accounts.add(Account(email="ann@example.com", subject="user:ann", password_hash="x"))
    assert not await stores.accounts.is_disabled("user:ann")
    await stores.accounts.disable("ann@example.com")
    assert await stores.accounts.is_disabled("user:ann")
