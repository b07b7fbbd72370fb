"""Clients that nobody wrote down: the official SDK's OAuth client, by a document of its own and by registering."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from tests.support.client_documents import Site, a_site
from tests.support.installations import Installation, await_verdict, installed
from tests.support.person_in_chromium import NotLetIn, PersonInChromium, person_in_chromium
from tests.support.processes import free_port, started

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).resolve().parents[2]
CALLBACK = f"http://127.0.0.1:{free_port()}/callback"
EMAIL, PASSWORD = "ann@example.com", "a long passphrase of ann"
RULES = """\
client_registration: adopted
client_documents:
  - host: "{host}"
    owner: testers
    expires: 2099-12-31
    reaches: {{everything: ["everything:use"]}}
    unsafe_inner_networks: [127.0.0.0/8]
    ca_file: {ca_file}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """Where the application publishes what it is."""
    async with a_site(tmp_path_factory.mktemp("site"), name="127.0.0.1") as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory, site: Site) -> AsyncIterator[Installation]:
    """A gateway before a server of the official SDK, with an account, and no client that people could use."""
    tmp_path = tmp_path_factory.mktemp("installation")
    port = free_port()
    server = [sys.executable, "-m", "conformance.everything_server", "--port", str(port), "--bare"]
    (tmp_path / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    (tmp_path / "ca.pem").write_text(site.ca_pem, encoding="ascii")
    rules = RULES.format(host=site.host, ca_file=tmp_path / "ca.pem")
    running = installed(tmp_path / "perhop", f"http://127.0.0.1:{port}/mcp", unsafe_open=True, more_clients=rules)
    async with AsyncExitStack() as stack:
        for each in (started(server, ports=[port], folder=ROOT), running):
            made = await asyncio.to_thread(each.__enter__)
            stack.push_async_callback(asyncio.to_thread, each.__exit__, None, None, None)
        assert isinstance(made, Installation)
        await asyncio.to_thread(await_verdict, made, ["open"])
        await asyncio.to_thread(made.run, "account", "add", EMAIL, "--password-file", str(tmp_path / "password"))
        yield made


@dataclass
class Kept:
    """The SDK's storage, in memory; what it registered stays for its next attempt."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


@pytest_asyncio.fixture(loop_scope="module")
async def person(tmp_path: Path) -> AsyncIterator[PersonInChromium]:
    """Ann at her browser."""
    async with person_in_chromium(tmp_path, callback=CALLBACK, email=EMAIL, password=PASSWORD) as ann:
        yield ann


async def call(installation: Installation, person: PersonInChromium, kept: Kept, document: str | None = None) -> str:
    """The official client calls a tool, and does what it must to be let in."""
    metadata = OAuthClientMetadata(redirect_uris=[AnyUrl(CALLBACK)], client_name="Journey")
    provider = OAuthClientProvider(
        server_url=installation.url,
        client_metadata=metadata,
        storage=kept,
        redirect_handler=person.go,
        callback_handler=person.come_back,
        client_metadata_url=document,
    )
    async with (
        httpx2.AsyncClient(auth=provider, timeout=30) as http,
        Client(streamable_http_client(installation.url, http_client=http)) as client,
    ):
        return str(await client.call_tool("test_simple_text", {}))


async def has_called(installation: Installation, agent: str) -> bool:
    """Whether the journal has a permitted call of this agent's for a person."""
    records = await asyncio.to_thread(installation.records, "--event", "call.permitted", "--client", agent)
    called = [each["in"] for each in records if each["call"]["method"] == "tools/call"]
    return [each["agent"] for each in called] == [agent] and called[0]["sub"].startswith("user:")


async def test_the_official_client_is_what_its_document_says(
    installation: Installation, site: Site, person: PersonInChromium
) -> None:
    """The SDK sees that documents are read, names its own, and a person's call goes through under that URL."""
    document = site.publish(redirect_uris=[CALLBACK])
    assert "simple text" in await call(installation, person, Kept(), document)
    assert await has_called(installation, document)
    assert f"{site.host}; the name is" in person.seen[-1]
    assert "Beware" in person.seen[-1]
    listed = json.loads(await asyncio.to_thread(installation.run, "client", "list", "--json"))
    assert [each["origin"] for each in listed if each["id"] == document] == ["document"]


async def test_the_official_client_registers_and_waits_for_an_owner(
    installation: Installation, person: PersonInChromium
) -> None:
    """The SDK registers itself, is let in by nobody until an owner adopts it, and then a person's call goes through."""
    kept = Kept()
    with pytest.RaisesGroup(NotLetIn, flatten_subgroups=True, allow_unwrapped=True):
        await call(installation, person, kept)
    assert "no team answers for it yet" in person.seen[-1]
    listed = json.loads(await asyncio.to_thread(installation.run, "client", "list", "--json"))
    (waiting,) = [each["id"] for each in listed if each["standing"] == "waiting"]
    adopt = ("--owner", "testers", "--expires", "2099-12-31", "--reach", "everything=everything:use")
    await asyncio.to_thread(installation.run, "client", "adopt", waiting, *adopt)
    assert "simple text" in await call(installation, person, kept)
    assert await has_called(installation, waiting)
