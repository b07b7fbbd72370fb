"""People: sign in, consent, code, token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import httpx2
import pytest

from perhop.authorization_server.app import build_app
from perhop.authorization_server.interaction.passwords import Passwords
from perhop.authorization_server.revocation import RevokedObject
from perhop.authorization_server.store import Account
from perhop.core.provider import SignInWays
from perhop.core.resource import Hop, Scope
from tests.support.authorization_servers import (
    CALENDAR,
    CALLBACK,
    EMAIL,
    LOOPBACK_CALLBACK,
    PASSWORD,
    PERSON,
    ROOMS,
    RunningServer,
    assert_refused,
    claims_of,
    running_server,
)
from tests.support.browsers import Browser, a_request, answer_in, form_in, redeem


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        yield running


@pytest.fixture
def browser(server: RunningServer) -> Browser:
    return Browser(server)


async def test_a_person_gives_an_application_a_token(server: RunningServer, browser: Browser) -> None:
    """Sign in, allow, redeem: the token is the person's, for the one resource, at the client that asked."""
    page = await browser.open(a_request())
    assert form_in(page).fields == ["email", "password"]
    consent = await browser.follow(await browser.send(page, {"email": EMAIL, "password": PASSWORD}))
    assert form_in(consent).buttons == [("decision", "allow"), ("decision", "deny")]
    redirect = await browser.allow(consent)
    assert redirect.headers["location"].startswith(f"{CALLBACK}?")
    answer = answer_in(redirect)
    assert (answer["state"], answer["iss"]) == ("xyz &=%", server.issuer.url)
    claims = claims_of(await redeem(server, answer["code"]))
    assert (claims["sub"], claims["client_id"], claims["aud"]) == (PERSON, "desk-app", CALENDAR)
    assert (claims["scope"], claims["hop"]) == ("calendar:read", 1)
    assert "act" not in claims


async def test_the_consent_page_says_what_is_asked(server: RunningServer, browser: Browser) -> None:
    """It shows client, purpose, where the answer goes, resource, owner, scopes in words, and onward resources."""
    text = (await browser.sign_in(a_request())).text
    for shown in ("desk-app", "serves tests", "desk.example.com", "calendar", CALENDAR, "travel-team"):
        assert shown in text
    assert "Read your calendar" in text
    assert "Create and change events" not in text
    assert ROOMS in text
    assert "See free rooms" in text
    assert "Book rooms" not in text


async def test_what_is_shown_is_escaped(server: RunningServer, browser: Browser) -> None:
    """Markup in names, purposes and the request itself is text on every page."""
    server.change_client("desk-app", purpose="<script>alert(1)</script>")
    page = await browser.open(a_request(state='"><script>alert(2)</script>'))
    assert "<script" not in page.text
    consent = await browser.follow(await browser.send(page, {"email": EMAIL, "password": PASSWORD}))
    assert "<script" not in consent.text
    assert "&lt;script&gt;alert(1)" in consent.text


async def test_pages_are_protected(browser: Browser) -> None:
    """Every page and redirect: no frame, no script, no cache, no referrer; redirects are 303."""
    page = await browser.open(a_request())
    redirect = await browser.send(page, {"email": EMAIL, "password": PASSWORD})
    consent = await browser.follow(redirect)
    final = await browser.allow(consent)
    for answer in (page, redirect, consent, final):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
    for shown in (page, consent, await browser.open("client_id=stranger")):
        policy = shown.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script" not in policy
        assert shown.headers["x-frame-options"] == "DENY"
    assert "form-action 'self' https://desk.example.com" in consent.headers["content-security-policy"]


async def test_cookies_are_out_of_reach(browser: Browser) -> None:
    """Cookies are host-bound, over https only, hidden from scripts, and not sent by other sites' forms."""
    page = await browser.open(a_request())
    redirect = await browser.send(page, {"email": EMAIL, "password": PASSWORD})
    for answer in (page, redirect):
        cookie = answer.headers["set-cookie"].lower()
        assert cookie.startswith("__host-perhop-")
        assert all(word in cookie for word in ("httponly", "secure", "samesite=lax", "path=/"))
        assert "domain" not in cookie


