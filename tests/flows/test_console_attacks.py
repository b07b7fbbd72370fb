"""Attacks on the console: other sites, other people, other sessions, and what an agent writes into its own call.

Spec: RFC 9110 §7.4
Spec: RFC 9700 §4.7.1
Spec: RFC 9700 §4.16
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import httpx2
import pytest
from sqlalchemy import text

from perhop.authorization_server.form import MAX_BODY_BYTES
from perhop.console.app import PAGES
from tests.support.browsers import a_request, form_in
from tests.support.consoles import ANN, BOB, PASSWORD, ConsoleWorld, PersonsBrowser, add_account, console_world

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[ConsoleWorld]:
    async with console_world(tmp_path / "i") as made:
        yield made


async def _attack(world: ConsoleWorld, browser: PersonsBrowser, approval: str, **headers: str) -> httpx2.Response:
    """A form that is good in everything, but for these headers."""
    page = await browser.open(f"/approvals/{approval}")
    return await browser.send(page, {"decision": "approve"}, **headers)


# --- other sites ---------------------------------------------------------------------------------------------------


async def test_csrf_with_a_seal_of_another_session(world: ConsoleWorld) -> None:
    """What one person's page holds is worth nothing in another person's browser, nor in one's own next session."""
    approval = await world.asked()
    attacker, victim = await world.browser(ANN), await world.browser(BOB)
    theirs = form_in(await attacker.open(f"/approvals/{approval}")).hidden
    answer = await victim.post(f"/approvals/{approval}", {**theirs, "decision": "approve", "why": "planted"})
    assert answer.status_code == 403
    assert "planted" not in answer.text
    own = form_in(await victim.open(f"/approvals/{approval}")).hidden
    await victim.sign_in(BOB)
    assert (await victim.post(f"/approvals/{approval}", {**own, "decision": "approve"})).status_code == 403
    assert await world.state(approval) == "waiting"


async def test_csrf_without_a_good_seal(world: ConsoleWorld) -> None:
    """No seal, a made one, that of another call, of the sign-in or of the sign-out: nothing is decided."""
    approval, other = await world.asked(), await world.asked({"title": "Dinner"})
    browser = await world.browser(BOB)
    pages = [await browser.open(path) for path in (f"/approvals/{other}", "/sign-in", "/sign-out")]
    seals = [form_in(page).hidden["seal"] for page in pages]
    for seal in ("", "1800000000.00", *seals):
        answer = await browser.post(f"/approvals/{approval}", {"seal": seal, "decision": "approve"})
        assert answer.status_code == 403
    assert (await browser.post(f"/approvals/{approval}", {"decision": "approve"})).status_code == 403
    assert await world.state(approval) == "waiting"


async def test_a_page_that_lapsed(world: ConsoleWorld) -> None:
    """A form is good for ten minutes; after that the page is shown again, and what was typed there stands still."""
    approval = await world.asked()
    browser = await world.browser(BOB)
    page = await browser.open(f"/approvals/{approval}")
    world.clock.ahead += 600
    answer = await browser.send(page, {"decision": "approve", "why": "typed"}, origin=world.console)
    assert answer.status_code == 403
    assert ">typed</textarea>" in answer.text
    assert await world.state(approval) == "waiting"


