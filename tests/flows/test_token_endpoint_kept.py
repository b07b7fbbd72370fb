"""What the token endpoint keeps of earlier requests, and its way past the router: nobody can tell the difference."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette

from perhop.authorization_server.app import authorization_server_routes, build_app
from perhop.authorization_server.form import MAX_BODY_BYTES
from perhop.authorization_server.revocation import RevokedObject
from perhop.core.client import ClientSecret, GrantType
from perhop.core.secret import Secret
from tests.support.authorization_servers import (
    CALENDAR,
    ROOMS,
    SECRET,
    RunningServer,
    a_client,
    assert_refused,
    claims_in,
    claims_of,
    running_server,
)

OTHER_SECRET = "the-secret-of-another-client-0123456789"
FORM = {"grant_type": "client_credentials", "resource": CALENDAR}
FORM_TYPE = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        other = a_client(
            "second",
            ClientSecret("client_secret_basic", Secret(OTHER_SECRET)),
            GrantType.CLIENT_CREDENTIALS,
            reaches={"calendar": ("calendar:write",), "rooms": ("rooms:read",)},
        )
        running.change_registry(clients={**running.issuer.registry.clients, "second": other})
        yield running


def basic(client: str = "basic", secret: str = SECRET) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{client}:{secret}".encode()).decode()}


async def ask(server: RunningServer, by: dict[str, str], **changes: str) -> httpx2.Response:
    return await server.http.post("/token", data=FORM | changes, headers=by)


async def test_the_same_request_gets_another_token(server: RunningServer) -> None:
    """Asked again, each answer is a token of its own, with a transaction of its own, and both are recorded."""
    first, second = [claims_of(await ask(server, basic())) for _ in range(2)]
    assert {first["jti"], first["txn"]}.isdisjoint({second["jti"], second["txn"]})
    assert {name: first[name] for name in ("aud", "sub", "scope", "client_id")} == {
        name: second[name] for name in ("aud", "sub", "scope", "client_id")
    }
    assert [each["out"]["jti"] for each in server.records("token.issued")] == [first["jti"], second["jti"]]
    for each in (first, second):
        assert await server.stores.lineage.audiences(each["jti"]) == {CALENDAR}


async def test_what_one_client_got_is_not_another_ones(server: RunningServer) -> None:
    """The very same form of two clients gives each its own scopes, in whatever order and however often they ask."""
    for _ in range(2):
        assert claims_of(await ask(server, basic()))["scope"] == "calendar:read"
        claims = claims_of(await ask(server, basic("second", OTHER_SECRET)))
        assert (claims["sub"], claims["scope"]) == ("second", "calendar:write")


async def test_what_was_got_by_one_form_is_not_another_ones(server: RunningServer) -> None:
    """The same client has by each form what that form says."""
    by = basic("second", OTHER_SECRET)
    for _ in range(2):
        assert claims_of(await ask(server, by))["aud"] == CALENDAR
        assert claims_of(await ask(server, by, resource=ROOMS))["aud"] == ROOMS
        assert_refused(await ask(server, by, scope="calendar:read"), "invalid_scope")
        assert_refused(await ask(server, by, resource=CALENDAR + "/"), "invalid_target")


async def test_a_proof_counts_for_the_secret_that_was_shown(server: RunningServer) -> None:
    """After a right secret a wrong one is refused, under that name and under any other."""
    assert (await ask(server, basic())).status_code == 200
    for by in (basic(secret=SECRET + "x"), basic(secret=OTHER_SECRET), basic("second"), basic("poster")):
        assert_refused(await ask(server, by), "invalid_client", status=401)
    assert (await ask(server, basic())).status_code == 200


async def test_a_second_proof_beside_a_known_one_is_refused(server: RunningServer) -> None:
    """A request that uses two methods, or names another client in its form, is malformed, also where one is known."""
    assert (await ask(server, basic())).status_code == 200
    for changes in ({"client_secret": SECRET}, {"client_assertion": "a.b.c"}, {"client_id": "second"}):
        assert_refused(await ask(server, basic(), **changes), "invalid_request")
    assert (await ask(server, basic(), client_id="basic")).status_code == 200


async def test_a_change_of_the_configuration_counts_at_once(server: RunningServer) -> None:
    """Another secret, fewer scopes, a resource that is gone: the next request goes by it."""
    assert (await ask(server, basic())).status_code == 200
    server.change_client("basic", authentication=ClientSecret("client_secret_basic", Secret(OTHER_SECRET)))
    assert_refused(await ask(server, basic()), "invalid_client", status=401)
    assert (await ask(server, basic(secret=OTHER_SECRET))).status_code == 200
    server.change_client("basic", reaches={"calendar": ("calendar:write",)})
    assert claims_of(await ask(server, basic(secret=OTHER_SECRET)))["scope"] == "calendar:write"
    server.change_client("basic", reaches={})
    assert_refused(await ask(server, basic(secret=OTHER_SECRET)), "invalid_target")
    server.change_client("basic", grants=frozenset())
    assert_refused(await ask(server, basic(secret=OTHER_SECRET)), "unauthorized_client")


async def test_a_client_that_was_replaced_in_place_proves_itself_anew(server: RunningServer) -> None:
    """Clients that become known beside the configuration change without a new one: what was believed ends there."""
    clients = dict(server.issuer.registry.clients)
    server.change_registry(clients=clients)
    assert (await ask(server, basic())).status_code == 200
    changed = ClientSecret("client_secret_basic", Secret(OTHER_SECRET))
    clients["basic"] = replace(clients["basic"], authentication=changed)
    assert_refused(await ask(server, basic()), "invalid_client", status=401)
    clients["basic"] = replace(clients["basic"], reaches={"calendar": ("calendar:write",)})
    assert claims_of(await ask(server, basic(secret=OTHER_SECRET)))["scope"] == "calendar:write"
    del clients["basic"]
    assert_refused(await ask(server, basic(secret=OTHER_SECRET)), "invalid_client", status=401)


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        ("client", "basic", "client.disabled"),
        ("resource", "calendar", "audience.mismatch"),
        ("owner", "travel-team", "owner.missing"),
    ],
)
async def test_standing_is_looked_at_each_time(server: RunningServer, kind: str, name: str, reason: str) -> None:
    """What is disabled after a token was issued gives none to the same request, until it is enabled again."""
    assert (await ask(server, basic())).status_code == 200
    await server.issuer.standing.disable(kind, name, why="test", now=1)
    assert (await ask(server, basic())).status_code in (400, 401, 503)
    assert server.last_refusal()["reason"] == reason
    await server.issuer.standing.enable(kind, name, now=2)
    assert (await ask(server, basic())).status_code == 200


async def test_policy_is_asked_each_time(server: RunningServer) -> None:
    """A policy that forbids after a token was issued is heeded by the same request."""
    assert (await ask(server, basic())).status_code == 200
    server.forbid('@id("none") forbid (principal, action == MCP::Action::"issue", resource);')
    assert_refused(await ask(server, basic()), "invalid_target")
    assert server.last_refusal()["reason"] == "policy.denied"


async def test_a_subject_token_is_looked_at_each_time(server: RunningServer) -> None:
    """One that was exchanged before is refused once it has expired or was revoked, and so is one that is almost it."""
    first = str((await server.planner_token()).json()["access_token"])
    raw, other = [await server.through_gateway(first) for _ in range(2)]
    for token in (raw, other, raw):
        assert (await server.exchange(token)).status_code == 200
    head, _, signature = raw.rpartition(".")
    await server.exchange(f"{head}.{other.rpartition('.')[2]}")
    assert server.last_refusal()["reason"] == "token.signature"
    await server.exchange(f"{head}.{signature[:-4]}{'AAAA' if signature[-4:] != 'AAAA' else 'BBBB'}")
    assert server.last_refusal()["reason"] == "token.signature"
    await server.issuer.revoker.revoke(RevokedObject.TOKEN, claims_in(raw)["jti"], why="test", by="test")
    await server.exchange(raw)
    assert server.last_refusal()["reason"] == "token.revoked"
    assert (await server.exchange(other)).status_code == 200
    server.clock.now += 300
    await server.exchange(other)
    assert server.last_refusal()["reason"] == "token.expired"


REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("good", {"headers": FORM_TYPE | basic(), "content": httpx2.QueryParams(FORM)}),
    ("bound", {"headers": FORM_TYPE | basic() | {"dpop": "no.proof.atall"}, "content": httpx2.QueryParams(FORM)}),
    ("two proofs", {"headers": [*FORM_TYPE.items(), ("dpop", "a"), ("dpop", "b")], "content": "grant_type=x"}),
    ("no client", {"headers": FORM_TYPE, "content": httpx2.QueryParams(FORM)}),
    ("wrong secret", {"headers": FORM_TYPE | basic(secret="wrong"), "content": httpx2.QueryParams(FORM)}),
    ("not Basic", {"headers": FORM_TYPE | {"authorization": "Bearer x"}, "content": httpx2.QueryParams(FORM)}),
    (
        "two authorizations",
        {"headers": [*FORM_TYPE.items(), *basic().items(), *basic().items()], "content": httpx2.QueryParams(FORM)},
    ),
    ("no type", {"headers": basic(), "content": httpx2.QueryParams(FORM)}),
    ("json", {"headers": basic() | {"content-type": "application/json"}, "content": "{}"}),
    (
        "two types",
        {"headers": [*FORM_TYPE.items(), *FORM_TYPE.items(), *basic().items()], "content": httpx2.QueryParams(FORM)},
    ),
    (
        "with charset",
        {
            "headers": basic() | {"content-type": 'Application/X-WWW-form-urlencoded; charset="UTF-8"'},
            "content": httpx2.QueryParams(FORM),
        },
    ),
    ("coded", {"headers": FORM_TYPE | basic() | {"content-encoding": "gzip"}, "content": httpx2.QueryParams(FORM)}),
    ("plain coding", {"headers": FORM_TYPE | basic() | {"content-encoding": "Identity"}, "content": "grant_type=x"}),
    ("repeated", {"headers": FORM_TYPE | basic(), "content": "scope=a&grant_type=b&scope=c&grant_type=d"}),
    ("two resources", {"headers": FORM_TYPE | basic(), "content": f"{httpx2.QueryParams(FORM)}&resource=x"}),
    ("not encoded", {"headers": FORM_TYPE | basic(), "content": b"grant_type=\xff"}),
    ("not UTF-8", {"headers": FORM_TYPE | basic(), "content": "grant_type=%ff&x=%"}),
    ("too many", {"headers": FORM_TYPE | basic(), "content": "&" * 100}),
    ("too large", {"headers": FORM_TYPE | basic(), "content": "x" * (MAX_BODY_BYTES + 1)}),
    ("just not", {"headers": FORM_TYPE | basic(), "content": "x" * MAX_BODY_BYTES}),
    ("empty", {"headers": FORM_TYPE | basic(), "content": ""}),
    ("long agent", {"headers": FORM_TYPE | basic() | {"user-agent": "a" * 999}, "content": httpx2.QueryParams(FORM)}),
    ("other grant", {"headers": FORM_TYPE | basic(), "content": "grant_type=password"}),
]


async def test_past_the_router_and_through_it_is_the_same(server: RunningServer) -> None:
    """Status, header fields, body and record of every kind of request are the same on both ways, the first time and
    the second."""
    url = server.issuer.url
    routed = Starlette(routes=authorization_server_routes(url, lambda: server.issuer))
    direct = build_app(url, lambda: server.issuer)
    await ask(server, basic())  # the first token of a second has a row, and the others say that they have none
    for name, request in (*REQUESTS, *REQUESTS):
        content = request["content"]
        body = content if isinstance(content, bytes) else str(content).encode()
        ways = []
        for app in (direct, routed):
            async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=url) as http:
                answer = await http.post("/token", headers=request["headers"], content=body)
            ways.append((answer.status_code, _fields(answer), _body(answer), _record(server)))
        assert ways[0] == ways[1], name


def _fields(answer: httpx2.Response) -> list[tuple[str, str]]:
    """In their order; of a nonce only that it is there."""
    return [(name, value if name != "dpop-nonce" else "") for name, value in answer.headers.multi_items()]


def _body(answer: httpx2.Response) -> list[tuple[str, Any]]:
    """In its order; of a token, how long it is."""
    members = list(answer.json().items())
    return [(name, len(value) if name == "access_token" else value) for name, value in members]


def _record(server: RunningServer) -> dict[str, Any]:
    record = json.loads(json.dumps(server.records()[-1]))
    for changing in ("seq", "txn"):
        record.pop(changing, None)
    record.get("out", {}).pop("jti", None)
    return dict(record)
