"""Clients that nobody wrote into the configuration, at a whole installation: up to a call through the gateway."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import yaml

from perhop.authorization_server.newcomers.directory import KEPT_SECONDS
from perhop.control.operations import run_operation
from perhop.errors import NotFound, SettingsError
from perhop.journal.query import Filter
from perhop.settings import load
from perhop.tokens.assertion import sign_client_assertion
from perhop.tokens.keys import SigningKey
from perhop.wiring.newcomers_on_file import with_newcomers
from perhop.wiring.reload import preview, put_in_force
from tests.attacks.row import Door
from tests.attacks.visitors import Visitor, a_query, redeeming
from tests.attacks.world import World, a_call, attacked, with_token
from tests.support.client_documents import HOST, HOSTED_CALLBACK
from tests.support.doors import Wire, send

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with attacked(tmp_path_factory.mktemp("installation")) as running:
        yield running


@pytest.fixture
def client_id(world: World) -> str:
    """A client that publishes what it is, and has not been here before."""
    world.clock.now += 60
    return world.documents.publish(path=f"/{secrets.token_hex(6)}.json")


async def token(world: World, client_id: str) -> dict[str, Any]:
    """A person allows the client the calendar; what the token endpoint answers."""
    async with Visitor(world) as ann:
        code = await ann.code(a_query(world, client_id=client_id, redirect_uri=HOSTED_CALLBACK))
    answer = await world.ask(redeeming(code, client_id=client_id, redirect_uri=HOSTED_CALLBACK))
    assert answer.status == 200, answer
    return dict(answer.message)


async def called(world: World, access_token: str) -> tuple[str, str | None]:
    """What a call with this token comes to at the gateway."""
    world.tick()
    call = with_token(a_call("list_events", {"day": "monday"}), access_token)
    seen = await world.knock(world.entrance(Door.GATEWAY), call)
    return seen.observed, seen.reason


async def do(world: World, operation: str, **arguments: Any) -> Any:
    return await run_operation(world.plane, operation, arguments)


async def apply(world: World, change: Any) -> Any:
    """Change the file, and put it in force."""
    path = world.folder / "perhop.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    settings = load(path, os.environ)
    told = await preview(world.plane, settings)
    applied = await put_in_force(world.plane, settings, by="tests")
    assert told.changes == applied.changes
    return applied


async def register(world: World) -> dict[str, Any]:
    members = {"client_name": "Journey", "redirect_uris": [HOSTED_CALLBACK], "token_endpoint_auth_method": "none"}
    wire = Wire(headers=(("content-type", "application/json"),), body=json.dumps(members).encode())
    answer = (await send(world.at.traffic, wire.render(path="/register", host=world.at.traffic)))[0]
    assert answer.status == 201, answer
    return dict(answer.message)


async def test_a_document_leads_to_a_call(world: World, client_id: str) -> None:
    """The token of a client that nobody wrote down is good at the gateway, and the record names its URL."""
    version = world.plane.registry.version
    answer = await token(world, client_id)
    assert await called(world, answer["access_token"]) == ("200", None)
    permit = world.reader.last(Filter(event="call.permitted", client=client_id))
    assert permit is not None
    assert permit.part("in")["agent"] == client_id
    assert world.plane.registry.version == version


async def test_a_newcomer_is_disabled_as_any_client(world: World, client_id: str) -> None:
    """Disabling it by its URL ends its tokens at once; enabled again it gets new ones."""
    answer = await token(world, client_id)
    result = await do(world, "standing.disable", kind="client", name=client_id, why="a test")
    assert result["live"] >= 1
    assert await called(world, answer["access_token"]) == ("401 invalid_token", "token.revoked")
    assert (await world.ask(redeeming("x", client_id=client_id))).status == 401
    await do(world, "standing.enable", kind="client", name=client_id)
    assert await called(world, (await token(world, client_id))["access_token"]) == ("200", None)


async def test_a_newcomer_is_disabled_before_it_comes(world: World, client_id: str) -> None:
    """The URL of a client that a rule would admit can be disabled before anybody has seen it; another cannot."""
    await do(world, "standing.disable", kind="client", name=client_id, why="a test")
    async with Visitor(world) as ann:
        page = await ann.open(a_query(world, client_id=client_id, redirect_uri=HOSTED_CALLBACK))
    assert page.status_code == 400
    with pytest.raises(NotFound):
        await do(world, "standing.disable", kind="client", name="https://stranger.example.com/x", why="")


async def test_an_expired_rule_stops_its_clients_at_the_gateway(world: World, client_id: str) -> None:
    """The gateway looks at each call whether the rule is still good: its day is the last of its clients."""
    answer = await token(world, client_id)

    def expire(file: dict[str, Any]) -> None:
        file["client_documents"][0]["expires"] = "2020-01-31"

    def mend(file: dict[str, Any]) -> None:
        file["client_documents"][0]["expires"] = "2099-12-31"

    applied = await apply(world, expire)
    assert [(each.kind, each.name, each.members) for each in applied.changes] == [
        ("client_documents", f"{HOST}:{world.documents.port}", ("expires",))
    ]
    assert await called(world, answer["access_token"]) == ("401 invalid_token", "client.expired")
    await apply(world, mend)
    assert await called(world, answer["access_token"]) == ("200", None)


async def test_a_rule_that_is_taken_out_takes_its_clients_tokens(world: World, client_id: str) -> None:
    """Without the rule its clients' tokens and refresh tokens are revoked; with it again they begin anew."""
    answer = await token(world, client_id)
    rules: list[Any] = []

    def take_out(file: dict[str, Any]) -> None:
        rules.extend(file.pop("client_documents"))

    def put_back(file: dict[str, Any]) -> None:
        file["client_documents"] = rules

    await apply(world, take_out)
    assert await called(world, answer["access_token"]) == ("401 invalid_token", "token.revoked")
    world.clock.now += 2
    await apply(world, put_back)
    refresh = [("grant_type", "refresh_token"), ("refresh_token", answer["refresh_token"]), ("client_id", client_id)]
    assert (await world.ask(refresh)).status == 400
    assert await called(world, answer["access_token"]) == ("401 invalid_token", "token.revoked")
    assert await called(world, (await token(world, client_id))["access_token"]) == ("200", None)


