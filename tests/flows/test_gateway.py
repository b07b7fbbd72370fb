"""One call through the gateway: what the upstream sees, what the caller sees, and what the journal keeps."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from perhop.core.decision import Question
from perhop.core.resource import CredentialKind
from perhop.errors import JournalUnavailable
from perhop.gateway import forward
from perhop.gateway.readiness import Verdict
from perhop.journal.record import Record
from perhop.rules.revocation import RevocationKind
from perhop.tokens.verify import Leeway, verify
from tests.support.forge import ABSENT, good_claims, sign
from tests.support.gateways import PERMIT_ALL, World, gateway
from tests.support.upstreams import json_answer, legacy, modern, raw_answer

FORBID_SECRETS = """
@id("all") permit (principal, action, resource);
@id("no-secrets") forbid (principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"calendar/get_event");
@id("no-root") forbid (principal, action == MCP::Action::"call_tool", resource)
    when { context.arguments has path && context.arguments.path == "/" };
"""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway(tmp_path, policies=(FORBID_SECRETS,)) as made:
        yield made


def call(tool: str = "list_events", **arguments: object) -> tuple[dict[str, str], bytes]:
    return modern("tools/call", {"name": tool, "arguments": arguments})


async def test_a_permitted_call_reaches_the_upstream_with_another_token(world: World) -> None:
    """The upstream gets a token for itself, and nothing of the caller's."""
    inbound = world.token()
    answer = await world.send(call(day="monday"), token=inbound, cookie="a=b", x_user="root", forwarded="for=::1")
    assert answer.status_code == 200
    assert answer.json()["result"] == {"ok": True}
    received = world.upstream.last
    sent = str(received.headers) + received.body.decode()
    assert inbound not in sent
    assert inbound.rpartition(".")[2] not in sent
    outbound = received.header("authorization")
    assert outbound is not None
    keys = {world.issuer: {world.key.kid: world.key.public()}}
    hop = verify(outbound.removeprefix("Bearer "), keys=keys, now=int(world.clock()), leeway=Leeway.NONE)
    assert world.gate.resource.upstream is not None
    assert hop.audience == world.gate.resource.upstream.resource
    names = {name for name, _ in received.headers}
    assert not names & {"cookie", "x-user", "forwarded", "origin"}
    assert received.header("accept-encoding") == "identity"


async def test_each_call_goes_on_with_its_own_headers(world: World) -> None:
    """Calls that differ in one field, and only in that, reach the upstream with what each of them said."""
    for agent, accepts, tool in [("a", "application/json", "list_events"), ("b", "application/json", "list_events")] + [
        ("b", "application/json, text/event-stream", tool) for tool in ("list_events", "list_days")
    ]:
        for headers, body in (call(tool), legacy("tools/call", {"name": tool})):
            assert (await world.send((headers, body), user_agent=agent, accept=accepts)).status_code == 200
            received = world.upstream.last
            revision, name = headers["mcp-protocol-version"], headers.get("mcp-name")
            said = {"user-agent": agent, "accept": accepts, "mcp-protocol-version": revision, "mcp-name": name}
            assert {each: received.header(each) for each in said} == said


async def test_the_permit_is_recorded_with_both_tokens_and_the_outcome_after_it(world: World) -> None:
    """A call leaves a permit with in and out, then an outcome with status and duration, joined by the call's id."""
    await world.send(call(day="monday"))
    permit, ended = await world.records(2)
    assert [permit["event"], ended["event"]] == ["call.permitted", "call.ended"]
    assert permit["in"]["aud"] == world.url
    assert permit["out"]["aud"] == world.gate.resource.upstream.resource  # type: ignore[union-attr]  # it has one
    assert permit["call"]["name"] == "list_events"
    assert permit["call"]["arguments_mac"]
    assert permit["decision"] == {"effect": "permit", "policies": ["all"], "policy_version": world.gate.policy.version}
    assert ended["result"]["status"] == 200
    assert ended["result"]["duration_ms"] >= 0
    assert ended["call"]["id"] == permit["call"]["id"]
    assert "monday" not in json.dumps([permit, ended])


