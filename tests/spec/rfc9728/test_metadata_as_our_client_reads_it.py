"""RFC 9728 §3: our client believes a document that the server itself shows, and that names this very server."""

from __future__ import annotations

import pytest

from perhop.client.resource_metadata import discover_resource
from perhop.errors import ResourceForeign
from perhop.rules.resource_uri import parse_resource_uri
from tests.support.sign_in_world import BESIDE, ISSUER, ROOT, SERVER, SignInWorld, resource_metadata

HOST = "https://mcp.example.com"


async def _discovered(world: SignInWorld, server: str = SERVER, challenge_url: str | None = None) -> object:
    return await discover_resource(world.http(), parse_resource_uri(server), challenge_url=challenge_url)


async def test_the_identifier_must_be_the_one_that_was_asked_about() -> None:
    """§3.3: the URL that is called, or at the root the origin, which the suffix was put into."""
    world = SignInWorld()
    found = await discover_resource(world.http(), parse_resource_uri(SERVER))
    assert found is not None
    assert (found.resource, found.issuers, found.scopes) == (SERVER, (ISSUER,), {"mcp:read"})
    world.documents = {HOST + ROOT: resource_metadata(HOST)}
    found = await discover_resource(world.http(), parse_resource_uri(SERVER))
    assert found is not None
    assert found.resource == HOST
    world.documents = {HOST + BESIDE: resource_metadata(HOST)}
    with pytest.raises(ResourceForeign):
        await _discovered(world)


async def test_a_query_of_the_identifier_stays_at_the_end() -> None:
    """§3.1: the suffix goes before the path, and the query after it."""
    world = SignInWorld(documents={f"{HOST}{BESIDE}?tenant=1": resource_metadata(f"{SERVER}?tenant=1")})
    assert await _discovered(world, f"{SERVER}?tenant=1") is not None


async def test_a_challenge_names_the_document_first() -> None:
    """§5.1: it is fetched before the others, and it must be the server's own origin."""
    world = SignInWorld(documents={f"{HOST}/said": resource_metadata()})
    assert await _discovered(world, challenge_url=f"{HOST}/said") is not None
    assert world.gets == [f"{HOST}/said"]
    with pytest.raises(ResourceForeign):
        await _discovered(world, challenge_url="https://evil.example.com/said")
    assert len(world.gets) == 1


async def test_a_server_that_says_nothing_is_not_guessed_at() -> None:
    """Nothing at any place is told as nothing."""
    world = SignInWorld()
    world.documents.clear()
    assert await _discovered(world) is None
    assert world.gets == [HOST + BESIDE, HOST + ROOT]
