"""Hostile or careless issuers: key sets, metadata and floods, as a guard meets them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from perhop.errors import SettingsError
from perhop.resource_server import Admitted, Guard
from perhop.resource_server.testing.loopback_http import Reply, json_reply
from perhop.rules import base64url
from perhop.tokens.keys import Algorithm, SigningKey
from perhop.tokens.statement import sign_statement
from tests.attacks.row import Door, Expected, Row, Seen
from tests.attacks.tries import said, tried
from tests.attacks.world import ARGUMENT, World, a_call, with_token
from tests.support.doors import Answer
from tests.support.forge import as_json, assemble, good_claims, sign
from tests.support.leaks.scan import THE_SCAN
from tests.support.offline_issuer import OfflineIssuer

RESOURCE = "https://mcp.example.com/mcp"
SIGNATURE = Expected("401 invalid_token", "token.signature")
CLOSED = Expected("503 -31503", "upstream.unavailable")
METADATA = "/.well-known/oauth-authorization-server"


class Site:
    """A guard of its own, and the issuer that it trusts."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.issuer = OfflineIssuer(clock=world.clock)
        self.guard = Guard(resource=RESOURCE, issuers=[self.issuer.url], http=self.issuer.http(), clock=world.clock)

    def token(self, key: SigningKey | None = None, **header: Any) -> str:
        return sign(self.claims(), key or self.issuer.key, **header)

    def claims(self, **changes: Any) -> dict[str, Any]:
        return good_claims(issuer=self.issuer.url, audience=RESOURCE, now=self.world.now, **changes)

    def publish(self, *keys: Mapping[str, Any]) -> None:
        """The key set from now on."""
        self.issuer.replies["/jwks"] = json_reply({"keys": keys})

    async def knock(self, token: str) -> Seen:
        """One call with this token."""
        wire = with_token(a_call("list_events", {"day": ARGUMENT}), self.world.leaks.note(token))
        lines = len(self.world.log.refusals)
        outcome = await self.guard.check(method="POST", path="/mcp", headers=wire.headers, body=wire.body)
        if isinstance(outcome, Admitted):
            return Seen(observed="200", passed=1)
        answer = Answer(outcome.status, outcome.headers, outcome.body)
        asked = "POST", "/mcp", wire.headers, wire.body
        THE_SCAN.show_exchange(asked, answer.status, answer.headers, answer.body)
        written = self.world.log.refusals[lines:]
        return Seen(observed=answer.observed, reason=outcome.reason, records=len(written), answer=answer)


@asynccontextmanager
async def a_site(world: World) -> AsyncIterator[Site]:
    site = Site(world)
    try:
        yield site
    finally:
        await site.guard.aclose()


def _publishing(make: Callable[[Site], Mapping[str, tuple[list[Mapping[str, Any]], str]]]) -> Any:
    """Each time a fresh guard, a key set, and a token that somebody hopes it lets through."""

    async def attempt(world: World) -> dict[str, Seen]:
        sights = {}
        async with a_site(world) as pattern:
            names = list(make(pattern))
        for name in names:
            async with a_site(world) as site:
                keys, token = make(site)[name]
                site.publish(*keys)
                sights[name] = await site.knock(token)
        return sights

    return attempt


def _poisoned(site: Site) -> dict[str, tuple[list[Mapping[str, Any]], str]]:
    ours, theirs = site.issuer.key.public().as_jwk(), site.world.attacker.public().as_jwk()
    shared = {"kty": "oct", "kid": "shared", "k": base64url.encode(b"x" * 32)}
    token = site.token(site.world.attacker)
    return {
        "two keys of one name": (
            [ours, {**theirs, "kid": ours["kid"]}],
            site.token(site.world.attacker, kid=ours["kid"]),
        ),
        "a shared key among them": ([ours, shared], token),
        "a private key among them": ([ours, {**theirs, "d": "AAAA"}], token),
        "too many": ([{**ours, "kid": str(number)} for number in range(51)], token),
    }