async def test_over_http_on_loopback_cookies_have_a_plain_name(tmp_path: Path) -> None:
    """A loopback issuer without TLS sets cookies that a browser takes there."""
    async with running_server(tmp_path, issuer_url="http://127.0.0.1:8420") as server:
        page = await Browser(server).open(a_request())
        assert page.headers["set-cookie"].startswith("perhop-form=")
        assert "secure" not in page.headers["set-cookie"].lower()
        assert await Browser(server).code()


@pytest.mark.parametrize(
    ("email", "password"), [(EMAIL, "wrong"), (EMAIL, ""), ("nobody@example.com", PASSWORD), ("", "")]
)
async def test_a_wrong_password_signs_nobody_in(
    server: RunningServer, browser: Browser, email: str, password: str
) -> None:
    """Wrong password, unknown address or nothing at all: one answer, the form again, and a record."""
    page = await browser.open(a_request())
    again = await browser.send(page, {"email": email, "password": password})
    assert again.status_code == 403
    assert form_in(again).fields == ["email", "password"]
    assert "is wrong" in again.text
    assert "perhop-session" not in again.headers["set-cookie"]
    assert server.last_refusal()["reason"] == "client.authentication"
    assert form_in(await browser.open(a_request())).fields == ["email", "password"]


@pytest.mark.parametrize("changes", [{"disabled": True}, {"console_only": True}])
async def test_an_account_may_be_barred(server: RunningServer, browser: Browser, changes: dict[str, bool]) -> None:
    """A disabled account, or one for the console only, does not sign in here."""
    hashed = server.issuer.passwords.hash(PASSWORD)
    await server.stores.accounts.add(
        Account(email="bob@example.com", subject="user:bob", password_hash=hashed, **changes)
    )
    page = await browser.open(a_request())
    again = await browser.send(page, {"email": "bob@example.com", "password": PASSWORD})
    assert again.status_code == 403


async def test_the_address_is_not_case_sensitive(browser: Browser) -> None:
    """The e-mail address signs in however it is capitalised, with spaces around it or not."""
    page = await browser.sign_in(a_request(), email=" Ann@Example.COM ")
    assert form_in(page).buttons


async def test_denying_tells_the_application(server: RunningServer, browser: Browser) -> None:
    """After deny the application hears `access_denied` with state and issuer, and nothing is stored."""
    page = await browser.sign_in(a_request())
    answer = answer_in(await browser.send(page, {"decision": "deny"}))
    assert (answer["error"], answer["state"], answer["iss"]) == ("access_denied", "xyz &=%", server.issuer.url)
    assert "code" not in answer
    assert await server.stores.consents.get(PERSON, "desk-app", CALENDAR) is None


async def test_a_form_of_another_site_decides_nothing(server: RunningServer, browser: Browser) -> None:
    """Without the page's own seal neither sign-in nor consent does anything but show the page again."""
    page = await browser.open(a_request())
    hidden = form_in(page).hidden
    forged = {**hidden, "seal": "1800000000.00", "email": EMAIL, "password": PASSWORD}
    assert (await server.http.post("/authorize", data=forged)).status_code == 200
    consent = await browser.follow(await browser.send(page, {"email": EMAIL, "password": PASSWORD}))
    sealed = form_in(consent).hidden
    other_request = a_request(state="another")
    for changed in ({"seal": ""}, {"seal": hidden["seal"]}, {"request": other_request}, {"decision": "maybe"}):
        again = await server.http.post("/authorize", data={**sealed, "decision": "allow", **changed})
        assert form_in(again).buttons, changed
    assert await server.stores.consents.get(PERSON, "desk-app", CALENDAR) is None


