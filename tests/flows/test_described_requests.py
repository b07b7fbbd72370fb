"""Requests made from the description of the endpoints, and almost so: an answer that is described, never a failure."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.assertion_issuers import JWT_BEARER, World, a_world
from tests.support.authorization_servers import (
    ASSERTION_TYPE,
    CALENDAR,
    CALLBACK,
    EXCHANGE,
    FORM,
    SECRET,
)
from tests.support.sources import ROOT

PATHS: dict[str, dict[str, Any]] = json.loads((ROOT / "docs/reference/openapi.json").read_text("utf-8"))["paths"]
OPERATIONS = [(path, method) for path, operations in PATHS.items() for method in operations]
# Most are in these two.
WEIGHED = [*OPERATIONS, *[("/token", "post")] * 12, *[("/authorize", "get")] * 3]
EXAMPLES = 120


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path) as made:
        yield made


@pytest.fixture
async def access_token(world: World) -> str:
    """A token of the poster's, which expires while requests are tried."""
    answer = await world.server.ask(grant_type="client_credentials", resource=CALENDAR, **POSTER)
    return str(answer.json()["access_token"])


ODD = st.text(max_size=30) | st.sampled_from(
    ["", "\0", "a" * 3000, "é", "%zz", "[]", "{}", "null", "-1", "1e999", "../..", "http://", "user:ann", "𝕏", "\ud7ff"]
)
GOOD = st.sampled_from(
    [
        *("client_credentials", "authorization_code", "refresh_token", EXCHANGE, JWT_BEARER),
        *(CALENDAR, CALLBACK, "calendar:read", "calendar:read calendar:write", "poster", "desk-app", "trip-runner"),
        *(ASSERTION_TYPE, "urn:ietf:params:oauth:token-type:access_token", "code", "S256", "allow", "0", "25"),
        '[{"type":"agent_task","id":"x"}]',
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    ]
)
VALUES = GOOD | ODD
# The leak scan looks for whatever is sent under these names: so it is nothing that is sent under others.
SECRETS = {
    *("client_secret", "client_assertion", "assertion", "refresh_token", "code", "subject_token", "token", "password"),
    *("code_verifier", "state"),
}
SECRET_VALUES = st.text(max_size=5) | st.sampled_from(
    [SECRET, "s" * 3000, "eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlLmNvbSJ9.c2lnbmVk"]
)
JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
MEDIA = st.sampled_from([FORM, "application/json", "text/plain", "", f"{FORM}; charset=utf-8", "multipart/form-data"])
HEADERS = st.dictionaries(
    st.sampled_from(["authorization", "cookie", "x-request-id", "x-client-assertion", "accept", "content-encoding"]),
    st.sampled_from(["Basic eDp5", "Basic !", "Bearer x.y.z", "a=b", "gzip", "*/*", "é"]),
    max_size=2,
)


