"""Signing keys change while the server runs: no token is refused for it, unless its key was revoked."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2

from perhop.tokens.parse import parse_compact
from tests.support.installations import Installation, installed

NOTHING_THERE = "http://127.0.0.1:1/mcp"


def _status(installation: Installation, token: str) -> int:
    """How the gateway answers a token: 503 is an upstream that is not there, so the token is good."""
    message = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    headers = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream"}
    return httpx2.post(installation.url, json=message, headers=headers, timeout=30).status_code


def _kid(token: str) -> str | None:
    return parse_compact(token).key_id


def _published(installation: Installation) -> set[str]:
    return {key["kid"] for key in httpx2.get(f"{installation.issuer}/jwks", timeout=10).json()["keys"]}


def test_a_key_is_published_before_it_signs_and_an_old_one_counts_until_it_is_revoked(tmp_path: Path) -> None:
    """Prepared: published, does not sign. Active at once: the old key's tokens stay good. Revoked: they are refused."""
    with installed(tmp_path / "perhop", NOTHING_THERE, unsafe_open=True) as installation:
        first = installation.token()
        prepared = json.loads(installation.run("key", "rotate", "--json"))
        assert prepared["state"] == "prepared"
        assert prepared["kid"] in _published(installation)
        assert _kid(installation.token()) == _kid(first)
        active = json.loads(installation.run("key", "rotate", "--now", "--alg", "Ed25519", "--json"))
        second = installation.token()
        assert _kid(second) == active["kid"] != _kid(first)
        assert (_status(installation, first), _status(installation, second)) == (503, 503)
        last = json.loads(installation.run("key", "rotate", "--revoke-others", "--json"))
        assert last["state"] == "active"
        assert _published(installation) == {last["kid"]}
        assert (_status(installation, first), _status(installation, second)) == (401, 401)
        assert _status(installation, installation.token()) == 503
        states = {key["kid"]: key["state"] for key in json.loads(installation.run("key", "list", "--json"))}
        assert states == {
            _kid(first): "revoked",
            prepared["kid"]: "revoked",
            active["kid"]: "revoked",
            last["kid"]: "active",
        }
