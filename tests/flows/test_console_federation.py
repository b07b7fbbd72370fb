"""The console, for people of an OpenID provider: signed in anew, members by an address that counts."""

from __future__ import annotations

import html
import re
import time
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
import pytest_asyncio

from perhop.authorization_server.federation.provider_documents import METADATA_KEPT
from perhop.authorization_server.people_store import Consent
from perhop.control.lookup import look_up
from perhop.control.operations import run_operation
from perhop.errors import ApproverRefused, NotFound, OperatorError, SettingsError
from perhop.rules.approval import FRESH_SECONDS
from perhop.rules.lifetime import MAX_SKEW
from tests.support.browsers import form_in
from tests.support.consoles import BOB, PASSWORD, ConsoleWorld, PersonsBrowser, add_account, console_world
from tests.support.forge import ABSENT
from tests.support.openid_providers import CLIENT, PROVIDER_SECRET, OpenIdProvider, served

SIGN_IN = """\
sign_in:
  providers:
    corp: {{issuer: "{issuer}", client_id: {client}, client_secret: {secret}, email_domains: [example.org], {more}}}
"""
BOB_THERE = {"sub": "bob-there", "email": "bob@example.org", "email_verified": True}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def provider() -> AsyncIterator[OpenIdProvider]:
    async with served(OpenIdProvider(now=time.time)) as made:
        yield made


@pytest.fixture
def login(provider: OpenIdProvider) -> OpenIdProvider:
    """The provider, which signs bob in, and lies in nothing."""
    provider.person, provider.claims, provider.statuses = dict(BOB_THERE), {}, {}
    return provider


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, provider: OpenIdProvider) -> AsyncIterator[ConsoleWorld]:
    """The travel team has a member at example.org, whose provider signs in whoever it likes."""
    more = SIGN_IN.format(issuer=provider.issuer, client=CLIENT, secret=PROVIDER_SECRET, more="accounts: anyone")
    async with console_world(tmp_path_factory.mktemp("console") / "i", more=more) as made:
        provider.now = made.clock
        team = made.settings.registry.owners["travel-team"]
        object.__setattr__(team, "members", (*team.members, "bob@example.org"))
        yield made


async def _go(browser: PersonsBrowser, path: str = "/sign-in") -> str:
    going = await browser.send(await browser.open(path), {"provider": "corp"})
    return html.unescape(re.findall(r'content="0; url=([^"]*)"', going.text)[0])


async def _back(browser: PersonsBrowser, login: OpenIdProvider, path: str = "/sign-in") -> httpx2.Response:
    return await browser.http.get(login.sign_in(await _go(browser, path)))


async def test_a_person_of_a_provider_decides(world: ConsoleWorld, login: OpenIdProvider) -> None:
    """The sign-in leads back to the call, and is a new one: the provider is told so, and says when it was."""
    approval = await world.asked()
    browser = await world.browser()
    page = await browser.follow(await browser.open(f"/approvals/{approval}"))
    going = await browser.send(page, {"provider": "corp"})
    url = html.unescape(re.findall(r'content="0; url=([^"]*)"', going.text)[0])
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert (asked["prompt"], asked["max_age"]) == ("login", str(FRESH_SECONDS))
    assert asked["redirect_uri"] == f"{world.console}/sign-in/corp/callback"
    back = await browser.http.get(login.sign_in(url))
    assert back.headers["location"] == f"/approvals/{approval}"
    assert (await browser.decide(approval, "approve")).status_code == 303
    assert await world.state(approval) == "approved"


