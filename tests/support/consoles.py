"""A whole installation in this process, with people of two teams, for tests of its console over real sockets."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx2
from argon2 import PasswordHasher

from perhop.authorization_server.interaction.passwords import Passwords
from perhop.authorization_server.store import Account
from perhop.founding import found
from perhop.journal.query import Filter
from perhop.journal.record import RequestFacts
from perhop.serving.serve import serving
from perhop.settings import Settings, load
from perhop.storage.journal_reader import JournalQueries
from perhop.wiring.plane import Plane
from perhop.wiring.revocation_check import Rounds
from tests.support.browsers import form_in
from tests.support.forge import good_claims, sign
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind
from tests.support.processes import free_ports
from tests.support.upstreams import RecordingUpstream, legacy, recording_upstream

ANN, BOB, DORA, FAY = (f"{name}@example.com" for name in ("ann", "bob", "dora", "fay"))
"""Of the travel team: bob, a member, dora, a deputy, and ann. Fay is of the finance team."""
STRANGER = "stranger@example.com"
PASSWORD = THE_SCAN.note("a-password-of-people-at-the-console", Kind.PASSWORD)
SECRET = THE_SCAN.note("a-secret-of-a-test-of-the-console-1234567", Kind.CLIENT_SECRET)
_QUICK = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
_HASH = _QUICK.hash(PASSWORD)
ONCE = Rounds(every=86_400, soon=86_400)

POLICIES = """
@id("reads") permit (principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"calendar/list_events");
@id("changes-are-approved") @reason("somebody looks before the <calendar> changes") @approval("owner")
permit (principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"calendar/create_event");
@id("payments-are-approved") @approval("owner")
permit (principal, action == MCP::Action::"call_tool", resource in MCP::Server::"payroll");
"""
CONFIGURATION = """\
issuer: http://{traffic}
listen: {{traffic: "{traffic}", console: "{console}", ops: "{ops}"}}
{more}owners:
  travel-team:
    contact: travel@example.com
    members: [ann@example.com, Bob@example.com]
    deputies: [dora@example.com]
  finance-team: {{contact: finance@example.com, members: [fay@example.com]}}
resources:
  calendar:
    uri: http://{traffic}/mcp/calendar
    owner: travel-team
    tenant: acme
    risk: medium
    scopes: {{calendar:use: {{says: Use the calendar, tools: ["*"]}}}}
    upstream: {{url: "{upstream}", credential: {{kind: none}}}}
  payroll:
    uri: http://{traffic}/mcp/payroll
    owner: finance-team
    risk: high
    scopes: {{payroll:use: {{says: Pay people, tools: ["*"]}}}}
    upstream: {{url: "{upstream}", credential: {{kind: none}}}}
clients:
  trip-planner:
    owner: travel-team
    purpose: plans business trips
    expires: 2099-12-31
    authentication: {{method: client_secret_basic, secret: {secret}}}
    reaches: {{calendar: [calendar:use], payroll: [payroll:use]}}
  desk-app:
    owner: finance-team
    purpose: shows people their calendar
    expires: 2099-12-31
    authentication: {{method: none}}
    redirect_uris: ["http://127.0.0.1:3955/callback"]
    reaches: {{calendar: [calendar:use]}}
"""
EVENT = {"title": "Lunch", "day": "2026-11-27"}


@dataclass
class MovedClock:
    """Time that goes on by itself, and can be moved."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass(kw_only=True)
class ConsoleWorld:
    """A running installation; its agents call, and people look at what they call."""

    settings: Settings
    plane: Plane
    clock: MovedClock
    upstream: RecordingUpstream
    http: httpx2.AsyncClient
    subjects: Mapping[str, str]
    queries: JournalQueries
    _stack: AsyncExitStack = field(repr=False)

    @property
    def console(self) -> str:
        return f"http://{self.settings.listen.console}"

    async def token(self) -> str:
        """A token for the calendar, as the agent gets it for itself."""
        asked = {"grant_type": "client_credentials", "resource": self.settings.registry.resources["calendar"].uri}
        answer = await self.http.post(f"{self.settings.issuer}/token", data=asked, auth=("trip-planner", SECRET))
        return str(answer.raise_for_status().json()["access_token"])

    def token_of(self, person: str, *, resource: str = "calendar", **claims: Any) -> str:
        """A token with which an agent acts for a person, under the installation's own key."""
        usual = {"sub": self.subjects.get(person, person), "client_id": "desk-app", "jti": secrets.token_hex(8)}
        audience = self.settings.registry.resources[resource].uri
        made = good_claims(
            issuer=self.settings.issuer,
            audience=audience,
            now=int(self.clock()),
            scope=f"{resource}:use",
            **(usual | claims),
        )
        return THE_SCAN.note(sign(made, self.plane.issuer.keyring.active), Kind.TOKEN)

    async def call(
        self,
        arguments: Mapping[str, Any] = EVENT,
        *,
        token: str,
        resource: str = "calendar",
        tool: str = "create_event",
    ) -> httpx2.Response:
        """One call of a tool."""
        headers, body = legacy("tools/call", {"name": tool, "arguments": dict(arguments)})
        uri = self.settings.registry.resources[resource].uri
        return await self.http.post(uri, headers={**headers, "authorization": f"Bearer {token}"}, content=body)

    async def asked(
        self,
        arguments: Mapping[str, Any] = EVENT,
        *,
        person: str = "trip-planner",
        resource: str = "calendar",
        tool: str = "create_event",
        **claims: Any,
    ) -> str:
        """The id of the approval for which a call waits from now on."""
        usual: dict[str, Any] = {"client_id": "trip-planner"} if person == "trip-planner" else {}
        token = self.token_of(person, resource=resource, **(usual | claims))
        answer = await self.call(arguments, token=token, resource=resource, tool=tool)
        assert answer.status_code == 403, answer.text
        error = answer.json()["error"]["data"]
        assert error["reason"] == "approval.required"
        return str(error["approval"])

    async def begin_task(self, *, purpose: str, tools: list[str]) -> str:
        """The id of a task that the agent has begun."""
        asked = {"purpose": purpose, "tools": tools, "expires_in": 600}
        answer = await self.http.post(f"{self.settings.issuer}/tasks", json=asked, auth=("trip-planner", SECRET))
        return str(answer.raise_for_status().json()["id"])

    async def approve_task(self, task: str, subject: str) -> None:
        """A person has consented to this task."""
        tasks = self.plane.issuer.tasks
        known = tasks.find(task)
        assert known is not None
        await tasks.approve(known, subject=subject, request=RequestFacts())

    async def browser(self, email: str | None = None, *, console: str | None = None) -> PersonsBrowser:
        """A browser of its own, at which this person is signed in, or nobody."""
        http = await self._stack.enter_async_context(httpx2.AsyncClient(timeout=15))
        browser = PersonsBrowser(http, console or self.console)
        if email is not None:
            signed_in = await browser.sign_in(email)
            assert signed_in.status_code == 303, signed_in.text
        return browser

    def records(self, event: str) -> list[dict[str, Any]]:
        """The journal's records of this event, oldest first."""
        return [dict(entry.fields) for entry in self.queries.find(Filter(event=event))]

    async def state(self, approval: str) -> str:
        """How an approval stands."""
        return (await self.plane.approvals.get(approval)).approval.state.value


