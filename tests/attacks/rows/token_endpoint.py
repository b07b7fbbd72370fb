"""The token endpoint: who asks, how often, and for what."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from perhop.rules import base64url
from perhop.tokens.keys import SigningKey
from tests.attacks.configuration import SECRET
from tests.attacks.row import Door, Expected, Row, Seen
from tests.attacks.tries import Ask, asking, refused, seen_at_sts, sts, tried
from tests.attacks.world import ACCESS_TOKEN_TYPE, ASSERTION_TYPE, EXCHANGE, Parameters, World
from tests.support.forge import as_json, assemble, sign

CLIENT = refused("client.authentication", "401 invalid_client")
MALFORMED = refused("request.malformed", "400 invalid_request")
SCOPE = refused("scope.insufficient", "400 invalid_scope")
UNSUPPORTED = refused("request.malformed", "400 unsupported_grant_type")


def _asking_for(world: World, *more: tuple[str, str]) -> Parameters:
    return [("grant_type", "client_credentials"), ("resource", world.at.uri("calendar")), *more]


def _basic(client: str, secret: str) -> tuple[tuple[str, str], ...]:
    pair = base64.b64encode(f"{client}:{secret}".encode()).decode()
    return (("authorization", f"Basic {pair}"),)


def _assertion(world: World, **changes: Any) -> dict[str, Any]:
    now = world.now + 1
    usual = {"iss": "planner", "sub": "planner", "aud": world.issuer, "iat": now, "exp": now + 60}
    return {**usual, "jti": secrets.token_hex(8), **changes}


def _signed(world: World, claims: dict[str, Any], *, key: SigningKey | None = None, **header: Any) -> Parameters:
    usual = {"typ": "client-authentication+jwt"}
    assertion = sign(claims, key or world.keys["planner"], **(usual | header))
    return _asking_for(world, ("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion))


def _wrong_secrets(world: World) -> dict[str, Ask]:
    post = _asking_for(world, ("client_id", "poster"))
    return {
        "wrong": Ask(_asking_for(world), _basic("second-planner", SECRET + "x")),
        "empty": Ask(_asking_for(world), _basic("second-planner", "")),
        "prefix": Ask(_asking_for(world), _basic("second-planner", SECRET[:-1])),
        "unknown client": Ask(_asking_for(world), _basic("nobody", SECRET)),
        "another method": Ask(_asking_for(world), _basic("poster", SECRET)),
        "the other way round": Ask([*_asking_for(world), ("client_id", "second-planner"), ("client_secret", SECRET)]),
        "a secret for a key": Ask(_asking_for(world), _basic("planner", SECRET)),
        "no secret": Ask(post),
        "a name for a key": Ask(_asking_for(world, ("client_id", "planner"))),
        "nobody": Ask(_asking_for(world)),
        "another scheme": Ask(_asking_for(world), (("authorization", f"Bearer {SECRET}"),)),
        "not base64": Ask(_asking_for(world), (("authorization", "Basic !!!"),)),
        "no colon": Ask(_asking_for(world), (("authorization", "Basic " + base64.b64encode(b"x").decode()),)),
    }


def _two_methods(world: World) -> dict[str, Ask]:
    good = _basic("second-planner", SECRET)
    return {
        "header and form": Ask([*_asking_for(world), ("client_id", "second-planner"), ("client_secret", SECRET)], good),
        "header and assertion": Ask([*_asking_for(world), *world.proof("planner")], good),
        "form and assertion": Ask([*_asking_for(world), ("client_secret", SECRET), *world.proof("planner")]),
        "two headers": Ask(_asking_for(world), (*good, *good)),
        "another name in the form": Ask(_asking_for(world, ("client_id", "poster")), good),
        "another name beside the assertion": Ask(
            [*_asking_for(world, ("client_id", "mallory")), *world.proof("planner")]
        ),
    }


def _repeated(world: World) -> Mapping[str, Parameters]:
    names = {"grant_type": "client_credentials", "scope": "calendar:read", "client_id": "planner", "audience": "x"}
    return {
        name: [*_asking_for(world), (name, value), (name, value), *world.proof("planner")]
        for name, value in names.items()
    } | {"client_assertion": [*_asking_for(world), *world.proof("planner"), *world.proof("planner")]}


def _for_another_issuer(world: World) -> dict[str, Parameters]:
    audiences: dict[str, Any] = {
        "another issuer": "https://other.example.com",
        "its token endpoint": "https://other.example.com/token",
        "our token endpoint": f"{world.issuer}/token",
        "a slash more": f"{world.issuer}/",
        "a list": [world.issuer],
        "a list with another": [world.issuer, "https://other.example.com"],
        "none": None,
        "a resource": world.at.uri("calendar"),
    }
    return {name: _signed(world, _assertion(world, aud=audience)) for name, audience in audiences.items()}


def _odd_assertions(world: World) -> dict[str, Any]:
    now, good = world.now + 1, _assertion(world)
    without = {
        name: {key: value for key, value in good.items() if key != name} for name in ("iss", "exp", "jti", "aud")
    }
    key = world.keys["planner"]
    unsigned = assemble(as_json({"alg": "none", "kid": key.kid}), as_json(good), lambda _: b"")
    secret = assemble(as_json({"alg": "HS256", "kid": key.kid}), as_json(good), lambda _: b"x" * 32)
    types = [("client_assertion_type", ASSERTION_TYPE)]
    return {
        "expired": _signed(world, _assertion(world, exp=now - 1)),
        "for an hour": _signed(world, _assertion(world, exp=now + 3600)),
        "from the future": _signed(world, _assertion(world, iat=now + 200, exp=now + 260)),
        "another client's subject": _signed(world, _assertion(world, sub="mallory")),
        "another client's name": _signed(world, _assertion(world, iss="mallory", sub="mallory")),
        "another's key": _signed(world, good, key=world.keys["mallory"]),
        "another's key under ours": _signed(world, good, key=world.attacker, kid=key.kid),
        "our own token key": _signed(world, good, key=world.key),
        "key in the header": _signed(world, good, key=world.attacker, jwk=world.attacker.public().as_jwk()),
        "an access token's type": _signed(world, good, typ="at+jwt"),
        "unknown client": _signed(world, _assertion(world, iss="nobody", sub="nobody")),
        "unsigned": [*_asking_for(world), *types, ("client_assertion", unsigned)],
        "shared secret": [*_asking_for(world), *types, ("client_assertion", secret)],
        "no token": [*_asking_for(world), *types, ("client_assertion", "x.y.z")],
        "unknown kind": [*_asking_for(world), ("client_assertion_type", "urn:x"), ("client_assertion", "x")],
        **{f"without `{name}`": _signed(world, claims) for name, claims in without.items()},
    }


async def _token_as_assertion(world: World) -> dict[str, Parameters]:
    """A token that this issuer signed says nothing of who asks."""
    own = await world.token()
    received = await world.received(own)
    kinds = {"access token": own, "hop token": received, "for the issuer": world.forge(world.issuer)}
    proof = ("client_assertion_type", ASSERTION_TYPE)
    return {name: _asking_for(world, proof, ("client_assertion", each)) for name, each in kinds.items()}


async def _replayed(world: World) -> Seen:
    form = [*_asking_for(world), *world.proof("planner")]
    assert (await world.ask(form)).status == 200
    return (await asking(lambda _: form)(world))[""]


def _other_grants(world: World) -> dict[str, Parameters]:
    person = [("username", "ann@example.com"), ("password", "a-password-of-a-person")]
    grants = {
        "password": person,
        "implicit": [],
        "urn:ietf:params:oauth:grant-type:saml2-bearer": [("assertion", "x")],
        "urn:ietf:params:oauth:grant-type:device_code": [("device_code", "x")],
        "Client_Credentials": [],
        "client_credentials ": [],
    }
    resource = ("resource", world.at.uri("calendar"))
    return {name: [("grant_type", name), resource, *more, *world.proof("planner")] for name, more in grants.items()}


def _not_its_grant(world: World) -> dict[str, Any]:
    resource = ("resource", world.at.uri("calendar"))
    exchange = [("grant_type", EXCHANGE), ("subject_token", "x"), ("subject_token_type", ACCESS_TOKEN_TYPE), resource]
    credentials = [("grant_type", "client_credentials"), resource]
    return {
        "an agent exchanges": [*exchange, *world.proof("planner")],
        "a public client asks for itself": [*credentials, ("client_id", "desk-app")],
        "an agent refreshes": [("grant_type", "refresh_token"), ("refresh_token", "x"), *world.proof("planner")],
        "an agent brings an assertion": [
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", "x"),
            resource,
            *world.proof("planner"),
        ],
        "an agent redeems": [("grant_type", "authorization_code"), ("code", "x"), resource, *world.proof("planner")],
    }


def _server_for_itself(world: World) -> dict[str, Any]:
    """A server may ask by client credentials, to report what it saw, and for nothing else."""
    names = ("calendar", "rooms")
    return {
        name: [
            ("grant_type", "client_credentials"),
            ("resource", world.at.uri(name)),
            *world.proof("calendar-server"),
        ]
        for name in names
    }


def _wider_scopes(world: World) -> dict[str, Any]:
    odd = {
        "everything": "*",
        "glob": "calendar:*",
        "another resource's": "rooms:read",
        "another case": "CALENDAR:READ",
        "one more": "calendar:read calendar:admin",
        "tab": "calendar:read\tcalendar:write",
        "line end": "calendar:read\ncalendar:write",
        "two spaces": "calendar:read  calendar:write",
        "space before": " calendar:read",
        "comma": "calendar:read,calendar:write",
        "quotes": '"calendar:read"',
        "OpenID": "openid offline_access",
        "too long": "calendar:read " * 200 + "calendar:read",
    }
    asked = {name: [*_asking_for(world, ("scope", scope)), *world.proof("planner")] for name, scope in odd.items()}
    beyond = Ask(_asking_for(world, ("scope", "calendar:read calendar:write")), _basic("second-planner", SECRET))
    return {**asked, "beyond its reach": beyond}


async def _odd_forms(world: World) -> dict[str, Seen]:
    """Bodies that two readers of forms could read in two ways, or that are none."""
    proof = "&".join(f"{name}={quote(value)}" for name, value in world.proof("planner"))
    uri = quote(world.at.uri("calendar"), safe="")
    good = f"grant_type=client_credentials&resource={uri}&{proof}".encode()
    bodies = {
        "bad escape": good + b"&x=%zz",
        "not UTF-8": good + b"&x=%ff",
        "raw bytes": good + b"&x=\xff",
        "space": good + b"&x= y",
        "NUL": good + b"&x=\0",
        "too many": good + b"&x=1" * 101,
    }
    types = {"JSON's type": "application/json", "text": "text/plain", "multipart": "multipart/form-data; boundary=x"}
    sights = {}
    for name, body in bodies.items():
        size = world.reader.size()
        world.tick()
        sights[name] = seen_at_sts(world, await world.post_form(body), size)
    for name, media in types.items():
        size = world.reader.size()
        world.tick()
        sights[name] = seen_at_sts(world, await world.post_form(good, media_type=media), size)
    return sights


async def _in_the_query(world: World) -> Seen:
    """Parameters count in the body only: a query stays in logs."""
    form = [*_asking_for(world), *world.proof("planner")]
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in form)
    return (await asking(lambda _: Ask([], path=f"/token?{query}"))(world))[""]


async def _kept_by_a_cache(world: World) -> dict[str, Seen]:
    """Neither a token nor a refusal may be kept by anybody in between."""
    good = [*_asking_for(world), *world.proof("planner")]
    seen = (await asking(lambda _: good)(world))[""]
    bad = await world.ask(_asking_for(world))
    assert seen.answer is not None
    for answer in (seen.answer, bad):
        assert (answer.header("cache-control"), answer.header("pragma")) == ("no-store", "no-cache")
    return {"": seen}


async def _foreign_revocation(world: World) -> dict[str, Seen]:
    """A client takes back its own tokens only."""
    token = await world.token()
    ask = Ask([("token", token), *world.proof("mallory")], path="/revoke")
    sights = dict(await asking(lambda _: {"another client": ask})(world))
    assert (await world.received(token)) != ""
    return sights


def _look_alike_subjects(world: World) -> dict[str, Parameters]:
    """Names that people's subjects have are no client ids."""
    names = ("user:ann", "gateway:calendar", "user:", "gateway:")
    return {name: [*_asking_for(world), ("client_id", name), ("client_secret", SECRET)] for name in names}