def _unfit(site: Site) -> dict[str, tuple[list[Mapping[str, Any]], str]]:
    """Keys that are published, and not good for our signatures; each token is truly signed by its key."""
    ours, attacker = site.issuer.key.public().as_jwk(), site.world.attacker
    theirs = attacker.public().as_jwk()
    token = site.token(attacker)
    weak = rsa.generate_private_key(65537, 1024)
    curve = ec.generate_private_key(ec.SECP384R1())
    return {
        "for encryption": ([ours, {**theirs, "use": "enc"}], token),
        "not for verifying": ([ours, {**theirs, "key_ops": ["encrypt"]}], token),
        "for another algorithm": ([ours, {**theirs, "alg": "ES384"}], token),
        "RSA of 1,024 bits": ([ours, _rsa(weak.public_key().public_numbers())], _by_rsa(site, weak)),
        "RSA with exponent 1": (
            [ours, {"kty": "RSA", "kid": "rsa", "n": _number((1 << 2047) | 1), "e": "AQ"}],
            _by_one(site),
        ),
        "RSA of 16,384 bits": (
            [ours, {"kty": "RSA", "kid": "rsa", "n": _number((1 << 16383) | 1), "e": "AQAB"}],
            _by_one(site),
        ),
        "RSA of a broken generator": (
            [ours, {"kty": "RSA", "kid": "rsa", "n": _number(_roca()), "e": "AQAB"}],
            _by_one(site),
        ),
        "another curve": ([ours, _p384(curve)], _by_p384(site, curve)),
        "without a name": ([ours, {name: value for name, value in theirs.items() if name != "kid"}], token),
    }


