"""DPoP at the guard: a bound token is admitted with a proof of its key, for this request, once."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from perhop.core.resource import ResourceUri
from perhop.errors import SettingsError
from perhop.resource_server import Admitted, Challenge, Guard, SqliteReplay
from tests.support.dpop import ProofKey, a_proof
from tests.support.offline_issuer import Clock, OfflineIssuer

ORIGIN = f"https://dpop-{os.getpid()}.example.com"  # one process of a machine guards a resource, and tests have several
RESOURCE = f"{ORIGIN}/mcp"
KEY, OTHER = ProofKey(), ProofKey()
Headers = list[tuple[str, str]]


class Site:
    """A guard, the issuer that it trusts, and the clock of both."""

    def __init__(self, **changes: Any) -> None:
        self.clock = Clock()
        self.issuer = OfflineIssuer(clock=self.clock)
        arguments: dict[str, Any] = {"resource": RESOURCE, "issuers": [self.issuer.url]}
        self.guard = Guard(**(arguments | changes), http=self.issuer.http(), clock=self.clock)
        self.token = self.issuer.mint(RESOURCE, sender_key=KEY.thumbprint)
        self.nonce: str | None = None

    def proof(self, key: ProofKey = KEY, *, method: str = "GET", uri: str = RESOURCE, **changes: Any) -> str:
        usual: dict[str, Any] = {"now": self.clock.now, "token": self.token, "nonce": self.nonce}
        return a_proof(key, method, uri, **(usual | changes))

    async def check(
        self,
        *proofs: str,
        scheme: str = "DPoP",
        token: str | None = None,
        method: str = "GET",
        path: str = "/mcp",
        **more: str,
    ) -> Admitted | Challenge:
        headers: Headers = [("Authorization", f"{scheme} {token or self.token}"), *(("DPoP", each) for each in proofs)]
        headers += [(name.replace("_", "-"), value) for name, value in more.items()]
        return await self.guard.check(method=method, path=path, headers=headers, body=b"")

    async def served(self, proof: str, *pieces: bytes) -> int:
        """The status that a guarded application answers with, whose request comes in pieces."""
        sent: list[Any] = []
        left = [*pieces]

        async def hear() -> Any:
            await asyncio.sleep(0)
            return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

        async def send(message: Any) -> None:
            sent.append(message)

        async def application(_: Any, __: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        headers = [("authorization", f"DPoP {self.token}"), ("dpop", proof), ("content-type", "application/json")]
        octets = [(name.encode(), value.encode()) for name, value in headers]
        asgi_scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": octets}
        await self.guard.asgi(application)(asgi_scope, hear, send)
        return int(sent[0]["status"])

    async def begun(self) -> Site:
        """The same, once the guard has told a nonce."""
        outcome = await self.check(self.proof())
        assert isinstance(outcome, Challenge)
        assert fields(outcome)["www-authenticate"].startswith('DPoP error="use_dpop_nonce"')
        self.nonce = fields(outcome)["dpop-nonce"]
        return self


def fields(challenge: Challenge) -> dict[str, str]:
    return dict(challenge.headers)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = await Site().begun()
    yield made
    await made.guard.aclose()


async def test_a_proof_is_asked_for_once_however_long_its_body_takes(site: Site) -> None:
    """The token is asked again when the body has come; its proof, which is used up, is not."""
    proof = site.proof(method="POST")
    assert await site.served(proof, b'{"jsonrpc":"2.0",', b'"id":1,"method":"ping"}') == 204
    assert await site.served(proof, b'{"jsonrpc":"2.0",', b'"id":1,"method":"ping"}') == 401


async def test_a_bound_token_is_admitted_with_a_proof(site: Site) -> None:
    """RFC 9449 §7.1: the token says its key, and the answer is to carry the nonce for the next proof."""
    outcome = await site.check(site.proof())
    assert isinstance(outcome, Admitted)
    assert outcome.token.sender_key == KEY.thumbprint
    assert outcome.answer_headers == (("dpop-nonce", site.nonce),)
    bearer = await site.check(token=site.issuer.mint(RESOURCE), scheme="Bearer")
    assert isinstance(bearer, Admitted)
    assert (bearer.token.sender_key, bearer.answer_headers) == (None, ())


async def test_a_bound_token_alone_is_refused(site: Site) -> None:
    """Without proof, as a bearer token, under another key, and a bearer token as if it were bound."""
    bearer = site.issuer.mint(RESOURCE)
    outcomes = [
        await site.check(),
        await site.check(scheme="Bearer"),
        await site.check(site.proof(), scheme="Bearer"),
        await site.check(site.proof(OTHER)),
        await site.check(site.proof(), site.proof()),
        await site.check(site.proof(token=bearer), token=bearer),
        await site.check(site.proof(), token=site.issuer.mint(RESOURCE, sender_key=OTHER.thumbprint)),
    ]
    for outcome in outcomes:
        assert isinstance(outcome, Challenge)
        assert (outcome.status, outcome.reason, outcome.body) == (401, "sender.mismatch", b"")
        assert fields(outcome)["www-authenticate"].startswith("DPoP error=")


async def test_a_token_that_is_bound_to_a_certificate_is_refused(site: Site) -> None:
    """No other confirmation is taken, and none beside a key."""
    for confirmed in ({"x5t#S256": KEY.thumbprint}, {"jkt": KEY.thumbprint, "x5t#S256": KEY.thumbprint}):
        token = site.issuer.sign(site.issuer.claims(RESOURCE) | {"cnf": confirmed})
        outcome = await site.check(site.proof(token=token), token=token)
        assert isinstance(outcome, Challenge)
        assert outcome.reason == "sender.mismatch"


async def test_a_proof_is_used_up(site: Site) -> None:
    """RFC 9449 §11.1: of fifty with one proof one is admitted, and the rest are replays."""
    used = site.proof()
    outcomes = await asyncio.gather(*(site.check(used) for _ in range(50)))
    assert sum(isinstance(each, Admitted) for each in outcomes) == 1
    assert {each.reason for each in outcomes if isinstance(each, Challenge)} == {"token.replayed"}


@pytest.mark.parametrize(
    ("uri", "path", "method", "admitted"),
    [
        (RESOURCE, "/mcp", "GET", True),
        (RESOURCE + "?x=1", "/mcp", "GET", True),
        (f"{ORIGIN}/files/a%20b", "/files/a b", "GET", True),
        (f"{ORIGIN}/files/%C3%A4", "/files/ä", "GET", True),
        (RESOURCE, "/admin", "GET", False),
        (f"{ORIGIN}/admin", "/mcp", "GET", False),
        (f"{ORIGIN}/mcp/", "/mcp", "GET", False),
        ("https://evil.example/mcp", "/mcp", "GET", False),
        (RESOURCE, "/mcp", "DELETE", False),
    ],
    ids=["itself", "query", "space", "letter", "other-path", "other-uri", "slash", "other-host", "other-method"],
)
async def test_a_proof_is_for_the_path_that_was_asked_for(
    site: Site, uri: str, path: str, method: str, admitted: bool
) -> None:
    """At the resource's own path for `resource`; elsewhere for that path at its origin; `Host` is not asked."""
    outcome = await site.check(site.proof(uri=uri), path=path, method=method, host="evil.example")
    assert isinstance(outcome, Admitted) is admitted