OTHER_SITES = (
    {"origin": "https://evil.example.com"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1"},
    {"origin": ""},
    {"sec_fetch_site": "cross-site"},
    {"sec_fetch_site": "same-site"},
    {"sec_fetch_site": "none"},
)


async def test_a_form_that_the_browser_says_is_another_sites(world: ConsoleWorld) -> None:
    """`Origin` or `Sec-Fetch-Site` of anybody but us: refused, whatever else is good; also another port of ours."""
    approval = await world.asked()
    browser = await world.browser(BOB)
    for headers in (*OTHER_SITES, {"origin": world.settings.issuer}):
        answer = await _attack(world, browser, approval, **headers)
        assert (answer.status_code, "came from another site" in answer.text) == (403, True), headers
        signed_in = await browser.send(await browser.open("/sign-in"), {"email": BOB, "password": PASSWORD}, **headers)
        assert signed_in.status_code == 403, headers
        await browser.send(await browser.open("/sign-out"), {}, **headers)
    assert await world.state(approval) == "waiting"
    ours = {"origin": world.console, "sec_fetch_site": "same-origin"}
    assert (await _attack(world, browser, approval, **ours)).status_code == 303
    assert await world.state(approval) == "approved"


async def test_a_foreign_host(world: ConsoleWorld) -> None:
    """A name that was made to resolve to us gets 421 from every page, known or not; the machine's own names do not."""
    approval = await world.asked()
    browser = await world.browser(BOB)
    port = world.settings.listen.console.port
    paths = [path.replace("{approval}", approval) for path, _, _ in PAGES]
    for host in ("evil.example.com", f"evil.example.com:{port}", "127.0.0.1", "localhost", f"127.0.0.1:{port + 1}"):
        for path in (*paths, "/no-such-page"):
            answer = await browser.open(path, host=host)
            assert answer.status_code == 421, (host, path)
            assert "create_event" not in answer.text
        assert (await _attack(world, browser, approval, host=host)).status_code == 421
    assert await world.state(approval) == "waiting"
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LocalHost:{port}"):
        assert (await browser.open("/sign-in", host=host)).status_code == 200


async def test_an_open_redirect_by_next(world: ConsoleWorld) -> None:
    """Where a sign-in leads is one of our own pages, whatever a link asks for."""
    asked = (
        "https://evil.example.com/",
        "//evil.example.com",
        "/\\evil.example.com",
        "/approvals//evil.example.com",
        "/approvals/../sign-out",
        "/approvals/x?y",
        "/approvals/x\r\nset-cookie: a=b",
        "/sign-out",
        "javascript:alert(1)",
        "",
    )
    for each in asked:
        browser = await world.browser()
        page = await browser.open(f"/sign-in?{urlencode({'next': each})}")
        assert form_in(page).hidden["next"] == "/approvals"
        answer = await browser.send(page, {"email": BOB, "password": PASSWORD})
        assert answer.headers["location"] == "/approvals", each
        forged = await browser.send(await browser.open("/sign-in"), {"email": BOB, "password": PASSWORD, "next": each})
        assert forged.headers.get("location", "/approvals") == "/approvals", each
    browser = await world.browser()
    page = await browser.follow(await browser.open("/approvals/abc-_1"))
    answer = await browser.send(page, {"email": BOB, "password": PASSWORD})
    assert answer.headers["location"] == "/approvals/abc-_1"


async def test_a_slash_too_many(world: ConsoleWorld) -> None:
    """Such a path is another one, and nothing leads from there: least of all to whatever `Host` the request was for."""
    browser = await world.browser(BOB)
    for path in ("/approvals/", "/sign-in/", "/sign-out/"):
        ours, rebound = await browser.open(path), await browser.open(path, host="evil.example.com")
        assert (ours.status_code, rebound.status_code) == (404, 421), path
        assert "location" not in ours.headers.keys() | rebound.headers.keys()


async def test_framing(world: ConsoleWorld) -> None:
    """No page, and no refusal, can be framed, kept, scripted, or read for where a person came from."""
    approval = await world.asked()
    browser, nobody = await world.browser(BOB), await world.browser()
    paths = ("/approvals", f"/approvals/{approval}", "/sign-in", "/sign-out", "/approvals/none", "/none", "/approvals/")
    answers = [await browser.open(path) for path in paths]
    answers += [await nobody.open(f"/approvals/{approval}"), await browser.open("/", host="evil.example.com")]
    answers += [await browser.post("/approvals", {}), await browser.decide(approval, "approve")]
    answers += [await browser.open(f"/approvals/{approval}")]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store", answer.url
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        if answer.status_code == 303:
            continue
        assert answer.headers["referrer-policy"] == "same-origin"
        policy = answer.headers["content-security-policy"]
        style = r"style-src 'sha256-[A-Za-z0-9+/=]+'"
        rest = r"base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
        assert re.fullmatch(rf"default-src 'none'; {style}; {rest}", policy), policy
    assert [each.status_code for each in answers[-3:-1]] == [405, 303]


# --- sessions ------------------------------------------------------------------------------------------------------


async def test_a_session_of_authorize_used_at_the_console(world: ConsoleWorld) -> None:
    """Who has signed in to consent is nobody at the console, under either cookie's name."""
    approval = await world.asked()
    browser = await world.browser()
    page = await browser.http.get(f"{world.settings.issuer}/authorize?{_consent(world)}")
    form = form_in(page)
    signed_in = await browser.http.post(
        f"{world.settings.issuer}/authorize", data={**form.hidden, "email": BOB, "password": PASSWORD}
    )
    assert signed_in.status_code == 303
    assert (await browser.open("/approvals")).headers["location"] == "/sign-in"
    browser.http.cookies.set("perhop-console-session", browser.http.cookies["perhop-session"], domain="127.0.0.1")
    answer = await browser.open(f"/approvals/{approval}")
    assert answer.headers["location"] == f"/sign-in?next=/approvals/{approval}"


async def test_a_session_of_the_console_used_at_authorize(world: ConsoleWorld) -> None:
    """Who has signed in at the console is asked for the password before any consent."""
    browser = await world.browser(BOB)
    url = f"{world.settings.issuer}/authorize?{_consent(world)}"
    assert form_in(await browser.http.get(url)).fields == ["email", "password"]
    browser.http.cookies.set("perhop-session", browser.http.cookies["perhop-console-session"], domain="127.0.0.1")
    assert form_in(await browser.http.get(url)).fields == ["email", "password"]
    assert (await browser.open("/approvals")).status_code == 200


def _consent(world: ConsoleWorld) -> str:
    uri = world.settings.registry.resources["calendar"].uri
    return a_request(redirect_uri="http://127.0.0.1:3955/callback", resource=uri, scope="calendar:use")


async def test_a_session_that_another_chose(world: ConsoleWorld) -> None:
    """A session id that was there before signing in is not taken up, and the session before is over."""
    browser = await world.browser()
    browser.http.cookies.set("perhop-console-session", "chosen-by-somebody-else", domain="127.0.0.1")
    await browser.sign_in(BOB)
    first = browser.http.cookies["perhop-console-session"]
    assert first != "chosen-by-somebody-else"
    await browser.sign_in(BOB)
    browser.http.cookies.set("perhop-console-session", first, domain="127.0.0.1")
    assert (await browser.open("/approvals")).status_code == 303


async def test_a_sign_in_form_of_another_browser(world: ConsoleWorld) -> None:
    """Nobody is signed in, as themselves or as somebody else, by a form that another browser was given."""
    theirs = form_in(await (await world.browser()).open("/sign-in")).hidden
    victim = await world.browser()
    await victim.open("/sign-in")
    answer = await victim.post("/sign-in", {**theirs, "email": ANN, "password": PASSWORD})
    assert answer.status_code == 403
    assert "perhop-console-session" not in victim.http.cookies
    assert world.records("token.refused") == []


async def test_signing_out(world: ConsoleWorld) -> None:
    """Only one's own form ends a session; then its cookie is worth nothing."""
    browser, other = await world.browser(BOB), await world.browser(ANN)
    theirs = form_in(await other.open("/sign-out")).hidden
    assert (await browser.post("/sign-out", theirs)).status_code == 200
    assert (await browser.open("/sign-out")).status_code == 200
    cookie = browser.http.cookies["perhop-console-session"]
    assert (await browser.send(await browser.open("/sign-out"), {})).headers["location"] == "/sign-in"
    browser.http.cookies.set("perhop-console-session", cookie, domain="127.0.0.1")
    assert (await browser.open("/approvals")).headers["location"] == "/sign-in"


async def test_guessing_passwords(world: ConsoleWorld) -> None:
    """A wrong password, an unknown address and a disabled account get one answer, and are recorded with the address."""
    await add_account(world.plane, "gone@example.com", disabled=True)
    answers = []
    for email, password in ((BOB, "wrong-password"), ("nobody@example.com", PASSWORD), ("gone@example.com", PASSWORD)):
        browser = await world.browser()
        answer = await browser.sign_in(email, password=password)
        # What was typed is there again, and nothing else differs.
        text = answer.text.replace(f'value="{email}"', "")
        answers.append((answer.status_code, re.sub(r'name="seal" value="[^"]+"', "", text)))
        assert "perhop-console-session" not in browser.http.cookies
    assert len(set(answers)) == 1
    assert answers[0][0] == 403
    records = world.records("token.refused")
    assert {(each["reason"], each["resource"]) for each in records} == {("client.authentication", "perhop:console")}
    assert len(records) == 3
    assert all(each["request"]["ip"] == "127.0.0.1" for each in records)


async def test_cookies_of_an_https_console(tmp_path: Path) -> None:
    """Behind a proxy that ends TLS cookies are for this host and https, and out of reach of scripts and other sites."""
    async with console_world(tmp_path / "i", more="console_url: https://console.example.com\n") as world:
        browser = await world.browser()
        page = await browser.open("/sign-in", host="console.example.com")
        assert page.headers["set-cookie"].startswith("__Host-perhop-console-form=")
        name, _, value = page.headers["set-cookie"].partition(";")[0].partition("=")
        signed_in = await browser.send(
            page,
            {"email": BOB, "password": PASSWORD},
            host="console.example.com",
            cookie=f"{name}={value}",
            origin="https://console.example.com",
        )
        assert signed_in.headers["set-cookie"].startswith("__Host-perhop-console-session=")
        for answer in (page, signed_in):
            cookie = answer.headers["set-cookie"].lower()
            assert all(word in cookie for word in ("httponly", "secure", "samesite=lax", "path=/")), cookie
            assert "domain" not in cookie
        for host in (f"127.0.0.1:{world.settings.listen.console.port}", "console.example.com:80", "example.com"):
            assert (await browser.open("/sign-in", host=host)).status_code == 421
        assert (await browser.open("/sign-in", host="console.example.com:443")).status_code == 200


# --- what an agent writes ------------------------------------------------------------------------------------------


async def test_a_script_in_a_tool_argument(world: ConsoleWorld) -> None:
    """Markup in names and values of arguments is text, and so is what ends a string, a style or a form."""
    arguments = {
        "title": "<script>alert(document.title)</script>",
        '"><img src=x onerror=alert(1)>': "</pre><form action='https://evil.example.com'><button>Approve</button>",
        "tail": "</textarea></style>\"'`{{ 7 * 7 }}{% endblock %}",
    }
    approval = await world.asked(arguments)
    page = await (await world.browser(BOB)).open(f"/approvals/{approval}")
    said = page.text.partition("<main>")[2]
    assert "<script" not in page.text
    assert "<img" not in page.text
    assert said.count("<form") == said.count("<button") - 1 == 1
    assert "&lt;script&gt;alert(document.title)&lt;/script&gt;" in said
    assert "{{ 7 * 7 }}{% endblock %}" in said
    assert form_in(page).action == f"/approvals/{approval}"


async def test_characters_that_do_not_show(world: ConsoleWorld) -> None:
    """What turns text around, hides in it or paints over it is written out, in values, in names, and of the tool."""
    hidden = "\u202e\u2066\u200b\u00ad\ufeff\u00a0\u2028\x7f\x85\ufe0f\u3164\U000e0041"
    approval = await world.asked({f"n{hidden}": f"v{hidden}", "marks": "a" + "\u0301" * 9}, tool="create_event")
    page = await (await world.browser(BOB)).open(f"/approvals/{approval}")
    call = page.text.partition("<pre>")[2].partition("</pre>")[0]
    assert [each for each in hidden if each in page.text] == []
    codes = ("202e", "2066", "200b", "00ad", "feff", "00a0", "2028", "007f", "0085", "fe0f", "3164", "db40", "dc41")
    written = "".join(f"\\u{code}" for code in codes)
    assert call.count(f'<span class="unseen">{written}</span>') == 2
    assert "a" + "\u0301" * 3 + '<span class="unseen">' in call
    payroll = await world.asked({"a": 1}, resource="payroll", tool="pay\u202eyap")
    page = await (await world.browser("fay@example.com")).open(f"/approvals/{payroll}")
    assert "\u202e" not in page.text
    assert 'pay<span class="unseen">\\u202e</span>yap' in page.text


async def test_a_call_as_long_as_calls_can_be(world: ConsoleWorld) -> None:
    """Nothing of it is left out, and the buttons come after it."""
    letters = "".join(f"{number:07} " for number in range(100_000))
    approval = await world.asked({"title": letters, "tail": "the end"})
    page = await (await world.browser(BOB)).open(f"/approvals/{approval}")
    assert page.text.index(letters) < page.text.index("</pre>") < page.text.index('value="approve"')


# --- sizes, forms, failures ----------------------------------------------------------------------------------------


async def test_a_form_that_is_too_large(world: ConsoleWorld) -> None:
    """One byte beyond the bound of forms is refused, before anybody looks who sends it."""
    approval = await world.asked()
    browser = await world.browser(BOB)
    for path in ("/sign-in", "/sign-out", f"/approvals/{approval}"):
        for size, status in ((MAX_BODY_BYTES, {200, 403}), (MAX_BODY_BYTES + 1, {413})):
            body = "why=".ljust(size, "x")
            answer = await browser.http.post(f"{world.console}{path}", content=body, headers={"content-type": FORM})
            assert answer.status_code in status, (path, size)
    assert await world.state(approval) == "waiting"


@pytest.mark.parametrize(
    "media_type", ["application/json", "text/plain", "multipart/form-data; boundary=x", FORM + "x"]
)
async def test_a_body_that_is_no_form(world: ConsoleWorld, media_type: str) -> None:
    """What other sites could send without asking first is no form of ours."""
    approval = await world.asked()
    browser = await world.browser(BOB)
    hidden = form_in(await browser.open(f"/approvals/{approval}")).hidden
    body = urlencode({**hidden, "decision": "approve"})
    url = f"{world.console}/approvals/{approval}"
    assert (await browser.http.post(url, content=body, headers={"content-type": media_type})).status_code == 400
    assert (await browser.http.get(f"{url}?{body}")).status_code == 200
    assert await world.state(approval) == "waiting"


async def test_a_journal_that_cannot_write(world: ConsoleWorld) -> None:
    """No decision counts that stands nowhere: 503, and the call waits still."""
    approval = await world.asked()
    browser = await world.browser(BOB)
    page = await browser.open(f"/approvals/{approval}")
    await world.plane.journal.close()
    answer = await browser.send(page, {"decision": "approve"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert await world.state(approval) == "waiting"
    assert (await (await world.browser()).sign_in(BOB, password="wrong-password")).status_code == 503


async def test_a_database_that_does_not_answer(world: ConsoleWorld) -> None:
    """Who is signed in cannot be told, so nobody is, and the page says that it is us."""
    browser = await world.browser(BOB)
    await world.plane.database.apply(text("ALTER TABLE sign_in RENAME TO gone"))
    for path in ("/approvals", "/approvals/x", "/sign-out"):
        answer = await browser.open(path)
        assert (answer.status_code, urlsplit(str(answer.url)).path) == (503, path)
        assert "retry-after" in answer.headers
    await world.plane.database.apply(text("ALTER TABLE gone RENAME TO sign_in"))
    assert (await browser.open("/approvals")).status_code == 200
