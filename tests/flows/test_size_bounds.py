"""Sizes at the authorization server: each is taken at its bound, and refused one above it.

The others of the table in the guide have such tests where they are read: tokens and headers of a request, bodies of
MCP, JSON, events and key sets.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from perhop.authorization_server.app import build_app
from perhop.authorization_server.endpoints import tasks
from perhop.authorization_server.form import FORM_MEDIA_TYPE, MAX_BODY_BYTES, MAX_BODY_SECONDS, MAX_PARAMETERS
from perhop.errors import SettingsError
from perhop.rules.scope import MAX_SCOPE_BYTES
from perhop.tokens.jwks import MAX_JWKS_BYTES, MAX_JWKS_KEYS
from perhop.tokens.keys import SigningKey
from perhop.tokens.parse import MAX_TOKEN_BYTES
from tests.support.authorization_servers import (
    ASSERTION_TYPE,
    CALENDAR,
    ISSUER,
    NOW,
    SECRET,
    RunningServer,
    assert_refused,
    claims_of,
    running_server,
)
from tests.support.configuration import load_example
from tests.support.forge import sign

ASKED = {
    "grant_type": "client_credentials",
    "resource": CALENDAR,
    "client_id": "poster",
    "client_secret": SECRET,
}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RunningServer]:
    async with running_server(tmp_path) as running:
        yield running


async def _post(server: RunningServer, body: bytes, path: str = "/token") -> httpx2.Response:
    return await server.http.post(path, content=body, headers={"content-type": FORM_MEDIA_TYPE})


def _of_size(parameters: Mapping[str, str], size: int) -> bytes:
    """A form of these parameters that has exactly so many octets."""
    body = urlencode({**parameters, "padding": ""}).encode()
    return body + b"x" * (size - len(body))


async def test_a_form_has_64_kib(server: RunningServer) -> None:
    """At every endpoint that takes one; a larger one is not read to its end."""
    assert MAX_BODY_BYTES == 64 * 1024
    claims_of(await _post(server, _of_size(ASKED, MAX_BODY_BYTES)))
    for path, status in (("/token", 413), ("/introspect", 413), ("/revoke", 413), ("/authorize", 400)):
        answer = await _post(server, _of_size(ASKED, MAX_BODY_BYTES + 1), path)
        assert answer.status_code == status, path
        assert server.last_refusal()["detail"] == "more than 65536 bytes"


async def test_a_form_has_100_parameters(server: RunningServer) -> None:
    """One more is malformed, also where it stands in the query of `/authorize`."""

    def padded(count: int) -> bytes:
        more = {f"p{number}": "x" for number in range(count - len(ASKED))}
        return urlencode({**ASKED, **more}).encode()

    assert MAX_PARAMETERS == 100
    claims_of(await _post(server, padded(MAX_PARAMETERS)))
    assert_refused(await _post(server, padded(MAX_PARAMETERS + 1)), "invalid_request")
    answer = await server.http.get(f"/authorize?{padded(MAX_PARAMETERS + 1).decode()}")
    assert answer.status_code == 400


async def test_a_scope_has_2_kib(server: RunningServer) -> None:
    """At the bound it is read, and what it names counts; above it is not."""
    known = "calendar:read"
    repeated = f"{known} " * (MAX_SCOPE_BYTES // (len(known) + 1))
    filler = "x" * (MAX_SCOPE_BYTES - len(repeated))
    assert len(repeated + filler) == MAX_SCOPE_BYTES == 2048
    for scope, why in ((repeated + filler, "not allowed"), (f"{repeated}{filler}x", "longer than 2048")):
        assert_refused(await server.ask(**ASKED, scope=scope), "invalid_scope")
        assert why in server.last_refusal()["detail"]
    claims_of(await server.ask(**ASKED, scope=repeated.rstrip()))


async def test_a_clients_assertion_has_8_kib(server: RunningServer) -> None:
    """At the bound it authenticates its client; one octet more is refused before it is parsed."""
    for length, status in ((MAX_TOKEN_BYTES, 200), (MAX_TOKEN_BYTES + 1, 401)):
        assertion = _assertion_of_length(server, length)
        parameters = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
        answer = await server.ask(grant_type="client_credentials", resource=CALENDAR, **parameters)
        assert answer.status_code == status
    assert "longer than 8192 bytes" in server.last_refusal()["detail"]


def _assertion_of_length(server: RunningServer, length: int) -> str:
    claims = {"iss": "trip-planner", "sub": "trip-planner", "aud": ISSUER, "exp": NOW + 60, "jti": f"j{length}"}
    for head, tail in itertools.product(range(3), range(3)):
        header = {"typ": "JWT", "padding": "x" * head}
        rest = length - len(sign({**claims, "padding": "x" * tail}, server.keys.planner, **header))
        if rest % 4 == 0:
            return sign({**claims, "padding": "x" * (tail + rest // 4 * 3)}, server.keys.planner, **header)
    raise AssertionError(f"no assertion has {length} characters")


async def test_a_task_has_bounds(server: RunningServer) -> None:
    """Of its body, its purpose, its patterns and each of them."""
    longest = "rooms/" + "x" * (tasks.MAX_PATTERN - len("rooms/"))
    sized: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"purpose": "x" * tasks.MAX_PURPOSE}, {"purpose": "x" * (tasks.MAX_PURPOSE + 1)}),
        ({"tools": ["rooms/*"] * tasks.MAX_PATTERNS}, {"tools": ["rooms/*"] * (tasks.MAX_PATTERNS + 1)}),
        ({"tools": [longest]}, {"tools": [f"{longest}x"]}),
        ({"limits": {"calls": tasks.MAX_LIMIT}}, {"limits": {"calls": tasks.MAX_LIMIT + 1}}),
        ({"expires_in": tasks.MAX_EXPIRES_IN}, {"expires_in": tasks.MAX_EXPIRES_IN + 1}),
    ]
    for fits, exceeds in sized:
        assert (await server.begin_task(**fits)).status_code == 201, fits.keys()
        assert_refused(await server.begin_task(**exceeds), "invalid_request")
    body = json.dumps({"purpose": "x", "tools": ["rooms/*"], "expires_in": 60, **server.proof("trip-planner")}).encode()
    json_body = {"content-type": "application/json"}
    for size, status in ((tasks.MAX_BODY_BYTES + 1, 413), (tasks.MAX_BODY_BYTES, 201)):
        padded = body + b" " * (size - len(body))
        assert (await server.http.post("/tasks", content=padded, headers=json_body)).status_code == status


async def test_a_body_has_30_seconds(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortly before that it is waited for, and after it the answer is 408: time is the event loop's, moved by hand."""
    loop, ahead, sent = asyncio.get_running_loop(), [0.0], []
    now, begun = loop.time, asyncio.Event()
    monkeypatch.setattr(loop, "time", lambda: now() + ahead[0])

    async def receive() -> dict[str, Any]:
        if not begun.is_set():
            begun.set()
            return {"type": "http.request", "body": b"grant_type=", "more_body": True}
        await asyncio.Event().wait()
        raise AssertionError("nothing comes")

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asgi_scope = {
        "type": "http",
        "method": "POST",
        "path": "/token",
        "query_string": b"",
        "headers": [(b"content-type", FORM_MEDIA_TYPE.encode())],
        "client": ("192.0.2.1", 5),
    }
    answering = asyncio.ensure_future(build_app(ISSUER, lambda: server.issuer)(asgi_scope, receive, send))
    await begun.wait()
    for seconds in (0.0, MAX_BODY_SECONDS - 0.5):
        ahead[0] = seconds
        for _ in range(5):
            await asyncio.sleep(0)
        assert not sent, seconds
    ahead[0] = MAX_BODY_SECONDS + 0.5
    await asyncio.wait_for(answering, 5)
    assert (MAX_BODY_SECONDS, sent[0]["status"]) == (30, 408)


