"""Tokens that are bound to a key go out with a fresh proof, and no other kind is taken in their place."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest

from perhop.client import TokenSource
from perhop.client.proof_key import ProofKey
from perhop.core.secret import Secret
from perhop.errors import SenderConstraintMissing, WrongDestination
from perhop.tokens.keys import Algorithm, SigningKey, parse_jwk
from tests.support.offline_issuer import Clock, OfflineIssuer
from tests.support.sign_in_world import ISSUER, METADATA, SERVER, SignInWorld, issuer_metadata

SECRET = "a secret of more than thirty-two characters"
TOKEN = "https://auth.example.com/token"


def read_proof(raw: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a proof whose signature holds under the key that it carries."""
    signed, _, signature = raw.rpartition(".")
    header, claims = (json.loads(_decode(part)) for part in signed.split("."))
    key = parse_jwk(header["jwk"])
    assert key.is_signature(Algorithm(header["alg"]), _decode(signature), over=signed.encode())
    return header, claims


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_a_proof_is_for_one_request() -> None:
    """Method, address without its query, time and token stand in it; of the key only what is public."""
    proofs = ProofKey(clock=Clock())
    url = httpx2.URL("https://mcp.example.com/mcp?cursor=1")
    header, claims = read_proof(proofs.proof("POST", url, token=Secret("t1")))
    assert (header["typ"], header["alg"]) == ("dpop+jwt", "ES256")
    assert header["jwk"].keys() == {"kty", "crv", "x", "y"}
    assert (claims["htm"], claims["htu"], claims["iat"]) == ("POST", "https://mcp.example.com/mcp", Clock().now)
    assert claims["ath"] == base64.urlsafe_b64encode(hashlib.sha256(b"t1").digest()).rstrip(b"=").decode()
    assert read_proof(proofs.proof("POST", url))[1]["jti"] != claims["jti"]
    assert "ath" not in read_proof(proofs.proof("POST", url))[1]


def test_a_nonce_is_of_one_server() -> None:
    """It is shown to the server that gave it, and to no other."""
    proofs = ProofKey(clock=Clock())
    ours, other = httpx2.URL("https://a.example/x"), httpx2.URL("https://b.example/x")
    assert proofs.hear(ours, httpx2.Headers({"dpop-nonce": "n1"}))
    assert not proofs.hear(ours, httpx2.Headers({"dpop-nonce": "n1"}))
    assert not proofs.hear(ours, httpx2.Headers({"dpop-nonce": "not a nonce"}))
    assert read_proof(proofs.proof("GET", ours.copy_with(path="/y")))[1]["nonce"] == "n1"
    assert "nonce" not in read_proof(proofs.proof("GET", other))[1]


class Servers:
    """A token endpoint and a resource that want a nonce each."""

    def __init__(self, *, kind: str = "DPoP") -> None:
        self.kind = kind
        self.seen: list[httpx2.Request] = []
        self.claims: list[dict[str, Any]] = []

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            return httpx2.Response(200, json=issuer_metadata())
        self.seen.append(request)
        claims = read_proof(request.headers["dpop"])[1]
        self.claims.append(claims)
        is_token = request.url.path == "/token"
        nonce = "of-the-issuer" if is_token else "of-the-resource"
        if claims.get("nonce") != nonce:
            error = {"error": "use_dpop_nonce"}
            challenge = {"www-authenticate": 'DPoP error="use_dpop_nonce"', "dpop-nonce": nonce}
            return httpx2.Response(400 if is_token else 401, json=error, headers=challenge)
        return httpx2.Response(200, json={"access_token": "t1", "token_type": self.kind} if is_token else {})

    def source(self) -> TokenSource:
        return TokenSource(issuer=ISSUER, client_id="a", client_secret=SECRET, dpop=True, http=self.http())

    def http(self, auth: httpx2.Auth | None = None) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=httpx2.MockTransport(self), auth=auth)


