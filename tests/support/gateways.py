"""A gateway on loopback with everything of ours real: keys, policies, journal; only the exchange is a plain mint."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from perhop.authorization_server.revocation import Revoker
from perhop.authorization_server.tasks import Tasks
from perhop.core.call import CallBinding
from perhop.core.decision import Permit
from perhop.core.owner import Owner
from perhop.core.rate_limits import RateLimits
from perhop.core.registry import Registry
from perhop.core.resource import CredentialKind, Resource, ResourceUri, Scope, Upstream, UpstreamPool
from perhop.core.token import BoundToken, HopToken, TokenDraft, VerifiedToken
from perhop.errors import AgentDisabled
from perhop.gateway.app import GatewayApp, gates_by_path
from perhop.gateway.approvals import Approvals
from perhop.gateway.call_rates import CallRates
from perhop.gateway.catalogue import Catalogue
from perhop.gateway.gate import Gate, Limits
from perhop.gateway.open_requests import OpenRequests
from perhop.gateway.open_tasks import OpenTasks
from perhop.gateway.readiness import Readiness, Verdict
from perhop.gateway.revisions import UpstreamRevisions
from perhop.gateway.revocation_watch import RevocationWatch
from perhop.gateway.sessions import SessionSealer
from perhop.gateway.tool_pins import ResourcePins
from perhop.gateway.upstream.interface import OpenUpstream
from perhop.journal.record import Record
from perhop.journal.witness import Offered
from perhop.journal.writer import Journal
from perhop.policy.engine import PolicyEngine
from perhop.policy.policy_set import parse_policies
from perhop.rules.dpop_nonce import Nonces
from perhop.rules.resource_uri import parse_resource_uri
from perhop.rules.revocation import Revocation, RevocationKind, Revocations, revocation_digest
from perhop.storage.approvals import SqlApprovalRows
from perhop.storage.engine import Database
from perhop.storage.proofs import SqlProofs
from perhop.storage.stores import open_stores
from perhop.tokens.keys import SigningKey
from perhop.tokens.mint import mint
from perhop.tokens.possession import ProofDesk
from perhop.tokens.verify import Leeway, verify
from perhop.wiring.upstreams import Upstreams
from tests.support.databases import a_database
from tests.support.forge import good_claims, sign
from tests.support.journals import JournalFolder, make_journal
from tests.support.pools import POOL
from tests.support.upstreams import RecordingUpstream, recording_upstream

T = TypeVar("T")

PERMIT_ALL = '@id("all") permit (principal, action, resource);\n'


class MintingExchanger:
    """Exchanges by minting: same claims, the upstream's audience."""

    def __init__(self, key: SigningKey, issuer: str, clock: Callable[[], float]) -> None:
        self.key, self.issuer, self.clock = key, issuer, clock
        self.permits: list[Permit] = []

    def exchange(self, permit: Permit) -> HopToken:
        self.permits.append(permit)
        parent = permit.bound.token
        assert permit.resource.upstream is not None
        assert permit.resource.upstream.resource is not None
        draft = self._draft(permit.resource, permit.resource.upstream.resource)
        draft = replace(
            draft, subject=parent.subject, agent=parent.agent, txn=parent.txn or "txn", parent_jti=parent.jti
        )
        return HopToken(mint(replace(draft, hop=parent.hop + 1), self.key))

    def canary(self) -> ResourceUri:
        return parse_resource_uri(f"{self.issuer}/canary/{secrets.token_hex(8)}")

    async def self_test_token(self, resource: Resource, audience: ResourceUri, call: CallBinding) -> HopToken:
        return HopToken(mint(self._draft(resource, audience), self.key))

    def _draft(self, resource: Resource, audience: ResourceUri) -> TokenDraft:
        now = int(self.clock())
        presenter = f"gateway:{resource.name}"
        return TokenDraft(
            issuer=self.issuer,
            jti=secrets.token_hex(8),
            subject=presenter,
            client_id=presenter,
            audience=audience,
            scopes=frozenset(resource.scopes),
            issued_at=now,
            expires_at=now + 60,
            txn="txn-self-test",
        )


