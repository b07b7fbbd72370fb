"""A whole authorization server for tests: real stores, a real journal, a clock that stands, and a client to ask it.

The registry is that of the first chapter of the documentation: an agent reaches the calendar, the calendar's server
calls on to the rooms; a person's application reaches the calendar; `notes` has no gateway in front.
"""

from __future__ import annotations

import base64
import json
import os
from collections import ChainMap
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import httpx2
from argon2 import PasswordHasher

from perhop.authorization_server.app import build_app
from perhop.authorization_server.assertion_keys import AssertionKeys
from perhop.authorization_server.client_auth.private_key_jwt import load_client_keys
from perhop.authorization_server.epoch import Epoch
from perhop.authorization_server.federation.federation import Federation, LazyHttp
from perhop.authorization_server.hop import HopExchanger
from perhop.authorization_server.interaction.form_seal import FormSeal
from perhop.authorization_server.interaction.known_devices import KnownDevices
from perhop.authorization_server.interaction.passwords import Passwords
from perhop.authorization_server.interaction.throttle import SignInThrottle
from perhop.authorization_server.issuer import Issuer
from perhop.authorization_server.known_groups import KnownGroups
from perhop.authorization_server.newcomers.directory import Newcomers
from perhop.authorization_server.newcomers.guarded_fetch import GuardedFetch
from perhop.authorization_server.reports import Reports
from perhop.authorization_server.request_rates import RequestRates
from perhop.authorization_server.revocation import Revoker
from perhop.authorization_server.standing import Standing
from perhop.authorization_server.store import Account
from perhop.authorization_server.tasks import Tasks
from perhop.client.connections import Connections
from perhop.core.call import Call, CallKind
from perhop.core.client import Authentication, Client, ClientSecret, GrantType, NoAuthentication, PrivateKeyJwt
from perhop.core.decision import Allow, Permit
from perhop.core.newcomer import Admission
from perhop.core.owner import Owner
from perhop.core.provider import SignInWays
from perhop.core.rate_limits import RateLimits
from perhop.core.registry import Registry
from perhop.core.resource import CredentialKind, Hop, Resource, Risk, Scope, Upstream
from perhop.core.secret import Secret
from perhop.gateway.tool_pins import ToolPins
from perhop.journal.query import Filter
from perhop.journal.record import Event, Inbound, Outbound, Record
from perhop.journal.writer import Journal
from perhop.policy.engine import PolicyEngine
from perhop.policy.policy_set import parse_policies
from perhop.rules.audience import bind_audience
from perhop.rules.resource_uri import parse_resource_uri
from perhop.rules.revocation import Revocations
from perhop.storage.engine import Database
from perhop.storage.journal_reader import JournalQueries
from perhop.storage.stores import Stores, open_stores
from perhop.tokens.assertion import sign_client_assertion
from perhop.tokens.keys import Keyring, KeyState, SigningKey
from perhop.tokens.verify import Leeway, verify
from perhop.wiring.beside import new_http
from perhop.wiring.known_tools import KnownTools
from perhop.wiring.people_policy import PeoplePolicy
from tests.support.databases import a_database
from tests.support.forge import good_claims, sign
from tests.support.journals import make_journal
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind

ISSUER = "https://auth.example.com"
NOW = 1_800_000_000
CALENDAR = "https://gate.example.com/mcp/calendar"
CALENDAR_SERVER = "https://calendar.example.com/mcp"
ROOMS = "https://gate.example.com/mcp/rooms"
ROOMS_SERVER = "https://rooms.example.com/mcp"
NOTES = "https://notes.example.com/mcp"
CALLBACK = "https://desk.example.com/callback"
LOOPBACK_CALLBACK = "http://127.0.0.1:3955/callback"
SECRET = THE_SCAN.note("a-secret-of-an-authorization-servers-test", Kind.CLIENT_SECRET)
EMAIL, PERSON = "ann@example.com", "user:ann"
PASSWORD = THE_SCAN.note("correct horse", Kind.PASSWORD)
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
EXCHANGE = GrantType.TOKEN_EXCHANGE.value
FORM = "application/x-www-form-urlencoded"


class Clock:
    """A clock that stands until a test moves it."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def a_resource(name: str, uri: str, server: str | None, scopes: Mapping[str, str], **changes: Any) -> Resource:
    """A resource of the travel team, behind the gateway if it has a server of another address."""
    upstream = server and Upstream(
        url=server, resource=parse_resource_uri(server), credential=CredentialKind.EXCHANGE, unsafe_open_upstream=False
    )
    usual: dict[str, Any] = {"owner": "travel-team", "upstream": upstream or None}
    return Resource(
        name=name,
        uri=parse_resource_uri(uri),
        scopes={scope: Scope(name=scope, says=says) for scope, says in scopes.items()},
        **(usual | changes),
    )


def a_client(name: str, authentication: Authentication, *grants: GrantType, **changes: Any) -> Client:
    """A client of the travel team."""
    usual: dict[str, Any] = {"owner": "travel-team", "purpose": "serves tests", "expires": date(2030, 1, 31)}
    return Client(
        id=name,
        authentication=authentication,
        grants=frozenset(grants),
        **({"reaches": {}} | usual | changes),
    )


@dataclass(frozen=True, slots=True)
class Keys:
    """The private keys of the clients that have one."""

    planner: SigningKey
    calendar_server: SigningKey
    rooms_server: SigningKey
    issuer: SigningKey

    @classmethod
    def generate(cls) -> Keys:
        return cls(*(SigningKey.generate() for _ in range(4)))


def a_registry(keys: Keys) -> Registry:
    """The registry that every test begins with."""
    calendar_scopes = {"calendar:read": "Read your calendar", "calendar:write": "Create and change events"}

    def signs(key: SigningKey) -> PrivateKeyJwt:
        return PrivateKeyJwt(keys=(key.public().as_jwk(),))

    reads = {"calendar": ("calendar:read",)}
    for_people = (GrantType.AUTHORIZATION_CODE, GrantType.REFRESH_TOKEN)
    clients = (
        a_client(
            "trip-planner",
            signs(keys.planner),
            GrantType.CLIENT_CREDENTIALS,
            reaches={"calendar": ("calendar:read", "calendar:write")},
        ),
        a_client(
            "poster", ClientSecret("client_secret_post", Secret(SECRET)), GrantType.CLIENT_CREDENTIALS, reaches=reads
        ),
        a_client(
            "basic", ClientSecret("client_secret_basic", Secret(SECRET)), GrantType.CLIENT_CREDENTIALS, reaches=reads
        ),
        a_client("desk-app", NoAuthentication(), *for_people, reaches=reads, redirect_uris=(CALLBACK,)),
        a_client(
            "laptop-app",
            NoAuthentication(),
            *for_people,
            reaches=reads,
            redirect_uris=(LOOPBACK_CALLBACK,),
        ),
        a_client("calendar-server", signs(keys.calendar_server), GrantType.TOKEN_EXCHANGE, serves=("calendar",)),
        a_client("rooms-server", signs(keys.rooms_server), GrantType.TOKEN_EXCHANGE, serves=("rooms",)),
    )
    resources = (
        a_resource("calendar", CALENDAR, CALENDAR_SERVER, calendar_scopes, tenant="acme"),
        a_resource("rooms", ROOMS, ROOMS_SERVER, {"rooms:read": "See free rooms", "rooms:book": "Book rooms"}),
        a_resource("notes", NOTES, None, {"notes:read": "Read notes"}, risk=Risk.HIGH),
    )
    return Registry(
        owners={"travel-team": Owner(name="travel-team", contact="travel@example.com")},
        resources={each.name: each for each in resources},
        clients={each.id: each for each in clients},
        hops=(
            Hop(source="calendar", target="rooms", scopes={"calendar:read": ("rooms:read",)}),
            Hop(source="rooms", target="calendar", scopes={"rooms:read": ("calendar:read",)}),
            Hop(source="rooms", target="notes", scopes={"rooms:read": ("notes:read",)}),
        ),
        version="1",
    )


@dataclass(slots=True, kw_only=True)
class RunningServer:
    """An authorization server and what a test looks at or moves."""

    issuer: Issuer
    keys: Keys
    clock: Clock
    database: Database
    stores: Stores
    queries: JournalQueries
    http: httpx2.AsyncClient

    def change(self, **parts: Any) -> None:
        """Put another configuration in force, as a reload does."""
        self.issuer = replace(self.issuer, **parts)

    def change_registry(self, **parts: Any) -> None:
        self.change(registry=replace(self.issuer.registry, **parts))

    def change_client(self, name: str, **changes: Any) -> None:
        clients = self.issuer.registry.clients
        self.change_registry(clients={**clients, name: replace(clients[name], **changes)})

    def forbid(self, policy: str) -> None:
        """Put this one policy in force."""
        engine = PolicyEngine(parse_policies({"p.cedar": policy}), self.issuer.registry)
        self.change(policy=PeoplePolicy(engine, self.issuer.groups))

    def assertion(self, client: str, key: SigningKey, *, jti: str | None = None, audience: str | None = None) -> str:
        return sign_client_assertion(
            client_id=client,
            audience=audience or self.issuer.url,
            key=key,
            now=int(self.clock.now),
            jti=jti or os.urandom(8).hex(),
        )

    def proof(self, client: str) -> dict[str, str]:
        """The parameters with which this client authenticates by its key."""
        key = {
            "trip-planner": self.keys.planner,
            "calendar-server": self.keys.calendar_server,
            "rooms-server": self.keys.rooms_server,
        }[client]
        return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": self.assertion(client, key)}

    async def ask(self, **parameters: str) -> httpx2.Response:
        """One request to the token endpoint."""
        return await self.http.post("/token", data=parameters)

    async def planner_token(self, **changes: str) -> httpx2.Response:
        """The planner asks for the calendar."""
        usual = {"grant_type": "client_credentials", "resource": CALENDAR, **self.proof("trip-planner")}
        return await self.ask(**(usual | changes))

    async def begin_task(self, *, by: str = "trip-planner", **changes: Any) -> httpx2.Response:
        """A client says what it is about to do; None leaves a member out."""
        proof = self.proof(by) if by in ("trip-planner", "calendar-server", "rooms-server") else {"client_id": by}
        usual: dict[str, Any] = {
            "purpose": "plan the trip to Oslo",
            "tools": ["calendar/list_*", "rooms/*"],
            "limits": {"calls": 50, "writes": 5},
            "expires_in": 600,
            **proof,
        }
        members = {name: value for name, value in (usual | changes).items() if value is not None}
        return await self.http.post("/tasks", json=members)

    async def task_id(self, **changes: Any) -> str:
        """The id of a task that was just begun."""
        answer = await self.begin_task(**changes)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def exchange(self, subject_token: str, /, *, by: str = "calendar-server", **changes: str) -> httpx2.Response:
        """A server calls on, with a token that it was called with."""
        usual = {
            "grant_type": EXCHANGE,
            "subject_token": subject_token,
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "resource": ROOMS,
            **self.proof(by),
        }
        return await self.ask(**(usual | changes))

    async def through_gateway(self, raw: str, name: str = "calendar") -> str:
        """What the server of a resource is called with: the gateway's own exchange, permit recorded."""
        permit = self.permit(raw, name)
        hop = self.hops().exchange(permit)
        draft = hop.minted.draft
        await self.issuer.journal.append(
            Record(
                event=Event.CALL_PERMITTED,
                txn=draft.txn,
                hop=draft.hop,
                parent_jti=draft.parent_jti,
                inbound=Inbound.of(permit.bound),
                outbound=Outbound.of(draft),
                resource=name,
                tenant=draft.tenant,
            )
        )
        return hop.minted.raw.reveal()

    def hops(self) -> HopExchanger:
        return HopExchanger(lambda: self.issuer)

    def permit(self, raw: str, name: str = "calendar") -> Permit:
        """A permit for a call with this token, as the gateway would make it."""
        resource = self.issuer.registry.resources[name]
        keys = {self.issuer.url: self.issuer.keyring.verify_keys()}
        token = verify(raw, keys=keys, now=self.issuer.now(), leeway=Leeway.NONE)
        call = Call(id="call-1", kind=CallKind.REQUEST, revision="", method="ping", targets=(), body=b"{}", headers=())
        task = self.issuer.tasks.check_token(token)
        return Permit(bind_audience(token, resource.uri), task, resource, call, Allow((), "1"))

    def forged(self, **changes: Any) -> str:
        """A token under the issuer's own key that the issuer never made, for the calendar's server."""
        return sign(
            good_claims(issuer=self.issuer.url, audience=CALENDAR_SERVER, now=int(self.clock.now), **changes),
            self.keys.issuer,
        )

    def records(self, event: str | None = None) -> list[dict[str, Any]]:
        """The journal's records so far, those of this event, in order."""
        return [dict(entry.fields) for entry in self.queries.find(Filter(event=event) if event else Filter())]

    def last_refusal(self) -> dict[str, Any]:
        return self.records("token.refused")[-1]

    def last_access_refusal(self) -> dict[str, Any]:
        return self.records("access.refused")[-1]


def naming(task: str) -> dict[str, str]:
    """The parameter that names a task."""
    return {"authorization_details": json.dumps([{"type": "agent_task", "id": task}])}


def claims_of(answer: httpx2.Response) -> dict[str, Any]:
    """The claims of the token in a successful answer, unverified."""
    assert answer.status_code == 200, answer.text
    return claims_in(answer.json()["access_token"])


def claims_in(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def assert_refused(answer: httpx2.Response, error: str, *, status: int = 400) -> None:
    """The answer is this OAuth error, in a form that no cache keeps."""
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert answer.headers["cache-control"] == "no-store"


@asynccontextmanager
async def running_server(
    folder: Path, *, issuer_url: str = ISSUER, connections: Connections | None = None
) -> AsyncIterator[RunningServer]:
    """Run an authorization server with its files in this folder; other issuers are reached by these connections."""
    clock, keys = Clock(), Keys.generate()
    made = make_journal(folder)
    async with a_database(folder) as database, made.writing(clock) as journal:
        queries = made.queries()
        stores = open_stores(database, queries)
        issuer = await _assemble(issuer_url, keys, clock, stores, journal, queries, connections or Connections())
        app = build_app(issuer_url, lambda: server.issuer)
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=issuer_url) as http:
            server = RunningServer(
                issuer=issuer, keys=keys, clock=clock, database=database, stores=stores, queries=queries, http=http
            )
            server.change(groups=KnownGroups(lambda: server.issuer.registry.sign_in))
            yield server
        await issuer.assertion_keys.aclose()
        queries.close()


