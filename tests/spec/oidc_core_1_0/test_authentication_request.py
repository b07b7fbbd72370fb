"""OpenID Connect Core 1.0 §3.1.2.1: `prompt` and `max_age` at the authorization endpoint.

Spec: OpenID Connect Core 1.0 §3.1.2.1
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perhop.authorization_server.interaction.form_seal import FORM_LIFETIME
from perhop.rules.approval import FRESH_SECONDS
from tests.support.authorization_servers import EMAIL, PASSWORD, RunningServer, claims_of, running_server
from tests.support.browsers import Browser, a_request, answer_in, form_in, redeem
from tests.support.openid_providers import ANN_THERE, OpenIdProvider, Person, know

SIGN_IN = ["email", "password"]
DECISIONS = [("decision", "allow"), ("decision", "deny")]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        yield running


@pytest.fixture
def browser(server: RunningServer) -> Browser:
    return Browser(server)


@pytest.mark.parametrize(
    "odd",
    [
        {"max_age": "-1"},
        {"max_age": "1.5"},
        {"max_age": "soon"},
        {"max_age": "1" * 10},
        {"prompt": "none login"},
        {"prompt": "create"},
        {"acr_values": " ".join("abcdefghijklmnopqrstuvwxyz0123456789")},
    ],
    ids=lambda odd: next(iter(odd.items()))[1][:12],
)
async def test_what_we_do_not_understand_is_refused(browser: Browser, odd: dict[str, str]) -> None:
    """An odd `max_age`, an unknown `prompt`, and `none` beside another: `invalid_request`, at the application."""
    assert answer_in(await browser.open(a_request(**odd)))["error"] == "invalid_request"


async def test_prompt_none_shows_no_page(server: RunningServer, browser: Browser) -> None:
    """Without a session `login_required`, without a consent `consent_required`, with both a code; each with `iss`."""
    nobody = answer_in(await browser.open(a_request(prompt="none")))
    assert (nobody["error"], nobody["iss"]) == ("login_required", server.issuer.url)
    assert server.last_refusal()["reason"] == "client.authentication"
    consent = await browser.sign_in(a_request())
    unasked = answer_in(await browser.open(a_request(prompt="none")))
    assert (unasked["error"], unasked["iss"]) == ("consent_required", server.issuer.url)
    assert server.last_refusal()["reason"] == "policy.denied"
    await browser.allow(consent)
    assert "code" in answer_in(await browser.open(a_request(prompt="none")))
    server.clock.now += 61
    assert answer_in(await browser.open(a_request(prompt="none", max_age="60")))["error"] == "login_required"
    assert "code" in answer_in(await browser.open(a_request(prompt="none", max_age="61")))


async def test_prompt_consent_asks_anew(browser: Browser) -> None:
    """A stored consent does not answer it."""
    await browser.code()
    assert "code" in answer_in(await browser.open(a_request()))
    page = await browser.open(a_request(prompt="consent"))
    assert form_in(page).buttons == DECISIONS
    assert "code" in answer_in(await browser.allow(page))


@pytest.mark.parametrize("prompt", ["login", "select_account", "login consent"])
async def test_prompt_login_has_the_person_sign_in(server: RunningServer, browser: Browser, prompt: str) -> None:
    """A session does not do, the one that begins for this request does, and not for the next one, nor for ever."""
    await browser.code()
    server.clock.now += 100
    query = a_request(prompt=prompt, state="one")
    page = await browser.open(query)
    assert form_in(page).fields == SIGN_IN
    after = await browser.follow(await browser.send(page, {"email": EMAIL, "password": PASSWORD}))
    answer = answer_in(await browser.allow(after) if after.status_code == 200 else after)
    assert claims_of(await redeem(server, answer["code"]))["auth_time"] == int(server.clock())
    assert form_in(await browser.open(a_request(prompt=prompt, state="two"))).fields == SIGN_IN
    server.clock.now += FORM_LIFETIME
    assert form_in(await browser.open(query)).fields == SIGN_IN


async def test_a_query_as_a_browser_leaves_it_is_the_same_on_the_way_back(
    server: RunningServer, browser: Browser
) -> None:
    """Browsers send some letters as they are that a redirect has to encode: nobody signs in twice because of them."""
    query = a_request(prompt="login", state="{one}|^two^").replace("%7C", "|").replace("%5E", "^")
    page = await browser.open(query)
    assert b"|^two" in page.url.raw_path
    after = await browser.follow(await browser.send(page, {"email": EMAIL, "password": PASSWORD}))
    assert form_in(after).buttons == DECISIONS
    assert answer_in(await browser.allow(after))["state"] == "{one}|^two^"


async def test_an_old_session_does_not_do_for_max_age(server: RunningServer, browser: Browser) -> None:
    """One second older than `max_age` signs in again, and comes back to the same request; `max_age=0` ends, too."""
    await browser.code()
    server.clock.now += 60
    assert "code" in answer_in(await browser.open(a_request(max_age="60")))
    server.clock.now += 1
    page = await browser.open(a_request(max_age="60"))
    assert form_in(page).fields == SIGN_IN
    again = await browser.follow(await browser.send(page, {"email": EMAIL, "password": PASSWORD}))
    assert claims_of(await redeem(server, answer_in(again)["code"]))["auth_time"] == int(server.clock())
    page = await browser.open(a_request(max_age="0", state="now"))
    sent = await browser.send(page, {"email": EMAIL, "password": PASSWORD})
    server.clock.now += 5
    assert "code" in answer_in(await browser.follow(sent))


async def test_a_provider_is_held_to_it(server: RunningServer) -> None:
    """`max_age` and `prompt=login` go on to the provider, whose `auth_time` must keep to them and goes into tokens."""
    login = OpenIdProvider(now=server.clock, person=dict(ANN_THERE))
    know(server, login)
    person = Person(server)
    login.claims = {"auth_time": int(server.clock()) - 40}
    consent = await person.follow(await person.signed_in(login, a_request(max_age="60")))
    assert (login.asked[-1]["max_age"], "prompt" in login.asked[-1]) == ("60", False)
    claims = claims_of(await redeem(server, answer_in(await person.allow(consent))["code"]))
    assert claims["auth_time"] == int(server.clock()) - 40
    server.clock.now += 21
    assert form_in(await person.open(a_request(max_age="60", state="later"))).fields == SIGN_IN
    login.claims = {"auth_time": int(server.clock()) - FRESH_SECONDS - 61}
    refused = await person.signed_in(login, a_request(prompt="login"))
    assert (login.asked[-1]["max_age"], login.asked[-1]["prompt"]) == (str(FRESH_SECONDS), "login")
    assert refused.status_code == 400
