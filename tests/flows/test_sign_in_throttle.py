"""Wrong passwords slow down whoever types them, and lock nobody out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from perhop.authorization_server.app import build_app
from perhop.authorization_server.interaction.known_devices import DEVICE_SECONDS, KnownDevices
from perhop.authorization_server.interaction.throttle import (
    AT_ACCOUNT,
    FORGET_SECONDS,
    FROM_ADDRESS,
    SignInThrottle,
)
from perhop.authorization_server.store import Account
from perhop.core.secret import Secret
from perhop.errors import SignInThrottled
from perhop.rules.networks import host_of
from tests.support.authorization_servers import EMAIL, PASSWORD, Clock, RunningServer, running_server
from tests.support.browsers import a_request, form_in

BOB = "bob@example.com"
THERE, NEAR, FAR = "192.0.2.7", "192.0.2.8", "198.51.100.1"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        yield running


class At:
    """A browser at an address."""

    def __init__(self, server: RunningServer, address: str) -> None:
        app = build_app(server.issuer.url, lambda: server.issuer)
        transport = httpx2.ASGITransport(app=app, client=(address, 1))
        self.http = httpx2.AsyncClient(transport=transport, base_url=server.issuer.url)

    async def tries(self, password: str = "wrong", email: str = EMAIL) -> httpx2.Response:
        page = await self.http.get(f"/authorize?{a_request()}")
        sent = {**form_in(page).hidden, "email": email, "password": password}
        return await self.http.post("/authorize", data=sent)


async def test_wrong_passwords_slow_down_who_types_them(server: RunningServer) -> None:
    """After ten, each one more doubles the wait: 429 with `Retry-After`, a page that says so, and one record each."""
    here = At(server, THERE)
    for _ in range(AT_ACCOUNT.free + 1):
        assert (await here.tries()).status_code == 403
    slowed = await here.tries(PASSWORD)
    assert (slowed.status_code, slowed.headers["retry-after"]) == (429, "2")
    assert "Wait 2 seconds" in slowed.text
    assert form_in(slowed).fields == ["email", "password"]
    assert server.last_refusal()["reason"] == "limit.exceeded"
    server.clock.now += 2
    assert (await here.tries()).status_code == 403
    assert (await here.tries()).headers["retry-after"] == "4"
    server.clock.now += 4
    assert (await here.tries(PASSWORD)).status_code == 303


async def test_an_unknown_address_is_slowed_alike(server: RunningServer) -> None:
    """Nothing tells whether there is an account: the waits are those of one that exists."""
    answers = []
    for email in (EMAIL, "nobody@example.com"):
        here = At(server, THERE if email == EMAIL else FAR)
        answers.append([(await here.tries(email=email)).status_code for _ in range(AT_ACCOUNT.free + 3)])
    assert answers[0] == answers[1]
    assert answers[0][-1] == 429


async def test_nobody_locks_an_account(server: RunningServer) -> None:
    """The person signs in from another network as if nothing was; and where the stranger is, a minute later."""
    stranger = At(server, THERE)
    for _ in range(AT_ACCOUNT.free + 9):
        await stranger.tries()
        server.clock.now += 60
    await stranger.tries()
    assert (await At(server, FAR).tries(PASSWORD)).status_code == 303
    neighbour = At(server, NEAR)
    slowed = await neighbour.tries(PASSWORD)
    assert slowed.status_code == 429
    assert int(slowed.headers["retry-after"]) <= AT_ACCOUNT.longest
    server.clock.now += AT_ACCOUNT.longest
    assert (await neighbour.tries(PASSWORD)).status_code == 303


async def test_a_browser_that_is_known_is_not_slowed_by_others(server: RunningServer) -> None:
    """Not by others at its account, nor at its address; its own wrong passwords count for itself."""
    known = At(server, THERE)
    assert (await known.tries(PASSWORD)).status_code == 303
    session = "__Host-perhop-session"
    assert known.http.cookies.get("__Host-perhop-device")
    stranger = At(server, THERE)
    for number in range(FROM_ADDRESS.free + 5):
        await stranger.tries(email=EMAIL if number % 2 else f"{number}@example.com")
    assert (await stranger.tries()).status_code == 429
    known.http.cookies.delete(session)
    assert (await known.tries(PASSWORD)).status_code == 303
    known.http.cookies.delete(session)
    for _ in range(AT_ACCOUNT.free + 1):
        assert (await known.tries()).status_code == 403
    assert (await known.tries(PASSWORD)).status_code == 429


async def test_a_known_browser_is_known_for_its_own_account(server: RunningServer) -> None:
    """At another's account it is a stranger."""
    hashed = server.issuer.passwords.hash(PASSWORD)
    await server.stores.accounts.add(Account(email=BOB, subject="user:bob", password_hash=hashed))
    here = At(server, THERE)
    await here.tries(PASSWORD)
    here.http.cookies.delete("__Host-perhop-session")
    for _ in range(AT_ACCOUNT.free + 1):
        await At(server, THERE).tries(email=BOB)
    assert (await here.tries(PASSWORD, email=BOB)).status_code == 429