class PersonsBrowser:
    """One browser at the console. Nothing is followed by itself; forms are sent as they came, with what is typed."""

    def __init__(self, http: httpx2.AsyncClient, console: str) -> None:
        self.http = http
        self.console = console

    async def open(self, path: str, **headers: str) -> httpx2.Response:
        return await self.http.get(urljoin(self.console, path), headers=_named(headers))

    async def send(self, page: httpx2.Response, filled: Mapping[str, str], **headers: str) -> httpx2.Response:
        """Send the page's form, hidden inputs as they came."""
        form = form_in(page)
        assert form.method == "post", page.text
        return await self.post(form.action, {**form.hidden, **filled}, **headers)

    async def post(self, path: str, sent: Mapping[str, str], **headers: str) -> httpx2.Response:
        return await self.http.post(urljoin(self.console, path), data=dict(sent), headers=_named(headers))

    async def follow(self, redirect: httpx2.Response) -> httpx2.Response:
        assert redirect.status_code == 303, redirect.text
        return await self.http.get(urljoin(str(redirect.url), redirect.headers["location"]))

    async def sign_in(self, email: str, *, password: str = PASSWORD, path: str = "/sign-in") -> httpx2.Response:
        """Sign in; what comes back is where it leads."""
        return await self.send(await self.open(path), {"email": email, "password": password})

    async def decide(self, approval: str, decision: str, why: str = "") -> httpx2.Response:
        """Open an approval and decide on it; what comes back is the answer to the form."""
        page = await self.open(f"/approvals/{approval}")
        return await self.send(page, {"decision": decision, "why": why})


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


async def add_account(plane: Plane, email: str, **changes: Any) -> None:
    """An account with the password of everybody here."""
    account = Account(email=email, subject=f"user:{email}", password_hash=_HASH, **changes)
    await plane.stores.accounts.add(account)


@asynccontextmanager
async def console_world(folder: Path, *, more: str = "", policies: str = POLICIES) -> AsyncIterator[ConsoleWorld]:
    """Make and run it while the block runs; `more` are further lines of the configuration."""
    clock = MovedClock()
    folder.mkdir()
    async with AsyncExitStack() as stack:
        upstream_url, upstream = await stack.enter_async_context(recording_upstream())
        traffic, console, ops = (f"127.0.0.1:{port}" for port in free_ports(3))
        text = CONFIGURATION.format(
            traffic=traffic, console=console, ops=ops, upstream=upstream_url, secret=SECRET, more=more
        )
        (folder / "perhop.yaml").write_text(text, encoding="utf-8")
        (folder / "policies").mkdir()
        (folder / "policies/tests.cedar").write_text(policies, encoding="utf-8")
        await found(folder, environ={}, clock=clock, passwords=_QUICK)
        settings = load(folder / "perhop.yaml", {})
        running = await stack.enter_async_context(serving(settings, clock=clock, control=no_control, rounds=ONCE))
        for email in (ANN, BOB, DORA, FAY, STRANGER):
            await add_account(running.plane, email)
        accounts = await running.plane.issuer.stores.accounts.list()
        yield ConsoleWorld(
            settings=settings,
            plane=running.plane,
            clock=clock,
            upstream=upstream,
            http=await stack.enter_async_context(httpx2.AsyncClient(timeout=15)),
            subjects={account.email: account.subject for account in accounts},
            queries=stack.enter_context(JournalQueries(settings.journal_path)),
            _stack=stack,
        )


@asynccontextmanager
async def no_control(plane: Plane) -> AsyncIterator[None]:
    yield
