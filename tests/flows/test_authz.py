"""`/authz`: another proxy asks before it forwards, and gets a no, or a yes with the token to go on with.

Spec: MCP 2026-07-28 transports
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from perhop.core.resource import CredentialKind, DataPlane, Resource
from perhop.core.secret import Secret
from perhop.core.task import Task
from perhop.core.token import BoundToken
from perhop.gateway.data_planes.asking import BySecret, BySocket, Proxy
from perhop.gateway.data_planes.forward_auth import ForwardAuthApp
from perhop.gateway.gate import Journal
from perhop.gateway.readiness import Verdict
from perhop.journal.record import Event, Record
from perhop.rules.revocation import RevocationKind
from perhop.tokens.verify import Leeway, verify
from tests.support.gateways import PERMIT_ALL, ListedStanding, World, gateway, serving
from tests.support.tasks import begin, token
from tests.support.upstreams import legacy, modern

SECRET = "the-secret-of-the-proxy-in-these-tests-1"
READS_ARGUMENTS = (
    '@id("no-coups") forbid (principal, action, resource == MCP::Tool::"calendar/create_event")'
    ' when { context.arguments has title && context.arguments.title == "coup" };'
)
FORBIDS = '@id("no-secrets") forbid (principal, action, resource == MCP::Tool::"calendar/get_event");'


@dataclass
class Asker:
    """What a proxy does with a request that it holds: asks, with the request's headers and its own words on top."""

    url: str
    world: World

    async def ask(
        self,
        request: tuple[Mapping[str, str], bytes | AsyncIterator[bytes]],
        *,
        token: str | None = "",
        with_body: bool = False,
        name: str = "calendar",
        **changes: str | None,
    ) -> httpx2.Response:
        """Ask about a request with a good token, or this one, or (None) none; `changes` are of the headers."""
        world = self.world
        path = world.gate.resource.uri.removeprefix(world.issuer)
        said: dict[str, str | None] = {
            "x-original-method": "POST",
            "x-original-uri": path,
            "x-original-host": world.issuer.removeprefix("http://"),
            "x-original-address": "192.0.2.7",
            "x-perhop-proxy-secret": SECRET,
        }
        authorization = None if token is None else f"Bearer {token or world.token()}"
        named = {each.replace("_", "-"): value for each, value in changes.items()}
        headers = {**request[0], "authorization": authorization, **said, **named}
        sent = {each: value for each, value in headers.items() if value is not None}
        body = request[1] if with_body else b""
        return await world.http.request(
            "POST" if with_body else "GET", f"{self.url}/authz/{name}", headers=sent, content=body
        )


@asynccontextmanager
async def asked(
    folder: Path,
    *policies: str,
    known: Proxy | None = None,
    kind: CredentialKind = CredentialKind.EXCHANGE,
    **changes: Any,
) -> AsyncIterator[Asker]:
    """A gateway's world whose calendar is behind another proxy."""
    async with gateway(folder, policies=policies or (PERMIT_ALL,), kind=kind, **changes) as world:
        world.replace_gate(resource=replace(world.gate.resource, data_plane=DataPlane.FORWARD_AUTH))
        app = ForwardAuthApp([world.gate], known or BySecret(Secret(SECRET)))
        async with serving(lambda _: app) as url:
            yield Asker(url, world)


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Asker]:
    async with asked(tmp_path, PERMIT_ALL, FORBIDS) as made:
        yield made


def call(tool: str = "list_events", **arguments: object) -> tuple[dict[str, str], bytes]:
    return modern("tools/call", {"name": tool, "arguments": arguments})


def error_of(answer: httpx2.Response) -> tuple[int, int | None, str | None]:
    """Status, JSON-RPC code and reason of a refusal; what is in the body is in the header as well."""
    if not answer.content:
        assert "x-perhop-refusal" not in answer.headers
        return answer.status_code, None, None
    error = answer.json()["error"]
    assert json.loads(answer.headers["x-perhop-refusal"]) == answer.json()
    return answer.status_code, error["code"], error["data"]["reason"]


