"""The attacked installation: a whole one, in this process, whose clock only attacks move and whose keys are known."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from perhop.authorization_server.revocation import RevokedObject
from perhop.authorization_server.revocation_canary import BY
from perhop.control.accounts import account_add
from perhop.core.call import Headers
from perhop.founding import found
from perhop.gateway.readiness import Verdict
from perhop.journal.query import Entry, Filter
from perhop.resource_server import Guard
from perhop.resource_server.asgi import AsgiApp
from perhop.resource_server.testing import ThrowawayIssuer, throwaway_issuer
from perhop.serving.listeners import listening
from perhop.serving.serve import Serving, serving
from perhop.settings import load
from perhop.storage.journal_reader import JournalQueries
from perhop.tokens.assertion import sign_client_assertion
from perhop.tokens.keys import Algorithm, SigningKey
from perhop.wiring.plane import Plane
from perhop.wiring.revocation_check import Rounds
from tests.attacks.configuration import CA_FILE, SECRET, Addresses, write_configuration
from tests.attacks.row import Door, Seen
from tests.attacks.servers import Arrived, GuardedServer, calendar_server, rooms_server
from tests.support.client_documents import Site, a_site
from tests.support.doors import Answer, Wire, send
from tests.support.forge import good_claims, sign
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind
from tests.support.offline_issuer import Clock
from tests.support.processes import free_ports
from tests.support.recordings import Recordings
from tests.support.relay import relaying
from tests.support.settled import settled
from tests.support.upstreams import RecordingUpstream, json_answer, modern, recording_upstream

EMAIL, PASSWORD = "ann@example.com", "a-password-of-a-person"
ARGUMENT = "argument-value-e51c9d"
"""A value that must never be found where values of arguments do not belong."""

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
FORM = "application/x-www-form-urlencoded"
ONCE = Rounds(every=86_400, soon=86_400)
"""The bound is checked at the start and not again: a revocation that comes at any time is no attack's doing."""
PRESENTED = {
    "subject_token": Kind.TOKEN,
    "refresh_token": Kind.REFRESH_TOKEN,
    "client_assertion": Kind.ASSERTION,
    "assertion": Kind.ASSERTION,
    "client_secret": Kind.CLIENT_SECRET,
    "code": Kind.CODE,
}

Parameters = Sequence[tuple[str, str]]
Configure = Callable[[Path, Addresses], dict[str, SigningKey]]