async def test_a_message_that_a_proxy_has_moved_is_for_the_resource(site: Site) -> None:
    """What carries MCP's headers is a message for the resource, wherever it arrives, and its proof is for that."""
    moved: dict[str, Any] = {"path": "/inner", "method": "POST", "mcp_method": "ping"}
    for uri, refused_for in ((f"{ORIGIN}/inner", "sender.mismatch"), (RESOURCE, "request.malformed")):
        outcome = await site.check(site.proof(method="POST", uri=uri), **moved)
        assert isinstance(outcome, Challenge)
        assert outcome.reason == refused_for  # the second is past the proof: its empty body is the next thing wrong


async def test_a_proof_grows_old(site: Site) -> None:
    """Past a minute the proof is stale, and past three its nonce, too."""
    early = site.proof()
    site.clock.now += 61
    assert isinstance(await site.check(early), Challenge)
    site.clock.now += 120
    outcome = await site.check(site.proof())
    assert isinstance(outcome, Challenge)
    assert 'error="use_dpop_nonce"' in fields(outcome)["www-authenticate"]
    site.nonce = fields(outcome)["dpop-nonce"]
    assert isinstance(await site.check(site.proof()), Admitted)


async def test_another_guards_nonce_is_not_taken(site: Site) -> None:
    """Guards that do not remember proofs together do not take each other's nonces, so a proof counts at one of them."""
    await site.guard.aclose()
    other = Site(issuers=[site.issuer.url])
    other.nonce = site.nonce
    outcome = await other.check(other.proof())
    await other.guard.aclose()
    assert isinstance(outcome, Challenge)
    assert 'error="use_dpop_nonce"' in fields(outcome)["www-authenticate"]