async def test_a_session_is_as_old_as_the_sign_in_there(world: ConsoleWorld, login: OpenIdProvider) -> None:
    """Who signed in there four minutes ago decides for one more; one that is older, or says nothing, is none."""
    approval = await world.asked({"title": "Coffee"})
    now = int(world.clock())
    for auth_time in (now - FRESH_SECONDS - MAX_SKEW - 60, ABSENT):
        login.claims = {"auth_time": auth_time}
        browser = await world.browser()
        assert (await _back(browser, login)).status_code == 400
        assert (await browser.open("/approvals")).status_code == 303
    login.claims = {"auth_time": now - 240}
    browser = await world.browser()
    await _back(browser, login)
    login.claims = {}
    world.clock.ahead += 62
    stale = await browser.decide(approval, "approve", "as it was asked for")
    assert stale.status_code == 403
    assert ("provider", "corp") in form_in(stale).buttons
    going = await browser.send(stale, {"provider": "corp"})
    back = await browser.http.get(login.sign_in(html.unescape(re.findall(r'content="0; url=([^"]*)"', going.text)[0])))
    page = await browser.follow(back)
    assert "as it was asked for" in page.text
    assert await world.state(approval) == "waiting"
    assert (await browser.send(page, {"decision": "approve"})).status_code == 303


async def test_whose_address_counts(world: ConsoleWorld, login: OpenIdProvider) -> None:
    """An address of another domain, or one that is not verified, makes nobody a member, whatever it says."""
    approval = await world.asked({"title": "Cake"})
    strangers = [
        {"sub": "x1", "email": BOB, "email_verified": True},
        {"sub": "x2", "email": "bob@example.org", "email_verified": False},
        {"sub": "x3", "email": "bob@example.org"},
        {"sub": "x4"},
    ]
    for stranger in strangers:
        login.person = stranger
        browser = await world.browser()
        assert (await _back(browser, login)).status_code == 303
        assert (await browser.open(f"/approvals/{approval}")).status_code == 404, stranger
    shown = await browser.open("/approvals")
    assert "somebody signed in with corp" in shown.text


async def test_one_address_does_not_approve_its_own(world: ConsoleWorld, login: OpenIdProvider) -> None:
    """Where the agent acts for an account with the approver's address, it may be the same person: they cannot."""
    await add_account(world.plane, "bob@example.org")
    approval = await world.asked({"title": "Tea"}, person="user:bob@example.org")
    browser = await world.browser()
    await _back(browser, login)
    page = await browser.open(f"/approvals/{approval}")
    assert "The agent acts for you" in page.text
    assert form_in(page).buttons == []
    # The other way round, and at a terminal: the local account decides, and the agent acts for the provider's.
    login.person = {"sub": "dora-there", "email": "dora@example.com", "email_verified": True}
    await _back(await world.browser(), login)
    accounts = await world.plane.stores.federated_accounts.list()
    (there,) = [each for each in accounts if each.subject_there == "dora-there"]
    asked = await world.asked({"title": "Biscuits"}, person=there.subject)
    named = {"email": "dora@example.com", "password": PASSWORD, "why": "", "allow": True}
    with pytest.raises(ApproverRefused):
        await run_operation(world.plane, "approval.decide", {"approval": asked, **named})


async def test_a_sign_in_of_one_place_is_none_at_the_other(world: ConsoleWorld, login: OpenIdProvider) -> None:
    """An answer to a sign-in at the console is nothing to the authorization server, and the other way round."""
    browser = await world.browser()
    answer = login.sign_in(await _go(browser))
    elsewhere = answer.replace(world.console, world.settings.issuer)
    assert (await browser.http.get(elsewhere)).status_code == 400
    assert (await browser.http.get(answer)).status_code == 400