async def test_the_upstream_sees_a_trace_parent_that_names_the_record(world: World) -> None:
    """`traceparent` is the gateway's: its trace is the transaction's, its parent the record's `call.id`.

    What the caller says of its own trace, in header or body, changes neither; in the body it goes on unread.
    """
    theirs = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    headers, body = call()
    message = json.loads(body)
    message["params"]["_meta"]["traceparent"] = theirs
    requests = [((headers, body), {}), ((headers, json.dumps(message).encode()), {"traceparent": theirs})]
    for request, named in requests:
        assert (await world.send(request, token=world.token(txn="txn-7"), **named)).status_code == 200
    ids = [each["call"]["id"] for each in await world.records(4) if each["event"] == "call.permitted"]
    trace = hashlib.sha256(b"txn-7").hexdigest()[:32]
    assert [each.header("traceparent") for each in world.upstream.received] == [f"00-{trace}-{i}-01" for i in ids]
    assert len(set(ids)) == 2
    assert world.upstream.last.message["params"]["_meta"]["traceparent"] == theirs


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "https://other.example.com/mcp"}, "audience.mismatch"),
        ({"aud": ["x", "y"]}, "audience.multiple"),
        ({"aud": ABSENT}, "audience.missing"),
        ({"cnf": {"jkt": "x" * 43}}, "sender.mismatch"),
        ({"iat": 1_000, "exp": 1_300}, "token.expired"),
    ],
)
async def test_a_token_that_is_not_good_here_is_refused(world: World, claims: dict[str, object], reason: str) -> None:
    """The answer is 401 with a challenge and no body, one record says why, and the upstream is not called."""
    token = world.token(**{k: v for k, v in claims.items() if v is not ABSENT})
    if ABSENT in claims.values():
        token = sign(good_claims(issuer=world.issuer, now=int(world.clock()), aud=ABSENT), world.key)
    answer = await world.send(call(), token=token)
    assert (answer.status_code, answer.content) == (401, b"")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert world.upstream.received == []
    (record,) = await world.records(1)
    assert (record["event"], record["reason"]) == ("call.refused", reason)


async def test_no_token_is_a_challenge_without_an_error(world: World) -> None:
    """Without a token the challenge carries no `error`, but metadata and scope."""
    headers, body = call()
    answer = await world.http.post(world.url, headers=headers, content=body)
    assert answer.status_code == 401
    challenge = answer.headers["www-authenticate"]
    assert "error" not in challenge
    assert 'scope="calendar:read"' in challenge
    metadata_url = challenge.partition('resource_metadata="')[2].partition('"')[0]
    document = (await world.http.get(metadata_url)).json()
    assert document["resource"] == world.url
    assert document["authorization_servers"] == [world.issuer]


async def test_a_signature_that_fails_leaves_a_digest_and_no_claims(world: World) -> None:
    """Of a token whose signature does not hold, the journal keeps the SHA-256 and nothing else."""
    token = world.token()[:-8] + "AAAAAAAA"
    await world.send(call(), token=token)
    (record,) = await world.records(1)
    assert record["in"] == {"unverified": hashlib.sha256(token.encode()).hexdigest()}
    assert "user:ann" not in json.dumps(record)


async def test_an_expired_token_leaves_its_id(world: World) -> None:
    """The signature of an expired token held, so its use can be found by its id; nothing else of it is kept."""
    token = world.token(jti="expired-and-used", iat=1_000, exp=1_300)
    await world.send(call(), token=token)
    (record,) = await world.records(1)
    assert (record["reason"], record["in"]) == ("token.expired", {"jti": "expired-and-used"})


async def test_the_body_of_a_stranger_is_not_read(world: World) -> None:
    """A body that could not even be parsed changes nothing for a caller without a token."""
    answer = await world.http.post(world.url, content=b"{" * 1000)
    assert answer.status_code == 401