class LogLines(logging.Handler):
    """What Perhop logs, as text; `refusals` are the reasons that guards wrote down."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.refusals: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))
        if str(record.msg).startswith("refused") and isinstance(record.args, tuple):
            self.refusals.append(str(record.args[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    """A door of MCP: where it is, which audience it wants, and how many requests have come through it."""

    door: Door
    address: str
    path: str
    audience: str
    passed: Callable[[], int]


@dataclass(slots=True)
class Leaks:
    """What must not leak, as the scan of the run knows it too. `outbound` are tokens that the gateway has sent on."""

    secrets: set[str] = field(default_factory=set)
    outbound: set[str] = field(default_factory=set)

    def note(self, text: str, kind: Kind = Kind.TOKEN) -> str:
        """Take a secret in; returns it."""
        self.secrets.add(text)
        return THE_SCAN.note(text, kind)


@dataclass(kw_only=True)
class World:
    """The running installation, and the means to attack it. `key` signs its tokens, `retired` signed them before.

    `began` is when its guards did; `sent` is what relays have kept of all that the gateway sent to its three upstreams.
    """

    folder: Path
    at: Addresses
    clock: Clock
    plane: Plane
    reader: JournalQueries
    keys: Mapping[str, SigningKey]
    key: SigningKey
    retired: SigningKey
    began: float
    calendar: GuardedServer
    rooms: GuardedServer
    scripted: RecordingUpstream
    documents: Site
    other: ThrowawayIssuer
    log: LogLines
    sent: Mapping[str, Recordings]
    http: httpx2.AsyncClient
    dripping: asyncio.Task[list[Answer]]
    attacker: SigningKey = field(default_factory=SigningKey.generate)
    leaks: Leaks = field(default_factory=Leaks)
    tried: set[tuple[str, Door]] = field(default_factory=set)

    @property
    def issuer(self) -> str:
        return self.at.issuer

    @property
    def now(self) -> int:
        return int(self.clock.now)

    def tick(self) -> None:
        """A second goes by, so that no flood of refusals is counted instead of recorded."""
        self.clock.now += 1

    # --- doors -------------------------------------------------------------------------------------------------------

    def entrance(self, door: Door, resource: str = "calendar") -> Entrance:
        """The gateway's door of a resource, or the one that its server's guard keeps."""
        server = {"calendar": self.calendar, "rooms": self.rooms}.get(resource)
        past = {"calendar": self.at.calendar_past, "rooms": self.at.rooms_past}.get(resource)
        if door is Door.GUARD:
            assert server is not None, f"no guard keeps `{resource}`"
            assert past is not None
            return Entrance(
                door=door,
                address=past,
                path="/mcp",
                audience=f"http://{past}/mcp",
                passed=lambda: len(server.served.arrived),
            )
        return Entrance(
            door=door,
            address=self.at.traffic,
            path=f"/mcp/{resource}",
            audience=self.at.uri(resource),
            passed=lambda: len(server.from_gateway.arrived) if server is not None else self._calls_of_scripted(),
        )

    def _calls_of_scripted(self) -> int:
        """What came to it from callers: the self-test, which goes on at an open server, sends no `traceparent`."""
        return sum(received.header("traceparent") is not None for received in self.scripted.received)

    async def knock(self, entrance: Entrance, wire: Wire) -> Seen:
        """Send one request, and look at the answer, at what was written down, and at what came through."""
        return await self.knock_raw(entrance, wire.render(path=entrance.path, host=entrance.address))

    async def knock_raw(self, entrance: Entrance, raw: bytes, *, is_written_late: bool = False) -> Seen:
        """The same with every byte as it is; there must be one answer at most.

        `is_written_late` is for what is answered below our code, and written down when our code hears of it.
        """
        self.tick()
        settled(lambda: self.reader.tail(_LATELY))  # what was tried before is over
        size, lines, passed = self.reader.size(), len(self.log.refusals), entrance.passed()
        answers = await send(entrance.address, raw)
        assert len(answers) <= 1, f"one request, {len(answers)} answers"
        answer = answers[0] if answers else Answer(0, (), b"")
        if is_written_late:
            await self._until_written_since(size)
        if entrance.door is Door.GUARD:
            reasons = self.log.refusals[lines:]
        else:
            reasons = [entry.text("reason") or "" for entry in self.records_since(size)]
        return Seen(
            observed=answer.observed,
            reason=next((reason for reason in reversed(reasons) if reason), None),
            records=len(reasons),
            passed=entrance.passed() - passed,
            answer=answer,
        )

    async def _until_written_since(self, size: int) -> None:
        async with asyncio.timeout(5):
            while not self.records_since(size):
                await asyncio.sleep(0.01)

    def records_since(self, size: int) -> list[Entry]:
        """What the journal has taken since it was so long, but for what the server asks of itself, and tidies up.

        What waits for somebody is over by itself when its time has come, and attacks move the clock.
        """
        found = settled(lambda: self.reader.find(Filter(first=size + 1)))
        return [entry for entry in found if not _is_its_own(entry.part("about"))]

    def last_record(self) -> Entry:
        return self.reader.tail(1)[0]

    # --- tokens ------------------------------------------------------------------------------------------------------

    def claims(self, audience: str, **changes: Any) -> dict[str, Any]:
        """What a good token for this audience says; the agent is known and may do everything that is to be done."""
        usual = {"sub": "planner", "client_id": "planner", "scope": "calendar:read calendar:write"}
        fresh = {"jti": secrets.token_hex(8), "txn": secrets.token_hex(8)}
        return good_claims(issuer=self.issuer, audience=audience, now=self.now, **(usual | fresh | changes))

    def forge(self, audience: str, **changes: Any) -> str:
        """A good token for this audience but for these claims, under the installation's own key."""
        return self.leaks.note(sign(self.claims(audience, **changes), self.key))

    async def ask(self, parameters: Parameters, *, headers: Headers = (), path: str = "/token") -> Answer:
        """POST a form to the authorization server."""
        self.tick()
        for name, value in parameters:
            if name in PRESENTED and value:
                self.leaks.note(value, PRESENTED[name])
        body = str(httpx2.QueryParams(list(parameters))).encode()
        return await self.post_form(body, headers=headers, path=path)

    async def post_form(
        self, body: bytes, *, headers: Headers = (), path: str = "/token", media_type: str = FORM
    ) -> Answer:
        """POST these bytes as a form to the authorization server."""
        wire = Wire(headers=(("content-type", media_type), *headers), body=body)
        answer = (await send(self.at.traffic, wire.render(path=path, host=self.at.traffic)))[0]
        granted = answer.message if isinstance(answer.message, dict) else {}
        if "access_token" in granted:
            self.leaks.note(granted["access_token"])
        if "refresh_token" in granted:
            self.leaks.note(granted["refresh_token"], Kind.REFRESH_TOKEN)
        return answer

    def proof(self, client: str, *, key: SigningKey | None = None, **changes: Any) -> list[tuple[str, str]]:
        """The parameters with which a client authenticates by its key, or pretends to."""
        usual: dict[str, Any] = {
            "client_id": client,
            "audience": self.issuer,
            "now": self.now + 1,
            "jti": secrets.token_hex(8),
        }
        assertion = sign_client_assertion(key=key or self.keys[client], **(usual | changes))
        return [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion)]

    async def token(self, client: str = "planner", resource: str = "calendar", *, scope: str | None = None) -> str:
        """A token that the installation itself issues."""
        uri = self.plane.registry.resources[resource].uri
        asked = [("grant_type", "client_credentials"), ("resource", uri), *([("scope", scope)] if scope else [])]
        if client == "poster":
            asked += [("client_id", client), ("client_secret", SECRET)]
        else:
            asked += self.proof(client)
        answer = await self.ask(asked)
        assert answer.status == 200, answer
        return str(answer.message["access_token"])

    def exchange(self, presenter: str, subject_token: str, resource: str, *more: tuple[str, str]) -> Parameters:
        """The parameters with which a server exchanges what it was called with."""
        return [
            ("grant_type", EXCHANGE),
            ("subject_token", subject_token),
            ("subject_token_type", ACCESS_TOKEN_TYPE),
            ("resource", resource),
            *more,
            *self.proof(presenter),
        ]

    async def received(self, token: str, resource: str = "calendar") -> str:
        """What the server of a resource is called with, when this token calls it through the gateway."""
        server = {"calendar": self.calendar, "rooms": self.rooms}[resource]
        call = {
            "calendar": a_call("list_events", {"day": ARGUMENT}),
            "rooms": a_call("find_room", {"day": ARGUMENT}),
        }[resource]
        seen = await self.knock(self.entrance(Door.GATEWAY, resource), with_token(call, token))
        assert (seen.observed, seen.reason, seen.passed) == ("200", None, 1), seen
        self.leaks.outbound.add(server.from_gateway.arrived[-1].bearer)
        return self.leaks.note(server.from_gateway.arrived[-1].bearer)

    def from_gateway(self) -> list[tuple[str, Arrived]]:
        """Every request that the gateway has sent, with the audience of the server that it was sent to."""
        servers = ((self.at.calendar_past, self.calendar), (self.at.rooms_past, self.rooms))
        return [(f"http://{at}/mcp", each) for at, server in servers for each in server.from_gateway.arrived]