async def test_an_operator_sees_and_takes_back_grants(world: ConsoleWorld, login: OpenIdProvider) -> None:
    """By person, client and resource together; a rehearsal counts and does nothing, and a name of nobody is told."""
    browser = await world.browser()
    await _back(browser, login)
    accounts = {each["email"]: each for each in await look_up(world.settings, "accounts") if each["provider"] == "corp"}
    subject = accounts["bob@example.org"]["subject"]
    uri = world.settings.registry.resources["calendar"].uri
    for client in ("desk-app", "trip-planner"):
        await world.plane.stores.consents.put(
            Consent(
                subject=subject,
                client_id=client,
                resource=uri,
                scopes=frozenset({"calendar:use"}),
                terms="terms",
                granted_at=int(world.clock()),
            )
        )
    rows = [each for each in await look_up(world.settings, "grants") if each["subject"] == subject]
    assert [(each["client"], each["resource"], each["email"], each["scopes"]) for each in rows] == [
        ("desk-app", "calendar", "bob@example.org", ["calendar:use"]),
        ("trip-planner", "calendar", "bob@example.org", ["calendar:use"]),
    ]
    named = {"person": "bob@example.org", "client": "desk-app", "resource": "calendar", "why": "lost"}
    would = await run_operation(world.plane, "grant.revoke", {**named, "dry_run": True})
    assert (would["revoked"], len(would["grants"])) == (False, 1)
    done = await run_operation(world.plane, "grant.revoke", named)
    assert done["grants"] == [{"subject": subject, "client": "desk-app", "resource": uri}]
    assert world.records("revocation")[-1]["about"]["why"] == "lost"
    left = [each["client"] for each in await look_up(world.settings, "grants") if each["subject"] == subject]
    assert left == ["trip-planner"]
    nobody = {"person": None, "client": None, "resource": None, "why": ""}
    for wrong in ({"person": "x@example.org"}, {"resource": "nothing"}):
        with pytest.raises(NotFound):
            await run_operation(world.plane, "grant.revoke", nobody | wrong)
    with pytest.raises(SettingsError):
        await run_operation(world.plane, "grant.revoke", nobody)


async def test_disabling_takes_every_account_of_an_address(world: ConsoleWorld, login: OpenIdProvider) -> None:
    """The provider's and the local one; nobody signs in with either, and the sessions are over."""
    login.person = {"sub": "carl-there", "email": "carl@example.net", "email_verified": True}
    await add_account(world.plane, "carl@example.net")
    browser = await world.browser()
    await _back(browser, login)
    assert (await browser.open("/approvals")).status_code == 200
    done = await run_operation(world.plane, "account.disable", {"person": "carl@example.net"})
    assert len(done["subjects"]) == 2
    assert (await browser.open("/approvals")).status_code == 303
    assert (await _back(browser, login)).status_code == 403
    states = {
        each["state"] for each in await look_up(world.settings, "accounts") if each["email"] == "carl@example.net"
    }
    assert states == {"disabled"}
    with pytest.raises(NotFound):
        await run_operation(world.plane, "account.disable", {"person": "user:nobody"})
    lifted = await run_operation(world.plane, "account.enable", {"person": "carl@example.net"})
    assert (len(lifted["subjects"]), lifted["was_disabled"]) == (2, True)
    assert (await browser.open("/approvals")).status_code == 303
    assert (await _back(browser, login)).status_code == 303
    with pytest.raises(OperatorError, match="sign in with the provider `corp`"):
        await run_operation(world.plane, "account.add", {"email": "new@Example.org", "password": None})


async def test_a_person_who_is_slowed_at_the_console(world: ConsoleWorld) -> None:
    """The console throttles as the other place does, with its own page."""
    browser = await world.browser()
    for _ in range(11):
        assert (await browser.sign_in("dora@example.com", password="wrong")).status_code == 403
    slowed = await browser.sign_in("dora@example.com", password=PASSWORD)
    assert slowed.status_code == 429
    assert int(slowed.headers["retry-after"]) in (1, 2)


async def test_a_provider_that_is_down(world: ConsoleWorld, login: OpenIdProvider) -> None:
    """A page that says so, and the way back to the sign-in."""
    world.clock.ahead += METADATA_KEPT
    login.statuses = {"openid-configuration": 500}
    browser = await world.browser()
    page = await browser.send(await browser.open("/sign-in"), {"provider": "corp"})
    assert page.status_code == 503
    assert 'href="/sign-in?next=/approvals"' in page.text