async def test_nonces_are_taken_from_either_side() -> None:
    """A server that wants a nonce gets a new proof with it, once; the next request has it from the start."""
    servers = Servers()
    async with servers.http(servers.source().auth_for(SERVER)) as http:
        assert [(await http.post(SERVER)).status_code for _ in range(2)] == [200, 200]
    nonces = [(claims["htu"], claims.get("nonce")) for claims in servers.claims]
    assert nonces == [
        (TOKEN, None),
        (TOKEN, "of-the-issuer"),
        (SERVER, None),
        (SERVER, "of-the-resource"),
        (SERVER, "of-the-resource"),
    ]
    assert len({claims["jti"] for claims in servers.claims}) == 5
    assert ["ath" in claims for claims in servers.claims] == [False, False, True, True, True]
    assert servers.seen[-1].headers["authorization"] == "DPoP t1"


async def test_a_bearer_token_is_not_taken_for_a_bound_one() -> None:
    """Who asked for a bound token and gets another has got none."""
    with pytest.raises(SenderConstraintMissing):
        await Servers(kind="Bearer").source().token_for(SERVER)


async def test_a_bound_token_goes_nowhere_else() -> None:
    """The audience counts as for any other."""
    servers = Servers()
    async with servers.http(servers.source().auth_for(SERVER)) as http:
        with pytest.raises(WrongDestination):
            await http.post(f"{SERVER}/x")
    assert servers.seen == []


def _no_algorithms(world: SignInWorld) -> None:
    world.challenge = world.challenge.replace("Bearer", "DPoP")
    world.documents[ISSUER + METADATA] = issuer_metadata()


@pytest.mark.parametrize(
    ("change", "is_bound"),
    [
        (lambda world: None, False),
        (lambda world: setattr(world, "challenge", world.challenge.replace("Bearer", "DPoP")), True),
        (_no_algorithms, False),
    ],
)
async def test_a_person_gets_a_bound_token_where_both_servers_take_it(
    change: Callable[[SignInWorld], object], is_bound: bool
) -> None:
    """The server's challenge and the authorization server's list of algorithms decide."""
    world = SignInWorld()
    algorithms = {"dpop_signing_alg_values_supported": ["ES256"]}
    world.documents[ISSUER + METADATA] = issuer_metadata(**algorithms)
    change(world)
    world.grant = {"token_type": "DPoP" if is_bound else "Bearer", "expires_in": 300}
    assert (await world.call(world.sign_in())).status_code == 200
    assert ("dpop" in world.token_requests[0].headers) is is_bound
    assert ("dpop_jkt" in world.visits[0]) is is_bound


async def test_who_wants_no_bound_token_is_asked_for_none() -> None:
    """Even where both servers take it."""
    world = SignInWorld(challenge="DPoP")
    world.documents[ISSUER + METADATA] = issuer_metadata(dpop_signing_alg_values_supported=["ES256"])
    await world.call(world.sign_in(dpop=False))
    assert "dpop" not in world.token_requests[0].headers


async def test_an_answer_of_an_offline_issuer_is_no_bound_token() -> None:
    """An issuer that knows nothing of proofs gives a bearer token, and it is not used."""
    clock = Clock()
    issuer = OfflineIssuer(clock=clock)
    source = TokenSource(
        issuer=issuer.url, client_id="a", client_secret=SECRET, dpop=True, http=issuer.http(), clock=clock
    )
    with pytest.raises(SenderConstraintMissing):
        await source.token_for(SERVER)


async def test_an_assertion_is_sent_once_though_a_nonce_is_asked_for() -> None:
    """A server that looks at the client first has used up the assertion of the request that it sends back."""
    servers = Servers()
    key = SigningKey.generate().as_pem().reveal().encode()
    source = TokenSource(issuer=ISSUER, client_id="a", private_key=key, dpop=True, http=servers.http())
    await source.token_for(SERVER)
    sent = [parse_qs(request.content.decode())["client_assertion"][0] for request in servers.seen]
    assert len(sent) == len(set(sent)) == 2
    assert len({json.loads(_decode(each.split(".")[1]))["jti"] for each in sent}) == 2
