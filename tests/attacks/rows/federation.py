"""Sign-in through OpenID providers: answers that are somebody else's, and ways around one that is not finished."""

from __future__ import annotations

import asyncio
import html
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from perhop.authorization_server.people_store import FederatedAccount
from perhop.settings import load
from perhop.wiring.reload import put_in_force
from tests.attacks.configuration import LOOPBACK_CALLBACK
from tests.attacks.row import Door, Expected, Row, Seen
from tests.attacks.tries import refused, tried
from tests.attacks.visitors import Visitor, a_query, shown
from tests.attacks.world import EMAIL, World
from tests.support.browsers import form_in
from tests.support.openid_providers import CLIENT, PROVIDER_SECRET, OpenIdProvider, served

ANN = {"sub": "ann-there", "email": EMAIL, "email_verified": True}


@asynccontextmanager
async def _providers(world: World) -> AsyncIterator[tuple[OpenIdProvider, OpenIdProvider]]:
    """The installation goes by two providers while the block runs, one of which is the attacker's."""
    file = world.plane.settings.file
    before = file.read_text(encoding="utf-8")
    corp = OpenIdProvider(now=world.clock, person=dict(ANN))
    evil = OpenIdProvider(now=world.clock, person=dict(ANN), names_issuer=False)
    async with served(corp), served(evil):
        named = {"corp": corp, "evil": evil}
        section = "sign_in:\n  providers:\n" + "".join(
            f"    {name}: {{issuer: {each.issuer}, client_id: {CLIENT}, client_secret: {PROVIDER_SECRET}, "
            "accounts: anyone}\n"
            for name, each in named.items()
        )
        await _go_by(world, before + section)
        try:
            yield corp, evil
        finally:
            await _go_by(world, before)


async def _go_by(world: World, text: str) -> None:
    """Put this file in force, and let the self-tests that this begins come to their end: they call the guards, too."""
    file, tested = world.plane.settings.file, _canaries(world)
    file.write_text(text, encoding="utf-8")
    await put_in_force(world.plane, load(file, os.environ), by="test")
    async with asyncio.timeout(20):
        while _canaries(world) < tested + 2:
            await asyncio.sleep(0.01)


def _canaries(world: World) -> int:
    """How often the guards of calendar and rooms have refused the self-test's token that is good nowhere: its last."""
    return sum("/canary/" in line for line in world.log.lines)


class Traveller(Visitor):
    """A browser that goes to providers."""

    async def go(self, page: httpx2.Response, provider: str = "corp") -> str:
        going = await self.send(page, {"provider": provider})
        return html.unescape(re.findall(r'content="0; url=([^"]*)"', going.text)[0])

    async def back(self, url: str) -> httpx2.Response:
        self._world.tick()
        return self._look(await self._http.get(url))


def _query(world: World, **changes: str | None) -> str:
    return a_query(world, client_id="laptop-app", redirect_uri=LOOPBACK_CALLBACK, **changes)


async def _is_nobody(world: World, browser: Visitor) -> bool:
    """True if this browser is asked who it is."""
    return "email" in form_in(await browser.open(_query(world))).fields


async def _state_of_another(world: World) -> dict[str, Seen]:
    """The attacker begins a sign-in, and has the victim's browser bring the answer."""
    sights = {}
    async with _providers(world) as (corp, _), Traveller(world) as mallory, Traveller(world) as ann:
        for name in ("who has begun nothing", "who has begun one"):
            answer = corp.sign_in(await mallory.go(await mallory.open(_query(world))))
            if name == "who has begun one":
                await ann.go(await ann.open(_query(world)))
            size = world.reader.size()
            sights[name] = shown(world, await ann.back(answer), size)
            assert await _is_nobody(world, ann)
            assert (await mallory.back(answer)).status_code == 400, "an answer that was brought elsewhere is over"
        url = f"{world.issuer}/sign-in/corp/callback?code=a-code-of-mallory-123456&state="
        for name, state in (("a state of one's own", "fixed-by-an-attacker"), ("no state", "")):
            size = world.reader.size()
            sights[name] = shown(world, await ann.back(f"{url}{state}&iss={corp.issuer}"), size)
    return sights


async def _callback_of_another(world: World) -> dict[str, Seen]:
    """An answer of one provider at the callback of the other, which would redeem the code at its own."""
    sights = {}
    async with _providers(world) as (corp, evil), Traveller(world) as ann:
        asked = {"corp's at evil's": ("corp", corp, "evil"), "evil's at corp's": ("evil", evil, "corp")}
        for name, (there, provider, at) in asked.items():
            answer = provider.sign_in(await ann.go(await ann.open(_query(world)), there))
            size = world.reader.size()
            sights[name] = shown(world, await ann.back(answer.replace(f"/{there}/", f"/{at}/")), size)
        answer = corp.sign_in(await ann.go(await ann.open(_query(world))))
        size = world.reader.size()
        sights["another's `iss`"] = shown(
            world, await ann.back(re.sub(r"iss=[^&]*", f"iss={evil.issuer}", answer)), size
        )
        assert "token" not in (*corp.seen, *evil.seen), "no code went anywhere"
        assert await _is_nobody(world, ann)
    return sights


async def _known_to(world: World, provider: OpenIdProvider) -> list[FederatedAccount]:
    return [each for each in await world.plane.stores.federated_accounts.list() if each.issuer == provider.issuer]