async def test_a_rule_that_reaches_less_ends_tokens(world: World, client_id: str) -> None:
    """When a rule gives its clients less, tokens that are out are revoked, as a client's of the file are."""

    def widen(file: dict[str, Any]) -> None:
        file["client_documents"][0]["reaches"] = {"calendar": ["calendar:read", "calendar:write"]}

    def narrow(file: dict[str, Any]) -> None:
        file["client_documents"][0]["reaches"] = {"calendar": ["calendar:read"]}

    await apply(world, widen)
    answer = await token(world, client_id)
    assert (await apply(world, narrow)).revoked >= 1
    assert await called(world, answer["access_token"]) == ("401 invalid_token", "token.revoked")


async def test_registered_adopted_and_called(world: World) -> None:
    """A client registers itself, an operator adopts it for a team, and then its call goes through the gateway."""
    world.clock.now += 60
    client_id = (await register(world))["client_id"]
    async with Visitor(world) as ann:
        page = await ann.open(a_query(world, client_id=client_id, redirect_uri=HOSTED_CALLBACK))
    assert (page.status_code, "no team answers for it yet" in page.text) == (400, True)
    adopting = {
        "client": client_id,
        "owner": "team",
        "reaches": {"calendar": ["calendar:read"]},
        "expires": "2099-12-31",
        "purpose": None,
    }
    result = await do(world, "client.adopt", **adopting)
    assert (result["owner"], result["purpose"]) == ("team", "Journey")
    world.clock.now += 2
    answer = await token(world, client_id)
    assert await called(world, answer["access_token"]) == ("200", None)
    with pytest.raises(NotFound):
        await do(world, "client.adopt", **adopting)
    with pytest.raises(NotFound):
        await do(world, "client.reject", client=client_id, why="")
    await do(world, "standing.disable", kind="client", name=client_id, why="")
    assert await called(world, answer["access_token"]) == ("401 invalid_token", "token.revoked")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"owner": "nobody"}, NotFound),
        ({"reaches": {}}, SettingsError),
        ({"reaches": {"calender": ["calendar:read"]}}, NotFound),
        ({"reaches": {"calendar": ["calendar:raed"]}}, NotFound),
        ({"reaches": {"calendar": []}}, NotFound),
        ({"expires": "soon"}, SettingsError),
        ({"expires": "2020-01-31"}, SettingsError),
        ({"purpose": "a\u202eb"}, SettingsError),
        ({"client": "registered-nobody"}, NotFound),
    ],
)
async def test_an_adoption_that_is_wrong_is_refused(world: World, changes: dict[str, Any], error: type) -> None:
    """An adoption names an owner, resources and scopes that there are, and a day to come; else nothing happens."""
    client_id = (await register(world))["client_id"]
    adopting = {
        "client": client_id,
        "owner": "team",
        "reaches": {"calendar": ["calendar:read"]},
        "expires": "2099-12-31",
        "purpose": None,
    }
    with pytest.raises(error):
        await do(world, "client.adopt", **(adopting | changes))
    assert world.plane.newcomers.registrations.is_waiting(client_id)
    await do(world, "client.reject", client=client_id, why="")