async def test_a_yes_carries_the_token_to_go_on_with(proxy: Asker) -> None:
    """The proxy gets a token for the upstream and a trace parent, neither for keeping, and nothing of the caller's."""
    inbound = proxy.world.token()
    answer = await proxy.ask(call(), token=inbound)
    assert (answer.status_code, answer.content, answer.headers["cache-control"]) == (200, b"", "no-store")
    assert inbound not in str(answer.headers)
    keys = {proxy.world.issuer: {proxy.world.key.kid: proxy.world.key.public()}}
    raw = answer.headers["x-perhop-authorization"].removeprefix("Bearer ")
    hop = verify(raw, keys=keys, now=int(proxy.world.clock()), leeway=Leeway.NONE)
    assert proxy.world.gate.resource.upstream is not None
    assert hop.audience == proxy.world.gate.resource.upstream.resource
    (permit,) = await proxy.world.records(1)
    assert answer.headers["x-perhop-traceparent"].split("-")[2] == permit["call"]["id"]
    assert proxy.world.upstream.received == []


async def test_the_permit_says_who_carries_the_call_and_is_not_unfinished(proxy: Asker) -> None:
    """The permit is on disk before the yes; no outcome will follow, and none is waited for."""
    answer = await proxy.ask(call(), user_agent="a client")
    assert answer.status_code == 200
    (permit,) = await proxy.world.records(1)
    assert permit["event"] == "call.permitted"
    expected = {"method": "tools/call", "name": "list_events", "revision": "2026-07-28", "data_plane": "forward_auth"}
    assert {name: permit["call"][name] for name in expected} == expected
    assert "arguments_mac" not in permit["call"]
    assert permit["request"] == {"ip": "192.0.2.7", "user_agent": "a client"}
    assert permit["out"]["aud"] != permit["in"]["aud"]
    with proxy.world.journal_folder.queries() as reader:
        assert list(reader.unfinished()) == []


async def test_a_call_that_our_gateway_carries_stays_unfinished(proxy: Asker) -> None:
    """Without the mark of another data plane, a permit that has no outcome is listed."""
    proxy.world.replace_gate(resource=replace(proxy.world.gate.resource, data_plane=DataPlane.GATEWAY))
    app = ForwardAuthApp([proxy.world.gate], BySecret(Secret(SECRET)))
    async with serving(lambda _: app) as url:
        assert (await Asker(url, proxy.world).ask(call())).status_code == 200
    await proxy.world.journal.holds(1)
    with proxy.world.journal_folder.queries() as reader:
        assert len(list(reader.unfinished())) == 1


async def test_headers_tell_what_is_asked_for(proxy: Asker) -> None:
    """A list, a discovery, a prompt and an MCP resource are decided on by what the headers say of them."""
    spelled = modern("resources/read", {"uri": "note://heute/ä"})[0] | {"mcp-name": "=?base64?bm90ZTovL2hldXRlL8Ok?="}
    asked_for = [
        modern("tools/list"),
        modern("server/discover"),
        modern("prompts/get", {"name": "greet"}),
        (spelled, b""),
    ]
    for each in asked_for:
        assert (await proxy.ask(each)).status_code == 200
    names = [permit["call"].get("name") for permit in await proxy.world.records(4)]
    assert names == [None, None, "greet", "note://heute/ä"]


async def test_no_token_and_a_token_for_elsewhere_are_401(proxy: Asker) -> None:
    """The challenge is the resource's own, names its metadata, and tells nothing of why."""
    missing = await proxy.ask(call(), token=None)
    elsewhere = await proxy.ask(call(), token=proxy.world.token(aud="https://other.example.com/mcp"))
    several = await proxy.ask(call(), token=proxy.world.token(aud=[proxy.world.gate.resource.uri, "https://x.example"]))
    for answer in (missing, elsewhere, several):
        assert (answer.status_code, answer.content) == (401, b"")
        assert "/.well-known/oauth-protected-resource/mcp/calendar" in answer.headers["www-authenticate"]
        assert "x-perhop-authorization" not in answer.headers
    assert "error=" not in missing.headers["www-authenticate"]
    assert 'error="invalid_token"' in elsewhere.headers["www-authenticate"]
    reasons = [each["reason"] for each in await proxy.world.records(3)]
    assert reasons == ["token.malformed", "audience.mismatch", "audience.multiple"]


