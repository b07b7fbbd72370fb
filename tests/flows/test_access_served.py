"""A real `perhop serve`: what its gateway decides of calls, and what it answers when it is asked about the same."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from perhop.tokens.keys import SigningKey
from tests.support.access import EVALUATIONS, SEARCH
from tests.support.forge import good_claims, sign
from tests.support.installations import SECRET, Installation, installed
from tests.support.upstreams import Received, Scripted, json_answer, legacy, modern, recording_upstream

CALLS = 300
AT_ONCE = 100
SCOPES = """{"use:look": {says: Look, tools: [echo, "list_*"]}, "use:change": {says: Change, tools: [create, pay]}}"""
POLICY = """\
@id("look") permit (principal, action == MCP::Action::"call_tool", resource)
when { resource.name like "list_*" || resource.name == "echo" };
@id("create") permit (principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"everything/create")
when { context.token.scopes.contains("use:change") && context.request.revision == "2026-07-28" };
@id("pay") permit (principal == MCP::Agent::"agent", action == MCP::Action::"call_tool", resource)
when { resource.name == "pay" } when { context.arguments has amount && context.arguments.amount <= 500 };
@id("prompts") permit (principal, action == MCP::Action::"get_prompt", resource == MCP::Prompt::"everything/agenda");
@id("notes") permit (principal, action == MCP::Action::"read_resource", resource) when { resource.uri like "note://*" };
@id("no-secrets") forbid (principal, action, resource)
when { context.arguments has text && context.arguments.text == "secret" };
@id("not-bob") forbid (principal, action, resource)
when { context has subject && context.subject == MCP::User::"user:bob" };
@id("no-deputies") forbid (principal, action, resource) when { context.actors.contains("deputy") };
@id("not-deep") forbid (principal, action == MCP::Action::"list", resource) when { context.token.hop > 3 };
@id("from-here") forbid (principal, action in [MCP::Action::"call_tool", MCP::Action::"list"], resource)
unless { context.request has ip && context.request.ip.isLoopback() };
"""
CLIENTS = f"""\
  other:
    owner: testers
    purpose: calls in tests
    expires: 2099-12-31
    authentication: {{method: client_secret_basic, secret: {SECRET}}}
    reaches: {{everything: ["use:look"]}}
  pep:
    owner: testers
    purpose: enforces decisions itself
    expires: 2099-12-31
    authentication: {{method: client_secret_basic, secret: {SECRET}}}
    serves: [everything]
