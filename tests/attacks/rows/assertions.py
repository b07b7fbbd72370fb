"""Assertions of other issuers: for whom, by whom, how often, and under which key."""

from __future__ import annotations

import secrets
from typing import Any

from perhop.tokens.keys import SigningKey
from tests.attacks.configuration import SECRET, TRUSTED
from tests.attacks.row import Door, Row, Seen
from tests.attacks.tries import asking, refused, sts, tried
from tests.attacks.world import Parameters, World
from tests.support.forge import sign

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ID_JAG = "oauth-id-jag+jwt"
RUNNER = "spiffe://prod.example.com/agents/runner"


def _grant(reason: str) -> Any:
    return refused(reason, "400 invalid_grant")


def _id_jag(world: World, *, by: str = "staff", key: SigningKey | None = None, **changes: Any) -> str:
    """What the identity provider of the staff signs for the poster, but for these claims and header parameters."""
    now = world.now + 1
    header = {"typ": ID_JAG, **changes.pop("header", {})}
    claims = {
        "iss": TRUSTED[by][0],
        "sub": "U019488227",
        "aud": world.issuer,
        "client_id": "poster",
        "resource": world.at.uri("calendar"),
        "scope": "calendar:read",
        "iat": now,
        "exp": now + 120,
        "jti": secrets.token_hex(8),
    }
    kept = {name: value for name, value in (claims | changes).items() if value is not None}
    return sign(kept, key or world.keys[by], **header)


def _workload(world: World, *, by: str = "cluster", key: SigningKey | None = None, **changes: Any) -> str:
    now = world.now + 1
    header = {"typ": "JWT", **changes.pop("header", {})}
    claims = {"iss": TRUSTED[by][0], "sub": RUNNER, "aud": [world.issuer], "iat": now, "exp": now + 120}
    return sign(claims | changes, key or world.keys[by], **header)


def _by_poster(assertion: str, *more: tuple[str, str]) -> Parameters:
    client = [("client_id", "poster"), ("client_secret", SECRET)]
    return [("grant_type", JWT_BEARER), ("assertion", assertion), *client, *more]


def _alone(world: World, assertion: str, *more: tuple[str, str]) -> Parameters:
    return [("grant_type", JWT_BEARER), ("assertion", assertion), ("resource", world.at.uri("calendar")), *more]


def _for_another_server(world: World) -> dict[str, Parameters]:
    audiences: dict[str, Any] = {
        "another issuer": "https://other.example.com",
        "our token endpoint": f"{world.issuer}/token",
        "a slash more": f"{world.issuer}/",
        "another case": world.issuer.upper(),
        "a resource": world.at.uri("calendar"),
        "a list of another": ["https://other.example.com"],
    }
    people = {name: _by_poster(_id_jag(world, aud=audience)) for name, audience in audiences.items()}
    others = {f"workload, {name}": _alone(world, _workload(world, aud=each)) for name, each in audiences.items()}
    return people | others


def _for_several_servers(world: World) -> dict[str, Parameters]:
    both = [world.issuer, "https://other.example.com"]
    return {
        "person": _by_poster(_id_jag(world, aud=both)),
        "ours twice": _by_poster(_id_jag(world, aud=[world.issuer] * 2)),
        "workload": _alone(world, _workload(world, aud=both)),
        "two resources": _by_poster(_id_jag(world, resource=[world.at.uri("calendar"), world.at.uri("rooms")])),
    }


async def _replayed(world: World) -> Seen:
    form = _by_poster(_id_jag(world))
    assert (await world.ask(form)).status == 200
    return (await asking(lambda _: form)(world))[""]


async def _of_another_type(world: World) -> dict[str, Parameters]:
    own = await world.token()
    received = await world.received(own)
    types = ("JWT", "at+jwt", "client-authentication+jwt", "logout+jwt", "secevent+jwt", "dpop+jwt", "Oauth-Id-Jag+Jwt")
    people = {name: _by_poster(_id_jag(world, header={"typ": name})) for name in types}
    workloads = {f"workload, {n}": _alone(world, _workload(world, header={"typ": n})) for n in ("at+jwt", "wit+jwt")}
    return {
        **people,
        **workloads,
        "our access token": _by_poster(own),
        "our hop token": _by_poster(received),
        "a provider's ID token for a workload": _alone(world, _workload(world, by="staff")),
        "a platform's identity assertion": _by_poster(_id_jag(world, by="cluster")),
    }


async def _as_something_else(world: World) -> dict[str, Parameters]:
    """What is an assertion of a grant is no token to exchange."""
    tokens = {"identity assertion": _id_jag(world), "workload": _workload(world)}
    return {name: world.exchange("calendar-server", each, world.at.uri("rooms")) for name, each in tokens.items()}


def _of_another_client(world: World) -> dict[str, Parameters]:
    return {
        "another client's": _by_poster(_id_jag(world, client_id="second-planner")),
        "nobody's": _by_poster(_id_jag(world, client_id=None)),
        "several": _by_poster(_id_jag(world, client_id=["poster", "second-planner"])),
        "a workload that another client brings": [*_alone(world, _workload(world)), *_by_poster("")[2:]],
        "a workload by another name": _alone(world, _workload(world), ("client_id", "test-runner")),
    }


def _bound(world: World) -> dict[str, Parameters]:
    confirmed = {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}
    return {
        "person": _by_poster(_id_jag(world, cnf=confirmed)),
        "workload": _alone(world, _workload(world, cnf=confirmed)),
    }


