"""A person lets an application of others in: the official SDK's OAuth client, by discovery alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
import pytest
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from tests.support.browsers import form_in
from tests.support.installations import Installation, await_verdict, installed
from tests.support.processes import free_port, started

ROOT = Path(__file__).resolve().parents[2]
CALLBACK = "http://127.0.0.1:3955/callback"
EMAIL, PASSWORD = "ann@example.com", "a long passphrase of ann"
DESK_APP = f"""\
  desk-app:
    owner: testers
    purpose: shows people what the server can do
    expires: 2099-12-31
    authentication: {{method: none}}
    redirect_uris: ["{CALLBACK}"]
    reaches: {{everything: ["everything:use"]}}
"""


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """A gateway before a server of the official SDK, with an application and an account."""
    port = free_port()
    server = [sys.executable, "-m", "conformance.everything_server", "--port", str(port), "--bare"]
    (tmp_path / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    with (
        started(server, ports=[port], folder=ROOT),
        installed(
            tmp_path / "perhop", f"http://127.0.0.1:{port}/mcp", unsafe_open=True, more_clients=DESK_APP
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


class _Person:
    """Ann at her browser: signs in, consents, and comes back with what the redirect carries."""

    def __init__(self) -> None:
        self.answer: dict[str, list[str]] = {}

    async def go(self, url: str) -> None:
        async with httpx2.AsyncClient() as http:
            page = await http.get(url)
            signed_in = await self._send(http, page, {"email": EMAIL, "password": PASSWORD})
            consent = await http.get(urljoin(str(signed_in.url), signed_in.headers["location"]))
            back = await self._send(http, consent, {"decision": "allow"})
        self.answer = parse_qs(urlsplit(back.headers["location"]).query)

    async def come_back(self) -> AuthorizationCodeResult:
        return AuthorizationCodeResult(
            code=self.answer["code"][0], state=self.answer["state"][0], iss=self.answer["iss"][0]
        )

    async def _send(self, http: httpx2.AsyncClient, page: httpx2.Response, filled: dict[str, str]) -> httpx2.Response:
        form = form_in(page)
        return await http.post(urljoin(str(page.url), form.action), data=form.hidden | filled)


async def test_the_official_client_gets_a_persons_token_by_discovery_and_calls_a_tool(
    installation: Installation,
) -> None:
    """From the 401 to metadata, PKCE, sign-in, consent and a token for this one resource; then a call for a person."""
    person, kept = _Person(), _Kept()
    provider = OAuthClientProvider(
        server_url=installation.url,
        client_metadata=OAuthClientMetadata(redirect_uris=[AnyUrl(CALLBACK)], client_name="desk-app"),
        storage=kept,
        redirect_handler=person.go,
        callback_handler=person.come_back,
    )
    async with (
        httpx2.AsyncClient(auth=provider, timeout=30) as http,
        Client(streamable_http_client(installation.url, http_client=http)) as client,
    ):
        answer = await client.call_tool("test_simple_text", {})
    assert "simple text" in str(answer)
    called = [
        each for each in installation.records("--event", "call.permitted") if each["call"]["method"] == "tools/call"
    ]
    (call,) = called
    assert call["in"]["sub"].startswith("user:")
    assert call["in"]["agent"] == "desk-app"
    assert call["in"]["aud"] == installation.url
    assert call["out"]["sub"] == call["in"]["sub"]