async def test_commands_that_read_know_newcomers(world: World, client_id: str) -> None:
    """What reads the files knows a client by whose document a token was issued, with its owner and its reach."""
    await token(world, client_id)
    client = with_newcomers(world.plane.settings).registry.clients[client_id]
    assert (client.owner, client.purpose, client.reaches) == ("team", "Journey", {"calendar": ("calendar:read",)})
    assert "planner" in with_newcomers(world.plane.settings).registry.clients


async def test_a_document_is_forgotten_long_after_its_last_use(world: World, client_id: str) -> None:
    """A month after the last token by it a document is forgotten."""
    await token(world, client_id)
    world.clock.now += KEPT_SECONDS + 1
    await world.plane.forget_expired()
    assert client_id not in world.plane.registry.clients
    assert client_id not in with_newcomers(world.plane.settings).registry.clients


async def test_keys_of_a_document_are_not_those_of_the_files_client(world: World) -> None:
    """A client that came by its document is written into the file, with a secret: its keys prove nothing any more."""
    world.clock.now += 60
    key = SigningKey.generate()
    jwks = {"keys": [key.public().as_jwk()]}
    path = f"/{secrets.token_hex(6)}.json"
    client_id = world.documents.publish(path=path, token_endpoint_auth_method="private_key_jwt", jwks=jwks)

    def signed() -> dict[str, str]:
        now, jti, issuer = int(world.clock.now), secrets.token_hex(8), world.plane.issuer.url
        said = sign_client_assertion(client_id=client_id, audience=issuer, key=key, now=now, jti=jti)
        return {"client_id": client_id, "client_assertion_type": ASSERTION_TYPE, "client_assertion": said}

    async with Visitor(world) as ann:
        code = await ann.code(a_query(world, client_id=client_id, redirect_uri=HOSTED_CALLBACK))
    assert (await world.ask(redeeming(code, **signed(), redirect_uri=HOSTED_CALLBACK))).status == 200
    secret = secrets.token_urlsafe(32)

    def define(document: dict[str, Any]) -> None:
        document["clients"][client_id] = {
            "owner": next(iter(document["owners"])),
            "purpose": "known by now",
            "expires": "2099-01-01",
            "authentication": {"method": "client_secret_post", "secret": secret},
            "reaches": {"calendar": ["calendar:read"]},
        }

    await apply(world, define)
    asked = {"grant_type": "client_credentials", "resource": world.plane.registry.resources["calendar"].uri}
    assert (await world.ask([*(asked | signed()).items()])).status == 401
    assert (await world.ask([*(asked | {"client_id": client_id, "client_secret": secret}).items()])).status == 200