async def test_workers_with_one_file_take_one_proof_once(tmp_path: Path) -> None:
    """With a shared store the nonce of one worker is good at the other, and the proof at one of them."""
    clock = Clock()
    file = tmp_path / "used.db"
    one = await Site(replay=SqliteReplay(file, clock=clock)).begun()
    two = Site(replay=SqliteReplay(file, clock=clock))
    two.nonce, two.token = one.nonce, one.token
    two.issuer.key = one.issuer.key
    used = one.proof()
    assert isinstance(await one.check(used), Admitted)
    outcome = await two.check(used)
    assert isinstance(outcome, Challenge)
    assert outcome.reason == "token.replayed"
    assert isinstance(await two.check(one.proof()), Admitted)
    for site in (one, two):
        await site.guard.aclose()


async def test_a_proof_under_a_key_that_is_gone_is_refused(tmp_path: Path) -> None:
    """Where the file was lost, what came with its nonces may have been used: the client hears the new one's nonce."""
    clock = Clock()
    site = await Site(replay=SqliteReplay(tmp_path / "used.db", clock=clock)).begun()
    used, unused = site.proof(), site.proof()
    assert isinstance(await site.check(used), Admitted)
    for each in tmp_path.glob("used.db*"):
        each.unlink()
    for proof in (used, used, unused):
        outcome = await site.check(proof)
        assert isinstance(outcome, Challenge)
        assert 'error="use_dpop_nonce"' in fields(outcome)["www-authenticate"]
        site.nonce = fields(outcome)["dpop-nonce"]
    assert isinstance(await site.check(site.proof()), Admitted)
    await site.guard.aclose()