async def test_scope_policy_revocation_and_standing_apply(proxy: Asker) -> None:
    """What refuses a call at the gateway refuses it here, with the gateway's own answers."""
    unscoped = await proxy.ask(call("create_event"), token=proxy.world.token(scope="calendar:read"))
    assert unscoped.status_code == 403
    assert 'scope="calendar:write"' in unscoped.headers["www-authenticate"]
    assert error_of(await proxy.ask(call("get_event"))) == (403, -31403, "policy.denied")
    assert (await proxy.ask(call("drop_table"))).status_code == 403
    tasked = proxy.world.token(authorization_details=[{"type": "agent_task", "id": "task-1"}])
    assert error_of(await proxy.ask(call(), token=tasked)) == (403, -31403, "task.outside")
    proxy.world.revoke(RevocationKind.TOKEN, "revoked-1")
    assert (await proxy.ask(call(), token=proxy.world.token(jti="revoked-1"))).status_code == 401
    proxy.world.standing.disabled.add("trip-planner")
    assert (await proxy.ask(call())).status_code == 401


@pytest.mark.parametrize("with_body", [False, True])
async def test_a_call_is_held_to_its_task_and_counted(proxy: Asker, with_body: bool) -> None:
    """The same task, limits and end as at the gateway, whether the proxy brings the body or not."""
    task = await begin(proxy.world, "calendar/list_*", calls=2)
    held = token(proxy.world, task)
    answers = await asyncio.gather(*(proxy.ask(call(), token=held, with_body=with_body) for _ in range(5)))
    assert sorted(error_of(each) if each.status_code != 200 else (200, None, None) for each in answers) == [
        *[(200, None, None)] * 2,
        *[(429, -31429, "limit.exceeded")] * 3,
    ]
    outside = await proxy.ask(call("create_event"), token=held, with_body=with_body)
    assert error_of(outside) == (403, -31403, "task.outside")
    await begin(proxy.world, supersedes=task.id)
    over = await proxy.ask(call(), token=held, with_body=with_body)
    assert error_of(over) == (403, -31403, "task.superseded")
    assert json.loads(over.headers["x-perhop-refusal"])["id"] == (1 if with_body else None)


UNTOLD: list[tuple[dict[str, str | None], tuple[int, int | None, str | None]]] = [
    ({"mcp_protocol_version": None}, (400, -32022, "request.malformed")),
    ({"mcp_protocol_version": "2025-11-25"}, (400, -32022, "request.malformed")),
    ({"mcp_method": None}, (400, -32020, "header.mismatch")),
    ({"mcp_name": None}, (400, -32020, "header.mismatch")),
    ({"mcp_name": "=?base64?!?="}, (400, -32020, "header.mismatch")),
    ({"mcp_method": "subscriptions/listen"}, (404, -32601, "method.unknown")),
    ({"mcp_method": "completion/complete"}, (404, -32601, "method.unknown")),
    ({"mcp_method": "initialize"}, (404, -32601, "method.unknown")),
    ({"mcp_method": "Tools/call"}, (404, -32601, "method.unknown")),
    ({"x_original_method": "GET"}, (405, None, None)),
    ({"x_original_method": "DELETE"}, (405, None, None)),
    ({"x_original_method": "PUT"}, (405, None, None)),
    ({"x_original_uri": "/mcp/calendar/"}, (400, -32600, "request.malformed")),
    ({"x_original_uri": "/mcp/%63alendar"}, (400, -32600, "request.malformed")),
    ({"x_original_uri": "/mcp/calendar?x=y"}, (400, -32600, "request.malformed")),
    ({"x_original_host": "evil.example"}, (403, None, None)),
    ({"origin": "https://evil.example"}, (403, None, None)),
]