_LATELY = 64
"""Records among which an outcome may still be missing."""

_TIDIED = ("active", "expired", "lapsed", "unpublished")


def _is_its_own(about: Mapping[str, Any]) -> bool:
    return "self_test" in about or about.get("by") == BY or about.get("change") in _TIDIED


def a_call(tool: str, arguments: Mapping[str, Any], **headers: str) -> Wire:
    """A tool call of 2026-07-28, not authorized yet."""
    return a_request("tools/call", {"name": tool, "arguments": arguments}, **headers)


def a_request(method: str, params: Mapping[str, Any] | None = None, **headers: str) -> Wire:
    """A request of 2026-07-28, with these headers changed or added."""
    fields, body = modern(method, params)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Wire(headers=tuple((fields | named).items()), body=body)


def with_token(wire: Wire, token: str) -> Wire:
    """The same request, authorized."""
    authorization = ("authorization", f"Bearer {token}")
    return Wire(method=wire.method, headers=(*wire.headers, authorization), body=wire.body, target=wire.target)


@contextlib.asynccontextmanager
async def attacked(folder: Path, *, configure: Configure = write_configuration) -> AsyncIterator[World]:
    """Make and run the installation while the block runs; `configure` writes its files and gives its clients' keys."""
    clock, log, opened = Clock(), LogLines(), asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_listening_to(log))
        scripted_url, scripted = await stack.enter_async_context(recording_upstream())
        scripted.script = lambda _: json_answer({"tools": [], "content": []})
        other = await stack.enter_async_context(throwaway_issuer(clock=clock))
        behind = {name: f"127.0.0.1:{port}" for name, port in zip(("calendar", "rooms"), free_ports(2), strict=True)}
        urls = {"scripted": scripted_url, **{name: f"http://{address}/mcp" for name, address in behind.items()}}
        kept = folder.with_name(f"{folder.name}-sent")
        relays = {name: await stack.enter_async_context(relaying(url, kept / name)) for name, url in urls.items()}
        (kept / "documents").mkdir(parents=True)
        documents = await stack.enter_async_context(a_site(kept / "documents"))
        (folder / CA_FILE).write_text(documents.ca_pem, encoding="ascii")
        named = {name: relay.url.split("/")[2] for name, relay in relays.items()}
        at = Addresses.free(**named, documents=documents.port)
        keys = configure(folder, at)
        first = SigningKey.generate(Algorithm.ED25519)
        (folder / "first.pem").write_text(first.as_pem().reveal(), encoding="ascii")
        await found(folder, signing_key_pem=folder / "first.pem", environ={}, clock=clock)
        settings = load(folder / "perhop.yaml", os.environ)
        began = clock.now
        trusted, scopes = [at.issuer, other.url], ["calendar:read"]
        calendar_guard = Guard(resource=f"http://{at.calendar_past}/mcp", issuers=trusted, scopes=scopes, clock=clock)
        calendar = GuardedServer(calendar_guard, calendar_server(calendar_guard), opened=opened)
        rooms = GuardedServer(
            Guard(resource=f"http://{at.rooms_past}/mcp", issuers=[at.issuer], clock=clock),
            rooms_server(),
            opened=opened,
        )
        apps: dict[str, AsgiApp] = {
            behind["calendar"]: calendar.from_gateway,
            at.calendar_past: calendar.direct,
            behind["rooms"]: rooms.from_gateway,
            at.rooms_past: rooms.direct,
        }
        await stack.enter_async_context(listening(apps, lifespan="on"))
        running = await stack.enter_async_context(
            serving(settings, clock=clock, control=_no_control, rounds=ONCE, resolve=documents.resolve)
        )
        stack.push_async_callback(_let_go, running, calendar, rooms)
        await running.plane.rotate_key(Algorithm.ES256, at_once=True, revoke_others=False)
        await account_add(running.plane, email=EMAIL, password=PASSWORD)
        opened.set()
        await _until_tested(running)
        http = await stack.enter_async_context(httpx2.AsyncClient(timeout=15))
        reader = stack.enter_context(JournalQueries(settings.journal_path))
        dripping = asyncio.create_task(_drip(at.traffic))
        stack.callback(dripping.cancel)
        world = World(
            folder=folder,
            at=at,
            clock=clock,
            plane=running.plane,
            reader=reader,
            keys=keys,
            key=running.plane.issuer.keyring.active,
            retired=first,
            began=began,
            calendar=calendar,
            rooms=rooms,
            scripted=scripted,
            documents=documents,
            other=other,
            log=log,
            sent={name: relay.recordings for name, relay in relays.items()},
            http=http,
            dripping=dripping,
        )
        world.leaks.note(PASSWORD, Kind.PASSWORD)
        world.leaks.note(SECRET, Kind.CLIENT_SECRET)
        world.leaks.note(ARGUMENT, Kind.ARGUMENT)
        yield world