"""
TOOLS = [
    {"name": "echo", "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}}},
    {"name": "pay", "inputSchema": {"type": "object", "properties": {"amount": {"type": "integer"}}}},
    {"name": "create", "inputSchema": {"type": "object"}},
    {"name": "list_events", "inputSchema": {"type": "object"}},
]
ARGUMENTS: Sequence[Any] = (
    *(
        {},
        {},
        {"text": "hello"},
        {"text": "secret"},
        {"text": ["secret"]},
        {"text": 7},
        {"amount": 500},
        {"amount": 501},
    ),
    *(
        {"amount": "500"},
        {"amount": 2**70},
        {"amount": 5.0},
        {"text": None},
        {"other": {"text": "secret"}},
        {"amount": True},
    ),
)


def _answer(received: Received) -> Scripted:
    return json_answer({"tools": TOOLS} if received.message.get("method") == "tools/list" else {"content": []})


@dataclass(frozen=True)
class Asked:
    """One call: who, what, and in which revision."""

    claims: Mapping[str, Any]
    method: str
    kind: str
    name: str
    params: Mapping[str, Any]
    revision: str

    def question(self, resource: str) -> dict[str, Any]:
        """The same as a question."""
        names = ("client_id", "agent", "act", "scope", "hop")
        context = {"ip": "127.0.0.1", "protocol_version": self.revision, "arguments": self.params.get("arguments", {})}
        return {
            "subject": {
                "type": "identity",
                "id": self.claims["sub"],
                "properties": {name: self.claims[name] for name in names if name in self.claims},
            },
            "action": {"name": self.method},
            "resource": {"type": self.kind, "id": resource if self.kind == "mcp_server" else f"everything/{self.name}"},
            "context": context,
        }

    def request(self) -> tuple[dict[str, str], bytes]:
        if self.revision == "2026-07-28":
            return modern(self.method, self.params)
        return legacy(self.method, self.params, revision=self.revision)


def _any_call(chance: random.Random) -> Asked:
    """A call that may be permitted, refused for one thing, or for several."""
    agent = chance.choice([*["agent"] * 8, "other", "other", "stranger"])
    person = chance.choice([*[None] * 4, "user:ann", "user:ann", "user:bob"])
    claims: dict[str, Any] = {"sub": person or agent, "client_id": agent, "hop": chance.choice([1, 1, 2, 4])}
    claims["scope"] = chance.choice(["use:look use:change", "use:look use:change", "use:look", "use:change", "other"])
    if chance.random() < 0.4:
        links = chance.sample(["agent", "other", "gateway:everything", "deputy", "pep"], k=chance.randint(1, 2))
        claims |= {"agent": agent, "client_id": chance.choice([agent, *["gateway:everything"] * 3, "pep", "stranger"])}
        claims["act"] = {"sub": links[0], **({"act": {"sub": links[1]}} if len(links) > 1 else {})}
    method, kind, name, params = chance.choice(
        [
            *[_calling(chance) for _ in range(6)],
            _named("prompts/get", "prompt", chance.choice(["agenda", "other"]), "name"),
            _named("resources/read", "resource", chance.choice(["note://today", "file:///etc/passwd"]), "uri"),
            _named(chance.choice(["tools/list", "prompts/list", "ping", "server/discover"]), "mcp_server", "", None),
            _named(
                chance.choice(["resources/templates/list", "secrets/steal", "logging/setLevel"]), "mcp_server", "", None
            ),
            ("completion/complete", "prompt", "agenda", {"ref": {"type": "ref/prompt", "name": "agenda"}}),
        ]
    )
    return Asked(claims, method, kind, name, params, chance.choice(["2026-07-28", "2026-07-28", "2025-11-25"]))


def _calling(chance: random.Random) -> tuple[str, str, str, dict[str, Any]]:
    name = chance.choice(["echo", "echo", "pay", "pay", "create", "list_events", "list_new", "unlisted"])
    return "tools/call", "tool", name, {"name": name, "arguments": chance.choice(ARGUMENTS)}


def _named(method: str, kind: str, name: str, param: str | None) -> tuple[str, str, str, dict[str, Any]]:
    return method, kind, name, {param: name} if param else {}


@dataclass
class Site:
    """A server that runs, and somebody who calls and asks there."""

    installation: Installation
    key: SigningKey
    http: httpx2.AsyncClient

    async def decided(self, asked: Asked) -> str:
        """What the gateway decides: `permit`, or the reason of its no; of a 401 it tells none."""
        url = self.installation.url
        claims = good_claims(issuer=self.installation.issuer, audience=url, now=int(time.time()), **asked.claims)
        headers, body = asked.request()
        bearer = {"authorization": f"Bearer {sign(claims, self.key)}"}
        answer = await self.http.post(url, content=body, headers={**headers, **bearer})
        if answer.status_code == 200:
            return "permit"
        if "insufficient_scope" in answer.headers.get("www-authenticate", ""):
            return "scope.insufficient"
        if answer.status_code == 401:
            return "client"
        error = answer.json()["error"]
        codes = {-32601: "method.unknown", -32602: "request.malformed"}
        return codes.get(error["code"]) or str(error["data"]["reason"])

    async def answered(self, calls: Sequence[Asked]) -> list[str]:
        """What the server answers when it is asked about these."""
        questions = [asked.question(self.installation.url) for asked in calls]
        found: list[str] = []
        for start in range(0, len(questions), AT_ONCE):
            answer = await self.ask(EVALUATIONS, {"evaluations": questions[start : start + AT_ONCE]})
            found.extend(_said(each) for each in answer["evaluations"])
        return found

    async def ask(self, path: str, body: Any) -> dict[str, Any]:
        answer = await self.http.post(f"{self.installation.issuer}{path}", json=body, auth=("pep", SECRET))
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told


def _said(answer: Mapping[str, Any]) -> str:
    if answer["decision"]:
        return "permit"
    reason = str(answer["context"]["reason"])
    return "client" if reason.startswith("client.") else reason


@asynccontextmanager
async def _site(folder: Path) -> AsyncIterator[Site]:
    """The upstream takes no token: so what the gateway says of a call is its decision alone, and not an exchange's."""
    async with recording_upstream() as (url, upstream), httpx2.AsyncClient(timeout=30) as http:
        upstream.script = _answer
        section = {"url": url, "credential": {"kind": "none"}}
        reaches = ["use:look", "use:change"]
        lifetime = installed(
            folder / "perhop", section, more_clients=CLIENTS, scopes=SCOPES, policy=POLICY, reaches=reaches
        )
        installation = await asyncio.to_thread(lifetime.__enter__)
        try:
            (pem,) = (installation.folder / "keys").glob("signing-*.pem")
            yield Site(installation, SigningKey.from_pem(pem.read_bytes()), http)
        finally:
            await asyncio.to_thread(lifetime.__exit__, None, None, None)


