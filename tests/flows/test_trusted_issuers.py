"""Trusted issuers in a whole installation: written in the file, listed, disabled, enabled and taken out again."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from perhop.authorization_server.app import build_app
from perhop.errors import TokenRevoked
from perhop.settings import load
from perhop.tokens.jwks import render_jwks
from perhop.tokens.keys import SigningKey
from perhop.tokens.verify import Leeway, verify
from perhop.wiring.opening import open_plane
from perhop.wiring.reload import put_in_force
from tests.support.commands import perhop
from tests.support.forge import sign
from tests.support.sources import ROOT

CLUSTER = "https://cluster.example.com"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
RULES = [{"subject": "system:serviceaccount:prod:*", "client": "planner", "reaches": {"calendar": ["calendar:read"]}}]


@pytest.fixture
def key(folder: Path) -> SigningKey:
    """The platform's key; the installation trusts it, for the planner."""
    key = SigningKey.generate()
    (folder / "cluster.jwks.json").write_text(json.dumps(render_jwks([key.public()])), encoding="utf-8")
    trusted = {"issuer": CLUSTER, "kind": "workload", "owner": "travel", "jwks_file": "cluster.jwks.json"}
    _rewrite(folder, {"cluster": {**trusted, "workloads": RULES}})
    return key


def test_the_page_says_what_can_be_written(folder: Path) -> None:
    """The configuration of the page is one that loads, and trusts whom the page says."""
    page = (ROOT / "docs" / "assertions.md").read_text(encoding="utf-8")
    written = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[0])
    (folder / "cluster.jwks.json").write_text(json.dumps(render_jwks([SigningKey.generate().public()])), "utf-8")
    file = folder / "perhop.yaml"
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    clients = {"trip-planner": copy.deepcopy(document["clients"]["planner"]), **written["clients"]}
    document["owners"]["travel-team"] = {"contact": "team@example.com"}
    document |= {"trusted_issuers": written["trusted_issuers"], "clients": {**document["clients"], **clients}}
    file.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    assert perhop("config", "check", folder=folder).out == "ok\n"
    rows = perhop("issuer", "list", "--json", folder=folder).json
    assert [(row["name"], row["clients"]) for row in rows] == [
        ("staff", ["trip-planner"]),
        ("prod-cluster", ["trip-runner"]),
    ]


def _rewrite(folder: Path, trusted: dict[str, Any]) -> None:
    file = folder / "perhop.yaml"
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    file.write_text(yaml.safe_dump({**document, "trusted_issuers": trusted}, sort_keys=False), encoding="utf-8")


def _token_of(key: SigningKey, issuer: str) -> str:
    now = int(time.time())
    subject = "system:serviceaccount:prod:planner-7d4"
    claims = {"iss": CLUSTER, "sub": subject, "aud": [issuer], "iat": now, "exp": now + 600}
    return sign(claims, key, typ="JWT")


async def _ask(folder: Path, key: SigningKey) -> httpx2.Response:
    """What a workload is answered by a server over these files, which nobody serves otherwise."""
    settings = load(folder / "perhop.yaml", os.environ)
    async with open_plane(settings, clock=time.time, record_start=True) as plane:
        transport = httpx2.ASGITransport(app=build_app(settings.issuer, plane.current_issuer))
        async with httpx2.AsyncClient(transport=transport, base_url=settings.issuer) as http:
            resource = plane.registry.resources["calendar"].uri
            form = {"grant_type": JWT_BEARER, "assertion": _token_of(key, settings.issuer), "resource": resource}
            return await http.post("/token", data=form)


def test_an_issuer_is_believed_until_it_is_disabled(folder: Path, key: SigningKey) -> None:
    """A disabled one gets nobody a token, the tokens by its word end, and enabling lifts it."""
    assert asyncio.run(_ask(folder, key)).status_code == 200
    disabled = perhop("issuer", "disable", "cluster", "--why", "its key leaked", folder=folder)
    assert disabled.out == "disabled: issuer cluster; 1 live token revoked\n"
    [row] = perhop("issuer", "list", "--json", folder=folder).json
    assert row == {
        "name": "cluster",
        "issuer": CLUSTER,
        "kind": "workload",
        "owner": "travel",
        "clients": ["planner"],
        "standing": "disabled",
    }
    refused = asyncio.run(_ask(folder, key))
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert perhop("issuer", "enable", "cluster", folder=folder).out == "enabled: issuer cluster\n"
    assert asyncio.run(_ask(folder, key)).status_code == 200
    assert "cluster" in perhop("issuer", "list", folder=folder).out
    assert perhop("issuer", "disable", "nosuch", folder=folder).code == 6


def test_the_doctor_asks_for_the_keys(folder: Path, key: SigningKey) -> None:
    """Keys that are held are counted; an issuer that does not answer is a finding with advice."""
    document = yaml.safe_load((folder / "perhop.yaml").read_text(encoding="utf-8"))["trusted_issuers"]
    away = {"issuer": "http://127.0.0.1:9", "kind": "identity_assertion", "owner": "travel", "clients": ["planner"]}
    _rewrite(folder, {**document, "staff": away})
    found = perhop("doctor", "--json", folder=folder).json["checks"]
    mine = {each["part"]: each for each in found if each["check"] == "trusted issuers"}
    assert mine["cluster"]["status"] == "ok"
    assert "1 key, for workload" in str(mine["cluster"])
    assert mine["staff"]["status"] == "failed"
    assert "jwks_file" in str(mine["staff"])


async def test_an_issuer_that_is_taken_out_takes_its_tokens_along(folder: Path, key: SigningKey) -> None:
    """When another configuration no longer trusts it, tokens by its word are refused at once, and it stays disabled."""
    settings = load(folder / "perhop.yaml", os.environ)
    async with open_plane(settings, clock=time.time, record_start=True) as plane:
        transport = httpx2.ASGITransport(app=build_app(settings.issuer, plane.current_issuer))
        async with httpx2.AsyncClient(transport=transport, base_url=settings.issuer) as http:
            resource = plane.registry.resources["calendar"].uri

            async def ask() -> httpx2.Response:
                form = {"grant_type": JWT_BEARER, "assertion": _token_of(key, settings.issuer), "resource": resource}
                return await http.post("/token", data=form)

            raw = (await ask()).json()["access_token"]
            kept = (folder / "perhop.yaml").read_text(encoding="utf-8")
            _rewrite(folder, {})
            applied = await put_in_force(plane, load(folder / "perhop.yaml", os.environ), by="ann")
            assert ("issuer", "cluster", "removed") in {(c.kind, c.name, c.change) for c in applied.changes}
            keys = {settings.issuer: plane.issuer.keyring.verify_keys()}
            token = verify(raw, keys=keys, now=plane.issuer.now(), leeway=Leeway.NONE)
            with pytest.raises(TokenRevoked):
                plane.issuer.revocations.check(token)
            assert (await ask()).status_code == 401
            (folder / "perhop.yaml").write_text(kept, encoding="utf-8")
            await put_in_force(plane, load(folder / "perhop.yaml", os.environ), by="ann")
            assert (await ask()).json()["error"] == "invalid_grant"