def _number(value: int) -> str:
    return base64url.encode(value.to_bytes((value.bit_length() + 7) // 8))


def _rsa(numbers: rsa.RSAPublicNumbers) -> dict[str, str]:
    return {"kty": "RSA", "kid": "rsa", "n": _number(numbers.n), "e": _number(numbers.e)}


def _roca() -> int:
    primes = (11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)
    product = 1
    for prime in primes:
        product *= prime
    return pow(65537, 12345, product) + product * (2**1900 | 1)


def _header(alg: str, kid: str) -> bytes:
    return as_json({"alg": alg, "kid": kid, "typ": "at+jwt"})


def _by_rsa(site: Site, key: rsa.RSAPrivateKey) -> str:
    def signed(octets: bytes) -> bytes:
        return key.sign(octets, padding.PKCS1v15(), hashes.SHA256())

    return assemble(_header("RS256", "rsa"), as_json(site.claims()), signed)


def _by_one(site: Site) -> str:
    """With the exponent 1 a signature is the padded digest itself; for the others any octets will do."""
    return assemble(_header("RS256", "rsa"), as_json(site.claims()), lambda _: b"\1" * 256)


def _p384(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    point = key.public_key().public_numbers()
    return {"kty": "EC", "crv": "P-384", "kid": "curve", "x": _number(point.x), "y": _number(point.y)}


def _by_p384(site: Site, key: ec.EllipticCurvePrivateKey) -> str:
    def signed(octets: bytes) -> bytes:
        return key.sign(octets, ec.ECDSA(hashes.SHA384()))

    return assemble(_header("ES256", "curve"), as_json(site.claims()), signed)


async def _flood(world: World) -> dict[str, Seen]:
    """Hundreds of invented key names cost one fetch, and good tokens pass all the while."""
    async with a_site(world) as site:
        assert (await site.knock(site.token())).passed == 1
        before = site.issuer.requests["/jwks"]
        seen = [await site.knock(site.token(world.attacker, kid=f"invented-{number}")) for number in range(200)]
        assert site.issuer.requests["/jwks"] - before <= 1
        assert (await site.knock(site.token())).passed == 1
        return {str(number): each for number, each in enumerate(seen)}


async def _poisoned_later(world: World) -> dict[str, Seen]:
    """A set that turns bad does not replace the one that was good, and what it adds is not believed."""
    async with a_site(world) as site:
        assert (await site.knock(site.token())).passed == 1
        ours, theirs = site.issuer.key.public().as_jwk(), world.attacker.public().as_jwk()
        world.clock.now += 301
        sights = {}
        for name, keys in {
            "two of one name": [ours, theirs, theirs],
            "a shared key": [ours, theirs, {"kty": "oct"}],
        }.items():
            site.publish(*keys)
            world.clock.now += 31
            sights[name] = await site.knock(site.token(world.attacker))
            assert (await site.knock(site.token())).passed == 1
        return sights


async def _hostile_metadata(world: World) -> dict[str, Seen]:
    issuer = "https://auth.example.com"
    good = {"issuer": issuer, "jwks_uri": f"{issuer}/jwks"}
    documents: dict[str, Any] = {
        "another issuer": {**good, "issuer": "https://other.example.com"},
        "a slash more": {**good, "issuer": f"{issuer}/"},
        "another case": {**good, "issuer": "https://Auth.example.com"},
        "no issuer": {"jwks_uri": f"{issuer}/jwks"},
        "keys without TLS": {**good, "jwks_uri": "http://auth.example.com/jwks"},
        "keys on this machine": {**good, "jwks_uri": "http://127.0.0.1:1/jwks"},
        "keys in a file": {**good, "jwks_uri": "file:///etc/passwd"},
        "keys by FTP": {**good, "jwks_uri": "ftp://evil.example/jwks"},
        "keys in the text": {**good, "jwks_uri": "data:application/json,{}"},
        "keys by gopher": {**good, "jwks_uri": "gopher://evil.example/x"},
        "no keys": {"issuer": issuer},
        "a list": [good],
    }
    replies = {name: json_reply(each) for name, each in documents.items()}
    replies["redirect"] = Reply(302, (("location", "http://169.254.169.254/latest"),), b"")
    replies["too large"] = json_reply({**good, "x": "x" * 70_000})
    replies["duplicate key"] = Reply(200, (), json.dumps(good).encode()[:-1] + b',"issuer":"x"}')
    replies["compressed"] = Reply(200, (("content-encoding", "gzip"),), b"x")
    sights = {}
    for name, reply in replies.items():
        async with a_site(world) as site:
            site.issuer.replies[METADATA] = reply
            sights[name] = await site.knock(site.token())
            asked = {request.path for request in site.issuer.sent}
            assert "/jwks" not in asked, asked
    return sights


async def _hostile_keys(world: World) -> dict[str, Seen]:
    keys = json.dumps({"keys": [world.attacker.public().as_jwk()]}).encode()
    replies = {
        "redirect": Reply(302, (("location", "http://169.254.169.254/latest"),), b""),
        "too large": Reply(200, (), keys[:-1] + b',"x":"' + b"x" * 70_000 + b'"}'),
        "compressed": Reply(200, (("content-encoding", "gzip"),), keys),
        "an error": Reply(500, (), keys),
        "no JSON": Reply(200, (), b"<html>"),
        "a key twice": Reply(200, (), keys[:-1] + b',"keys":[]}'),
    }
    sights = {}
    for name, reply in replies.items():
        async with a_site(world) as site:
            site.issuer.replies["/jwks"] = reply
            sights[name] = await site.knock(site.token(world.attacker))
    return sights


async def _odd_issuers(_: World) -> dict[str, Seen]:
    """What a guard is told to trust must be an issuer."""
    names = ("file:///etc/passwd", "ftp://auth.example.com", "http://auth.example.com", "https://auth.example.com/../x")
    odd = (*names, "https://user@auth.example.com", "https://auth.example.com#x", "https://AUTH.example.com", "", "*")
    sights = {}
    for name in odd:
        try:
            Guard(resource=RESOURCE, issuers=[name])
        except SettingsError:
            sights[name] = said("refused")
        else:
            sights[name] = said("trusted")
    return sights


async def _at_high_risk(world: World, make: Callable[[Site], Reply | None]) -> Seen:
    """One good token at a guard that wants a fresh feed, while the feed says this (None: the truth)."""
    site = Site(world)
    site.guard = Guard(
        resource=RESOURCE, issuers=[site.issuer.url], risk="high", http=site.issuer.http(), clock=world.clock
    )
    reply = make(site)
    if reply is not None:
        site.issuer.replies["/revocations"] = reply
    try:
        return await site.knock(site.token())
    finally:
        await site.guard.aclose()


async def _silenced_feed(world: World) -> dict[str, Seen]:
    """At high risk, a guard that does not hear of revocations admits nobody."""
    assert (await _at_high_risk(world, lambda _: None)).passed == 1
    replies = {"an error": Reply(503, (), b""), "nothing": Reply(200, (), b""), "redirect": Reply(302, (), b"")}
    return {name: await _at_high_risk(world, lambda _, reply=reply: reply) for name, reply in replies.items()}  # type: ignore[misc]


async def _forged_feed(world: World) -> dict[str, Seen]:
    """Who answers for the issuer with a feed under another key has said nothing."""

    def forged(*, typ: str = "revocations+jwt", key: SigningKey | None = None, **changes: Any) -> Any:
        def make(site: Site) -> Reply:
            payload = {"iss": site.issuer.url, "iat": world.now, "after": 0, "next": 0, "entries": []}
            return Reply(200, (), sign_statement(payload | changes, typ=typ, key=key or site.issuer.key).encode())

        return make

    assert (await _at_high_risk(world, forged())).passed == 1
    forgeries = {
        "another key": forged(key=world.attacker),
        "another issuer": forged(iss=world.issuer),
        "an access token": forged(typ="at+jwt"),
        "an old one": forged(iat=world.now - 60),
        "one from the future": forged(iat=world.now + 600),
        "an answer to another question": forged(after=7, next=7),
        "an entry of unknown kind": forged(entries=[{"seq": 1, "kind": "x", "digest": "x", "not_before": 0, "exp": 0}]),
    }
    return {name: await _at_high_risk(world, make) for name, make in forgeries.items()}


async def _costly(world: World) -> dict[str, Seen]:
    """Garbage signatures under every kind of key that is taken: each costs one check and no more."""
    async with a_site(world) as site:
        keys = {each.value: SigningKey.generate(each) for each in (Algorithm.ES256, Algorithm.ED25519, Algorithm.RS256)}
        site.publish(*(key.public().as_jwk() for key in keys.values()))
        sights = {}
        for name, key in keys.items():
            token = site.token(key)
            signed, _, signature = token.rpartition(".")
            garbage = base64url.encode(bytes(len(base64url.decode(signature)) or 1))
            sights[name] = await site.knock(f"{signed}.{garbage}")
        return sights


FETCHES = "the gateway takes tokens of its own issuer alone, whose keys and revocations it holds and never fetches"

ROWS: tuple[Row, ...] = (
    tried(
        "poisoned-key-set",
        "a key set with two keys of one name, a shared or a private key",
        "RFC 8725 §3.10; Wycheproof",
        Door.GUARD,
        _publishing(_poisoned),
        CLOSED,
        only=FETCHES,
    ),
    tried(
        "key-set-poisoned-later",
        "a good key set that turns bad",
        "RFC 8725 §3.10",
        Door.GUARD,
        _poisoned_later,
        CLOSED,
        only=FETCHES,
    ),
    tried(
        "unfit-key",
        "a key for encryption, of another curve, or weak",
        "RFC 7517 §4.2; CVE-2017-15361; Wycheproof",
        Door.GUARD,
        _publishing(_unfit),
        SIGNATURE,
        only=FETCHES,
    ),
    tried(
        "flood-of-unknown-keys",
        "tokens that name keys nobody has",
        "CVE-2026-48524",
        Door.GUARD,
        _flood,
        SIGNATURE,
        only=FETCHES,
    ),
    tried(
        "garbage-signatures",
        "signatures of zeros under every kind of key",
        "RFC 8725 §3.2",
        Door.GUARD,
        _costly,
        SIGNATURE,
        only=FETCHES,
    ),
    tried(
        "hostile-metadata",
        "metadata of another issuer, or that leads elsewhere",
        "RFC 8414 §3.3; GHSA-993g-76c3-p5m4",
        Door.GUARD,
        _hostile_metadata,
        CLOSED,
        only=FETCHES,
    ),
    tried(
        "hostile-key-endpoint",
        "a key endpoint that redirects, floods or stammers",
        "RFC 7517 §5; CWE-918",
        Door.GUARD,
        _hostile_keys,
        CLOSED,
        only=FETCHES,
    ),
    tried(
        "issuer-that-is-none",
        "an issuer to trust that is a file, or has two spellings",
        "RFC 8414 §2; GHSA-993g-76c3-p5m4",
        Door.CONFIG,
        _odd_issuers,
        Expected("refused", None, records=0),
    ),
    tried(
        "silenced-revocations",
        "a revocation feed that nobody hears, at high risk",
        "RFC 7009 §5; AISVS 9.5.6",
        Door.GUARD,
        _silenced_feed,
        CLOSED,
        only=FETCHES,
    ),
    tried(
        "forged-revocations",
        "a revocation feed under another key, or of another kind, at high risk",
        "RFC 8725 §3.11",
        Door.GUARD,
        _forged_feed,
        CLOSED,
        only=FETCHES,
    ),
)
