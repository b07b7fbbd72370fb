"""Tokens that are truly signed, and say what no token of ours says."""

from __future__ import annotations

from typing import Any

from perhop.rules.lifetime import MAX_LIFETIME, MAX_SKEW
from perhop.tokens.statement import sign_statement
from tests.attacks.row import PASSES_GUARD, Door, Seen
from tests.attacks.tries import BOTH, MakeToken, Target, bearer, bearer_each, bearer_passes, refused, tried_at
from tests.attacks.world import ARGUMENT, World, a_call, with_token
from tests.support.forge import ABSENT, as_json, sign

MALFORMED, TYPE, ISSUER = refused("token.malformed"), refused("token.type"), refused("token.issuer")
LIFETIME, EXPIRED = refused("token.lifetime"), refused("token.expired")
REQUIRED = ("iss", "sub", "client_id", "iat", "exp", "jti")


def _other_types(target: Target) -> dict[str, str]:
    """An ID token, an ID-JAG, a logout token, a security event, a DPoP proof, and what is near to the right type."""
    names = ("JWT", "oauth-id-jag+jwt", "logout+jwt", "secevent+jwt", "dpop+jwt", "client-authentication+jwt")
    near = (
        "AT+JWT",
        "at+jwt ",
        "at",
        "application/at+jwt+x",
        "Application/at+jwt",
        "rt+jwt",
        "token-introspection+jwt",
    )
    return {name: target.headed(typ=name) for name in (*names, *near)} | {
        "absent": target.headed(typ=ABSENT),
        "empty": target.headed(typ=""),
    }


def _statements(target: Target) -> dict[str, str]:
    feed = {"iss": target.world.issuer, "iat": target.now, "after": 0, "next": 0, "entries": []}
    return {
        "revocation feed": sign_statement(feed, typ="revocations+jwt", key=target.key),
        "with all claims": sign_statement(target.claims() | feed, typ="revocations+jwt", key=target.key),
        "client assertion": dict(target.world.proof("planner"))["client_assertion"],
    }


def _odd_times(target: Target) -> dict[str, str]:
    now = target.now
    odd: dict[str, Any] = {
        "text": str(now + 300),
        "true": True,
        "fraction": now + 300.5,
        "whole float": float(now + 300),
        "NaN": float("nan"),
        "Infinity": float("inf"),
        "negative": -1,
        "null": None,
        "array": [now + 300],
        "beyond the calendar": 10**12,
        "at iat": now,
    }
    tokens = {name: target.claiming(iat=now, exp=value) for name, value in odd.items()}
    claims = as_json(target.claims(exp=ABSENT))[:-1]
    return tokens | {
        "1e400": sign(claims + b',"exp":1e400}', target.key),
        "1e10": sign(claims + b',"exp":1e10}', target.key),
        "iat as text": target.claiming(iat=str(now)),
        "nbf as text": target.claiming(nbf=str(now)),
    }


def _missing(target: Target) -> dict[str, str]:
    missing = {name: target.claiming(**{name: ABSENT}) for name in REQUIRED}
    return missing | {f"{name} empty": target.claiming(**{name: ""}) for name in ("iss", "sub", "client_id", "jti")}


def _not_texts(target: Target) -> dict[str, str]:
    names = ("iss", "sub", "client_id", "jti", "scope", "txn", "agent", "tenant")
    odd = {f"{name} as {kind}": {name: value} for name in names for kind, value in (("list", ["x"]), ("number", 1))}
    return {name: target.claiming(**changes) for name, changes in odd.items()}


def _look_alikes(target: Target) -> dict[str, str]:
    """What a reader without regard to case, or one that folds Unicode, would take for the claim."""
    return {
        "Exp": target.claiming(exp=ABSENT, Exp=target.now + 300),
        "ſub": target.claiming(sub=ABSENT, **{"ſub": "planner"}),
        "JTI": target.claiming(jti=ABSENT, JTI="x"),
        "client-id": target.claiming(client_id=ABSENT, **{"client-id": "planner"}),
        "іss": target.claiming(iss=ABSENT, **{"іss": target.world.issuer}),
    }


def _log_forging(target: Target) -> dict[str, str]:
    lines = {"line end": 'planner\n{"seq":1}', "ANSI": "\x1b[2Jplanner", "NUL": "planner\0", "bidi": "planner\u202e"}
    return {name: target.claiming(sub=value) for name, value in lines.items()}


