"""DPoP at the gateway: a bound token passes with a proof of its key, for this resource and this request, once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from perhop.core.resource import SenderConstraint
from perhop.errors import StorageUnavailable
from tests.support.dpop import ProofKey, a_proof
from tests.support.gateways import World, gateway
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind
from tests.support.upstreams import modern

KEY, OTHER = ProofKey(), ProofKey()
CALL = modern("tools/call", {"name": "list_events", "arguments": {"day": "monday"}})


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway(tmp_path) as made:
        yield made


def bound(world: World, key: ProofKey = KEY, **claims: Any) -> str:
    return world.token(cnf={"jkt": key.thumbprint}, **claims)


def proof(world: World, token: str, key: ProofKey = KEY, *, method: str = "POST", **changes: Any) -> str:
    now = world.clock()
    usual: dict[str, Any] = {
        "now": now,
        "token": changes.pop("for_token", token),
        "nonce": world.gate.proofs.nonces.current(int(now)),
    }
    uri = changes.pop("uri", world.url)
    return a_proof(key, method, uri, **(usual | changes))


async def send(
    world: World, token: str, *proofs: str, scheme: str = "DPoP", more: Mapping[str, str] | None = None
) -> httpx2.Response:
    """POST the call, with these proofs."""
    for each in proofs:
        THE_SCAN.note(each, Kind.TOKEN)
    headers = [*CALL[0].items(), ("authorization", f"{scheme} {token}"), *(more or {}).items()]
    return await world.http.post(world.url, headers=[*headers, *(("dpop", each) for each in proofs)], content=CALL[1])


async def test_a_bound_token_passes_with_a_proof(world: World) -> None:
    """RFC 9449 §7.1: the call goes on under a token that is bound to its audience alone, and without the proof."""
    token = bound(world)
    sent = proof(world, token)
    answer = await send(world, token, sent)
    assert answer.status_code == 200, answer.headers
    received = world.upstream.last
    authorization = received.header("authorization")
    assert authorization is not None
    assert authorization.startswith("Bearer ")
    assert received.header("dpop") is None
    assert sent not in str(received.headers)
    assert answer.headers["dpop-nonce"] == world.gate.proofs.nonces.current(int(world.clock()))
    permit, ended = await world.records(2)
    assert permit["in"]["cnf"] == ended["in"]["cnf"] == {"jkt": KEY.thumbprint}
    assert "cnf" not in permit["out"]


async def test_without_a_nonce_one_is_asked_for(world: World) -> None:
    """RFC 9449 §9: 401 with `use_dpop_nonce` and the nonce; a proof with it passes, and the record tells it apart."""
    token = bound(world)
    answer = await send(world, token, proof(world, token, nonce=None))
    assert (answer.status_code, answer.content) == (401, b"")
    assert answer.headers["www-authenticate"].startswith('DPoP error="use_dpop_nonce"')
    assert (await send(world, token, proof(world, token, nonce=answer.headers["dpop-nonce"]))).status_code == 200
    refused = (await world.records(3))[0]
    assert (refused["reason"], refused["result"]) == ("sender.mismatch", {"error": "use_dpop_nonce", "status": 401})


async def test_a_bound_token_alone_is_nothing(world: World) -> None:
    """RFC 9449 §7.2: as a bearer token it is refused, with a good proof beside it, too; and so is a missing proof."""
    token = bound(world)
    for scheme, proofs, error in (
        ("Bearer", (), "invalid_token"),
        ("Bearer", (proof(world, token),), "invalid_token"),
        ("DPoP", (), "invalid_dpop_proof"),
        ("dpop", (proof(world, token), proof(world, token)), "invalid_dpop_proof"),
    ):
        answer = await send(world, token, *proofs, scheme=scheme)
        assert (answer.status_code, answer.content) == (401, b"")
        assert answer.headers["www-authenticate"].startswith(f'DPoP error="{error}"')
    assert world.upstream.received == []
    assert {record["reason"] for record in await world.records(4)} == {"sender.mismatch"}


async def test_a_bearer_token_does_not_come_as_a_bound_one(world: World) -> None:
    """A token without a key is refused under the scheme, whatever proof is beside it; as a bearer token it passes."""
    token = world.token()
    answer = await send(world, token, proof(world, token))
    assert (answer.status_code, answer.headers["www-authenticate"].partition(",")[0]) == (
        401,
        'DPoP error="invalid_token"',
    )
    assert (await send(world, token, proof(world, token), scheme="Bearer")).status_code == 200


async def test_a_proof_under_another_key_names_that_key_in_the_journal(world: World) -> None:
    """RFC 9449 §7.1: refused, and the record says which key was proved instead of the token's."""
    token = bound(world)
    answer = await send(world, token, proof(world, token, OTHER))
    assert answer.headers["www-authenticate"].startswith('DPoP error="invalid_token"')
    (record,) = await world.records(1)
    assert record["reason"] == "sender.mismatch"
    assert record["in"]["cnf"] == {"jkt": KEY.thumbprint}
    assert record["request"]["sender_key"] == OTHER.thumbprint
    # Its proof was not used up by it: a proof of the token's own key would not be either, had it been wrong.
    assert (await send(world, token, proof(world, token))).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "GET"},
        {"uri": "http://127.0.0.1:1/mcp/calendar"},
        {"for_token": "another.token.x"},
        {"for_token": None},
        {"iat": 1_600_000_000},
    ],
)
async def test_a_proof_is_for_this_request(world: World, changes: dict[str, Any]) -> None:
    """RFC 9449 §4.3: one for another method, URI or token, or of another time, is refused."""
    token = bound(world)
    assert (await send(world, token, proof(world, token, **changes))).status_code == 401
    (record,) = await world.records(1)
    assert (record["reason"], "sender_key" in record["request"]) == ("sender.mismatch", False)