class NotedRecords:
    """A witness that knows when a record for which nobody waits is on disk."""

    def __init__(self) -> None:
        self._noted: dict[int, Callable[[], None]] = {}

    def expect(self, record: Record, then: Callable[[], None]) -> None:
        """Call this when the record, which is about to be noted, is written."""
        self._noted[id(record)] = then

    def offered(self, record: Record) -> Offered:
        return Offered(record)

    def told(self, offered: Sequence[Offered], *, is_written: bool) -> None:
        for each in offered:
            then = self._noted.pop(id(each.record), None)
            if then is not None and is_written:
                then()

    def counted(self, record: Record) -> None:
        """Nobody notes what is only counted."""


class WatchedJournal:
    """The real journal, and a way to wait until it holds so many records."""

    def __init__(self, journal: Journal, noted: NotedRecords) -> None:
        self._journal = journal
        self._noted = noted
        self._grew = asyncio.Event()
        self.size = 0

    async def append(self, record: Record) -> int:
        seq = await self._journal.append(record)
        self._grow()
        return seq

    def note(self, record: Record) -> None:
        self._noted.expect(record, self._grow)
        self._journal.note(record)

    async def append_refusal(self, record: Record, *, address: str) -> int | None:
        seq = await self._journal.append_refusal(record, address=address)
        self._grow()
        return seq

    def mac(self, arguments: Mapping[str, Any]) -> str:
        return self._journal.mac(arguments)

    async def close(self) -> None:
        """Nothing is taken any more."""
        await self._journal.close()

    async def holds(self, count: int) -> None:
        """Return when the journal has taken this many records."""
        async with asyncio.timeout(5):
            while self.size < count:
                self._grew.clear()
                await self._grew.wait()

    def _grow(self) -> None:
        self.size += 1
        self._grew.set()


class ListedStanding:
    """Refuses the agents that are on its list."""

    def __init__(self) -> None:
        self.disabled: set[str] = set()

    def check(self, bound: BoundToken, resource: Resource) -> None:
        if bound.agent in self.disabled:
            raise AgentDisabled(bound.agent)

    def look(self, token: VerifiedToken) -> object | None:
        """Nothing is known again here: every request goes the whole way."""
        return None

    def holds(self, seen: object) -> bool:
        return False


@dataclass
class TestClock:
    """Time that goes on by itself, and can be moved."""

    __test__ = False
    ahead: float = 0.0
    standing_at: float | None = None

    def __call__(self) -> float:
        return (time.time() if self.standing_at is None else self.standing_at) + self.ahead

    def stand(self) -> None:
        """From now on it is now."""
        self.standing_at = time.time()