async def _subject_of_another(world: World) -> dict[str, Seen]:
    """The attacker's provider says that it is the other one, or signs in under the other's name."""
    sights = {}
    async with _providers(world) as (corp, evil), Traveller(world) as ann, Traveller(world) as mallory:
        await ann.back(corp.sign_in(await ann.go(await ann.open(_query(world)))))
        (account,) = await _known_to(world, corp)
        lies: Mapping[str, Mapping[str, Any]] = {
            "the other's issuer": {"claims": {"iss": corp.issuer}},
            "the other's token": {"raw_id_token": corp.id_token("a-nonce-of-nobody")},
        }
        for name, lie in lies.items():
            for member, value in lie.items():
                setattr(evil, member, value)
            answer = evil.sign_in(await mallory.go(await mallory.open(_query(world)), "evil"))
            size = world.reader.size()
            seen = shown(world, await mallory.back(answer), size)
            sights[name] = Seen(observed=seen.observed, reason="token.*", records=seen.records)
            assert seen.reason in ("token.issuer", "token.signature")
            assert await _is_nobody(world, mallory)
            evil.claims, evil.raw_id_token = {}, None
        # Its own word of a person with the same subject and address is of another person.
        await mallory.back(evil.sign_in(await mallory.go(await mallory.open(_query(world)), "evil")))
        (other,) = await _known_to(world, evil)
        assert [each.subject for each in await _known_to(world, corp)] == [account.subject]
        assert other.subject != account.subject
    return sights


async def _unfinished(world: World) -> dict[str, Seen]:
    """While the person is still at the provider, perhaps at a second factor, nothing here is theirs."""
    sights = {}
    async with _providers(world) as (corp, _), Traveller(world) as ann, Traveller(world) as bob:
        await bob.back(corp.sign_in(await bob.go(await bob.open(_query(world)))))
        consent = form_in(await bob.open(_query(world))).hidden
        url = await ann.go(await ann.open(_query(world)))
        state = re.findall(r"[?&]state=([^&]*)", url)[0]
        posted = f"{world.issuer}/authorize"
        tries = {
            "the request again": lambda: ann.open(_query(world)),
            "a consent that was shown to another": lambda: ann.post(posted, {**consent, "decision": "allow"}),
        }
        for name, attempt in tries.items():
            size = world.reader.size()
            sights[name] = shown(world, await attempt(), size)
        answers = {
            "an answer without a code": f"state={state}&iss={corp.issuer}",
            "an answer that says to wait": f"error=interaction_required&state={state}&iss={corp.issuer}",
        }
        for name, answer in answers.items():
            size = world.reader.size()
            page = await ann.back(f"{world.issuer}/sign-in/corp/callback?{answer}")
            assert page.status_code == 400
            assert (world.reader.size() - size, "location" in page.headers) == (1, False)
            size = world.reader.size()
            sights[name] = shown(world, await ann.open(_query(world)), size)
    return sights


async def _console(world: World) -> dict[str, Seen]:
    """The console's pages without a session, with one of the authorization server, or with one that was made up."""
    console, sights = f"http://{world.at.console}", {}
    async with Visitor(world) as ann:
        await ann.sign_in(_query(world))
        theirs = ann._http.cookies.get("perhop-session") or ""
    assert theirs
    cookies = {
        "no session": {},
        "of the authorization server": {"perhop-session": theirs, "perhop-console-session": theirs},
        "made up": {"perhop-console-session": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
    }
    for name, sent in cookies.items():
        async with httpx2.AsyncClient(timeout=15, cookies=sent) as http:
            for path in ("/approvals", "/approvals/of-nobody"):
                world.tick()
                size = world.reader.size()
                for page in (
                    await http.get(console + path),
                    *((await http.post(console + path, data={"decision": "approve"}),) if path != "/approvals" else ()),
                ):
                    assert page.headers["location"].startswith("/sign-in")
                    sights[f"{name}, {path}, {page.request.method}"] = Seen(
                        observed=f"{page.status_code} sign-in", records=len(world.records_since(size))
                    )
    return sights


ROWS: tuple[Row, ...] = (
    tried(
        "state-fixed-by-an-attacker",
        "an answer to a sign-in that was begun in another browser",
        "RFC 9700 §4.7",
        Door.AUTHORIZE,
        _state_of_another,
        refused("session.mismatch", "400"),
    ),
    tried(
        "callback-of-another-server",
        "a provider's answer at another provider's callback, or in its name",
        "RFC 9700 §4.4.2; RFC 9207 §2.4",
        Door.AUTHORIZE,
        _callback_of_another,
        refused("token.issuer", "400"),
    ),
    tried(
        "subject-asserted-by-another-issuer",
        "a provider that speaks of another provider's people",
        "RFC 8725 §3.8; RFC 9700 §4.4",
        Door.AUTHORIZE,
        _subject_of_another,
        refused("token.*", "400"),
    ),
    tried(
        "code-while-a-second-factor-is-pending",
        "a code for somebody who is not yet back from the provider",
        "CWE-304; RFC 9700 §4.7",
        Door.AUTHORIZE,
        _unfinished,
        Expected("200 sign-in", None, records=0),
    ),
    tried(
        "console-without-a-session",
        "the console's pages without a sign-in at the console",
        "CWE-306; RFC 9700 §4.7",
        Door.AUTHORIZE,
        _console,
        Expected("303 sign-in", None, records=0),
    ),
)
