"""Sign-in at OpenID's certified `oidc-provider`, in a real browser in which no script runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from scripts.fetch_real import PLACE, environment, node
from tests.support.browsers import CHALLENGE, VERIFIER
from tests.support.chromium import Tab, chromium
from tests.support.consoles import ConsoleWorld, console_world
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind
from tests.support.openid_providers import CLIENT, PROVIDER_SECRET
from tests.support.processes import free_port, started_beside

HERE = Path(__file__).parent
CALLBACK = "http://127.0.0.1:3955/callback"
SIGN_IN = """\
sign_in:
  providers:
    corp:
      label: Example Corp
      issuer: {issuer}
      client_id: {client}
      client_secret: {secret}
      scopes: [openid, email, groups]
      email_domains: [example.com]
      groups_claim: groups
"""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[ConsoleWorld]:
    """An installation that knows a provider which runs beside it."""
    port = free_port()
    more = SIGN_IN.format(issuer=f"http://127.0.0.1:{port}", client=CLIENT, secret=PROVIDER_SECRET)
    async with console_world(tmp_path / "i", more=more) as made:
        entry = PLACE / "node_modules" / "oidc-provider" / "lib" / "index.js"
        uris = [f"{url}/sign-in/corp/callback" for url in (made.settings.issuer, made.console)]
        command = [node(), HERE / "openid_provider.mjs", entry, str(port), CLIENT, PROVIDER_SECRET, *uris]
        async with started_beside(command, ports=[port], environment=environment(tmp_path)):
            yield made


@pytest.fixture
async def tab(tmp_path: Path) -> AsyncIterator[Tab]:
    async with chromium(tmp_path / "profile") as opened:
        yield opened


async def _sign_in(tab: Tab, world: ConsoleWorld, name: str) -> None:
    """From our button to the provider's own pages, through its sign-in and its consent."""
    pages = f"{world.settings.registry.sign_in.providers['corp'].issuer}/interaction/"
    await tab.click("button[value=corp]")
    await tab.arrive(pages)
    await tab.type_into("input[name=login]", name)
    await tab.type_into("input[name=password]", "of no matter there")
    await tab.click("button[type=submit]")
    assert (await tab.url()).startswith(pages)
    await tab.click("button[type=submit]")


def _request(world: ConsoleWorld) -> str:
    resource = world.settings.registry.resources["calendar"].uri
    return (
        f"{world.settings.issuer}/authorize?response_type=code&client_id=desk-app&redirect_uri={CALLBACK}"
        f"&resource={resource}&scope=calendar:use&code_challenge={CHALLENGE}&code_challenge_method=S256&state=s"
    )


async def test_a_person_of_a_provider_consents(world: ConsoleWorld, tab: Tab) -> None:
    """Button, provider, consent, code, token; then the person stops it at `/my-access`, and the token is refused."""
    await tab.open(_request(world))
    await _sign_in(tab, world, "ann")
    await tab.arrive(world.settings.issuer)
    assert "Allow" in await tab.html()
    await tab.click("button[value=allow]")
    answer = {name: values[0] for name, values in parse_qs(urlsplit(await tab.url()).query).items()}
    redeemed = await world.http.post(
        f"{world.settings.issuer}/token",
        data={
            "grant_type": "authorization_code",
            "code": THE_SCAN.note(answer["code"], Kind.CODE),
            "redirect_uri": CALLBACK,
            "client_id": "desk-app",
            "code_verifier": VERIFIER,
        },
    )
    token = THE_SCAN.note(redeemed.json()["access_token"], Kind.TOKEN)
    assert (await world.call(token=token, tool="list_events")).status_code == 200
    (account,) = await world.plane.stores.federated_accounts.list()
    assert (account.subject_there, account.email) == ("ann", "ann@example.com")
    assert account.groups == {"staff", "of-ann"}
    await tab.open(f"{world.settings.issuer}/my-access")
    assert "ann@example.com" in await tab.html()
    assert (await tab.picture()).startswith(b"\x89PNG")
    await tab.click("button[value=stop]")
    assert "No application may act for you" in await tab.html()
    assert (await world.call(token=token, tool="list_events")).status_code == 401


async def test_a_person_of_a_provider_decides_at_the_console(world: ConsoleWorld, tab: Tab) -> None:
    """Their verified address makes them a member of the team; they have signed in anew, and decide."""
    approval = await world.asked()
    await tab.open(f"{world.console}/approvals/{approval}")
    await _sign_in(tab, world, "bob")
    await tab.arrive(f"{world.console}/approvals/{approval}")
    assert "trip-planner" in await tab.html()
    await tab.click("button[value=approve]")
    assert await world.state(approval) == "approved"


async def test_an_address_that_is_not_verified_lets_nobody_in(world: ConsoleWorld, tab: Tab) -> None:
    """The page says so, and there is no account."""
    await tab.open(_request(world))
    await _sign_in(tab, world, "unverified")
    await tab.arrive(world.settings.issuer)
    assert "Your account there does not sign in here" in await tab.html()
    assert await world.plane.stores.federated_accounts.list() == []