@dataclass(kw_only=True)
class World:
    """One gateway, its upstream, and the means to make tokens for it."""

    url: str
    issuer: str
    gate: Gate
    app: GatewayApp
    journal: WatchedJournal
    exchanger: MintingExchanger
    standing: ListedStanding
    revocations: Revocations
    tasks: Tasks
    approvals: Approvals
    key: SigningKey
    clock: TestClock
    way: OpenUpstream
    upstream: RecordingUpstream = field(init=False)
    approval_rows: SqlApprovalRows = field(init=False)
    journal_folder: JournalFolder = field(init=False)
    http: httpx2.AsyncClient = field(init=False)

    def token(self, **claims: Any) -> str:
        """A token for the resource, but for these claims."""
        scope = claims.pop("scope", "calendar:read calendar:write")
        usual = good_claims(issuer=self.issuer, audience=self.gate.resource.uri, now=int(self.clock()), scope=scope)
        return sign(usual | claims, self.key)

    def bearer(self, **claims: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token(**claims)}"}

    async def send(
        self, request: tuple[Mapping[str, str], bytes], *, token: str | None = None, **headers: str
    ) -> httpx2.Response:
        """POST a message with a good token, or this one."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        authorization = {"authorization": f"Bearer {token or self.token()}"}
        return await self.http.post(self.url, headers={**request[0], **authorization, **named}, content=request[1])

    def revoke(self, kind: RevocationKind, value: str) -> None:
        now = int(self.clock())
        self.revocations.add(Revocation(self.revocations.seq + 1, kind, revocation_digest(value), now, now + 900))
        self.gate.revoked.notify()

    async def records(self, count: int) -> list[dict[str, Any]]:
        """Every record of the journal, oldest first, once there are this many."""
        await self.journal.holds(count)
        with sqlite3.connect(self.journal_folder.path) as db:
            return [json.loads(body) for (body,) in db.execute("SELECT body FROM record ORDER BY seq")]

    def take_policies(self, *texts: str) -> None:
        """Go on with these policies."""
        self.replace_gate(policy=an_engine(self.gate.resource, *texts))

    def replace_gate(self, **changes: Any) -> None:
        """Go on with a gate that differs in this."""
        self.gate = replace(self.gate, **changes)
        self.app.take(gates_by_path([self.gate]))


SCOPES = {
    "calendar:read": Scope(name="calendar:read", says="read", tools=("list_*", "get_event", "echo"), default=True),
    "calendar:write": Scope(name="calendar:write", says="write", tools=("create_event", "add", "count", "fail")),
}


def a_resource(url: str, upstream_url: str, *, kind: CredentialKind = CredentialKind.EXCHANGE) -> Resource:
    """The calendar, at this gateway, in front of this upstream."""
    audience = parse_resource_uri(upstream_url) if kind is CredentialKind.EXCHANGE else None
    return Resource(
        name="calendar",
        uri=parse_resource_uri(f"{url}/mcp/calendar"),
        owner="travel-team",
        tenant="acme",
        scopes=SCOPES,
        upstream=Upstream(url=upstream_url, resource=audience, credential=kind),
    )


def an_engine(resource: Resource, *texts: str) -> PolicyEngine:
    """A policy engine over these policies."""
    registry = Registry(
        owners={
            "travel-team": Owner(
                name="travel-team",
                contact="travel@example.com",
                members=("bob@example.com",),
                deputies=("dora@example.com",),
            )
        },
        resources={resource.name: resource},
        clients={},
        hops=(),
        version="1",
    )
    return PolicyEngine(parse_policies({f"p{index}.cedar": text for index, text in enumerate(texts)}), registry)


@asynccontextmanager
async def gateway(
    folder: Path,
    *,
    policies: tuple[str, ...] = (PERMIT_ALL,),
    upstream_url: str | None = None,
    upstream: Upstream | None = None,
    kind: CredentialKind = CredentialKind.EXCHANGE,
    verdict: Verdict = Verdict.ENFORCES,
    limits: Limits | None = None,
    pool: UpstreamPool = POOL,
) -> AsyncIterator[World]:
    """A gateway in front of a recording upstream, or of the one at this URL, or of exactly this one."""
    clock = TestClock()
    journal_folder = make_journal(folder)
    worlds: list[World] = []
    noted = NotedRecords()
    async with (
        recording_upstream() as (recording_url, recording),
        journal_folder.writing(clock, noted) as journal,
        a_database(folder) as database,
        aclosing(Upstreams(inherited={"PATH": os.environ["PATH"]})) as upstreams,
    ):

        def make_app(url: str) -> Any:
            watched = WatchedJournal(journal, noted)
            revocations = Revocations()
            tasks = _tasks(database, journal_folder, journal, revocations, clock)
            resource = a_resource(url, upstream_url or recording_url, kind=kind)
            resource = replace(resource, upstream=upstream or resource.upstream)
            prepared = upstreams.prepare([resource], pool)
            prepared.take()
            way = prepared.ways[resource.name]
            engine = an_engine(resource, *policies)
            approvals = _approvals(
                database, journal_folder, watched, engine.registry, lambda: worlds[0].gate.policy.version, clock
            )
            world = _world(
                url,
                resource,
                engine,
                watched,
                way,
                clock,
                limits or Limits(),
                revocations,
                tasks,
                approvals,
                SqlProofs(database),
            )
            world.gate.readiness.verdict = verdict
            world.upstream, world.journal_folder = recording, journal_folder
            world.approval_rows = SqlApprovalRows(database)
            worlds.append(world)
            return world.app

        async with serving(make_app), httpx2.AsyncClient(timeout=10) as http:
            worlds[0].http = http
            yield worlds[0]


@asynccontextmanager
async def serving(make_app: Callable[[str], Any]) -> AsyncIterator[str]:
    """uvicorn's protocol on a free loopback port, without its server, whose stop takes a fifth of a second."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = "http://{}:{}".format(*listener.getsockname())
        app = make_app(url)
        config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none", proxy_headers=False)
        config.load()
        state = ServerState()
        server = await asyncio.get_running_loop().create_server(
            lambda: HttpToolsProtocol(config=config, server_state=state, app_state={}), sock=listener
        )
        try:
            yield url
        finally:
            server.close()
            for connection in list(state.connections):
                connection.transport.abort()
            if state.tasks:
                await asyncio.wait(state.tasks, timeout=2)