def _of_another_domain(world: World) -> dict[str, Parameters]:
    subjects = {
        "another trust domain": "spiffe://evil.example.com/agents/runner",
        "one that another issuer asserts": "spiffe://test.example.com/agents/runner",
        "a longer domain": "spiffe://prod.example.com.evil.example.com/agents/runner",
        "another path": "spiffe://prod.example.com/other/runner",
        "a path below": "spiffe://prod.example.com/agents/x/runner",
        "no name": "spiffe://prod.example.com/agents/",
        "steps": "spiffe://prod.example.com/agents/../agents/runner",
        "a client's id": "runner",
        "a person of ours": "user:ann",
    }
    return {name: _alone(world, _workload(world, sub=subject)) for name, subject in subjects.items()}


def _under_another_key(world: World) -> dict[str, Parameters]:
    mine, theirs = world.attacker, world.keys["staff"].kid
    return {
        "a key that nobody published": _by_poster(_id_jag(world, key=mine)),
        "by the name of the right one": _by_poster(_id_jag(world, key=mine, header={"kid": theirs})),
        "another issuer's": _by_poster(_id_jag(world, key=world.keys["guests"])),
        "our own": _by_poster(_id_jag(world, key=world.key)),
        "a client's": _by_poster(_id_jag(world, key=world.keys["planner"])),
        "another cluster's": _alone(world, _workload(world, key=world.keys["other-cluster"])),
        "an address as its name": _by_poster(_id_jag(world, key=mine, header={"kid": "https://evil.example.com/k"})),
    }


def _with_a_key_beside_it(world: World) -> dict[str, Parameters]:
    mine = world.attacker
    beside: dict[str, Any] = {
        "jwk": mine.public().as_jwk(),
        "jku": "https://evil.example.com/keys",
        "x5u": "https://evil.example.com/chain",
        "x5c": ["MIIB"],
    }
    people = {name: _by_poster(_id_jag(world, key=mine, header={name: value})) for name, value in beside.items()}
    jku = {"jku": beside["jku"]}
    return people | {"workload, jku": _alone(world, _workload(world, key=mine, header=jku))}


def _of_an_untrusted_issuer(world: World) -> dict[str, Parameters]:
    issuers = {
        "a stranger": "https://evil.example.com",
        "a slash more": f"{TRUSTED['staff'][0]}/",
        "another case": TRUSTED["staff"][0].upper(),
        "ourselves": world.issuer,
    }
    people = {name: _by_poster(_id_jag(world, iss=issuer)) for name, issuer in issuers.items()}
    return people | {"workload": _alone(world, _workload(world, iss="https://evil.example.com"))}


ROWS: tuple[Row, ...] = (
    sts(
        "identity-assertion-for-another-server",
        "an identity assertion, or a workload's token, that was made for another server",
        "RFC 7523 §3; MCP enterprise-managed authorization",
        _for_another_server,
        _grant("audience.mismatch"),
    ),
    sts(
        "assertion-for-several-servers",
        "an assertion that is good at another server as well",
        "RFC 7523 §3; MCP enterprise-managed authorization",
        _for_several_servers,
        _grant("audience.multiple"),
    ),
    tried(
        "identity-assertion-replayed",
        "an identity assertion that was used before",
        "RFC 7523 §3; MCP enterprise-managed authorization",
        Door.STS,
        _replayed,
        _grant("assertion.replayed"),
    ),
    sts(
        "other-token-as-grant",
        "an access token, ID token or logout token as an assertion, or one that its issuer may not make",
        "RFC 8725 §3.11",
        _of_another_type,
        _grant("token.type"),
    ),
    sts(
        "grant-assertion-as-subject-token",
        "an assertion in place of a token to exchange",
        "RFC 8725 §3.11",
        _as_something_else,
        refused("token.type", "400 invalid_request"),
    ),
    sts(
        "assertion-for-another-client",
        "an assertion that was made for another client",
        "RFC 7521 §4.1; MCP enterprise-managed authorization",
        _of_another_client,
        _grant("presenter.mismatch"),
    ),
    sts(
        "assertion-bound-to-a-key",
        "an assertion with `cnf`, without proof of the key",
        "RFC 7800 §3.1; MCP enterprise-managed authorization",
        _bound,
        _grant("sender.mismatch"),
    ),
    sts(
        "workload-of-another-trust-domain",
        "a workload that no rule of its issuer means",
        "RFC 7523 §3; CVE-2026-1486",
        _of_another_domain,
        _grant("presenter.mismatch"),
    ),
    sts(
        "assertion-under-another-key",
        "an assertion under a key that is not its issuer's",
        "RFC 8725 §3.8; CVE-2026-1486",
        _under_another_key,
        _grant("token.signature"),
    ),
    sts(
        "assertion-with-its-own-key",
        "an assertion that brings its key, or says where it is",
        "RFC 8725 §3.10; RFC 7515 §4.1.3",
        _with_a_key_beside_it,
        _grant("token.malformed"),
    ),
    sts(
        "assertion-of-an-untrusted-issuer",
        "an assertion of an issuer that nobody trusts, or by almost its name",
        "RFC 7523 §3; RFC 9207 §2.4",
        _of_an_untrusted_issuer,
        _grant("token.issuer"),
    ),
)