async def test_what_headers_do_not_tell_is_refused(proxy: Asker) -> None:
    """Without a body only a whole request of the stateless revision, at the resource's own place, is decided on."""
    answers = [await proxy.ask(call(), **changes) for changes, _ in UNTOLD]
    assert [error_of(answer) for answer in answers] == [expected for _, expected in UNTOLD]
    assert [answer for answer in answers if "x-perhop-authorization" in answer.headers] == []


async def test_a_mirrored_header_that_comes_twice_is_refused(proxy: Asker) -> None:
    """Two names are no name: the server might take the other one."""
    headers, _ = call()
    base = await proxy.ask((headers, b""))
    assert base.status_code == 200
    sent = [*base.request.headers.multi_items(), ("mcp-name", "drop_table")]
    answer = await proxy.world.http.get(str(base.request.url), headers=sent)
    assert error_of(answer) == (400, -32020, "header.mismatch")


async def test_a_proxy_that_does_not_say_what_it_holds_is_not_answered(proxy: Asker) -> None:
    """A check without the proxy's own words, or with two of them, is no check."""
    whole = await proxy.ask(call())
    for name in ("x-original-method", "x-original-uri", "x-original-host", "x-original-address"):
        sent = whole.request.headers.multi_items()
        without, twice = [each for each in sent if each[0] != name], [*sent, (name, "x")]
        for headers in (without, twice):
            assert (await proxy.world.http.get(str(whole.request.url), headers=headers)).status_code == 400


async def test_nobody_but_the_proxy_is_answered(proxy: Asker) -> None:
    """Whoever does not know the secret finds nothing there, however good the token."""
    for secret in (None, "", SECRET[:-1], SECRET + "x", SECRET.upper()):
        answer = await proxy.ask(call(), x_perhop_proxy_secret=secret)
        assert (answer.status_code, answer.content) == (404, b"")
    assert proxy.world.exchanger.permits == []


async def test_the_secret_must_come_once(proxy: Asker) -> None:
    """A proxy that adds its secret to one that a client sent has not kept its channel clean."""
    asked_ = await proxy.ask(call())
    sent = [*asked_.request.headers.multi_items(), ("x-perhop-proxy-secret", SECRET)]
    assert (await proxy.world.http.get(str(asked_.request.url), headers=sent)).status_code == 404


async def test_by_a_socket_no_secret_is_asked_for(tmp_path: Path) -> None:
    """Who may open the socket is the proxy."""
    async with asked(tmp_path, known=BySocket()) as proxy:
        assert (await proxy.ask(call(), x_perhop_proxy_secret=None)).status_code == 200


async def test_only_what_another_proxy_carries_is_asked_about(proxy: Asker) -> None:
    """There is one path for each such resource, and nothing beside it."""
    for name in ("rooms", "calendar/", "calendar%20", "", "calendar/mcp/calendar"):
        assert (await proxy.ask(call(), name=name)).status_code == 404


async def test_such_a_resource_has_its_metadata_here_and_no_face(proxy: Asker) -> None:
    """At the resource's own path the gateway answers nothing; its metadata is served for the proxy to pass on."""
    assert (await proxy.world.send(call())).status_code == 404
    metadata = await proxy.world.http.get(f"{proxy.world.issuer}/.well-known/oauth-protected-resource/mcp/calendar")
    assert metadata.json()["resource"] == proxy.world.gate.resource.uri


