"""The authorization endpoint: redirects, PKCE, sign-in, consent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import httpx2

from perhop.rules.pkce import code_challenge
from tests.attacks.configuration import CALLBACK, LOOPBACK_CALLBACK
from tests.attacks.row import Door, Expected, Row, Seen
from tests.attacks.tries import refused, tried
from tests.attacks.visitors import VERIFIER, Visitor, a_query, sent_back, shown
from tests.attacks.world import EMAIL, PASSWORD, World
from tests.support.browsers import form_in
from tests.support.leaks.secrets import Kind

NOWHERE = Expected("400", "client.authentication")
"""A page for the person, and nothing is sent anywhere."""
ASKED_AGAIN = Expected("200 consent", None, records=0)

Queries = Callable[[World], Mapping[str, str]]


def _opening(make: Queries) -> Any:
    """Open each request as somebody who has not signed in."""

    async def attempt(world: World) -> dict[str, Seen]:
        sights = {}
        async with Visitor(world) as visitor:
            for name, query in make(world).items():
                size = world.reader.size()
                page = await visitor.open(query)
                assert "location" not in page.headers or page.headers["location"].startswith(f"{CALLBACK}?")
                sights[name] = shown(world, page, size)
        return sights

    return attempt


def _redirects(world: World) -> dict[str, str]:
    odd = {
        "subpath": f"{CALLBACK}/x",
        "parent": CALLBACK.rpartition("/")[0],
        "slash": f"{CALLBACK}/",
        "query": f"{CALLBACK}?x=y",
        "fragment": f"{CALLBACK}#x",
        "case of the path": CALLBACK.replace("callback", "Callback"),
        "case of the host": CALLBACK.replace("desk", "Desk"),
        "user": CALLBACK.replace("://", "://desk.example.com@evil.example/"),
        "port": CALLBACK.replace(".com", ".com:443"),
        "another scheme": CALLBACK.replace("https", "http"),
        "subdomain": CALLBACK.replace("desk", "x.desk"),
        "suffix": CALLBACK.replace(".com", ".com.evil.example"),
        "dots": CALLBACK.replace("/callback", "/x/../callback"),
        "encoded": CALLBACK.replace("callback", "%63allback"),
        "script": "javascript:alert(1)//" + CALLBACK,
        "data": "data:text/html,x",
        "line end": f"{CALLBACK}\r\nx: y",
        "backslash": CALLBACK.replace("/callback", "\\callback"),
    }
    queries = {name: a_query(world, redirect_uri=uri) for name, uri in odd.items()}
    laptop = {
        "localhost for 127.0.0.1": LOOPBACK_CALLBACK.replace("127.0.0.1", "localhost"),
        "loopback, another path": LOOPBACK_CALLBACK + "/x",
        "loopback, https": LOOPBACK_CALLBACK.replace("http", "https"),
        "loopback, port zero-padded": LOOPBACK_CALLBACK.replace("3955", "03955"),
        "loopback, port too large": LOOPBACK_CALLBACK.replace("3955", "65536"),
        "loopback, user": LOOPBACK_CALLBACK.replace("://", "://x@"),
        "loopback, another address": LOOPBACK_CALLBACK.replace("127.0.0.1", "127.0.0.2"),
    }
    return queries | {name: a_query(world, client_id="laptop-app", redirect_uri=uri) for name, uri in laptop.items()}


def _strangers(world: World) -> dict[str, str]:
    return {
        "unknown client": a_query(world, client_id="nobody"),
        "no client": a_query(world, client_id=None),
        "no redirect": a_query(world, redirect_uri=None),
        "another client's redirect": a_query(world, client_id="other-app"),
        "a client that has none": a_query(world, client_id="planner"),
        "a client by its URL": a_query(world, client_id="https://evil.example/client.json"),
        "two clients": a_query(world) + "&client_id=other-app",
        "two redirects": a_query(world) + "&redirect_uri=https%3A%2F%2Fevil.example",
    }


def _without_pkce(world: World) -> dict[str, str]:
    return {
        "none": a_query(world, code_challenge=None, code_challenge_method=None),
        "method alone": a_query(world, code_challenge=None),
        "plain": a_query(world, code_challenge=VERIFIER, code_challenge_method="plain"),
        "plain by default": a_query(world, code_challenge=VERIFIER, code_challenge_method=None),
        "another case": a_query(world, code_challenge_method="s256"),
        "too short": a_query(world, code_challenge="x"),
        "padded": a_query(world, code_challenge=code_challenge(VERIFIER) + "="),
        "spare bits": a_query(world, code_challenge="A" * 42 + "B"),
    }


def _response_types(world: World) -> dict[str, str]:
    names = ("token", "id_token", "code token", "code id_token", "none", "CODE", "code ")
    return {name: a_query(world, response_type=name) for name in names}


def _odd_requests(world: World) -> dict[str, str]:
    return {
        "no response type": a_query(world, response_type=None),
        "fragment": a_query(world, response_mode="fragment"),
        "form post": a_query(world, response_mode="form_post"),
        "repeated scope": a_query(world) + "&scope=calendar%3Aread",
        "repeated challenge": a_query(world) + "&code_challenge=x",
    }


def _other_resources(world: World) -> dict[str, str]:
    return {
        "unknown": a_query(world, resource="https://evil.example/mcp"),
        "beyond its reach": a_query(world, resource=world.at.uri("rooms")),
        "the server itself": a_query(world, resource=f"http://{world.at.calendar_past}/mcp"),
        "a slash more": a_query(world, resource=world.at.uri("calendar") + "/"),
        "fragment": a_query(world, resource=world.at.uri("calendar") + "#x"),
    }


def _wider(world: World) -> dict[str, str]:
    names = ("calendar:write", "calendar:read calendar:write", "*", "CALENDAR:READ", "openid", "calendar:read\tx")
    return {name: a_query(world, scope=name) for name in names}


async def _wrong_sign_in(world: World) -> dict[str, Seen]:
    people = {
        "wrong password": (EMAIL, "wrong"),
        "no password": (EMAIL, ""),
        "nobody": ("nobody@example.com", "a-password-of-a-person"),
        "the console's account": ("admin", "a-password-of-a-person"),
        "injection": ("ann@example.com' OR '1'='1", "x"),
    }
    sights = {}
    for name, (email, password) in people.items():
        async with Visitor(world) as visitor:
            page = await visitor.open(a_query(world))
            size = world.reader.size()
            answer = await visitor.send(page, {"email": email, "password": password})
            sights[name] = shown(world, answer, size)
            assert "perhop-session" not in answer.headers.get("set-cookie", "")
    return sights


async def _password_carried_along(world: World) -> dict[str, Seen]:
    """After the password was sent, the browser goes on by GET, with nothing to remember or to tell."""
    query = a_query(world, client_id="laptop-app", redirect_uri=LOOPBACK_CALLBACK)
    sights = {}
    async with Visitor(world) as ann:
        page = await ann.open(query)
        size = world.reader.size()
        onward = await ann.send(page, {"email": EMAIL, "password": PASSWORD})
        sights["after sign-in"] = shown(world, onward, size)
        assert PASSWORD not in str(onward.headers)
        consent = await ann.open(query)
        size = world.reader.size()
        sent = await ann.send(consent, {"decision": "allow"})
        world.leaks.note(sent_back(sent)["code"], Kind.CODE)
        sights["after consent"] = Seen(observed=shown(world, sent, size).observed.replace("code", "onward"))
    return sights


async def _sign_in_from_elsewhere(world: World) -> dict[str, Seen]:
    """A stranger's page that sends the form: without the browser's cookie, or with a seal of another browser."""
    sights = {}
    async with Visitor(world) as mallory, Visitor(world) as ann:
        stolen = form_in(await mallory.open(a_query(world))).hidden
        filled = {"email": EMAIL, "password": "a-password-of-a-person"}
        url = f"{world.issuer}/authorize"
        cases = {"no cookie": stolen, "no seal": {**stolen, "seal": ""}}
        for name, hidden in cases.items():
            size = world.reader.size()
            async with Visitor(world) as fresh:
                sights[name] = shown(world, await fresh.post(url, hidden | filled), size)
        await ann.open(a_query(world))
        size = world.reader.size()
        sights["another browser's seal"] = shown(world, await ann.post(url, stolen | filled), size)
    return sights


async def _consent_forged(world: World) -> dict[str, Seen]:
    """A consent that this person, in this browser, did not give to this request."""
    query = a_query(world, client_id="laptop-app", redirect_uri=LOOPBACK_CALLBACK)
    other = a_query(world, client_id="laptop-app", redirect_uri=LOOPBACK_CALLBACK, state="another")
    async with Visitor(world) as ann, Visitor(world) as again:
        page, foreign = await ann.sign_in(query), await again.sign_in(query)
        hidden, other_hidden = form_in(page).hidden, form_in(await ann.open(other)).hidden
        allow, old = {"decision": "allow"}, {"seal": "1." + hidden["seal"].partition(".")[2]}
        sent: dict[str, Mapping[str, str]] = {
            "no seal": {**hidden, "seal": "", **allow},
            "another request's seal": {**hidden, "seal": other_hidden["seal"], **allow},
            "another browser's seal": {**hidden, "seal": form_in(foreign).hidden["seal"], **allow},
            "another request under this seal": {**hidden, "request": other_hidden["request"], **allow},
            "an old seal": {**hidden, **old, **allow},
            "no decision": hidden,
            "an unknown decision": {**hidden, "decision": "yes"},
        }
        sights = {}
        for name, fields in sent.items():
            size = world.reader.size()
            sights[name] = shown(world, await ann.post(f"{world.issuer}/authorize", fields), size)
    return sights


async def _consent_of_another(world: World) -> dict[str, Seen]:
    """Who allowed one application something has not allowed it to another, nor for more."""
    sights = {}
    async with Visitor(world) as ann:
        await ann.code(a_query(world))
        asked = {
            "another client": a_query(world, client_id="other-app", redirect_uri="https://other.example.com/callback"),
            "whoever is on this machine": a_query(
                world, client_id="laptop-app", redirect_uri=LOOPBACK_CALLBACK.replace("3955", "4000")
            ),
        }
        for name, query in asked.items():
            size = world.reader.size()
            sights[name] = shown(world, await ann.open(query), size)
    return sights


async def _parallel_consents(world: World) -> dict[str, Seen]:
    """Two loads of one consent page at once: each form is good for itself, and each code once."""
    query = a_query(world, client_id="laptop-app", redirect_uri=LOOPBACK_CALLBACK)
    async with Visitor(world) as ann:
        await ann.sign_in(query)
        pages = await asyncio.gather(ann.open(query), ann.open(query))
        size = world.reader.size()
        answers = await asyncio.gather(*(ann.send(page, {"decision": "allow"}) for page in pages))
        codes = {world.leaks.note(sent_back(answer)["code"], Kind.CODE) for answer in answers}
        assert len(codes) == 2
        return {str(number): shown(world, answer, size) for number, answer in enumerate(answers)}


async def _named(world: World) -> dict[str, Seen]:
    """Codes and errors alike say who sends them, so that a client of two servers can tell."""
    sights = {}
    async with Visitor(world) as ann:
        await ann.sign_in(a_query(world))
        pages: dict[str, httpx2.Response] = {"error": await ann.open(a_query(world, response_type="token"))}
        await ann.code(a_query(world))
        pages["code"] = await ann.open(a_query(world))
    for name, page in pages.items():
        answer = sent_back(page)
        assert (answer["iss"], answer["state"]) == (world.issuer, "a-state")
        sights[name] = Seen(observed=str(page.status_code))
    metadata = (await world.http.get(f"{world.issuer}/.well-known/oauth-authorization-server")).json()
    assert metadata["authorization_response_iss_parameter_supported"] is True
    return sights


ROWS: tuple[Row, ...] = (
    tried(
        "redirect-elsewhere",
        "a redirect URI that is nearly the registered one",
        "RFC 9700 §4.1; CVE-2025-4143",
        Door.AUTHORIZE,
        _opening(_redirects),
        NOWHERE,
    ),
    tried(
        "redirect-of-a-stranger",
        "an unknown client, or one with another's redirect URI",
        "RFC 6749 §3.1.2.4",
        Door.AUTHORIZE,
        _opening(_strangers),
        NOWHERE,
    ),
    tried(
        "authorization-without-pkce",
        "no challenge, or one that protects nothing",
        "RFC 9700 §4.8; RFC 7636 §4.4.1",
        Door.AUTHORIZE,
        _opening(_without_pkce),
        refused("request.malformed", "303 invalid_request"),
    ),
    tried(
        "other-response-type",
        "the implicit grant and its mixtures",
        "RFC 9700 §2.1.2; CVE-2026-7571",
        Door.AUTHORIZE,
        _opening(_response_types),
        refused("request.malformed", "303 unsupported_response_type"),
    ),
    tried(
        "odd-authorization-request",
        "another response mode, or a parameter twice",
        "RFC 6749 §3.1",
        Door.AUTHORIZE,
        _opening(_odd_requests),
        refused("request.malformed", "303 invalid_request"),
    ),
    tried(
        "authorization-for-another-resource",
        "a resource that is unknown, or beyond the client's reach",
        "RFC 8707 §2.1",
        Door.AUTHORIZE,
        _opening(_other_resources),
        refused("audience.mismatch", "303 invalid_target"),
    ),
    tried(
        "authorization-for-two-resources",
        "two values of `resource`",
        "RFC 8707 §2.1",
        Door.AUTHORIZE,
        _opening(
            lambda w: {"other": a_query(w) + "&resource=https%3A%2F%2Fevil.example", "empty": a_query(w) + "&resource="}
        ),
        refused("audience.multiple", "303 invalid_target"),
    ),
    tried(
        "authorization-for-no-resource",
        "no `resource`",
        "RFC 8707 §2.1",
        Door.AUTHORIZE,
        _opening(lambda w: {"": a_query(w, resource=None)}),
        refused("audience.missing", "303 invalid_target"),
    ),
    tried(
        "authorization-for-wider-scopes",
        "scopes beyond the client's reach",
        "RFC 6749 §3.3",
        Door.AUTHORIZE,
        _opening(_wider),
        refused("scope.insufficient", "303 invalid_scope"),
    ),
    tried(
        "mix-up",
        "an answer that does not say which server sent it",
        "RFC 9207 §2",
        Door.AUTHORIZE,
        _named,
        Expected("303", None, records=0),
    ),
    tried(
        "wrong-sign-in",
        "a wrong password, or an account that may not sign in here",
        "RFC 9700 §4.7",
        Door.AUTHORIZE,
        _wrong_sign_in,
        Expected("403 sign-in", "client.authentication"),
    ),
    tried(
        "password-carried-along",
        "a redirect that repeats the password, or tells where it came from",
        "RFC 9700 §4.12; RFC 9700 §4.2",
        Door.AUTHORIZE,
        _password_carried_along,
        Expected("303 onward", None, records=0),
    ),
    tried(
        "sign-in-from-elsewhere",
        "a stranger's page that sends the sign-in form",
        "RFC 9700 §4.7",
        Door.AUTHORIZE,
        _sign_in_from_elsewhere,
        Expected("200 sign-in", None, records=0),
    ),
    tried(
        "forged-consent",
        "a consent form that was not shown to this person for this request",
        "RFC 9700 §4.7; RFC 9700 §4.16",
        Door.AUTHORIZE,
        _consent_forged,
        ASKED_AGAIN,
    ),
    tried(
        "consent-of-another-client",
        "a consent that was given to another client",
        "MCP security best practices; CVE-2026-27124",
        Door.AUTHORIZE,
        _consent_of_another,
        ASKED_AGAIN,
    ),
    tried(
        "parallel-consents",
        "a consent page loaded twice at once",
        "GHSA-c2jp-c369-7pvx",
        Door.AUTHORIZE,
        _parallel_consents,
        Expected("303 code", None, records=0),
    ),
)