async def test_a_form_belongs_to_one_browser(server: RunningServer, browser: Browser) -> None:
    """A sign-in or consent form sealed for one browser does nothing in another."""
    consent = await browser.sign_in(a_request())
    transport = httpx2.ASGITransport(app=build_app(server.issuer.url, lambda: server.issuer))
    async with httpx2.AsyncClient(transport=transport, base_url=server.issuer.url) as other:
        answer = await other.post("/authorize", data={**form_in(consent).hidden, "decision": "allow"})
        assert form_in(answer).fields == ["email", "password"]
        again = await other.post("/authorize", data={**form_in(answer).hidden, "email": EMAIL, "password": PASSWORD})
        assert again.status_code == 303
    async with httpx2.AsyncClient(transport=transport, base_url=server.issuer.url) as third:
        forged = {**form_in(answer).hidden, "email": EMAIL, "password": PASSWORD}
        assert (await third.post("/authorize", data=forged)).status_code == 200


async def test_a_form_lapses(server: RunningServer, browser: Browser) -> None:
    """A consent form that is ten minutes old is shown again instead of taken."""
    page = await browser.sign_in(a_request())
    server.clock.now += 600
    assert form_in(await browser.allow(page)).buttons


async def test_a_sign_in_lasts_eight_hours(server: RunningServer, browser: Browser) -> None:
    """One second before its end the session holds, then the person signs in again."""
    await browser.sign_in(a_request())
    server.clock.now += 8 * 3600 - 1
    assert form_in(await browser.open(a_request())).buttons
    server.clock.now += 1
    assert form_in(await browser.open(a_request())).fields


async def test_a_disabled_account_is_signed_out(server: RunningServer, browser: Browser) -> None:
    """Disabling an account ends its sessions."""
    await browser.sign_in(a_request())
    await server.stores.accounts.disable(EMAIL)
    assert form_in(await browser.open(a_request())).fields


async def test_every_sign_in_begins_a_new_session(server: RunningServer, browser: Browser) -> None:
    """A session id that was there before signing in is not taken up."""
    server.http.cookies.set("__Host-perhop-session", "chosen-by-another", domain="auth.example.com")
    page = await browser.open(a_request())
    redirect = await browser.send(page, {"email": EMAIL, "password": PASSWORD})
    assert "chosen-by-another" not in redirect.headers["set-cookie"]


async def test_consent_is_remembered(server: RunningServer, browser: Browser) -> None:
    """The same request again gives a code without asking, from the same session."""
    await browser.code()
    assert answer_in(await browser.open(a_request()))["code"]


async def test_consent_is_per_client_and_scope(server: RunningServer, browser: Browser) -> None:
    """Another client, or another scope, is asked about, whatever was allowed before."""
    await browser.code()
    clients = server.issuer.registry.clients
    server.change_registry(clients={**clients, "desk-two": replace(clients["desk-app"], id="desk-two")})
    assert form_in(await browser.open(a_request(client_id="desk-two"))).buttons
    server.change_client("desk-app", reaches={"calendar": ("calendar:read", "calendar:write")})
    assert form_in(await browser.open(a_request(scope="calendar:write"))).buttons


async def test_consent_lapses_when_its_terms_change(server: RunningServer, browser: Browser) -> None:
    """New redirect URIs, another meaning of a scope, or a further hop: the person is asked again."""
    await browser.code()
    registry = server.issuer.registry
    calendar = registry.resources["calendar"]
    reworded = Scope(name="calendar:read", says="Read everything")
    server.change_client("desk-app", redirect_uris=(CALLBACK, "https://desk.example.com/two"))
    assert form_in(await browser.open(a_request())).buttons
    server.change(registry=registry)
    assert answer_in(await browser.open(a_request()))["code"]
    changed = replace(calendar, scopes={**calendar.scopes, "calendar:read": reworded})
    server.change_registry(resources={**registry.resources, "calendar": changed})
    assert form_in(await browser.open(a_request())).buttons
    server.change(registry=registry)
    further = Hop(source="calendar", target="notes", scopes={"calendar:read": ("notes:read",)})
    server.change_registry(hops=(*registry.hops[:1], further))
    assert form_in(await browser.open(a_request())).buttons