async def test_a_policy_that_reads_arguments_closes_the_resource_to_headers(tmp_path: Path) -> None:
    """Every call, also of other tools, is 503 with fixed text, and the journal names the policy; a body opens it."""
    async with asked(tmp_path, PERMIT_ALL, READS_ARGUMENTS) as proxy:
        answer = await proxy.ask(call())
        assert error_of(answer) == (503, -31503, "policy.error")
        assert answer.headers["retry-after"] == "30"
        assert "no-coups" not in answer.text
        (refusal,) = await proxy.world.records(1)
        assert "no-coups" in refusal["detail"]
        coup = call("create_event", title="coup")
        assert error_of(await proxy.ask(coup)) == (503, -31503, "policy.error")
        assert error_of(await proxy.ask(coup, with_body=True)) == (403, -31403, "policy.denied")
        assert (await proxy.ask(call("create_event", title="tea"), with_body=True)).status_code == 200


async def test_a_policy_about_another_server_closes_nothing(tmp_path: Path) -> None:
    """Only policies that may speak of calls at this server count."""
    elsewhere = READS_ARGUMENTS.replace("calendar/create_event", "rooms/create_event")
    async with asked(tmp_path, PERMIT_ALL, elsewhere) as proxy:
        assert (await proxy.ask(call())).status_code == 200


async def test_with_the_body_the_body_decides(proxy: Asker) -> None:
    """A body that says something else than the headers is refused here already; arguments are known by their MAC."""
    headers, _ = call("list_events")
    _, other = call("drop_table")
    assert error_of(await proxy.ask((headers, other), with_body=True)) == (400, -32020, "header.mismatch")
    assert (await proxy.ask(call("create_event", title="tea"), with_body=True)).status_code == 200
    permit = (await proxy.world.records(2))[1]
    assert "arguments_mac" in permit["call"]