async def test_a_revoked_token_is_refused_at_once(world: World) -> None:
    """A revocation counts on the next request."""
    token = world.token(jti="stolen", iat=int(world.clock()) - 5)
    assert (await world.send(call(), token=token)).status_code == 200
    world.revoke(RevocationKind.TOKEN, "stolen")
    assert (await world.send(call(), token=token)).status_code == 401
    assert (await world.records(3))[-1]["reason"] == "token.revoked"


async def test_a_disabled_agent_is_refused(world: World) -> None:
    """Standing is looked at on every call."""
    world.standing.disabled.add("trip-planner")
    answer = await world.send(call())
    assert answer.status_code == 401
    assert (await world.records(1))[0]["reason"] == "client.disabled"


async def test_a_tool_outside_the_scopes_is_a_challenge_that_names_the_scope(world: World) -> None:
    """403 without a body; the challenge names the first scope that lists the tool."""
    answer = await world.send(call("create_event"), token=world.token(scope="calendar:read"))
    assert (answer.status_code, answer.content) == (403, b"")
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert 'scope="calendar:write"' in answer.headers["www-authenticate"]
    assert (await world.records(1))[0]["reason"] == "scope.insufficient"
    assert world.upstream.received == []


async def test_what_policy_denies_is_a_json_rpc_error(world: World) -> None:
    """403 with -31403, the reason, and the id of the record; the record names the policy."""
    answer = await world.send(call("get_event"))
    assert answer.status_code == 403
    (record,) = await world.records(1)
    error = answer.json()["error"]
    assert error["code"] == -31403
    assert error["data"] == {"reason": "policy.denied", "record": record["call"]["id"]}
    assert answer.json()["id"] == 1
    assert record["decision"]["effect"] == "deny"
    assert record["decision"]["policies"] == ["no-secrets"]
    assert world.upstream.received == []


async def test_policy_reads_the_arguments(world: World) -> None:
    """The same tool passes with one argument and not with another."""
    assert (await world.send(call(path="/home"))).status_code == 200
    assert (await world.send(call(path="/"))).status_code == 403


async def test_an_argument_of_another_type_does_not_slip_past_a_forbid(world: World) -> None:
    """A value that policy cannot read, where a policy reads it, is a refusal."""
    answer = await world.send(call(path=["/"]))
    assert (answer.status_code, answer.json()["error"]["data"]["reason"]) == (403, "policy.error")


async def test_without_a_journal_nothing_is_forwarded(world: World) -> None:
    """If the permit cannot be written, the answer is 503 and the upstream is not called."""

    class FullJournal:
        async def append(self, record: Record) -> int:
            raise JournalUnavailable("disk full")

        append_refusal = note = append
        mac = staticmethod(lambda arguments: "mac")

    world.replace_gate(journal=FullJournal())
    answer = await world.send(call())
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == -31503
    assert answer.json()["error"]["data"]["reason"] == "journal.unavailable"
    assert answer.headers["retry-after"] == "1"
    assert world.upstream.received == []


async def test_an_outcome_that_cannot_be_written_does_not_change_the_answer(world: World) -> None:
    """The call is done; its permit stays without an outcome."""
    real = world.gate.journal

    class FillsUp:
        append = staticmethod(real.append)
        append_refusal = staticmethod(real.append_refusal)

        def note(self, record: Record) -> None:
            raise JournalUnavailable("disk full")

        mac = staticmethod(real.mac)

    world.replace_gate(journal=FillsUp())
    assert (await world.send(call())).status_code == 200
    assert [record["event"] for record in await world.records(1)] == ["call.permitted"]


async def test_an_open_upstream_gets_nothing(world: World) -> None:
    """Until the self-test has passed, 503 `upstream.open`, and no token is made."""
    for verdict in (Verdict.UNTESTED, Verdict.OPEN, Verdict.INCONCLUSIVE):
        world.gate.readiness.verdict = verdict
        answer = await world.send(call())
        assert (answer.status_code, answer.json()["error"]["data"]["reason"]) == (503, "upstream.open")
    assert world.exchanger.permits == []
    assert world.upstream.received == []