def _from_the_future(_: Target) -> dict[str, MakeToken]:
    ahead = MAX_SKEW + 1
    return {
        "iat": lambda target: target.claiming(iat=target.now + ahead, exp=target.now + ahead + 60),
        "nbf": lambda target: target.claiming(nbf=target.now + ahead),
    }


def _good_for_too_long(target: Target) -> dict[str, str]:
    year = target.now + 365 * 86400
    return {
        "a second": target.claiming(iat=target.now, exp=target.now + MAX_LIFETIME + 1),
        "a year": target.claiming(iat=target.now, exp=year),
        "since long": target.claiming(iat=1, exp=target.now + 300),
    }


def _aged(past: int) -> MakeToken:
    """A token of 300 s that expired so many seconds ago."""
    return lambda target: target.claiming(iat=target.now - 300 - past, exp=target.now - past)


def _clock_step(door: Door, step: int) -> Any:
    async def attempt(world: World) -> Seen:
        entrance = world.entrance(door)
        wire = with_token(a_call("list_events", {"day": ARGUMENT}), world.forge(entrance.audience))
        world.clock.now += step
        try:
            return await world.knock(entrance, wire)
        finally:
            world.clock.now -= step

    return attempt


def _other_issuer(target: Target) -> dict[str, str]:
    ours = target.world.issuer
    names = {
        "a slash more": f"{ours}/",
        "capitals": ours.replace("http", "HTTP"),
        "another port": f"{ours}0",
        "a path": f"{ours}/mcp",
        "the resource": target.audience,
        "a stranger": "https://staging.example.com",
        "localhost": ours.replace("127.0.0.1", "localhost"),
        "white space": f"{ours} ",
    }
    return {name: target.claiming(iss=issuer) for name, issuer in names.items()}


def _staging(target: Target) -> dict[str, str]:
    """The same names, the same software, another key: and the issuer's name as it should be."""
    return {"staging key": sign(target.claims(), target.attacker)}


def _trusted_elsewhere(target: Target) -> str:
    """The guard trusts a second issuer, which this gateway does not know."""
    other = target.world.other
    return sign(target.claims(iss=other.url), other.key)


def _bound_to_a_key(target: Target) -> dict[str, str]:
    thumbprint = target.attacker.kid
    return {
        "DPoP": target.claiming(cnf={"jkt": thumbprint}),
        "certificate": target.claiming(cnf={"x5t#S256": thumbprint}),
        "unknown": target.claiming(cnf={"unknown": "x"}),
    }


def _with_dpop_scheme(target: Target) -> Any:
    return (("authorization", f"DPoP {target.claiming(cnf={'jkt': target.attacker.kid})}"),)


def _odd_details(target: Target) -> dict[str, str]:
    odd: dict[str, Any] = {
        "unknown type": [{"type": "payment"}],
        "no list": {"type": "mcp_call"},
        "no object": ["mcp_call"],
        "call without digests": [{"type": "mcp_call", "method": "tools/call", "name": "list_events"}],
        "two tasks": [{"type": "agent_task", "id": "a"}, {"type": "agent_task", "id": "b"}],
    }
    return {name: target.claiming(authorization_details=value) for name, value in odd.items()} | {
        "cnf as text": target.claiming(cnf="x"),
        "cnf empty": target.claiming(cnf={}),
        "act as text": target.claiming(act="gateway:calendar"),
        "may_act with more": target.claiming(may_act={"sub": "x", "aud": "y"}),
        "scope with tabs": target.claiming(scope="calendar:read\tcalendar:write"),
        "hop zero": target.claiming(hop=0),
    }


def _under_a_retired_key(target: Target) -> str:
    return sign(target.claims(), target.world.retired)


LEEWAY = (
    "the guard allows for clocks that differ: a fifth of the lifetime, a minute at most; the gateway allows nothing"
)