async def test_the_uri_is_the_configured_one(world: World) -> None:
    """What `Host` says is nothing to a proof: the resource's own `uri` passes, and the other name of the place not."""
    token = bound(world)
    port = world.url.split(":")[2].split("/")[0]
    elsewhere = f"http://localhost:{port}/mcp/calendar"
    more = {"host": f"localhost:{port}"}
    assert (await send(world, token, proof(world, token, uri=elsewhere), more=more)).status_code == 401
    assert (await send(world, token, proof(world, token), more=more)).status_code == 200


async def test_a_proof_passes_once(world: World) -> None:
    """RFC 9449 §11.1: of fifty requests with one proof one passes; the others are replays."""
    token = bound(world)
    used = proof(world, token)
    answers = await asyncio.gather(*(send(world, token, used) for _ in range(50)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 49
    refused = [record for record in await world.records(51) if record["event"] == "call.refused"]
    assert {record["reason"] for record in refused} == {"token.replayed"}


class NoMemory:
    async def use_proof(self, proof: object) -> None:
        raise StorageUnavailable("the database did not answer")


async def test_what_cannot_be_told_does_not_pass(world: World) -> None:
    """While nobody can tell whether a proof came before, the answer is 503; a bearer token asks nobody."""
    world.replace_gate(proofs=replace(world.gate.proofs, memory=NoMemory()))
    token = bound(world)
    assert (await send(world, token, proof(world, token))).status_code == 503
    assert (await send(world, world.token(), scheme="Bearer")).status_code == 200


async def test_a_proof_is_not_dropped_on_the_way(world: World) -> None:
    """RFC 9110 §7.6.1: `Connection: dpop` asks a proxy to drop what is checked, and is refused."""
    token = bound(world)
    answer = await send(world, token, proof(world, token), more={"connection": "keep-alive, dpop"})
    assert answer.status_code == 400
    assert (await world.records(1))[0]["reason"] == "request.malformed"


async def test_a_resource_may_take_bound_tokens_only(world: World) -> None:
    """Bearer tokens are refused, the challenge names no other scheme, and the metadata says so."""
    resource = replace(world.gate.resource, sender=SenderConstraint.DPOP)
    world.replace_gate(resource=resource)
    refused = await send(world, world.token(), scheme="Bearer")
    bare = await world.http.post(world.url, headers=CALL[0], content=CALL[1])
    for answer in (refused, bare):
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("DPoP ")
        assert "Bearer" not in answer.headers["www-authenticate"]
    url = bare.headers["www-authenticate"].partition('resource_metadata="')[2].partition('"')[0]
    assert (await world.http.get(url)).json()["dpop_bound_access_tokens_required"] is True
    token = bound(world)
    assert (await send(world, token, proof(world, token))).status_code == 200
    assert (await world.records(2))[0]["reason"] == "sender.mismatch"


async def test_a_stream_needs_a_proof_of_its_own(world: World) -> None:
    """A GET is refused with a proof for POST; with one for GET it goes to the upstream, which answers as it likes."""
    token = bound(world)
    headers = {"authorization": f"DPoP {token}", "accept": "text/event-stream", "mcp-protocol-version": "2025-11-25"}
    for method, reached in (("POST", 0), ("GET", 1)):
        answer = await world.http.get(world.url, headers={**headers, "dpop": proof(world, token, method=method)})
        assert (len(world.upstream.received), answer.status_code == 401) == (reached, not reached)


async def test_a_refusal_leaves_no_proof_behind(world: World) -> None:
    """Neither token nor proof stands in any record."""
    token = bound(world)
    sent = proof(world, token, OTHER)
    await send(world, token, sent)
    kept = json.dumps(await world.records(1))
    assert token not in kept
    assert sent not in kept
    assert sent.split(".")[1] not in kept