async def test_an_upstream_without_credential_gets_no_token(tmp_path: Path) -> None:
    """With `credential: none` no Authorization header goes out at all."""
    async with gateway(tmp_path, kind=CredentialKind.NONE, verdict=Verdict.UNTESTED) as world:
        assert (await world.send(call())).status_code == 200
        assert world.upstream.last.header("authorization") is None
        assert "out" not in (await world.records(1))[0]


@pytest.mark.parametrize(
    ("status", "headers"), [(401, {}), (403, {"www_authenticate": "Bearer"}), (307, {"location": "http://x"})]
)
async def test_an_upstream_that_refuses_our_token_is_unavailable(
    world: World, status: int, headers: dict[str, str]
) -> None:
    """Its challenge does not reach the caller, and nothing is tried again."""
    world.upstream.script = lambda _: raw_answer(b"", status=status, **headers)
    answer = await world.send(call())
    assert answer.status_code == 503
    assert "www-authenticate" not in answer.headers
    assert "location" not in answer.headers
    assert len(world.upstream.received) == 1
    assert (await world.records(2))[-1]["result"]["error"] == "upstream.unavailable"


async def test_what_answers_mean_is_not_kept_without_end(world: World) -> None:
    """An upstream that puts something new into every head fills no memory of ours."""
    for number in range(forward._MOST_HEADS + 3):
        answer = raw_answer(b"{}", x_number=str(number))
        world.upstream.script = lambda _, answer=answer: answer  # type: ignore[misc]
        assert (await world.send(call())).status_code == 200
        assert len(forward._heads) <= forward._MOST_HEADS


async def test_what_an_answer_means_is_told_by_its_status_and_its_headers(world: World) -> None:
    """A head that came before says the same again, and another status or another header something else."""
    answers = [
        raw_answer(b"{}"),
        raw_answer(b"{}", status=401),
        raw_answer(b"{}"),
        raw_answer(b"{}", status=403),
        raw_answer(b"{}", status=403, www_authenticate="Bearer"),
        raw_answer(b"data: {}\n\n", content_type="text/event-stream"),
        raw_answer(b"{}", status=307),
        raw_answer(b"{}", retry_after="7"),
        raw_answer(b"{}"),
    ]
    seen = []
    for each in answers:
        world.upstream.script = lambda _, each=each: each  # type: ignore[misc]
        answer = await world.send(call())
        seen.append((answer.status_code, answer.headers.get("retry-after"), answer.headers["content-type"]))
    json_type, stream_type = "application/json", "text/event-stream"
    assert seen == [
        (200, None, json_type),
        (503, "1", json_type),
        (200, None, json_type),
        (403, None, json_type),
        (503, "1", json_type),
        (200, None, stream_type),
        (503, "1", json_type),
        (200, "7", json_type),
        (200, None, json_type),
    ]


async def test_a_whole_answer_that_could_not_be_sent_is_recorded_as_cancelled(world: World) -> None:
    """The call has ended upstream, and nobody has its answer: the outcome says so, once."""
    (headers, body), host = call(), world.issuer.removeprefix("http://")
    named = [(name.encode(), value.encode()) for name, value in {**headers, **world.bearer(), "host": host}.items()]
    path = "/mcp/calendar"
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "headers": named}

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            raise OSError

    with pytest.raises(OSError):
        await world.app(scope, receive, send)
    assert [each.get("result", {}).get("error") for each in await world.records(2)] == [None, "cancelled"]


async def test_an_upstream_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    """503 with a record of the outcome."""
    async with gateway(tmp_path, upstream_url="http://127.0.0.1:9/mcp") as world:
        answer = await world.send(call())
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, -31503)
        assert [each["event"] for each in await world.records(2)] == ["call.permitted", "call.ended"]


@pytest.mark.parametrize(("result", "error"), [({"isError": True, "content": []}, "tool_error"), (None, "-32602")])
async def test_how_a_call_ended_is_recorded(world: World, result: object, error: str) -> None:
    """A tool's own error and a JSON-RPC error stand in the outcome."""
    body = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "no"}}
    world.upstream.script = lambda _: json_answer(result) if result else raw_answer(json.dumps(body).encode())
    await world.send(call())
    assert (await world.records(2))[-1]["result"]["error"] == error