async def test_many_tries_at_once_are_as_many(server: RunningServer) -> None:
    """A try counts when it begins: those that are under way do not pass unseen."""
    throttle = SignInThrottle(server.clock)
    passed = 0
    for _ in range(100):
        try:
            throttle.begin(EMAIL, address=THERE, device=None)
        except SignInThrottled:
            continue
        passed += 1
    assert passed == AT_ACCOUNT.free + 1


def test_many_accounts_from_one_address() -> None:
    """Whoever tries one account after the other is slowed by the address, up to a quarter of an hour."""
    clock = Clock()
    throttle = SignInThrottle(clock)
    waits = []
    for number in range(40):
        try:
            throttle.begin(f"{number}@example.com", address=THERE, device=None)
        except SignInThrottled as fact:
            waits.append(fact.retry_after)
            clock.now += fact.retry_after
    assert waits == [2 ** (number + 1) for number in range(9)] + [FROM_ADDRESS.longest] * (len(waits) - 9)
    throttle.begin("0@example.com", address=NEAR, device=None)


def test_an_own_account_clears_no_others() -> None:
    """Who signs in to an account of their own in between has as many tries at others' as anybody."""
    throttle = SignInThrottle(clock := Clock())
    passed = 0
    for number in range(100):
        try:
            throttle.begin(f"{number}@example.com", address=THERE, device=None)
            passed += 1
            throttle.was_right(throttle.begin("mallory@example.com", address=THERE, device=None))
        except SignInThrottled:
            break
    assert passed <= FROM_ADDRESS.free + 1
    clock.now += FORGET_SECONDS
    throttle.begin("0@example.com", address=THERE, device=None)


def test_counters_are_bounded() -> None:
    """However many accounts and addresses are tried, so many counters are kept, and the newest among them."""
    throttle = SignInThrottle(Clock(), capacity=50)
    for number in range(1000):
        throttle.begin(f"{number}@example.com", address=f"10.{number // 250}.{number % 250}.1", device=None)
    assert len(throttle) == 100
    for _ in range(AT_ACCOUNT.free):
        throttle.begin("999@example.com", address=FAR, device=None)


def test_one_machine_has_one_address() -> None:
    """An IPv6 /64 is one machine's; an IPv4 address is the same however it is written."""
    assert host_of("2001:db8::1") == host_of("2001:db8::ffff:1%eth0") == "2001:db8::/64"
    assert host_of("2001:db8:0:1::1") != host_of("2001:db8::1")
    assert host_of("::ffff:192.0.2.7") == host_of("192.0.2.7") == "192.0.2.7"
    assert host_of("") == ""


def test_the_cookie_of_a_known_browser() -> None:
    """Good for its account and place, for half a year; nobody makes one."""
    devices, now = KnownDevices(Secret("a key")), 1_800_000_000
    cookie = devices.cookie("user:ann", "authorize", "browser-1", now=now)
    assert devices.device(cookie, "user:ann", "authorize", now=now) == "browser-1"
    assert devices.device(cookie, "user:ann", "authorize", now=now + DEVICE_SECONDS - 1) == "browser-1"
    assert KnownDevices(Secret("a key")).device(cookie, "user:ann", "authorize", now=now) == "browser-1"
    for refused in (
        devices.device(cookie, "user:bob", "authorize", now=now),
        devices.device(cookie, "user:ann", "console", now=now),
        devices.device(cookie, "user:ann", "authorize", now=now + DEVICE_SECONDS),
        devices.device(cookie.replace("browser-1", "browser-2"), "user:ann", "authorize", now=now),
        devices.device(f"{now + 1}{cookie[10:]}", "user:ann", "authorize", now=now + 1),
        KnownDevices(Secret("another")).device(cookie, "user:ann", "authorize", now=now),
        devices.device(None, "user:ann", "authorize", now=now),
        devices.device("x", "user:ann", "authorize", now=now),
    ):
        assert refused is None
