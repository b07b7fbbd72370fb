"""MCP's enterprise-managed authorization at the resource's authorization server, as its own suite is to try it.

A client that the suite plays authenticates by `client_secret_post`, brings an ID-JAG of a provider that the suite
plays, and introspects what it got.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from perhop.tokens.keys import SigningKey
from tests.support.assertion_issuers import JWT_BEARER, NOTES, SmallIssuer, World, a_world
from tests.support.authorization_servers import ISSUER, SECRET, assert_refused
from tests.support.forge import ABSENT


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """The suite's client reaches the notes and answers for their server, so it may introspect their tokens."""
    async with a_world(tmp_path) as made:
        made.server.change_client("second", serves=("notes",))
        yield made


def _id_jag(world: World, **changes: Any) -> str:
    return world.idp.id_jag(**({"client_id": "second", "resource": NOTES, "scope": "notes:read"} | changes))


async def _ask(world: World, assertion: str, **more: str) -> Any:
    return await world.ask(assertion, client_id="second", **more)


async def _introspect(world: World, token: str) -> Mapping[str, Any]:
    answer = await world.server.http.post(
        "/introspect", data={"token": token, "client_id": "second", "client_secret": SECRET}
    )
    return dict(answer.json())


async def test_metadata(world: World) -> None:
    """The metadata names the endpoints, the grant, the profile and the method that the suite uses."""
    document = (await world.server.http.get("/.well-known/oauth-authorization-server")).json()
    assert document["issuer"] == ISSUER
    assert {"token_endpoint", "introspection_endpoint", "jwks_uri"} <= document.keys()
    assert JWT_BEARER in document["grant_types_supported"]
    assert document["authorization_grant_profiles_supported"] == ["urn:ietf:params:oauth:grant-profile:id-jag"]
    assert "client_secret_post" in document["token_endpoint_auth_methods_supported"]


async def test_happy_path(world: World) -> None:
    """An assertion becomes a token of the asserted client, for a person, with the asserted resource as audience."""
    answer = (await _ask(world, _id_jag(world))).json()
    assert answer["token_type"] == "Bearer"
    told = await _introspect(world, answer["access_token"])
    assert (told["active"], told["aud"], told["client_id"]) == (True, NOTES, "second")
    assert told["sub"].startswith("user:")


async def test_with_resource(world: World) -> None:
    """`resource` in the request repeats the assertion's, and the token is for it."""
    answer = (await _ask(world, _id_jag(world), resource=NOTES)).json()
    assert (await _introspect(world, answer["access_token"]))["aud"] == NOTES


async def test_with_scope(world: World) -> None:
    """`scope` in the request is given as far as the assertion allows."""
    answer = (await _ask(world, _id_jag(world), scope="notes:read")).json()
    assert answer["scope"] == "notes:read"
    assert (await _introspect(world, answer["access_token"]))["scope"] == "notes:read"


async def test_invalid_target(world: World) -> None:
    """An assertion for a resource that is not here is `invalid_target`, also if the request repeats it."""
    unknown = "https://unknown.example.com/mcp"
    for more in ({}, {"resource": unknown}):
        assert_refused(await _ask(world, _id_jag(world, resource=unknown), **more), "invalid_target")
    assert_refused(await _ask(world, _id_jag(world, resource=ABSENT)), "invalid_grant")


async def test_invalid_scope(world: World) -> None:
    """A scope that the resource does not have, asked for or asserted alone, is `invalid_scope`."""
    assert_refused(await _ask(world, _id_jag(world), scope="notes:burn"), "invalid_scope")
    assert_refused(await _ask(world, _id_jag(world, scope="notes:burn")), "invalid_scope")


async def test_invalid_signature(world: World) -> None:
    """An assertion under a key that is not the provider's is `invalid_grant`."""
    assert_refused(await _ask(world, _id_jag(world, key=SigningKey.generate())), "invalid_grant")
    head, _, signature = _id_jag(world).rpartition(".")
    changed = f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    assert_refused(await _ask(world, changed), "invalid_grant")


async def test_untrusted_provider(world: World) -> None:
    """An assertion of a provider that nobody trusts here is `invalid_grant`, whatever it signs."""
    stranger = SmallIssuer("https://stranger.example.com")
    answer = await _ask(world, stranger.id_jag(client_id="second", resource=NOTES, scope="notes:read"))
    assert_refused(answer, "invalid_grant")
