"""A person signs in at our authorization server for a guarded server, with our client, by discovery alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from perhop.client import PersonsBrowser, RegisteredClient, SignIn
from perhop.errors import AuthorizationNotGranted, TokenNotGranted
from perhop.resource_server import Guard
from tests.support.authorization_servers import (
    CALENDAR,
    EMAIL,
    ISSUER,
    PASSWORD,
    PERSON,
    RunningServer,
    claims_in,
    running_server,
)
from tests.support.browsers import Browser, answer_in, form_in

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
CLIENT = RegisteredClient.at(ISSUER, client_id="laptop-app")


@dataclass
class Place:
    """The authorization server, a guarded server, and Ann at her browser. `tokens` are what the server was sent."""

    server: RunningServer
    guard: Guard
    tokens: list[str]
    visits: int = 0
    decision: str = "allow"

    def http(self, auth: httpx2.Auth | None = None) -> httpx2.AsyncClient:
        """Both servers, by their names."""
        calendar = httpx2.ASGITransport(app=self.guard.asgi(self._calendar))
        return httpx2.AsyncClient(transport=_ByHost(self.server.http, calendar), auth=auth)

    def sign_in(self, **arguments: Any) -> SignIn:
        loop = asyncio.get_running_loop()

        def open_url(url: str) -> bool:
            asyncio.run_coroutine_threadsafe(self._go(url), loop)
            return True

        browser = PersonsBrowser(open_url=open_url, patience=10)
        usual = {"clients": [CLIENT], "person": browser, "http": self.http(), "clock": self.server.clock}
        return SignIn(CALENDAR, **(usual | arguments))

    async def call(self, sign_in: SignIn) -> int:
        async with self.http(sign_in.auth()) as http:
            return (await http.post(CALENDAR, json=PING)).status_code

    async def _go(self, url: str) -> None:
        """Ann signs in, answers the question, and is sent back to the program's own address."""
        self.visits += 1
        browser = Browser(self.server)
        page = await browser.open(urlsplit(url).query)
        if "email" in form_in(page).fields:
            page = await browser.follow(await browser.send(page, {"email": EMAIL, "password": PASSWORD}))
        back = await browser.send(page, {"decision": self.decision}) if page.status_code == 200 else page
        assert set(answer_in(back)) >= {"state", "iss"}
        async with httpx2.AsyncClient() as http:
            assert (await http.get(back.headers["location"])).status_code == 200

    async def _calendar(
        self, asgi_scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        headers = dict(asgi_scope["headers"])
        self.tokens.append(headers[b"authorization"].decode().partition(" ")[2])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class _ByHost(httpx2.AsyncBaseTransport):
    def __init__(self, issuer: httpx2.AsyncClient, calendar: httpx2.AsyncBaseTransport) -> None:
        self._issuer = issuer
        self._calendar = calendar

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.host == urlsplit(ISSUER).hostname:
            return await self._issuer._transport.handle_async_request(request)
        return await self._calendar.handle_async_request(request)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with running_server(tmp_path) as server:
        guard = Guard(resource=CALENDAR, issuers=[ISSUER], http=server.http, clock=server.clock)
        yield Place(server=server, guard=guard, tokens=[])
        await guard.aclose()


async def test_a_person_signs_in_and_stays(place: Place) -> None:
    """From the guard's 401 to a token of our server; it is refreshed before it expires, and Ann is asked once."""
    sign_in = place.sign_in()
    assert await place.call(sign_in) == 200
    first = claims_in(place.tokens[-1])
    assert (first["sub"], first["aud"], first["client_id"]) == (PERSON, CALENDAR, "laptop-app")
    for _ in range(2):
        place.server.clock.now += 280
        assert await place.call(sign_in) == 200
    assert len(set(place.tokens)) == 3
    assert claims_in(place.tokens[-1])["sub"] == PERSON
    assert place.visits == 1


async def test_a_person_who_says_no_is_believed(place: Place) -> None:
    """The call fails, and no token was issued."""
    place.decision = "deny"
    with pytest.raises(AuthorizationNotGranted, match="access_denied"):
        await place.call(place.sign_in())
    assert place.server.records("token.issued") == []


async def test_what_was_revoked_leads_back_to_the_person(place: Place) -> None:
    """A refresh token that came a second time from elsewhere ends the family; our client goes to Ann again."""
    sign_in = place.sign_in(dpop=False)
    await place.call(sign_in)
    kept = sign_in._store.signed_in(sign_in.server)
    assert kept is not None
    assert kept.refresh is not None
    stolen = {"grant_type": "refresh_token", "refresh_token": kept.refresh.reveal(), "client_id": "laptop-app"}
    assert (await place.server.ask(**stolen)).status_code == 200
    assert (await place.server.ask(**stolen)).status_code == 400
    place.server.clock.now += 301
    assert await place.call(sign_in) == 200
    assert place.visits == 2


async def test_a_code_is_worth_nothing_to_a_program_that_did_not_ask(place: Place) -> None:
    """Our client's verifier never leaves it but for the token endpoint: with the code alone nothing is redeemed."""
    seen: list[str] = []

    class Watched(Place):
        async def _go(self, url: str) -> None:
            browser = Browser(self.server)
            back = await browser.send(await browser.sign_in(urlsplit(url).query), {"decision": "allow"})
            seen.extend(parse_qs(urlsplit(url).query))
            code = answer_in(back)["code"]
            form = {"grant_type": "authorization_code", "code": code, "client_id": "laptop-app"}
            redirect = back.headers["location"].partition("?")[0]
            taken = await self.server.ask(**form, redirect_uri=redirect, resource=CALENDAR)
            assert taken.status_code == 400
            async with httpx2.AsyncClient() as http:
                await http.get(back.headers["location"])

    watched = Watched(server=place.server, guard=place.guard, tokens=[])
    with pytest.raises(TokenNotGranted):
        await watched.call(watched.sign_in())
    assert "code_challenge" in seen
    assert "code_verifier" not in seen