async def _assemble(
    url: str,
    keys: Keys,
    clock: Clock,
    stores: Stores,
    journal: Journal,
    queries: JournalQueries,
    connections: Connections,
) -> Issuer:
    newcomers = Newcomers(rows=stores.newcomer_rows, journal=journal, clock=clock, fetch=GuardedFetch())
    defined = a_registry(keys)
    newcomers.take(Admission(), defined=defined.clients)
    registry = replace(defined, clients=ChainMap(dict(defined.clients), newcomers.clients))
    revocations = Revocations()
    passwords = Passwords(PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    revoker = Revoker(
        rows=stores.revocation_rows,
        lineage=stores.lineage,
        journal=journal,
        revocations=revocations,
        registry=lambda: registry,
        clock=clock,
    )
    issuer = Issuer(
        url=url,
        registry=registry,
        client_keys=ChainMap(dict(load_client_keys(defined)), newcomers.client_keys),
        assertion_keys=AssertionKeys(connections=connections, clock=clock),
        keyring=Keyring(((keys.issuer, KeyState.ACTIVE),)),
        policy=PolicyEngine(parse_policies({}), registry),
        stores=stores,
        journal=journal,
        revocations=revocations,
        revoker=revoker,
        reports=Reports(journal=journal, calls=queries),
        tools=KnownTools(ToolPins(rows=stores.tool_pins, journal=journal, clock=clock)),
        standing=Standing(stores.standings),
        newcomers=newcomers,
        tasks=Tasks(rows=stores.task_rows, journal=journal, revoker=revoker, clock=clock),
        epoch=Epoch(stores.epochs),
        passwords=passwords,
        form_seal=FormSeal(Secret("a key for tests")),
        rates=RequestRates(clock),
        rate_limits=RateLimits(),
        groups=KnownGroups(SignInWays),
        federation=Federation.over(LazyHttp(new_http), clock=clock),
        throttle=SignInThrottle(clock),
        devices=KnownDevices(Secret("a key of devices in tests")),
        clock=clock,
        randomness=os.urandom,
        nonce_key=b"n" * 32,
    )
    account = Account(email=EMAIL, subject=PERSON, password_hash=passwords.hash(PASSWORD))
    await stores.accounts.add(account)
    await issuer.standing.load()
    return issuer
