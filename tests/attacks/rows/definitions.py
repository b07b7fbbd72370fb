"""Configurations that would open a door: they cannot be written."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from perhop.authorization_server.client_auth.private_key_jwt import load_client_keys
from perhop.errors import OperatorError
from perhop.rules import base64url
from perhop.tokens.keys import SigningKey
from tests.attacks.row import Door, Expected, Row, Seen
from tests.attacks.tries import said, tried
from tests.support.configuration import load_example

REFUSED = Expected("refused", None, records=0)
UPSTREAM = "      url: http://127.0.0.1:9001/mcp\n      resource: http://127.0.0.1:9001/mcp\n"
KEYS = "{method: private_key_jwt, jwks_file: trip-planner.jwks.json}"
DESK = 'redirect_uris: ["http://127.0.0.1:3955/callback"]'


def _changing(changes: dict[str, tuple[str, str]]) -> Any:
    async def attempt(_: Any) -> dict[str, Seen]:
        return {name: said(_load(*change)) for name, change in changes.items()}

    return attempt


def _load(old: str, new: str) -> str:
    with TemporaryDirectory() as folder:
        try:
            load_client_keys(load_example(Path(folder), (old, new)).registry)
        except OperatorError as error:
            return "refused" if error.problem else "refused without a word"
    return "loaded"


WEAKENING = {
    f"{place}: {key}": (anchor, f"{indent}{key}\n{anchor}")
    for place, anchor, indent, keys in (
        (
            "resource",
            "    tenant: acme\n",
            "    ",
            (
                "passthrough: true",
                "forward_authorization: true",
                "audience_check: false",
                "audiences: [a, b]",
                "unsafe_skip_audience: true",
                "aliases: [http://127.0.0.1:8420/mcp/c]",
            ),
        ),
        (
            "upstream",
            "      url: http://127.0.0.1:9001/mcp\n",
            "      ",
            ("headers: {authorization: x}", "forward_headers: [authorization]", "self_test: false"),
        ),
        (
            "root",
            "policies: policies/\n",
            "",
            ("journal: {enabled: false}", "leeway: 3600", "unsafe_no_audience: true", "allow_http: true"),
        ),
    )
    for key in keys
}

WILDCARDS = {
    "uri": ("uri: http://127.0.0.1:8420/mcp/calendar", 'uri: "http://127.0.0.1:8420/mcp/*"'),
    "any": ("uri: http://127.0.0.1:8420/mcp/calendar", 'uri: "*"'),
    "uri as list": ("uri: http://127.0.0.1:8420/mcp/calendar", "uri: [http://127.0.0.1:8420/mcp/calendar]"),
    "reach": ("reaches: {calendar: [calendar:read, calendar:write]}", 'reaches: {"*": ["*"]}'),
    "scope": ("[calendar:read, calendar:write]", '["*"]'),
    "hop": ("from: calendar, to: rooms", 'from: calendar, to: "*"'),
    "serves": ("serves: [calendar]", 'serves: ["*"]'),
    "redirect": (DESK, 'redirect_uris: ["https://*.example.com/callback"]'),
}

CREDENTIALS = {
    "passthrough": ("credential: {kind: exchange}", "credential: {kind: passthrough}"),
    "forward": ("credential: {kind: exchange}", "credential: {kind: forward}"),
    "none, far away": (
        f"{UPSTREAM}      credential: {{kind: exchange}}",
        "      url: https://far.example.com/mcp\n      credential: {kind: none}",
    ),
    "upstream in a file": ("      url: http://127.0.0.1:9001/mcp", "      url: file:///etc/passwd"),
    "its own upstream": ("      url: http://127.0.0.1:9001/mcp", "      url: http://127.0.0.1:8420/mcp/calendar"),
    "another resource's": ("      resource: http://127.0.0.1:9001/mcp", "      resource: http://127.0.0.1:9002/mcp"),
}

REDIRECTS = {
    uri: (DESK, f"redirect_uris: [{json.dumps(uri)}]")
    for uri in (
        "javascript:alert(1)",
        "data:text/html,x",
        "myapp:/callback",
        "http://desk.example.com/callback",
        "https://desk.example.com/callback#x",
        "https://user@desk.example.com/callback",
        "https://desk.example.com/../callback",
        "https://desk.example.com\\@evil.example/callback",
        "urn:ietf:wg:oauth:2.0:oob",
        "",
    )
}

OWNERLESS = {
    "resource": ("    owner: travel-team\n    tenant", "    tenant"),
    "client": ("    owner: travel-team\n    purpose: plans", "    purpose: plans"),
    "unknown owner": ("owner: travel-team\n    tenant", "owner: nobody\n    tenant"),
    "purpose": ("    purpose: plans business trips\n", ""),
    "expiry": ("    expires: 2027-01-31\n", ""),
    "expiry that never comes": ("expires: 2027-01-31", "expires: never"),
}

NAMES = {
    name: ("  trip-planner:\n", f"  {json.dumps(name)}:\n")
    for name in ("user:ann", "gateway:calendar", "user:", "trip\nplanner", "trïp", "")
}


def _jwks() -> dict[str, tuple[str, str]]:
    good = SigningKey.generate().public().as_jwk()
    numbers = rsa.generate_private_key(65537, 1024).public_key().public_numbers()
    modulus = base64url.encode(numbers.n.to_bytes(128))
    keys: dict[str, list[dict[str, Any]]] = {
        "for encryption": [{**good, "use": "enc"}],
        "not for verifying": [{**good, "key_ops": ["encrypt"]}],
        "shared": [{"kty": "oct", "kid": "x", "k": base64url.encode(b"x" * 32)}],
        "private": [{**good, "d": "AAAA"}],
        "weak": [{"kty": "RSA", "kid": "x", "n": modulus, "e": "AQAB"}],
        "exponent 1": [{"kty": "RSA", "kid": "x", "n": base64url.encode(b"\xff" * 256), "e": "AQ"}],
        "two of one name": [good, good],
        "no point of the curve": [{**good, "x": base64url.encode(b"\1" * 32)}],
        "none": [],
        "by URL": [{"jwks_uri": "https://evil.example/jwks"}],
    }
    return {
        name: (KEYS, f"{{method: private_key_jwt, jwks: {json.dumps({'keys': each})}}}") for name, each in keys.items()
    }


ROWS: tuple[Row, ...] = (
    tried(
        "weakening-setting",
        "a setting that passes tokens on, or switches a check off",
        "MCP token passthrough; CWE-1188",
        Door.CONFIG,
        _changing(WEAKENING),
        REFUSED,
    ),
    tried(
        "wildcard-in-the-configuration",
        "a wildcard, or a list, where one thing is named",
        "RFC 9700 §4.1; CWE-155",
        Door.CONFIG,
        _changing(WILDCARDS),
        REFUSED,
    ),
    tried(
        "careless-upstream",
        "an upstream that gets the caller's token, or none, or is another's",
        "MCP token passthrough; RFC 9700 §4.10",
        Door.CONFIG,
        _changing(CREDENTIALS),
        REFUSED,
    ),
    tried(
        "hostile-redirect-registered",
        "a redirect URI that runs, leaks or leads anywhere",
        "MCP security best practices; RFC 9700 §4.1",
        Door.CONFIG,
        _changing(REDIRECTS),
        REFUSED,
    ),
    tried(
        "unfit-client-key",
        "a client's key that is shared, private, weak or for something else",
        "RFC 7517 §4.2; Wycheproof",
        Door.CONFIG,
        _changing(_jwks()),
        REFUSED,
    ),
    tried(
        "nobody-answers-for-it",
        "a client or resource without owner, purpose or end",
        "OWASP NHI1",
        Door.CONFIG,
        _changing(OWNERLESS),
        REFUSED,
    ),
    tried(
        "client-named-like-a-person",
        "a client id that a person's or a gateway's subject could be",
        "RFC 9700 §4.15; RFC 9068 §5",
        Door.CONFIG,
        _changing(NAMES),
        REFUSED,
    ),
)