async def test_a_store_that_waits_for_the_disk_stops_nobody_else(tmp_path: Path) -> None:
    """While a proof waits for another process's lock, a stranger who speaks of proofs has an answer, and a nonce."""
    replay = SqliteReplay(tmp_path / "used.db")
    site = await Site(replay=replay).begun()
    turns = 0
    with closing(sqlite3.connect(tmp_path / "used.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(site.check(site.proof()))
        while not replay._turn.locked():
            await asyncio.sleep(0.001)
        for _ in range(5):
            outcome = await site.guard.check(method="GET", path="/mcp", headers=[("DPoP", "x")], body=b"")
            assert isinstance(outcome, Challenge)
            assert fields(outcome)["dpop-nonce"] == site.nonce
            turns += not waiting.done()
        other.execute("ROLLBACK")
    assert turns == 5
    assert isinstance(await waiting, Admitted)
    await site.guard.aclose()


async def test_a_store_that_no_lifespan_has_started_is_opened_in_a_thread(tmp_path: Path) -> None:
    """A file that another process holds is waited for aside: who asks for no proof has an answer meanwhile."""
    before = await Site(replay=SqliteReplay(tmp_path / "used.db")).begun()
    await before.guard.aclose()
    replay = SqliteReplay(tmp_path / "used.db")
    site = Site(replay=replay)
    site.nonce = before.nonce
    with closing(sqlite3.connect(tmp_path / "used.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(site.check(site.proof()))
        while not (replay._turn.locked() or waiting.done()):
            await asyncio.sleep(0.001)
        stranger = await site.guard.check(method="GET", path="/mcp", headers=[("DPoP", "x")], body=b"")
        bearer = await site.check(token=site.issuer.mint(RESOURCE), scheme="Bearer")
        assert not waiting.done()
        other.execute("ROLLBACK")
    assert isinstance(stranger, Challenge)
    assert "dpop-nonce" not in fields(stranger)
    assert isinstance(bearer, Admitted)
    assert isinstance(await waiting, Admitted)
    await site.guard.aclose()


async def test_a_guard_begins_and_ends_beside_the_event_loop(tmp_path: Path) -> None:
    """Its file may be held by another process just then: nobody else of this one waits for it."""
    threads: list[threading.Thread] = []

    class Watched(SqliteReplay):
        def start(self, resource: ResourceUri) -> None:
            threads.append(threading.current_thread())
            super().start(resource)

        def stop(self) -> None:
            threads.append(threading.current_thread())
            super().stop()

    async with Site(replay=Watched(tmp_path / "used.db")).guard.running():
        assert len(threads) == 1
    assert len(threads) == 2
    assert threading.main_thread() not in threads


async def test_without_a_store_no_bound_token_passes(site: Site, tmp_path: Path) -> None:
    """Where nobody can tell whether a proof came before, the answer is 503; a bearer token asks nobody."""
    closed = Site(replay=SqliteReplay(tmp_path / "missing" / "used.db"))
    outcome = await closed.check(closed.proof())
    assert isinstance(outcome, Challenge)
    assert (outcome.status, "dpop-nonce" in fields(outcome)) == (503, False)
    assert isinstance(await closed.check(token=closed.issuer.mint(RESOURCE), scheme="Bearer"), Admitted)


async def test_a_guard_may_take_bound_tokens_only() -> None:
    """Bearer tokens are refused, no challenge names them, and the metadata says so."""
    site = await Site(sender="dpop").begun()
    for outcome in (
        await site.check(token=site.issuer.mint(RESOURCE), scheme="Bearer"),
        await site.guard.check(method="GET", path="/mcp", headers=[], body=b""),
    ):
        assert isinstance(outcome, Challenge)
        assert outcome.status == 401
        assert fields(outcome)["www-authenticate"].startswith("DPoP ")
        assert "Bearer" not in fields(outcome)["www-authenticate"]
    assert isinstance(await site.check(site.proof()), Admitted)
    assert site.guard.metadata()["dpop_bound_access_tokens_required"] is True
    await site.guard.aclose()
    with pytest.raises(SettingsError):
        Site(sender="bearer")


async def test_the_application_sees_a_bearer_token() -> None:
    """Inside the guard the token comes as frameworks know it, the proof is gone, and the answer has the next nonce."""
    site = await Site().begun()
    seen: list[tuple[bytes, bytes]] = []

    async def application(asgi_scope: Any, _receive: Any, send: Any) -> None:
        seen.extend(asgi_scope["headers"])
        await send({"type": "http.response.start", "status": 204, "headers": [(b"x-own", b"1")]})
        await send({"type": "http.response.body", "body": b""})

    transport = httpx2.ASGITransport(site.guard.asgi(application))
    async with httpx2.AsyncClient(transport=transport, base_url=ORIGIN) as http:
        headers = {"authorization": f"DPoP {site.token}", "dpop": site.proof()}
        answer = await http.get("/mcp", headers=headers)
    assert (answer.status_code, answer.headers["x-own"], answer.headers["dpop-nonce"]) == (204, "1", site.nonce)
    names = dict(seen)
    assert names[b"authorization"] == f"Bearer {site.token}".encode()
    assert b"dpop" not in names
    await site.guard.aclose()
