"""OpenID Connect Core 1.0 §3.1: what we check of a provider's answer before anybody is signed in by it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from perhop.rules.lifetime import MAX_SKEW
from perhop.tokens.keys import Algorithm, SigningKey
from tests.support.authorization_servers import RunningServer, running_server
from tests.support.browsers import a_request
from tests.support.forge import ABSENT, as_json, assemble, good_claims, good_header
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind
from tests.support.openid_providers import (
    ANN_THERE,
    CLIENT,
    LOGIN,
    OTHER,
    PROVIDER_SECRET,
    OpenIdProvider,
    Person,
    a_provider,
    know,
    one_way,
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        yield running


@pytest.fixture
def login(server: RunningServer) -> OpenIdProvider:
    provider = OpenIdProvider(now=server.clock, person=dict(ANN_THERE))
    know(server, provider)
    return provider


async def _refused(server: RunningServer, login: OpenIdProvider, because: object) -> str:
    """Sign in; nobody is signed in, and no code can be had. Returns the reason that was recorded."""
    person = Person(server)
    answer = await person.signed_in(login)
    assert answer.status_code == 400, (because, answer.text)
    assert "session" not in answer.headers.get("set-cookie", ""), because
    assert "location" not in (await person.open(a_request())).headers, because
    return str(server.last_refusal()["reason"])


async def test_the_claims_of_an_id_token(server: RunningServer, login: OpenIdProvider) -> None:
    """Issuer, audience, authorized party, times, nonce and subject must be exactly those of this sign-in."""
    now = int(server.clock())
    wrong: Mapping[str, list[Mapping[str, Any]]] = {
        "token.issuer": [{"iss": each} for each in (OTHER, f"{LOGIN}/", LOGIN.upper(), ABSENT, [LOGIN])],
        "audience.mismatch": [
            *({"aud": each} for each in ("another", [CLIENT, "another"], ["another"], [], ABSENT, {"a": CLIENT})),
            *({"azp": each} for each in ("another", None, [CLIENT])),
        ],
        "token.replayed": [{"nonce": each} for each in ("another", "", ABSENT, 1)],
        "token.expired": [{"exp": now - MAX_SKEW}, {"iat": now - MAX_SKEW - 1}],
        "token.malformed": [
            *({"exp": each} for each in (ABSENT, "1", -1, True)),
            *({"iat": each} for each in (ABSENT, "1")),
            *({"sub": each} for each in (ABSENT, "", 7, "a" * 256, "ann\nthere")),
            {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
        ],
        "token.lifetime": [{"iat": now + MAX_SKEW + 1, "exp": now + 300}],
    }
    for reason, all_changes in wrong.items():
        for changes in all_changes:
            login.claims = dict(changes)
            assert await _refused(server, login, changes) == reason, changes


async def test_an_id_token_at_the_bounds(server: RunningServer, login: OpenIdProvider) -> None:
    """One second inside each bound, a list of us alone, and an authorized party that we are, are good."""
    now = int(server.clock())
    good: list[dict[str, Any]] = [
        {"exp": now - MAX_SKEW + 1},
        {"iat": now + MAX_SKEW},
        {"iat": now - MAX_SKEW},
        {"aud": [CLIENT], "azp": CLIENT},
        {"sub": "a" * 255},
    ]
    for claims in good:
        login.claims = claims
        assert (await Person(server).signed_in(login)).status_code == 303, claims


async def test_the_signature_of_an_id_token(server: RunningServer, login: OpenIdProvider) -> None:
    """Signed by a key that the provider publishes, with an algorithm of that key: not without, not by its secret."""
    stranger = SigningKey.generate()
    login.signs_with = stranger
    assert await _refused(server, login, "a key of another") == "token.signature"
    login.header = {"kid": stranger.kid}
    assert await _refused(server, login, "a key that is not published") == "token.signature"
    login.signs_with = None
    for header in ({"alg": "ES384"}, {"kid": ABSENT, "alg": "RS256"}):
        login.header = dict(header)
        assert await _refused(server, login, header) == "token.signature"
    login.header = {}
    claims = as_json(good_claims(issuer=LOGIN, audience=CLIENT, now=int(server.clock()), nonce="n"))
    forged = {
        "none": lambda _: b"",
        "HS256": lambda signed: hmac.digest(PROVIDER_SECRET.encode(), signed, hashlib.sha256),
    }
    for algorithm, signing in forged.items():
        raw = assemble(as_json(good_header(login.key, alg=algorithm, typ="JWT")), claims, signing)
        login.raw_id_token = THE_SCAN.note(raw, Kind.TOKEN)
        assert await _refused(server, login, algorithm) == "token.signature"


async def test_another_kind_of_token_is_no_id_token(server: RunningServer, login: OpenIdProvider) -> None:
    """By its type, or since it is no JWT at all."""
    for media_type in ("at+jwt", "logout+jwt", "secevent+jwt", 7):
        login.header = {"typ": media_type}
        assert await _refused(server, login, media_type) in ("token.type", "token.malformed")
    login.header = {}
    for raw in ("x.y", "a.b.c.d.e", "not a token"):
        login.raw_id_token = raw
        assert await _refused(server, login, raw) == "token.malformed"


async def test_the_keys_of_providers(server: RunningServer, login: OpenIdProvider) -> None:
    """P-256, Ed25519 and RSA keys sign ID tokens; a provider with one key may leave its name out."""
    for algorithm in (Algorithm.ES256, Algorithm.ED25519, Algorithm.RS256):
        login.key = SigningKey.generate(algorithm)
        server.clock.now += 600
        login.header = {}
        assert (await Person(server).signed_in(login)).status_code == 303, algorithm
        login.header = {"kid": ABSENT, "typ": ABSENT}
        assert (await Person(server).signed_in(login)).status_code == 303, algorithm


async def test_the_access_token_that_came_with_it(server: RunningServer, login: OpenIdProvider) -> None:
    """`at_hash` is the left half of the access token's digest."""
    person = Person(server)
    url = login.sign_in(await person.go(await person.open(a_request())))
    token = THE_SCAN.note("an-access-token-of-the-provider-123", Kind.TOKEN)
    login.access_token = token
    half = hashlib.sha256(token.encode()).digest()[:16]
    login.claims = {"at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode()}
    assert (await person.back(url)).status_code == 303


async def test_an_answer_is_taken_once(server: RunningServer, login: OpenIdProvider) -> None:
    """The same answer again, in the same browser, is an answer to nothing."""
    person = Person(server)
    url = login.sign_in(await person.go(await person.open(a_request())))
    assert (await person.back(url)).status_code == 303
    assert (await person.back(url)).status_code == 400
    assert server.last_refusal()["reason"] == "session.mismatch"
    assert login.seen.count("token") == 1


async def test_an_id_token_of_another_sign_in(server: RunningServer, login: OpenIdProvider) -> None:
    """An ID token with the nonce of an earlier sign-in, good in all else, is not taken for a later one."""
    person = Person(server)
    url = await person.go(await person.open(a_request()))
    nonce = parse_qs(urlsplit(url).query)["nonce"][0]
    login.raw_id_token = login.id_token(nonce)
    assert await _refused(server, login, "replayed") == "token.replayed"


async def test_the_answer_names_its_issuer(server: RunningServer, login: OpenIdProvider) -> None:
    """RFC 9207 §2.4: an answer that names another issuer, or none where the provider says it does, goes nowhere."""
    for iss in ({}, {"iss": OTHER}, {"iss": f"{LOGIN}/"}, {"iss": LOGIN, "more": "&iss=" + OTHER}):
        person = Person(server)
        url = login.sign_in(await person.go(await person.open(a_request())))
        parts = urlsplit(url)
        given = {name: each[0] for name, each in parse_qs(parts.query).items() if name != "iss"}
        extra = iss.pop("more", "")
        changed = parts._replace(query=urlencode({**given, **iss}) + extra).geturl()
        refused = await person.back(changed)
        assert refused.status_code == 400
        assert server.last_refusal()["reason"] in ("token.issuer", "request.malformed")
    assert login.seen.count("token") == 0


async def test_a_provider_that_names_no_issuer(server: RunningServer, login: OpenIdProvider) -> None:
    """Where the metadata promises none, an answer without `iss` is good, and one with a wrong one is not."""
    login.names_issuer = False
    person = Person(server)
    assert (await person.signed_in(login)).status_code == 303
    person._http.cookies.clear()
    url = login.sign_in(await person.go(await person.open(a_request())))
    assert (await person.back(f"{url}&iss={OTHER}")).status_code == 400


async def test_a_code_of_one_provider_never_reaches_another(server: RunningServer, login: OpenIdProvider) -> None:
    """Mix-up: each provider answers at its own redirect URI; what comes to another's is refused before it is used."""
    evil = OpenIdProvider(now=server.clock, issuer=OTHER, names_issuer=False)
    know(server, login, evil, ways=one_way(a_provider(), a_provider("evil", OTHER, email_domains=("evil.net",))))
    person = Person(server)
    url = login.sign_in(await person.go(await person.open(a_request())))
    assert (await person.back(re.sub("/corp/", "/evil/", url))).status_code == 400
    assert server.last_refusal()["reason"] == "token.issuer"
    assert (await person.back(url)).status_code == 400
    assert "token" not in (*login.seen, *evil.seen)