async def test_a_form_shown_before_the_terms_changed_is_shown_again(server: RunningServer, browser: Browser) -> None:
    """Allowing what was shown does not allow what is in force now."""
    page = await browser.sign_in(a_request())
    server.change_client("desk-app", purpose="does something else")
    again = await browser.allow(page)
    assert "does something else" in again.text
    assert form_in(again).buttons


async def test_a_loopback_application_is_asked_every_time(browser: Browser) -> None:
    """A public client that lives on loopback only gets no silent code."""
    query = a_request(client_id="laptop-app", redirect_uri=LOOPBACK_CALLBACK)
    await browser.code(query)
    assert form_in(await browser.open(query)).buttons


async def test_the_port_of_a_loopback_redirect_is_free(browser: Browser) -> None:
    """A program on the person's machine may listen on another port than the registered one, and nothing else."""
    query = a_request(client_id="laptop-app", redirect_uri="http://127.0.0.1:49152/callback")
    page = await browser.sign_in(query)
    assert (await browser.allow(page)).headers["location"].startswith("http://127.0.0.1:49152/callback?code=")


async def test_a_request_may_come_by_post(server: RunningServer, browser: Browser) -> None:
    """The authorization request may be a form's body."""
    page = await server.http.post(
        "/authorize", content=a_request(), headers={"content-type": "application/x-www-form-urlencoded"}
    )
    consent = await browser.follow(await browser.send(page, {"email": EMAIL, "password": PASSWORD}))
    assert answer_in(await browser.allow(consent))["code"]


async def test_policy_can_forbid_a_person(server: RunningServer, browser: Browser) -> None:
    """A forbid over `issue` for this person ends the request before consent is asked, and again at the code."""
    code = await browser.code()
    server.forbid(
        '@id("not-ann") forbid (principal, action == MCP::Action::"issue", resource)'
        ' when { context has subject && context.subject == MCP::User::"user:ann" };'
    )
    assert answer_in(await browser.open(a_request()))["error"] == "invalid_target"
    assert server.last_refusal()["reason"] == "policy.denied"
    assert_refused(await redeem(server, code), "invalid_target")


async def test_a_client_without_standing_gets_a_page(server: RunningServer, browser: Browser) -> None:
    """Disabled or expired: the person is told, and nothing is redirected. Without owner: 503."""
    await server.issuer.standing.disable("client", "desk-app", why="test", now=1)
    answer = await browser.open(a_request())
    assert answer.status_code == 400
    assert "location" not in answer.headers
    await server.issuer.standing.enable("client", "desk-app", now=2)
    server.change_client("desk-app", expires=date(2020, 1, 1))
    assert (await browser.open(a_request())).status_code == 400
    server.change_client("desk-app", expires=date(2030, 1, 1), owner="gone")
    assert (await browser.open(a_request())).status_code == 503


async def test_nothing_is_given_when_the_journal_cannot_write(server: RunningServer, browser: Browser) -> None:
    """A code is not turned into a token while the journal is down."""
    code = await browser.code()
    await server.issuer.journal.close()
    assert_refused(await redeem(server, code), "temporarily_unavailable", status=503)


async def test_a_revocation_stops_a_code(server: RunningServer, browser: Browser) -> None:
    """A code that was given before its person, client, resource or tenant was revoked gets no token."""
    named = [
        (RevokedObject.SUBJECT, PERSON),
        (RevokedObject.AGENT, "desk-app"),
        (RevokedObject.RESOURCE, "calendar"),
        (RevokedObject.TENANT, "acme"),
    ]
    for kind, value in named:
        server.clock.now += 10
        page = await browser.open(a_request())
        if form_in(page).fields:
            page = await browser.follow(await browser.send(page, {"email": EMAIL, "password": PASSWORD}))
        code = answer_in(await browser.allow(page) if page.status_code == 200 else page)["code"]
        server.clock.now += 1
        await server.issuer.revoker.revoke(kind, value, why="test", by="test")
        assert_refused(await redeem(server, code), "invalid_grant")


