"""A token for each call, end to end: the gateway that makes it, and guarded servers in one process and in several."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx2
import pytest
from mcp import Client
from mcp.client import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitRequestParams, ElicitResult

from perhop.resource_server.testing import ThrowawayIssuer, throwaway_issuer
from perhop.rules.call_binding import bind_call
from perhop.tokens.parse import parse_compact
from tests.support.guarded_servers import KINDS, Guarded, Kind, command, guarded, telling
from tests.support.installations import SECRET, Installation, at_a_url, await_verdict, installed
from tests.support.processes import free_port, started_beside
from tests.support.recordings import Recordings, Sent
from tests.support.relay import relayed
from tests.support.sources import ROOT
from tests.support.upstreams import modern

Era = Literal["legacy", "2026-07-28"]
ERAS: tuple[Era, ...] = ("legacy", "2026-07-28")
RACERS = 50


@dataclass(frozen=True, slots=True)
class Site:
    """A gateway that makes a token for each call, and what it sent to the guarded server behind it."""

    kind: Kind
    server: Guarded
    installation: Installation
    sent: Recordings

    def sent_since(self, before: Collection[Sent]) -> list[Sent]:
        """Requests with a token that were not among those before: no two of them have the same."""
        known = {each.bearer for each in before}
        return [each for each in self.sent.requests() if each.bearer and each.bearer not in known]


@pytest.fixture(scope="module", params=KINDS)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """`perhop serve` with `credential: {kind: call}`, before a server on either framework, in one process."""
    folder, kind = tmp_path_factory.mktemp("site"), request.param
    port = free_port()
    with (
        guarded(kind, f"http://127.0.0.1:{port}") as server,
        relayed(server.url, folder / "sent") as relay,
        installed(
            folder / "perhop", at_a_url(relay.url, audience=server.url, credential="call"), traffic_port=port
        ) as installation,
    ):
        await_verdict(installation, ["enforces"])
        yield Site(kind, server, installation, relay.recordings)


@asynccontextmanager
async def _client(installation: Installation, era: Era, **options: Any) -> AsyncIterator[Client]:
    """The official SDK's client with a token for the gateway, and nothing else changed."""
    async with httpx2.AsyncClient(timeout=30) as http:
        form = {"grant_type": "client_credentials", "resource": installation.url}
        issued = (await http.post(f"{installation.issuer}/token", data=form, auth=("agent", SECRET))).json()
        installation.presented.append(issued["access_token"])
        http.headers["authorization"] = f"Bearer {issued['access_token']}"
        async with Client(streamable_http_client(installation.url, http_client=http), mode=era, **options) as client:
            yield client


@pytest.mark.parametrize("era", ERAS)
async def test_every_call_has_a_token_of_its_own(site: Site, era: Era) -> None:
    """A client lists and calls as ever; the server sees another token each time, addressed to it and to that call."""
    before = site.sent.requests()
    async with _client(site.installation, era) as client:
        assert "whoami" in {tool.name for tool in (await client.list_tools()).tools}
        seen = [(await client.call_tool("whoami", {})).structured_content for _ in range(3)]
    assert len({each["jti"] for each in seen if each is not None}) == 3
    sent = site.sent_since(before)
    tokens = [each.bearer or "" for each in sent]
    assert len(tokens) == len(set(tokens)) >= 4
    bound = [_call_in(token)["method"] for token in tokens]
    assert Counter(bound)["tools/call"] == 3
    assert bound == [_method_of(each) for each in sent]
    if era == "legacy":
        assert {"initialize", "notifications/initialized", "GET", "DELETE"} <= set(bound)


async def test_progress_passes_on_either_era(site: Site) -> None:
    """What a server reports while it works comes on the stream of the call."""
    for era in ERAS:
        done: list[float] = []

        async def progress(value: float, _total: float | None, _message: str | None, done: list[float] = done) -> None:
            done.append(value)

        async with _client(site.installation, era) as client:
            await client.call_tool("count", {"to": 3}, progress_callback=progress)
        assert done == [1, 2, 3]