def _tasks(
    database: Database, folder: JournalFolder, journal: Journal, revocations: Revocations, clock: TestClock
) -> Tasks:
    """The authorization server's own tasks, over a database of their own."""
    stores = open_stores(database, folder.queries())
    revoker = Revoker(
        rows=stores.revocation_rows,
        lineage=stores.lineage,
        journal=journal,
        revocations=revocations,
        registry=_no_registry,
        clock=clock,
    )
    return Tasks(rows=stores.task_rows, journal=journal, revoker=revoker, clock=clock)


def _approvals(
    database: Database,
    folder: JournalFolder,
    journal: WatchedJournal,
    registry: Registry,
    policy_version: Callable[[], str],
    clock: TestClock,
) -> Approvals:
    """The gateway's own approvals, over the same database."""
    return Approvals(
        rows=open_stores(database, folder.queries()).approval_rows,
        journal=journal,
        key=b"a" * 32,
        registry=lambda: registry,
        policy_version=policy_version,
        lifetime=lambda: 900,
        new_id=lambda: secrets.token_urlsafe(16),
        random_bytes=os.urandom,
        clock=clock,
    )


def _no_registry() -> Registry:
    return Registry(owners={}, resources={}, clients={}, hops=(), version="1")


def _world(
    issuer: str,
    resource: Resource,
    policy: PolicyEngine,
    journal: WatchedJournal,
    way: OpenUpstream,
    clock: TestClock,
    limits: Limits,
    revocations: Revocations,
    tasks: Tasks,
    approvals: Approvals,
    proofs: SqlProofs,
) -> World:
    key = SigningKey.generate()
    keys = {issuer: {key.kid: key.public()}}
    standing, exchanger = ListedStanding(), MintingExchanger(key, issuer, clock)
    assert resource.upstream is not None
    gate = Gate(
        resource=resource,
        issuer=issuer,
        verify=lambda raw: verify(raw, keys=keys, now=int(clock()), leeway=Leeway.NONE),
        proofs=ProofDesk(nonces=Nonces(b"n" * 32, resource.uri), memory=proofs),
        revoked=RevocationWatch(revocations),
        standing=standing,
        rates=CallRates(RateLimits, clock=clock),
        tasks=tasks,
        approvals=approvals,
        policy=policy,
        exchanger=exchanger,
        journal=journal,
        upstream=way,
        readiness=Readiness(resource.upstream),
        sealer=SessionSealer([b"k" * 32], clock=clock, random_bytes=os.urandom),
        open_requests=OpenRequests(),
        catalogue=Catalogue(ResourcePins(resource.name, clock=clock)),
        open_tasks=OpenTasks(),
        revisions=UpstreamRevisions(),
        clock=clock,
        new_call_id=lambda: secrets.token_hex(8),
        limits=limits,
    )
    return World(
        url=resource.uri,
        issuer=issuer,
        gate=gate,
        app=GatewayApp(gates_by_path([gate])),
        journal=journal,
        exchanger=exchanger,
        standing=standing,
        revocations=revocations,
        tasks=tasks,
        approvals=approvals,
        key=key,
        clock=clock,
        way=way,
    )