async def test_what_is_forwarded_is_what_was_decided_on(world: World) -> None:
    """The body goes out written anew: same values, no white space, integers exact, text as UTF-8."""
    headers, _ = call()
    big = 2**70 + 1
    body = (
        '{ "jsonrpc":"2.0", "id":7, "method":"tools/call", "params": {"name":"list_events", "arguments":'
        f'{{"n": {big}, "f": 1.5, "t": "\\u00e9 \\ud83d\\ude00"}}, "_meta": {{'
        '"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}'
    )
    await world.send((headers, body.encode()))
    sent = world.upstream.last.body
    assert f'"n":{big},"f":1.5,"t":"é 😀"'.encode() in sent
    assert json.loads(sent) == json.loads(body)


async def test_an_unexpected_error_is_500_and_recorded(world: World) -> None:
    """What goes wrong in us is closed, told to nobody, and recorded."""

    class Broken:
        version = "v"

        def decide(self, question: Question) -> None:
            raise KeyError("secret detail")

    world.replace_gate(policy=Broken())
    answer = await world.send(call())
    assert (answer.status_code, answer.content) == (500, b"")
    (record,) = await world.records(1)
    assert (record["result"], record["detail"]) == ({"status": 500, "error": "internal"}, "KeyError")


async def test_unknown_paths_and_methods(world: World) -> None:
    """Only the resource's exact path answers, and only GET, POST and DELETE."""
    address = httpx2.URL(world.issuer)
    for path in ("/", "/mcp/calendar/", "/mcp//calendar", "/mcp/%63alendar", "/MCP/calendar", "/mcp/x/../calendar"):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n".encode())
        assert (await reader.readline()).split()[1] == b"404", path
        writer.close()
    answer = await world.http.request("PUT", world.url, headers=world.bearer())
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST, DELETE")
    assert world.upstream.received == []


async def test_a_policy_refusal_of_a_legacy_client_has_the_same_shape(world: World) -> None:
    """The era changes nothing about a refusal by policy."""
    answer = await world.send(legacy("tools/call", {"name": "get_event", "arguments": {}}, rpc_id="a"))
    assert (answer.status_code, answer.json()["id"], answer.json()["error"]["code"]) == (403, "a", -31403)


async def test_a_token_in_the_query_is_not_read(world: World) -> None:
    """A token anywhere but in the header is no token."""
    headers, body = call()
    answer = await world.http.post(f"{world.url}?access_token={world.token()}", headers=headers, content=body)
    assert answer.status_code == 401
    assert "error" not in answer.headers["www-authenticate"]


async def test_a_query_does_not_reach_the_upstream(world: World) -> None:
    """What stands behind the path is not forwarded."""
    headers, body = call()
    await world.http.post(f"{world.url}?x=1", headers={**headers, **world.bearer()}, content=body)
    assert world.upstream.last.path == "/mcp"


async def test_a_policy_sees_the_tenant_that_the_token_names(tmp_path: Path) -> None:
    """Not that of the resource: a token of another tenant, or of none, is told apart; and the record says which."""
    walls = """
    @id("walls") forbid (principal, action == MCP::Action::"call_tool", resource)
    unless { context.token has tenant && context.token.tenant == MCP::Tenant::"acme" };
    """
    async with gateway(tmp_path, policies=(PERMIT_ALL, walls)) as world:
        request = legacy("tools/call", {"name": "echo", "arguments": {}})
        answers = [
            (await world.send(request, token=world.token(**claims))).status_code
            for claims in ({"tenant": "acme"}, {"tenant": "globex"}, {})
        ]
        records = await world.records(4)
    assert answers == [200, 403, 403]
    decided = [each for each in records if "decision" in each]
    assert [each["in"].get("tenant") for each in decided] == ["acme", "globex", None]