async def test_gateway_and_answers_agree(tmp_path: Path) -> None:
    """Hundreds of calls, each sent and asked about: the same yes, the same no, for the same reason."""
    chance = random.Random(20260728)
    calls = [_any_call(chance) for _ in range(CALLS)]
    async with _site(tmp_path) as site:
        listing = Asked(
            {"sub": "agent", "client_id": "agent", "scope": "use:look"},
            "tools/list",
            "mcp_server",
            "",
            {},
            "2026-07-28",
        )
        assert await site.decided(listing) == "permit"  # the gateway has seen the tools' schemas now
        decided = [
            each
            for start in range(0, CALLS, 10)
            for each in await asyncio.gather(*(site.decided(asked) for asked in calls[start : start + 10]))
        ]
        answered = await site.answered(calls)
        differing = [each for each in zip(calls, decided, answered, strict=True) if each[1] != each[2]]
        assert differing == []
        tally = Counter(decided)
        assert min(tally["permit"], CALLS - tally["permit"]) > CALLS // 5, tally
        expected = {"permit", "client", "scope.insufficient", "policy.denied", "policy.error", "method.unknown"}
        assert tally.keys() >= expected | {"request.malformed"}, tally
        await _is_on_record(site, answered)


async def _is_on_record(site: Site, answered: Sequence[str]) -> None:
    """The journal holds each answer and verifies; the metrics count as many; a search finds what is listed."""
    records = [
        each for each in await asyncio.to_thread(site.installation.written) if each["event"] == "access.evaluated"
    ]
    effects = Counter(each["decision"]["effect"] for each in records)
    assert effects == Counter("permit" if each == "permit" else "deny" for each in answered)
    text = (await site.http.get(f"http://{site.installation.ops}/metrics")).text
    counted: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "perhop_evaluations_total":
                counted[sample.labels["decision"]] += int(sample.value)
    assert counted == effects
    body = {
        "subject": {"type": "agent", "id": "agent"},
        "action": {"name": "tools/call"},
        "resource": {"type": "tool"},
        "context": {"ip": "127.0.0.1", "arguments": {}},
    }
    found = (await site.ask(f"{SEARCH}/resource", body))["results"]
    assert [each["id"] for each in found] == ["everything/echo", "everything/list_events"]
    document = (await site.http.get(f"{site.installation.issuer}/.well-known/authzen-configuration")).json()
    assert document["policy_decision_point"] == site.installation.issuer
    assert not re.search(SECRET, text)