async def test_a_code_is_worth_nothing_once_its_person_may_not_sign_in(server: RunningServer, browser: Browser) -> None:
    """Between consent and code, accounts of this installation are closed, or this one is."""
    code, registry = await browser.code(), server.issuer.registry
    server.change_registry(sign_in=SignInWays(local_accounts=False))
    assert_refused(await redeem(server, code), "invalid_grant")
    server.change(registry=registry)
    code = answer_in(await browser.open(a_request()))["code"]
    server.clock.now += 1
    await server.stores.accounts.disable(EMAIL)
    assert_refused(await redeem(server, code), "invalid_grant")


async def test_a_code_gives_no_more_than_the_person_was_shown(server: RunningServer, browser: Browser) -> None:
    """Between consent and code the calendar gets a further hop: the person is asked again."""
    code, hops = await browser.code(), server.issuer.registry.hops
    further = Hop(source="calendar", target="notes", scopes={"calendar:read": ("notes:read",)})
    server.change_registry(hops=(*hops[:1], further))
    assert_refused(await redeem(server, code), "invalid_grant")


async def test_no_sign_in_outlives_the_password_that_it_was_made_with(server: RunningServer, browser: Browser) -> None:
    """The password is changed while the old one is being checked: nobody is signed in by it."""
    page = await browser.open(a_request())
    passwords, another = server.issuer.passwords, server.issuer.passwords.hash("another password")

    class Meanwhile(Passwords):
        async def is_right(self, account: Account | None, password: str) -> bool:
            right = await passwords.is_right(account, password)
            await server.stores.accounts.set_password(EMAIL, another)
            return right

    server.change(passwords=Meanwhile())
    assert (await browser.send(page, {"email": EMAIL, "password": PASSWORD})).status_code == 403
    server.change(passwords=passwords)
    assert form_in(await browser.open(a_request())).fields == ["email", "password"]
    page = await browser.sign_in(a_request(), password="another password")
    assert form_in(page).buttons


async def test_of_two_redemptions_at_once_none_leaves_a_live_token(server: RunningServer, browser: Browser) -> None:
    """Parallel redemptions of one code: at most one is answered with a token, and that one is revoked."""
    code = await browser.code()
    answers = await asyncio.gather(*(redeem(server, code) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers)[1:] == [400] * 4
    tokens = [answer.json()["access_token"] for answer in answers if answer.status_code == 200]
    for token in tokens:
        revoked = {record["about"]["value"] for record in server.records("revocation")}
        assert claims_of(next(each for each in answers if each.status_code == 200))["jti"] in revoked
        assert token


async def test_what_is_asked_in_addition_is_marked(server: RunningServer, browser: Browser) -> None:
    """A client that comes back for more is asked about all of it, with what is new marked, and gets all of it."""
    server.change_client("desk-app", reaches={"calendar": ("calendar:read", "calendar:write")})
    first = await browser.sign_in(a_request())
    assert 'class="new"' not in first.text
    await browser.allow(first)
    more = await browser.open(a_request(scope="calendar:read calendar:write"))
    marked = [line for line in more.text.splitlines() if 'class="new"' in line]
    assert len(marked) == 1
    assert "Create and change events" in marked[0]
    assert "you have allowed it this before" in more.text
    code = answer_in(await browser.allow(more))["code"]
    assert claims_of(await redeem(server, code))["scope"] == "calendar:read calendar:write"
    other = await browser.open(a_request(scope="calendar:write"))
    assert 'class="new"' not in other.text