@contextlib.contextmanager
def _listening_to(log: LogLines) -> Any:
    """Everything that Perhop and its HTTP server log comes here as well."""
    loggers = [logging.getLogger(name) for name in ("perhop", "uvicorn")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(log)
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(log)
            logger.setLevel(level)


@contextlib.asynccontextmanager
async def _no_control(plane: Plane) -> AsyncIterator[None]:
    """Operators of the attacked installation are in this process."""
    yield


async def _until_tested(running: Serving) -> None:
    """Wait for the self-test's verdicts and the first check of the bound, for which there is no signal."""
    wanted = {
        "calendar": Verdict.ENFORCES,
        "rooms": Verdict.ENFORCES,
        "scripted": Verdict.OPEN,
        "open": Verdict.OPEN,
    }
    async with asyncio.timeout(20):
        while running.traffic.verdicts() != wanted or running.revocation_check.figures.latest is None:
            await asyncio.sleep(0.01)


async def _let_go(running: Serving, *servers: GuardedServer) -> None:
    """End the guards' polls of the feed, which would hold up the server's stop: one revocation answers them all."""
    for server in servers:
        await server.guard.aclose()
    await running.plane.issuer.revoker.revoke(RevokedObject.SUBJECT, "user:nobody", why="the end", by="tests")


async def _drip(address: str) -> list[Answer]:
    """A request whose headers never end. Sent at the start, since the server waits for seconds."""
    return await send(address, b"POST /mcp/calendar HTTP/1.1\r\nhost: x\r\nx-drip: ")


def claims_in(token: str) -> dict[str, Any]:
    """The claims of a token, unverified."""
    import base64

    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims
