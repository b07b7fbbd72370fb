"""RFC 9449 §5, §6, §8, §10 at the authorization server: tokens, codes and refresh tokens that are bound to a key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from perhop.core.proof import CheckedProof
from perhop.core.resource import SenderConstraint
from perhop.errors import StorageUnavailable
from perhop.rules.dpop_nonce import Nonces
from perhop.storage.retention import PROOF_KEPT_AFTER_EXPIRY, forget_expired
from tests.support.authorization_servers import (
    CALENDAR,
    CALENDAR_SERVER,
    CALLBACK,
    ISSUER,
    ROOMS,
    RunningServer,
    assert_refused,
    claims_in,
    running_server,
)
from tests.support.browsers import VERIFIER, Browser, a_request, answer_in
from tests.support.dpop import ProofKey, a_proof
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind
from tests.support.refreshing import AS_PORTAL, add_portal

URL = f"{ISSUER}/token"
KEY, OTHER = ProofKey(), ProofKey()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        add_portal(running)
        yield running


def nonce_of(server: RunningServer) -> str:
    return Nonces(server.issuer.nonce_key, URL).current(server.issuer.now())


def proof(server: RunningServer, key: ProofKey = KEY, **changes: Any) -> str:
    usual: dict[str, Any] = {"now": server.clock.now, "nonce": nonce_of(server)}
    return a_proof(key, "POST", URL, **(usual | changes))


async def ask(server: RunningServer, parameters: dict[str, str], *proofs: str) -> httpx2.Response:
    """One token request with these proofs."""
    headers = [("DPoP", THE_SCAN.note(each, Kind.TOKEN)) for each in proofs if each]
    return await server.http.post("/token", data=parameters, headers=headers or [("DPoP", each) for each in proofs])


def for_planner(server: RunningServer) -> dict[str, str]:
    return {"grant_type": "client_credentials", "resource": CALENDAR, **server.proof("trip-planner")}


def for_exchange(server: RunningServer, subject_token: str) -> dict[str, str]:
    return {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": subject_token,
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "resource": ROOMS,
        **server.proof("calendar-server"),
    }


async def for_code(server: RunningServer, **asked: str) -> dict[str, str]:
    browser, query = Browser(server), a_request(**asked)
    arrived = await browser.open(query)  # who has been here before is signed in and has consented
    return {
        "grant_type": "authorization_code",
        "code": answer_in(arrived)["code"] if arrived.status_code == 303 else await browser.code(query),
        "redirect_uri": CALLBACK,
        "client_id": "desk-app",
        "code_verifier": VERIFIER,
    }


def for_refresh(token: str, client: dict[str, str] | None = None) -> dict[str, str]:
    return {"grant_type": "refresh_token", "refresh_token": token, **(client or {"client_id": "desk-app"})}


async def test_every_grant_gives_a_token_for_the_proved_key(server: RunningServer) -> None:
    """RFC 9449 §5, §6.1: with a proof the answer says `DPoP` and the token names the key; without, neither."""
    granted = [await ask(server, for_planner(server), proof(server))]
    granted.append(await ask(server, await for_code(server), proof(server)))
    granted.append(await ask(server, for_refresh(granted[-1].json()["refresh_token"]), proof(server)))
    granted.append(await ask(server, for_exchange(server, server.forged()), proof(server)))
    for answer in granted:
        assert answer.status_code == 200, answer.text
        assert answer.json()["token_type"] == "DPoP"
        assert claims_in(answer.json()["access_token"])["cnf"] == {"jkt": KEY.thumbprint}
        assert answer.headers["dpop-nonce"] == nonce_of(server)
    bound = [record["out"]["cnf"] for record in server.records("token.issued")]
    assert bound == [{"jkt": KEY.thumbprint}] * 4
    plain = await ask(server, for_planner(server))
    assert plain.json()["token_type"] == "Bearer"
    assert "cnf" not in claims_in(plain.json()["access_token"])
    assert "dpop-nonce" not in plain.headers


async def test_a_nonce_is_asked_for_and_costs_nothing(server: RunningServer) -> None:
    """RFC 9449 §8: 400 with `use_dpop_nonce` and the nonce; assertion and code of the request are still good."""
    for parameters in (for_planner(server), await for_code(server)):
        refused = await ask(server, parameters, proof(server, nonce=None))
        assert_refused(refused, "use_dpop_nonce")
        again = proof(server, nonce=refused.headers["dpop-nonce"])
        assert (await ask(server, parameters, again)).status_code == 200
    assert server.last_refusal()["reason"] == "sender.mismatch"


@pytest.mark.parametrize(
    "changes",
    [
        {"htu": ISSUER},
        {"htu": CALENDAR},
        {"htm": "GET"},
        {"iat": 1_600_000_000},
        {"header": {"alg": "none"}, "sign": lambda _: b""},
        {"header": {"jwk": KEY.private_jwk}},
    ],
)
async def test_a_proof_that_is_not_good_gives_no_token(server: RunningServer, changes: dict[str, Any]) -> None:
    """RFC 9449 §5: 400 with `invalid_dpop_proof`, a record with the reason, and no token, not even an unbound one."""
    assert_refused(await ask(server, for_planner(server), proof(server, **changes)), "invalid_dpop_proof")
    assert server.last_refusal()["reason"] == "sender.mismatch"
    assert server.records("token.issued") == []


async def test_two_proofs_are_none(server: RunningServer) -> None:
    """RFC 9449 §4.3: more than one DPoP header is refused, and an empty one is not passed over."""
    for proofs in ((proof(server), proof(server)), ("",)):
        assert_refused(await ask(server, for_planner(server), *proofs), "invalid_dpop_proof")
    assert server.records("token.issued") == []


async def test_a_proof_is_good_once(server: RunningServer) -> None:
    """RFC 9449 §11.1: the second time it is a replay, whatever else the request says; a code in it is left alone."""
    used = proof(server)
    assert (await ask(server, for_planner(server), used)).status_code == 200
    code = await for_code(server)
    for parameters in (for_planner(server), code):
        assert_refused(await ask(server, parameters, used), "invalid_dpop_proof")
        assert server.last_refusal()["reason"] == "token.replayed"
    assert (await ask(server, code, proof(server))).status_code == 200


async def test_of_fifty_with_one_proof_one_wins(server: RunningServer) -> None:
    """The first use is decided once, by one statement."""
    used = proof(server)
    answers = await asyncio.gather(*(ask(server, for_planner(server), used) for _ in range(50)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 49
    assert {record["reason"] for record in server.records("token.refused")} == {"token.replayed"}


async def test_used_proofs_are_forgotten_when_they_have_gone_stale(server: RunningServer) -> None:
    """What a proof leaves behind goes, but not before it could come again under a clock that was set back."""
    used = proof(server)
    assert (await ask(server, for_planner(server), used)).status_code == 200
    now = server.issuer.now()
    await forget_expired(server.database, now=now + 60 + PROOF_KEPT_AFTER_EXPIRY - 1)
    assert_refused(await ask(server, for_planner(server), used), "invalid_dpop_proof")
    await forget_expired(server.database, now=now + 60 + PROOF_KEPT_AFTER_EXPIRY)
    assert (await ask(server, for_planner(server), used)).status_code == 200


class NoMemory:
    """A store that does not answer."""

    async def use_proof(self, proof: CheckedProof) -> None:
        raise StorageUnavailable("the database did not answer")


async def test_what_cannot_be_told_is_refused(server: RunningServer) -> None:
    """While nobody can tell whether a proof came before, the answer is 503, and there is no token."""
    server.change(stores=replace(server.stores, proofs=NoMemory()))
    answer = await ask(server, for_planner(server), proof(server))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert server.records("token.issued") == []


async def test_a_code_is_redeemed_with_the_key_that_it_was_asked_for(server: RunningServer) -> None:
    """RFC 9449 §10: `dpop_jkt` binds the code; another key, and none, are refused."""
    for proofs in ((proof(server, OTHER),), ()):
        parameters = await for_code(server, dpop_jkt=KEY.thumbprint)
        assert_refused(await ask(server, parameters, *proofs), "invalid_grant")
        assert server.last_refusal()["reason"] == "sender.mismatch"
        # Whoever has it with the right key comes second.
        assert_refused(await ask(server, parameters, proof(server)), "invalid_grant")
    assert (await ask(server, await for_code(server, dpop_jkt=KEY.thumbprint), proof(server))).status_code == 200


@pytest.mark.parametrize(
    "thumbprint", ["x", KEY.thumbprint[:-1], KEY.thumbprint + "=", "x" * 43], ids=["short", "cut", "padded", "loose"]
)
async def test_a_key_that_is_none_binds_no_code(server: RunningServer, thumbprint: str) -> None:
    """A `dpop_jkt` that is no thumbprint is refused before a person is asked."""
    answer = await Browser(server).open(a_request(dpop_jkt=thumbprint))
    assert "error=invalid_request" in answer.headers["location"]


async def test_a_public_clients_refresh_token_is_bound_to_its_key(server: RunningServer) -> None:
    """RFC 9449 §5, §11.9: with another key or none it is refused, the family goes on, and its client with it."""
    first = (await ask(server, await for_code(server), proof(server))).json()
    parameters = for_refresh(first["refresh_token"])
    for proofs in ((), (proof(server, OTHER),)):
        assert_refused(await ask(server, parameters, *proofs), "invalid_grant")
        assert server.last_refusal()["reason"] == "sender.mismatch"
    second = await ask(server, parameters, proof(server))
    assert second.status_code == 200
    # A thief who has a spent one and no key ends nothing either.
    assert_refused(await ask(server, parameters, proof(server, OTHER)), "invalid_grant")
    assert (await ask(server, for_refresh(second.json()["refresh_token"]), proof(server))).status_code == 200
    assert_refused(await ask(server, parameters, proof(server)), "invalid_grant")
    assert server.last_refusal()["reason"] == "refresh.reused"


async def test_a_client_with_a_secret_may_change_its_key(server: RunningServer) -> None:
    """RFC 9449 §5: what a confidential client proves at every refresh is its secret; the token has the new key."""
    code = await Browser(server).code(
        a_request(client_id="portal", redirect_uri="https://portal.example.com/callback", scope="calendar:read")
    )
    parameters = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": "https://portal.example.com/callback",
        "code_verifier": VERIFIER,
        **AS_PORTAL,
    }
    first = (await ask(server, parameters, proof(server))).json()
    second = await ask(server, for_refresh(first["refresh_token"], AS_PORTAL), proof(server, OTHER))
    assert claims_in(second.json()["access_token"])["cnf"] == {"jkt": OTHER.thumbprint}


async def test_a_client_may_be_given_bound_tokens_only(server: RunningServer) -> None:
    """RFC 9449 §5.2: one that is registered so gets nothing without a proof."""
    server.change_client("trip-planner", sender=SenderConstraint.DPOP)
    assert_refused(await ask(server, for_planner(server)), "invalid_dpop_proof")
    assert server.last_refusal()["reason"] == "sender.mismatch"
    assert (await ask(server, for_planner(server), proof(server))).status_code == 200


async def test_what_was_given_before_leads_to_no_other_key(server: RunningServer) -> None:
    """A public client's refresh token of before is bound to no key, and refused: its person signs in again."""
    first = (await ask(server, await for_code(server))).json()
    server.change_client("desk-app", sender=SenderConstraint.DPOP)
    assert_refused(await ask(server, for_refresh(first["refresh_token"]), proof(server)), "invalid_grant")
    assert server.last_refusal()["reason"] == "sender.mismatch"
    again = (await ask(server, await for_code(server), proof(server))).json()
    assert (await ask(server, for_refresh(again["refresh_token"]), proof(server))).status_code == 200


async def test_a_resource_may_take_bound_tokens_only(server: RunningServer) -> None:
    """For one that is configured so nobody gets a bearer token, by no grant."""
    resources = server.issuer.registry.resources
    strict = {name: replace(each, sender=SenderConstraint.DPOP) for name, each in resources.items()}
    server.change_registry(resources=strict)
    for parameters in (for_planner(server), await for_code(server), for_exchange(server, server.forged())):
        assert_refused(await ask(server, parameters), "invalid_dpop_proof")
    assert (await ask(server, for_planner(server), proof(server))).status_code == 200


async def test_the_child_of_a_bound_token_is_bound_to_its_presenters_key(server: RunningServer) -> None:
    """A server that was called with a bound token calls on with one that is bound to its own key, or not at all."""
    parent = server.forged(cnf={"jkt": KEY.thumbprint})
    assert_refused(await ask(server, for_exchange(server, parent)), "invalid_request")
    assert server.last_refusal()["reason"] == "sender.mismatch"
    child = await ask(server, for_exchange(server, parent), proof(server, OTHER))
    assert claims_in(child.json()["access_token"])["cnf"] == {"jkt": OTHER.thumbprint}
    issued = server.records("token.issued")[-1]
    assert (issued["in"]["cnf"], issued["out"]["cnf"]) == ({"jkt": KEY.thumbprint}, {"jkt": OTHER.thumbprint})
    by_certificate = server.forged(cnf={"x5t#S256": KEY.thumbprint})
    assert_refused(await ask(server, for_exchange(server, by_certificate), proof(server)), "invalid_request")


async def test_what_the_gateway_presents_is_bound_to_its_audience_only(server: RunningServer) -> None:
    """The gateway is the sender of its hop tokens, in this process; the caller's key is not copied."""
    bound = (await ask(server, for_planner(server), proof(server))).json()["access_token"]
    hop = claims_in(await server.through_gateway(bound))
    assert hop["aud"] == CALENDAR_SERVER
    assert "cnf" not in hop


async def test_introspection_tells_the_key(server: RunningServer) -> None:
    """RFC 9449 §6.2: the server of the resource hears `cnf` and the token's type."""
    child = (await ask(server, for_exchange(server, server.forged()), proof(server))).json()["access_token"]
    hop = await server.through_gateway(child, "rooms")
    forged = server.forged(cnf={"jkt": KEY.thumbprint})
    for token, told in ((hop, ("Bearer", None)), (forged, ("DPoP", {"jkt": KEY.thumbprint}))):
        client = "rooms-server" if token is hop else "calendar-server"
        answer = (await server.http.post("/introspect", data={"token": token, **server.proof(client)})).json()
        assert (answer["active"], answer["token_type"], answer.get("cnf")) == (True, *told)


async def test_metadata_names_the_algorithms(server: RunningServer) -> None:
    """RFC 9449 §5.1: asymmetric ones only."""
    document = (await server.http.get("/.well-known/oauth-authorization-server")).json()
    assert document["dpop_signing_alg_values_supported"] == ["ES256", "Ed25519", "RS256", "PS256"]


async def test_reports_are_taken_with_a_bound_token(server: RunningServer) -> None:
    """Our own resource asks for a proof of the same kind, made for its own URI and with its own nonce."""
    records = f"{ISSUER}/records"
    planner = server.issuer.registry.clients["calendar-server"]
    grants = planner.grants | server.issuer.registry.clients["trip-planner"].grants
    server.change_client("calendar-server", grants=grants)
    parameters = {"grant_type": "client_credentials", "resource": records, **server.proof("calendar-server")}
    token = (await ask(server, parameters, proof(server))).json()["access_token"]

    async def report(scheme: str, **changes: Any) -> httpx2.Response:
        headers = {"authorization": f"{scheme} {token}"}
        if changes:
            usual: dict[str, Any] = {"now": server.clock.now, "token": token}
            headers["dpop"] = a_proof(KEY, "POST", records, **(usual | changes))
        return await server.http.post("/records", json={"records": []}, headers=headers)

    assert (await report("Bearer")).status_code == 401
    first = await report("DPoP", nonce=nonce_of(server))
    assert (first.status_code, 'error="use_dpop_nonce"' in first.headers["www-authenticate"]) == (401, True)
    assert (await report("DPoP", nonce=first.headers["dpop-nonce"])).status_code == 200
