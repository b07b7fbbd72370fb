"""`listen.authz` of a whole installation: where it answers, to whom, and what commands say of it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from perhop.core.resource import DataPlane
from perhop.errors import OperatorError
from perhop.serving.listeners import bind
from perhop.serving.serve import serving
from perhop.settings import load
from perhop.wiring.plane import Plane
from tests.support.commands import make_installation, perhop
from tests.support.gateways import PERMIT_ALL
from tests.support.processes import free_port
from tests.support.sources import ROOT
from tests.support.upstreams import modern

SECRET = "the-secret-of-the-proxy-of-these-tests-2"
READS = '@id("reads") forbid (principal, action, resource) when { context.arguments has a };'
GUIDE = ROOT / "docs" / "guide" / "behind-nginx.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An installation whose calendar another proxy carries, which asks at `a.sock`."""
    place = tmp_path / "i"
    make_installation(place)
    _change(place, "listen: {", 'listen: {authz: "unix:a.sock", ')
    _change(place, "    tenant: acme\n", "    tenant: acme\n    data_plane: forward_auth\n")
    return place


def _change(place: Path, old: str, new: str) -> None:
    file = place / "perhop.yaml"
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")


@contextlib.asynccontextmanager
async def _no_control(plane: Plane) -> AsyncIterator[None]:
    yield


def _asking(uri: str, **more: str) -> dict[str, str]:
    host, _, path = uri.removeprefix("http://").partition("/")
    said = {"method": "POST", "uri": f"/{path}", "host": host, "address": "192.0.2.7"}
    headers = modern("tools/list")[0]
    return headers | {f"x-original-{name}": value for name, value in said.items()} | more


async def test_a_socket_answers_whoever_may_open_it(folder: Path) -> None:
    """It has mode 0660, answers without a secret, knows only what another proxy carries, and is gone at the end."""
    settings = load(folder / "perhop.yaml", {})
    uri = settings.registry.resources["calendar"].uri
    path = folder / "a.sock"
    async with serving(settings, clock=time.time, control=_no_control):
        assert path.stat().st_mode & 0o777 == 0o660
        transport = httpx2.AsyncHTTPTransport(uds=str(path))
        async with httpx2.AsyncClient(transport=transport, base_url="http://perhop") as http:
            answer = await http.get("/authz/calendar", headers=_asking(uri))
            assert (answer.status_code, "resource_metadata" in answer.headers["www-authenticate"]) == (401, True)
            assert (await http.get("/authz/rooms", headers=_asking(uri))).status_code == 404
            assert (await http.get("/token")).status_code == 404
        async with httpx2.AsyncClient(base_url=settings.issuer) as http:
            assert (await http.get("/authz/calendar", headers=_asking(uri))).status_code == 404
            assert (await http.post("/mcp/calendar")).status_code == 404
            metadata = await http.get("/.well-known/oauth-protected-resource/mcp/calendar")
            assert metadata.json()["resource"] == uri
    assert not path.exists()


async def test_an_address_answers_whoever_knows_the_secret(folder: Path) -> None:
    """On loopback, with the secret of the file."""
    port = free_port()
    (folder / "proxy.secret").write_text(f"{SECRET}\n", encoding="utf-8")
    _change(folder, 'authz: "unix:a.sock"', f'authz: "127.0.0.1:{port}", authz_secret_file: proxy.secret')
    settings = load(folder / "perhop.yaml", {})
    uri = settings.registry.resources["calendar"].uri
    async with (
        serving(settings, clock=time.time, control=_no_control),
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http,
    ):
        known = _asking(uri, **{"x-perhop-proxy-secret": SECRET})
        assert (await http.get("/authz/calendar", headers=known)).status_code == 401
        assert (await http.get("/authz/calendar", headers=_asking(uri))).status_code == 404


def test_a_stale_socket_makes_room_and_a_used_one_does_not(tmp_path: Path) -> None:
    """After a crash the next start takes its place; what answers, and what is no socket, stays."""
    path = tmp_path / "a.sock"
    bind(f"unix:{path}").close()
    assert path.is_socket()
    with bind(f"unix:{path}") as listener:
        assert listener.family is socket.AF_UNIX
        with pytest.raises(OperatorError, match="in use"):
            bind(f"unix:{path}")
    path.unlink()
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(OperatorError):
        bind(f"unix:{path}")
    assert path.read_text(encoding="utf-8") == "mine"


def test_commands_tell_what_headers_cannot_decide(folder: Path) -> None:
    """`config check`, `doctor` and `serve` name the resource and the policy; what is decidable is not named."""
    for each in (folder / "policies").glob("*.cedar"):
        each.unlink()
    (folder / "policies" / "p.cedar").write_text(PERMIT_ALL, encoding="utf-8")
    assert perhop("config", "check", "--json", folder=folder).json["needing_bodies"] == {}
    checks = {each["name"]: each for each in perhop("doctor", "--json", folder=folder).json["checks"]}
    assert checks["calls for other proxies"]["status"] == "ok"
    (folder / "policies" / "p.cedar").write_text(PERMIT_ALL + READS, encoding="utf-8")
    found = perhop("config", "check", "--json", folder=folder)
    assert (found.code, list(found.json["needing_bodies"])) == (0, ["calendar"])
    assert "reads" in found.json["needing_bodies"]["calendar"]
    assert "resources.calendar is closed to a proxy that sends no body" in perhop("config", "check", folder=folder).err
    checks = {each["name"]: each for each in perhop("doctor", "--json", folder=folder).json["checks"]}
    told = checks["calls for other proxies calendar"]
    assert told["status"] == "warning"
    assert "let the proxy send the body" in told["fix"]


async def test_two_installations_cannot_share_a_socket(folder: Path) -> None:
    """A start that finds its socket answered says so, and takes nothing over."""
    settings = load(folder / "perhop.yaml", {})
    server = await asyncio.start_unix_server(lambda _, writer: writer.close(), folder / "a.sock")
    async with server:
        with pytest.raises(OperatorError, match="cannot listen"):
            async with serving(settings, clock=time.time, control=_no_control):
                pass


def test_the_configuration_of_the_guide_loads(tmp_path: Path) -> None:
    """What the page on nginx tells to write is a whole configuration, whose calendar is behind another proxy."""
    (written,) = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.S)
    (tmp_path / "perhop.yaml").write_text(written, encoding="utf-8")
    settings = load(tmp_path / "perhop.yaml", {})
    assert settings.registry.resources["calendar"].data_plane is DataPlane.FORWARD_AUTH
    assert str(settings.listen.authz) == "unix:/run/perhop/authz.sock"
