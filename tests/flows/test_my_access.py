"""`/my-access`: a person sees what acts for them, and stops it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from perhop.authorization_server.app import build_app
from perhop.authorization_server.store import Account
from tests.support.authorization_servers import (
    CALENDAR,
    EMAIL,
    PASSWORD,
    PERSON,
    RunningServer,
    assert_refused,
    claims_of,
    naming,
    running_server,
)
from tests.support.browsers import Browser, a_request, answer_in, form_in, redeem
from tests.support.openid_providers import ANN_THERE, OpenIdProvider, Person, know

PAGE = "https://auth.example.com/my-access"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        yield running


@pytest.fixture
def browser(server: RunningServer) -> Browser:
    return Browser(server)


def _buttons(page: httpx2.Response) -> dict[str, dict[str, str]]:
    """What each button of the page sends, by the text on it."""
    found = {}
    for form in re.findall(r"<form.*?</form>", page.text, re.S):
        sent = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form))
        ((name, value, text),) = re.findall(r'<button type="submit" name="([^"]*)" value="([^"]*)">([^<]*)', form)
        found[text] = {**sent, name: value}
    return found


async def _press(server: RunningServer, page: httpx2.Response, button: str) -> httpx2.Response:
    return await server.http.post(PAGE, data=_buttons(page)[button])


async def _refreshed(server: RunningServer, token: str) -> httpx2.Response:
    return await server.ask(grant_type="refresh_token", refresh_token=token, client_id="desk-app")


async def test_a_person_sees_what_acts_for_them(server: RunningServer, browser: Browser) -> None:
    """Sign-in first; then each client with server, scopes in words, since when, and when it last got a token."""
    page = await server.http.get(PAGE)
    assert form_in(page).fields == ["email", "password"]
    nothing = await browser.follow(await browser.send(page, {"email": EMAIL, "password": PASSWORD}))
    assert "No application may act for you" in nothing.text
    consent = await browser.open(a_request())
    code = answer_in(await browser.allow(consent))["code"]
    assert "not known" in (await server.http.get(PAGE)).text
    server.clock.now += 30
    await redeem(server, code)
    server.clock.now += 7200
    shown = await server.http.get(PAGE)
    for text in ("desk-app uses calendar", "serves tests", CALENDAR, "travel-team", "Read your calendar", EMAIL):
        assert text in shown.text, text
    assert re.findall(r"<dd>([^<]*) ago</dd>", shown.text) == ["3 hours", "2 hours"]
    assert shown.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in shown.headers["content-security-policy"]
    assert shown.headers["cache-control"] == "no-store"


async def test_after_a_wrong_password_the_address_is_still_there(server: RunningServer, browser: Browser) -> None:
    """As it was typed, escaped, no longer than an address is; and what comes next is the password."""
    page = await server.http.get(PAGE)
    assert page.text.count("autofocus") == 1
    again = await browser.send(page, {"email": 'Ann"><i>@example.com', "password": "wrong"})
    assert again.status_code == 403
    assert 'value="Ann&#34;&gt;&lt;i&gt;@example.com"' in again.text
    assert re.search(r'<input id="password"[^>]* autofocus>', again.text)
    assert again.text.count("autofocus") == 1
    again = await browser.send(again, {"email": "b" * 300, "password": "wrong"})
    assert re.search(r'value="b{254}"', again.text)


async def test_stopping_ends_all_of_it_at_once(server: RunningServer, browser: Browser) -> None:
    """The consent, a code on its way, the refresh token, the token in force: everything, and it is recorded."""
    first = await redeem(server, await browser.code())
    waiting = answer_in(await browser.open(a_request()))["code"]
    page = await server.http.get(PAGE)
    assert (await _press(server, page, "Stop desk-app")).status_code == 303
    assert "No application may act for you" in (await server.http.get(PAGE)).text
    assert_refused(await redeem(server, waiting), "invalid_grant")
    assert_refused(await _refreshed(server, first.json()["refresh_token"]), "invalid_grant")
    revoked = {jti for record in server.records("revocation") for jti in record["about"].get("tokens", [])}
    assert claims_of(first)["jti"] in revoked
    consent = server.records("revocation")[-1]
    assert consent["about"] == {"kind": "consent", "value": PERSON, "why": "the person took it back", "by": PERSON}
    assert (consent["client"], consent["resource"]) == ("desk-app", "calendar")
    assert form_in(await browser.open(a_request())).buttons, "asked again"


async def test_stopping_one_leaves_the_others(server: RunningServer, browser: Browser) -> None:
    """Another client's consent, family and token stay, and so does another person's with the same client."""
    clients = server.issuer.registry.clients
    server.change_registry(clients={**clients, "desk-two": replace(clients["desk-app"], id="desk-two")})
    await redeem(server, await browser.code())
    consent = await browser.open(a_request(client_id="desk-two"))
    kept = await redeem(server, answer_in(await browser.allow(consent))["code"], client_id="desk-two")
    hashed = server.issuer.passwords.hash(PASSWORD)
    await server.stores.accounts.add(Account(email="bob@example.com", subject="user:bob", password_hash=hashed))
    async with _another_browser(server) as other:
        page = await other.get(f"{server.issuer.url}/authorize?{a_request()}")
        sent = {**form_in(page).hidden, "email": "bob@example.com", "password": PASSWORD}
        asked = await other.get((await other.post("/authorize", data=sent)).headers["location"])
        bobs = answer_in(await other.post("/authorize", data={**form_in(asked).hidden, "decision": "allow"}))
    of_bob = await redeem(server, bobs["code"])
    await _press(server, await server.http.get(PAGE), "Stop desk-app")
    assert "Stop desk-two" in (await server.http.get(PAGE)).text
    revoked = {jti for record in server.records("revocation") for jti in record["about"].get("tokens", [])}
    assert not revoked & {claims_of(kept)["jti"], claims_of(of_bob)["jti"]}
    assert (await _refreshed(server, of_bob.json()["refresh_token"])).status_code == 200


def _another_browser(server: RunningServer) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=build_app(server.issuer.url, lambda: server.issuer))
    return httpx2.AsyncClient(transport=transport, base_url=server.issuer.url)


async def test_a_form_is_its_sessions(server: RunningServer, browser: Browser) -> None:
    """Without the seal of its button, with an old one, or in another session it does nothing."""
    await redeem(server, await browser.code())
    page = await server.http.get(PAGE)
    stop, out = _buttons(page)["Stop desk-app"], _buttons(page)["Sign out"]
    for changed in ({"seal": ""}, {"seal": out["seal"]}, {"client": "desk-two"}, {"decision": "sign-out"}):
        again = await server.http.post(PAGE, data={**stop, **changed})
        assert again.status_code == 200, changed
    async with _another_browser(server) as other:
        asked = await other.post(PAGE, data=stop)
        assert form_in(asked).fields == ["email", "password"]
        signed_in = {**form_in(asked).hidden, "email": EMAIL, "password": PASSWORD}
        assert (await other.post("/my-access", data=signed_in)).status_code == 303
        assert (await other.post(PAGE, data=stop)).status_code == 200
    server.clock.now += 600
    assert (await server.http.post(PAGE, data=stop)).status_code == 200
    assert await server.stores.consents.get(PERSON, "desk-app", CALENDAR) is not None


async def test_a_person_ends_a_task(server: RunningServer, browser: Browser) -> None:
    """A task that the person has approved is shown with what it may do, and ends by its button."""
    task = await server.task_id(by="desk-app", tools=["calendar/list_*"])
    consent = await browser.sign_in(a_request(**naming(task)))
    token = await redeem(server, answer_in(await browser.allow(consent))["code"], **naming(task))
    page = await server.http.get(PAGE)
    assert "plan the trip to Oslo" in page.text
    assert (await _press(server, page, "End this task")).status_code == 303
    assert "plan the trip" not in (await server.http.get(PAGE)).text
    known = server.issuer.tasks.find(task)
    assert known is not None
    assert known.ended_at is not None
    assert_refused(await _refreshed(server, token.json()["refresh_token"]), "invalid_grant")


async def test_a_person_signs_out(server: RunningServer, browser: Browser) -> None:
    """The session is over, also for who kept its cookie."""
    await browser.sign_in(a_request())
    cookie = server.http.cookies.get("__Host-perhop-session")
    await _press(server, await server.http.get(PAGE), "Sign out")
    server.http.cookies.set("__Host-perhop-session", cookie or "", domain="auth.example.com")
    assert form_in(await server.http.get(PAGE)).fields == ["email", "password"]


async def test_a_person_of_a_provider_comes_here_too(server: RunningServer) -> None:
    """The provider's button leads there and back to this page."""
    login = OpenIdProvider(now=server.clock, person=dict(ANN_THERE))
    know(server, login)
    person = Person(server)
    back = await person.back(login.sign_in(await person.go(await server.http.get(PAGE))))
    assert back.headers["location"] == "/my-access"
    assert "ann@example.com" in (await person.follow(back)).text