async def test_a_session_and_a_standing_stream_are_not_for_this_data_plane(proxy: Asker) -> None:
    """Also with the body: nobody binds the session to its caller, and nobody cuts the stream when its token ends."""
    old = legacy("tools/call", {"name": "list_events", "arguments": {}})
    assert error_of(await proxy.ask(old, with_body=True)) == (400, -32022, "request.malformed")
    listen = modern("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    assert error_of(await proxy.ask(listen, with_body=True)) == (404, -32601, "method.unknown")


async def test_the_self_test_holds_here_too(tmp_path: Path) -> None:
    """No token is handed out for an upstream that has not refused one that is good nowhere."""
    async with asked(tmp_path, verdict=Verdict.OPEN) as proxy:
        assert error_of(await proxy.ask(call())) == (503, -31503, "upstream.open")
        assert proxy.world.exchanger.permits == []


async def test_an_upstream_that_takes_no_token_is_given_none(tmp_path: Path) -> None:
    """Then there is a yes without anything to go on with, and the caller's token does not take its place."""
    async with asked(tmp_path, kind=CredentialKind.NONE) as proxy:
        answer = await proxy.ask(call())
        assert answer.status_code == 200
        assert "x-perhop-authorization" not in answer.headers


async def test_call_tokens_need_the_body(tmp_path: Path) -> None:
    """A token for one call is bound to what the body says, so without the body there is none."""
    async with asked(tmp_path) as proxy:
        upstream = proxy.world.gate.resource.upstream
        assert upstream is not None
        resource = replace(proxy.world.gate.resource, upstream=replace(upstream, credential=CredentialKind.CALL))
        proxy.world.replace_gate(resource=resource)
        app = ForwardAuthApp([proxy.world.gate], BySecret(Secret(SECRET)))
        async with serving(lambda _: app) as url:
            asker = Asker(url, proxy.world)
            assert error_of(await asker.ask(call())) == (503, -31503, "policy.error")
            assert (await asker.ask(call(), with_body=True)).status_code == 200
    binding = proxy.world.exchanger.permits[-1].call.binding
    assert binding is not None
    assert (binding.method, binding.name) == ("tools/call", "list_events")


async def test_a_journal_that_takes_nothing_gives_no_yes(proxy: Asker) -> None:
    """The permit is durable first, or there is no token."""
    await proxy.world.journal.close()
    answer = await proxy.ask(call())
    assert error_of(answer) == (503, -31503, "journal.unavailable")
    assert "x-perhop-authorization" not in answer.headers


class NoticedStanding(ListedStanding):
    """Tells when it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.was_asked = asyncio.Event()

    def check(self, bound: BoundToken, resource: Resource) -> None:
        self.was_asked.set()
        super().check(bound, resource)


@dataclass
class SlowJournal:
    """Something happens while it writes a permit."""

    journal: Journal
    meanwhile: Callable[[], Awaitable[None]]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.journal, name)

    async def append(self, record: Record) -> int:
        if record.event is Event.CALL_PERMITTED:
            await self.meanwhile()
        return await self.journal.append(record)


async def _revoke(world: World, task: Task) -> None:
    world.revoke(RevocationKind.TOKEN, "held-1")


async def _disable(world: World, task: Task) -> None:
    world.standing.disabled.add("trip-planner")


async def _end_task(world: World, task: Task) -> None:
    await world.tasks.end(task.id, why="enough", by="operator:test")


async def _let_time_pass(world: World, task: Task) -> None:
    world.clock.ahead += 24 * 3600


async def _of_calls(world: World, count: int) -> list[dict[str, Any]]:
    return [each for each in await world.records(count) if each["event"].startswith("call.")]


NO_LONGER_GOOD = [
    pytest.param(_revoke, "token.revoked", id="revoked"),
    pytest.param(_disable, "client.disabled", id="disabled"),
    pytest.param(_end_task, "task.expired", id="task ended"),
    pytest.param(_let_time_pass, "token.expired", id="expired"),
]


@pytest.mark.parametrize(("happens", "reason"), NO_LONGER_GOOD)
async def test_what_stops_being_good_while_its_body_comes_gets_no_yes(
    tmp_path: Path, happens: Callable[[World, Task], Awaitable[None]], reason: str
) -> None:
    """The body may take half a minute: what happens in that time counts, and no token is made."""
    async with asked(tmp_path) as proxy:
        world, noticed = proxy.world, NoticedStanding()
        task = await begin(world, expires_in=2 * 24 * 3600)
        held = token(world, task, jti="held-1")
        world.standing = noticed
        world.replace_gate(standing=noticed)
        headers, body = call()

        async def slowly() -> AsyncIterator[bytes]:
            yield body[:10]
            await noticed.was_asked.wait()
            await happens(world, task)
            yield body[10:]

        app = ForwardAuthApp([world.gate], BySecret(Secret(SECRET)))
        async with serving(lambda _: app) as url:
            answer = await Asker(url, world).ask((headers, slowly()), token=held, with_body=True)
        assert answer.status_code in (401, 403)
        assert "x-perhop-authorization" not in answer.headers
        assert world.exchanger.permits == []
        (refusal,) = await _of_calls(world, 1)
        assert (refusal["event"], refusal["reason"]) == ("call.refused", reason)


@pytest.mark.parametrize("with_body", [False, True])
@pytest.mark.parametrize(("happens", "reason"), NO_LONGER_GOOD)
async def test_what_stops_being_good_while_it_is_recorded_gets_no_yes(
    tmp_path: Path, happens: Callable[[World, Task], Awaitable[None]], reason: str, with_body: bool
) -> None:
    """The permit stands in the journal by then, and so does how it ended."""
    async with asked(tmp_path) as proxy:
        world = proxy.world
        task = await begin(world, expires_in=2 * 24 * 3600)
        held = token(world, task, jti="held-1")
        slow = SlowJournal(world.gate.journal, lambda: happens(world, task))
        world.replace_gate(journal=slow)
        app = ForwardAuthApp([world.gate], BySecret(Secret(SECRET)))
        async with serving(lambda _: app) as url:
            answer = await Asker(url, world).ask(call(), token=held, with_body=with_body)
        assert answer.status_code in (401, 403)
        assert "x-perhop-authorization" not in answer.headers
        permit, ended = await _of_calls(world, 2)
        assert (permit["event"], ended["event"]) == ("call.permitted", "call.ended")
        assert ended["result"]["error"] == reason