def _garbage(world: World) -> dict[str, Parameters]:
    tail = base64url.encode(b"x" * 60)
    proof = ("client_assertion_type", ASSERTION_TYPE)
    tokens = {"huge": "x" * 30_000, "five parts": f"a.b.c.d.{tail}", "empty parts": "..", "JSON": '{"payload":"x"}'}
    return {name: _asking_for(world, proof, ("client_assertion", token)) for name, token in tokens.items()}


ROWS: tuple[Row, ...] = (
    sts(
        "wrong-client-secret",
        "a wrong secret, the wrong method, or none",
        "RFC 6749 §2.3.1; RFC 6749 §5.2",
        _wrong_secrets,
        CLIENT,
    ),
    sts("two-client-authentications", "two methods at once, or two names", "RFC 6749 §2.3", _two_methods, MALFORMED),
    sts("repeated-parameter", "a parameter twice", "RFC 6749 §3.2", _repeated, MALFORMED),
    sts(
        "assertion-for-another-issuer",
        "a client assertion that was made for another server",
        "RFC 10070; RFC 7523 §3",
        _for_another_issuer,
        CLIENT,
    ),
    sts(
        "odd-client-assertion",
        "an assertion under another key, for too long, without its claims",
        "RFC 7523 §3",
        _odd_assertions,
        CLIENT,
    ),
    sts("garbage-as-assertion", "what is no token at all, and long", "RFC 7523 §3", _garbage, CLIENT),
    sts("token-as-client-assertion", "a token as proof of who asks", "RFC 8725 §3.11", _token_as_assertion, CLIENT),
    tried(
        "replayed-client-assertion",
        "an assertion that was used before",
        "RFC 7523 §3",
        Door.STS,
        _replayed,
        refused("assertion.replayed", "401 invalid_client"),
    ),
    sts(
        "client-id-of-a-person",
        "a client that goes by a person's name",
        "RFC 9700 §4.15; RFC 9068 §5",
        _look_alike_subjects,
        CLIENT,
    ),
    sts(
        "other-grant",
        "grants that are not there, the old ones too",
        "RFC 9700 §2.4; RFC 6749 §5.2",
        _other_grants,
        UNSUPPORTED,
    ),
    sts(
        "grant-of-another-client",
        "a grant that this client may not use",
        "RFC 6749 §5.2",
        _not_its_grant,
        refused("presenter.mismatch", "400 unauthorized_client"),
    ),
    sts(
        "server-asks-for-itself",
        "a token for a resource, for a client that only serves one",
        "RFC 8707 §2; RFC 6749 §4.4",
        _server_for_itself,
        refused("audience.mismatch", "400 invalid_target"),
    ),
    sts(
        "wider-scope",
        "a scope beyond the client's reach, or that is none",
        "RFC 6749 §3.3; MCP authorization",
        _wider_scopes,
        SCOPE,
    ),
    tried(
        "odd-form", "a body that is no form, or not exactly one", "RFC 6749 Appendix B", Door.STS, _odd_forms, MALFORMED
    ),
    tried(
        "parameters-in-the-query",
        "a request whose parameters stand in the URL",
        "RFC 6749 §3.2",
        Door.STS,
        _in_the_query,
        CLIENT,
    ),
    tried(
        "token-kept-by-a-cache",
        "an answer of the token endpoint that may be kept",
        "RFC 6749 §5.1",
        Door.STS,
        _kept_by_a_cache,
        Expected("200", None, records=1, passed=1),
    ),
    tried(
        "revoking-a-foreign-token",
        "a client takes back another client's token",
        "RFC 7009 §2.1",
        Door.STS,
        _foreign_revocation,
        refused("presenter.mismatch", "400 unauthorized_client"),
    ),
)
