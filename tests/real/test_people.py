"""A person lets applications in, by discovery alone: the official SDK's OAuth client, and ours in two clients."""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from perhop.client import PersonsBrowser, RegisteredClient, SignIn
from tests.support.chromium import Tab, chromium
from tests.support.installations import Installation, await_verdict, installed
from tests.support.person_in_chromium import person_in_chromium
from tests.support.processes import free_port, started

ROOT = Path(__file__).resolve().parents[2]
CALLBACK = f"http://127.0.0.1:{free_port()}/callback"
EMAIL, PASSWORD = "ann@example.com", "a long passphrase of ann"
APPLICATIONS = "".join(
    f"""\
  {name}:
    owner: testers
    purpose: shows people what the server can do
    expires: 2099-12-31
    authentication: {{method: none}}
    redirect_uris: ["{CALLBACK}"]
    reaches: {{everything: ["everything:use"]}}
"""
    for name in ("desk-app", "laptop-app")
)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A gateway before a server of the official SDK, with two applications and an account."""
    tmp_path = tmp_path_factory.mktemp("people")
    port = free_port()
    server = [sys.executable, "-m", "conformance.everything_server", "--port", str(port), "--bare"]
    (tmp_path / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    with (
        started(server, ports=[port], folder=ROOT),
        installed(
            tmp_path / "perhop", f"http://127.0.0.1:{port}/mcp", unsafe_open=True, more_clients=APPLICATIONS
        ) as running,
    ):
        await_verdict(running, ["open"])
        running.run("account", "add", EMAIL, "--password-file", str(tmp_path / "password"))
        yield running


class _Kept:
    """The SDK's token storage: the client is registered beforehand, tokens are kept in memory."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return OAuthClientInformationFull(
            client_id="desk-app", redirect_uris=[AnyUrl(CALLBACK)], token_endpoint_auth_method="none"
        )

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        raise AssertionError(f"nothing is registered here, least of all {client_info.client_id}")


def _tool_calls(installation: Installation, agent: str) -> list[dict[str, Any]]:
    permitted = installation.records("--event", "call.permitted")
    return [each for each in permitted if each["call"]["method"] == "tools/call" and each["in"]["agent"] == agent]


async def test_the_official_client_gets_a_persons_token_by_discovery_and_calls_a_tool(
    installation: Installation, tmp_path: Path
) -> None:
    """From the 401 to metadata, PKCE, sign-in, consent and a token for this one resource; then a call for a person."""
    async with person_in_chromium(tmp_path, callback=CALLBACK, email=EMAIL, password=PASSWORD) as person:
        provider = OAuthClientProvider(
            server_url=installation.url,
            client_metadata=OAuthClientMetadata(redirect_uris=[AnyUrl(CALLBACK)], client_name="desk-app"),
            storage=_Kept(),
            redirect_handler=person.go,
            callback_handler=person.come_back,
        )
        async with (
            httpx2.AsyncClient(auth=provider, timeout=30) as http,
            Client(streamable_http_client(installation.url, http_client=http)) as client,
        ):
            answer = await client.call_tool("test_simple_text", {})
    assert "simple text" in str(answer)
    called = _tool_calls(installation, "desk-app")
    (call,) = called
    assert call["in"]["sub"].startswith("user:")
    assert call["in"]["agent"] == "desk-app"
    assert call["in"]["aud"] == installation.url
    assert call["out"]["sub"] == call["in"]["sub"]


class _Ann:
    """Ann at Chromium, with scripts switched off: signs in, consents, and ends on the program's own page."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab
        self.last_page = ""
        self._loop = asyncio.get_running_loop()
        self._ways: list[concurrent.futures.Future[None]] = []

    def open_url(self, url: str) -> bool:
        self._ways.append(asyncio.run_coroutine_threadsafe(self._go(url), self._loop))
        return True

    async def visits(self) -> int:
        """How often she was sent to her browser, when she is back from all of it."""
        await asyncio.gather(*(asyncio.wrap_future(way) for way in self._ways))
        return len(self._ways)

    async def _go(self, url: str) -> None:
        await self.tab.open(url)
        await self.tab.type_into("#email", EMAIL)
        await self.tab.type_into("#password", PASSWORD)
        await self.tab.click("button")
        await self.tab.click("button[value=allow]")
        self.last_page = await self.tab.html()


def _guide(function: str) -> Callable[..., Awaitable[object]]:
    """A function of the guide for clients, as it stands there."""
    page = (ROOT / "docs" / "guide" / "tokens-in-your-client.md").read_text(encoding="utf-8")
    (block,) = (each for each in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if f"def {function}(" in each)
    names: dict[str, Callable[..., Awaitable[object]]] = {}
    exec(compile(block, "<guide>", "exec"), names)
    return names[function]


@asynccontextmanager
async def _signing_in(installation: Installation, folder: Path) -> AsyncIterator[tuple[SignIn, _Ann]]:
    async with chromium(folder / "profile") as tab:
        ann = _Ann(tab)
        client = RegisteredClient.at(installation.issuer, client_id="laptop-app")
        person = PersonsBrowser(open_url=ann.open_url, patience=60)
        async with SignIn(installation.url, clients=[client], person=person) as sign_in:
            yield sign_in, ann


async def test_the_two_clients_call_for_a_person_who_was_asked_once(installation: Installation, tmp_path: Path) -> None:
    """By the guide: the SDK's client leads Ann to her browser, FastMCP's goes on with what she allowed."""
    async with _signing_in(installation, tmp_path) as (sign_in, ann):
        for call in (_guide("with_the_sdk"), _guide("with_fastmcp")):
            assert "simple text" in str(await call(sign_in, "test_simple_text"))
        assert await ann.visits() == 1
        assert "close this page" in ann.last_page
    calls = _tool_calls(installation, "laptop-app")
    assert [call["in"]["aud"] for call in calls] == [installation.url] * 2
    assert all(call["in"]["sub"].startswith("user:") for call in calls)