def test_a_key_set_of_the_file_has_64_kib_and_50_keys(tmp_path: Path) -> None:
    """The key sets of clients and of trusted issuers, at the bound and above it."""
    key = SigningKey.generate().public().as_jwk()
    many = [{**SigningKey.generate().public().as_jwk(), "kid": f"k{n}"} for n in range(MAX_JWKS_KEYS + 1)]
    sets = {
        "largest": json.dumps({"keys": [key]}).encode().ljust(MAX_JWKS_BYTES),
        "too-large": json.dumps({"keys": [key]}).encode().ljust(MAX_JWKS_BYTES + 1),
        "most": json.dumps({"keys": many[:-1]}).encode(),
        "too-many": json.dumps({"keys": many}).encode(),
    }
    for name, content in sets.items():
        (tmp_path / f"{name}.json").write_bytes(content)
        client = "jwks_file: trip-planner.jwks.json", f"jwks_file: {name}.json"
        trusted = (
            "hops:\n",
            "trusted_issuers:\n  a: {issuer: https://a.example.com, kind: identity_assertion, owner: travel-team, "
            f"clients: [trip-planner], jwks_file: {name}.json}}\nhops:\n",
        )
        for change in (client, trusted):
            if name.startswith("too-"):
                with pytest.raises(SettingsError):
                    load_example(tmp_path, change)
            else:
                load_example(tmp_path, change)