ROWS = (
    bearer(
        "other-kind-of-token",
        "an ID token, ID-JAG, logout token, DPoP proof or the like as access token",
        "RFC 8725 §3.11; RFC 9068 §4",
        _other_types,
        TYPE,
    ),
    bearer(
        "our-own-statement-as-token",
        "the signed revocation feed, or a client assertion, as access token",
        "RFC 8725 §3.11",
        _statements,
        TYPE,
    ),
    bearer(
        "time-that-is-no-time",
        "`exp` as text, a fraction, NaN, or beyond the calendar",
        "RFC 7519 §2",
        _odd_times,
        MALFORMED,
    ),
    bearer("missing-claim", "one of the required claims missing or empty", "RFC 9068 §2.2", _missing, MALFORMED),
    bearer("claim-of-another-type", "a list or a number where a text belongs", "RFC 9068 §2.2", _not_texts, MALFORMED),
    bearer(
        "look-alike-claim",
        "a claim that only looks like a required one",
        "RFC 7519 §7.3; CVE-2026-27896",
        _look_alikes,
        MALFORMED,
    ),
    bearer(
        "log-forging-claim",
        "line ends and escapes in a claim that is written to logs",
        "CWE-117",
        _log_forging,
        MALFORMED,
    ),
    bearer(
        "token-from-the-future",
        "`iat` or `nbf` beyond what clocks may differ",
        "RFC 7519 §4.1.5",
        _from_the_future,
        LIFETIME,
    ),
    bearer_passes(
        "token-from-a-fast-clock",
        "`iat` and `nbf` just within what clocks may differ",
        "RFC 7519 §4.1.5",
        lambda t: t.claiming(iat=t.now + MAX_SKEW, nbf=t.now + MAX_SKEW, exp=t.now + 200),
    ),
    bearer("token-for-too-long", "a lifetime beyond the cap", "RFC 9700 §4.10", _good_for_too_long, LIFETIME),
    bearer_each(
        "expired-within-leeway",
        "a token at its very `exp`, and as late as the guard's leeway allows",
        "RFC 7519 §4.1.4",
        lambda _: {"at exp": _aged(0), "last second": _aged(59)},
        gateway=EXPIRED,
        guard=PASSES_GUARD,
        differs=LEEWAY,
    ),
    bearer(
        "expired-token",
        "a token past `exp` and past every leeway",
        "RFC 7519 §4.1.4",
        lambda t: {
            "at the end of the leeway": _aged(60),
            "a day": _aged(86400),
            "short-lived": lambda t: t.claiming(iat=t.now - 72, exp=t.now - 12),
        },
        EXPIRED,
    ),
    tried_at(
        "clock-steps-back",
        "a clock that jumps back ten minutes makes no token good for longer",
        "RFC 7519 §4.1.4",
        {door: (_clock_step(door, -600), LIFETIME) for door in BOTH},
    ),
    tried_at(
        "clock-steps-ahead",
        "a clock that jumps ahead ten minutes",
        "RFC 7519 §4.1.4",
        {door: (_clock_step(door, 600), EXPIRED) for door in BOTH},
    ),
    bearer(
        "other-issuer",
        "an issuer that differs by a slash, a capital letter, a port",
        "RFC 9207 §2.4; RFC 8414 §3.3",
        _other_issuer,
        ISSUER,
    ),
    bearer(
        "staging-token",
        "a token of another environment that goes by our issuer's name",
        "OWASP NHI8",
        _staging,
        refused("token.signature"),
    ),
    bearer_each(
        "issuer-trusted-elsewhere",
        "a token of an issuer that only one of the doors trusts",
        "RFC 8725 §3.8",
        _trusted_elsewhere,
        gateway=ISSUER,
        guard=PASSES_GUARD,
        differs="only the guard was told to trust this issuer",
    ),
    bearer(
        "bound-token-as-bearer",
        "a token that is bound to a key, without proof of the key",
        "RFC 9449 §7.1; RFC 8705 §3",
        _bound_to_a_key,
        refused("sender.mismatch"),
    ),
    bearer(
        "bound-token-with-its-scheme",
        "the DPoP scheme, and no proof",
        "RFC 9449 §7.1; RFC 9449 §4.3",
        _with_dpop_scheme,
        refused("sender.mismatch", "401 invalid_dpop_proof"),
    ),
    bearer(
        "odd-structure",
        "details, actors, scopes or confirmations of unknown or wrong make",
        "RFC 9396 §2; RFC 8693 §4",
        _odd_details,
        MALFORMED,
    ),
    bearer_passes(
        "retired-key", "a key that signs no more is still good for what it signed", "RFC 7517 §5", _under_a_retired_key
    ),
)