async def test_a_response_to_the_server_has_a_token_of_its_own(site: Site) -> None:
    """A server that asks in the middle of a call gets its answer, under a token that is good for responses only."""
    before = site.sent.requests()

    async def answer(_: ClientRequestContext, __: ElicitRequestParams) -> ElicitResult:
        return ElicitResult(action="accept", content={"word": "hello"})

    async with _client(site.installation, "legacy", elicitation_callback=answer) as client:
        assert "the word is hello" in str(await client.call_tool("ask", {}))
    responses = [each for each in site.sent_since(before) if _method_of(each) == "response"]
    assert [_call_in(each.bearer)["method"] for each in responses] == ["response"]


async def test_nothing_of_a_callers_token_went_on(site: Site) -> None:
    """Of all tokens with which clients came, the server has seen nothing."""
    async with _client(site.installation, "2026-07-28") as client:
        await client.call_tool("whoami", {})
    assert site.sent.traces(site.installation.presented) == []


async def test_a_second_process_without_a_shared_store_does_not_start(site: Site) -> None:
    """Beside the one that serves the resource, it says why and what to do, and ends."""
    told = telling(site.server.url, site.installation.issuer)
    second = await asyncio.create_subprocess_exec(
        *command(site.kind, free_port()),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **told},
        cwd=ROOT,
    )
    try:
        output, _ = await asyncio.wait_for(second.communicate(), 60)
    finally:
        if second.returncode is None:
            second.kill()
            await second.wait()
    assert second.returncode not in (0, None)
    assert b"another process on this machine guards" in output
    assert b"SqliteReplay" in output


async def test_of_fifty_at_two_workers_one_wins(tmp_path: Path) -> None:
    """One call token, presented fifty times at once to two workers with one store: used once, replayed 49 times."""
    port = free_port()
    resource = f"http://127.0.0.1:{port}/mcp"
    async with throwaway_issuer() as issuer:
        told = telling(resource, issuer.url, replay=tmp_path / "used.db")
        both = command("sdk", port, workers=2)
        async with started_beside(both, ports=[port], environment=told, folder=ROOT), asyncio.timeout(60):
            served_by: set[str] = set()
            while len(served_by) < 2:
                tokens = [_call_token(issuer, resource) for _ in range(10)]
                answers = await asyncio.gather(*(_present(resource, token) for token in tokens))
                served_by |= {_PROCESS.findall(answer.text)[0] for answer in answers if answer.status_code == 200}
            token = _call_token(issuer, resource)
            answers = await asyncio.gather(*(_present(resource, token) for _ in range(RACERS)))
    assert Counter(answer.status_code for answer in answers) == {200: 1, 401: RACERS - 1}


QUESTION = modern("tools/call", {"name": "whoami", "arguments": {}})
_PROCESS = re.compile(r"process\D+(\d+)")


def _call_token(issuer: ThrowawayIssuer, resource: str) -> str:
    """A token for QUESTION, as the gateway would mint it."""
    message = json.loads(QUESTION[1])
    bound = bind_call(message["method"], message["params"])
    details = {
        "type": "mcp_call",
        "method": bound.method,
        "name": bound.name,
        "arguments_sha256": bound.arguments_sha256,
        "params_sha256": bound.params_sha256,
    }
    return issuer.sign(issuer.claims(resource, lifetime=30) | {"authorization_details": [details]})


async def _present(resource: str, token: str) -> httpx2.Response:
    """On a connection of its own, so that either worker may take it."""
    headers, body = QUESTION
    async with httpx2.AsyncClient(timeout=30, verify=False) as http:
        return await http.post(resource, headers={**headers, "authorization": f"Bearer {token}"}, content=body)


def _call_in(token: str | None) -> dict[str, Any]:
    """What a token is bound to."""
    (bound,) = parse_compact(token or "").payload["authorization_details"]
    return dict(bound)


def _method_of(sent: Sent) -> str:
    """By what a call token for this request is bound."""
    if not sent.head.startswith(b"POST"):
        return sent.head.split(b" ")[0].decode()
    message = json.loads(sent.body)
    return str(message.get("method", "response"))