POSTER = {"client_id": "poster", "client_secret": SECRET}
USUAL: dict[str, list[dict[str, str]]] = {
    "/token": [
        {"grant_type": "client_credentials", "resource": CALENDAR, **POSTER},
        {"grant_type": JWT_BEARER, "assertion": "(identity)", **POSTER},
        {"grant_type": JWT_BEARER, "assertion": "(workload)", "resource": CALENDAR},
        {"grant_type": "authorization_code", "client_id": "desk-app", "code": "x", "redirect_uri": CALLBACK},
    ],
    "/introspect": [{"token": "(access)", **POSTER}],
    "/revoke": [{"token": "(access)", **POSTER}],
    "/authorize": [
        {
            "response_type": "code",
            "client_id": "desk-app",
            "redirect_uri": CALLBACK,
            "resource": CALENDAR,
            "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            "code_challenge_method": "S256",
        }
    ],
}
"""Requests that succeed, or nearly so. What stands in brackets is made when it is sent."""
CLAIMS = st.dictionaries(
    st.sampled_from(
        ["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "client_id", "resource", "scope", "tenant", "cnf", "act"]
    ),
    JSON_VALUES,
    max_size=2,
)


def _names(path: str, method: str) -> list[str]:
    operation = PATHS[path][method]
    content = operation.get("requestBody", {}).get("content", {})
    schemas = [each["schema"] for each in content.values()]
    return [
        *(parameter["name"] for parameter in operation.get("parameters", ())),
        *(name for schema in schemas for name in schema.get("properties", ())),
    ]


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """A request to one of the operations, with its own parameters and others, as its own media type or another."""
    path, method = draw(st.sampled_from(WEIGHED))
    names = st.sampled_from(_names(path, method) or ["x"]) | st.text(min_size=1, max_size=8)
    media = next(iter(PATHS[path][method].get("requestBody", {}).get("content", {FORM: None})))
    media = draw(st.just(media) | MEDIA)
    headers = [(name.encode(), value.encode()) for name, value in draw(HEADERS).items()]
    request: dict[str, Any] = {"method": method.upper(), "url": path, "headers": headers}
    pair = names.flatmap(lambda name: st.tuples(st.just(name), SECRET_VALUES if name in SECRETS else VALUES))
    usual = draw(st.sampled_from([{}, *USUAL.get(path, [])]))
    kept = [each for each in usual.items() if draw(st.integers(0, 9))]
    query = draw(st.lists(pair, max_size=6 if method == "get" else 1))
    if method == "get":
        query = [*kept, *query[:2]] if kept else query
    if path == "/revocations":
        query = [*((name, value) for name, value in query if name != "wait"), ("wait", "0")]
    request["params"] = query
    if method == "post":
        headers.append((b"content-type", media.encode()))
        if media == "application/json":
            member = pair | st.tuples(names.filter(lambda name: name not in SECRETS), JSON_VALUES)
            body = draw(st.lists(member, max_size=6).map(dict) | JSON_VALUES)
            request["content"] = json.dumps(body).encode()
        else:
            pairs = draw(st.lists(pair, max_size=1 if kept else 8)) + kept
            body = urlencode(pairs).encode()
            request["content"] = body if kept else draw(st.just(body) | st.binary(max_size=40))
    request["claims"] = draw(CLAIMS)
    return request


def _made(world: World, access_token: str, request: dict[str, Any]) -> dict[str, Any]:
    """The request with its tokens: assertions under their issuers' own keys, with odd claims."""
    claims = request.pop("claims")
    makers = {
        "(identity)": lambda: world.idp.id_jag(**claims),
        "(workload)": lambda: world.cluster.workload_token(**claims),
        "(access)": lambda: access_token,
    }
    for marker, make in makers.items():
        written = urlencode({"": marker})[1:].encode()
        if written in request.get("content", b""):
            request["content"] = request["content"].replace(written, make().encode())
    return request


def _form_of(content: bytes) -> dict[str, Any]:
    headers = [(b"content-type", FORM.encode())]
    return {"method": "POST", "url": "/token", "headers": headers, "params": [], "content": content, "claims": {}}


@example(request=_form_of(b"grant_type=%ff"))
@example(request=_form_of(b"grant_type=\xff"))
@example(request=_form_of(b"&=&=%00"))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(request=requests())
async def test_no_request_makes_an_endpoint_fail(world: World, access_token: str, request: dict[str, Any]) -> None:
    """Whatever is sent, the status is one that the description names, and never one of a failure of ours."""
    world.server.clock.now += 1
    request = _made(world, access_token, request)
    answer = await world.server.http.request(**request, follow_redirects=False)
    described = PATHS[request["url"]][request["method"].lower()]["responses"]
    assert answer.status_code < 500 or answer.status_code == 503, answer.text
    assert str(answer.status_code) in described, (request["url"], answer.status_code, answer.text)


async def test_a_described_request_is_answered(world: World) -> None:
    """The description is of requests that can succeed: one of each kind does."""
    asked = {"grant_type": "client_credentials", "resource": CALENDAR, "client_id": "poster", "client_secret": SECRET}
    token = (await world.server.ask(**asked)).json()["access_token"]
    client = {name: asked[name] for name in ("client_id", "client_secret")}
    for path in ("/introspect", "/revoke"):
        assert (await world.server.http.post(path, data={"token": token, **client})).status_code == 200
    for path, operations in PATHS.items():
        if "get" in operations and path != "/authorize" and "{" not in path:
            assert (await world.server.http.get(path, params={"wait": "0"})).status_code == 200, path
