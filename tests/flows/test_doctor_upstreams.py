"""`perhop doctor` beside MCP servers that are open, misconfigured, out of time, out of certificate, or not there."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from perhop.control.doctor import Finding, Status, diagnose
from perhop.core.resource import CredentialKind, Resource, ResourceUri, Upstream
from perhop.rules.resource_uri import parse_resource_uri
from perhop.settings import Settings, load
from tests.support.installations import await_verdict, installed
from tests.support.upstreams import (
    Received,
    RecordingUpstream,
    Scripted,
    json_answer,
    raw_answer,
    recording_upstream,
    sdk_upstream,
)

HERE = {"www-authenticate": "Bearer", "content-type": "application/json"}


def _with_upstream(folder: Path, url: str, **changes: Any) -> Settings:
    """The installation's settings, with the calendar's server at this URL and nothing else."""
    settings = load(folder / "perhop.yaml", {})
    calendar = settings.registry.resources["calendar"]
    upstream = Upstream(url=url, resource=parse_resource_uri(url), credential=CredentialKind.EXCHANGE)
    described = replace(calendar, upstream=replace(upstream, **changes))
    return replace(settings, registry=replace(settings.registry, resources={"calendar": described}))


async def _look(settings: Settings) -> dict[str, Finding]:
    return {each.name: each for each in await diagnose(settings, clock=time.time)}


def _guarded(metadata: Any, *, date: str | None = None) -> Any:
    """A server that wants tokens, and serves this metadata."""

    def answer(request: Received) -> Scripted:
        headers = {"date": date} if date else {}
        if request.path.startswith("/.well-known/"):
            return raw_answer(json.dumps(metadata).encode(), **headers)
        return Scripted(401, {**HERE, **headers}, ())

    return answer


@pytest.fixture
async def guarded() -> AsyncIterator[tuple[str, RecordingUpstream]]:
    """A server that answers by script; its URL and itself."""
    async with recording_upstream() as (url, upstream):
        yield url, upstream


async def test_a_guarded_server_that_points_at_us_is_fine(folder: Path, guarded: tuple[str, RecordingUpstream]) -> None:
    """It refuses strangers, and names issuer and audience; no token of ours was sent."""
    url, upstream = guarded
    settings = _with_upstream(folder, url)
    upstream.script = _guarded({"resource": url, "authorization_servers": [settings.issuer]})
    found = await _look(settings)
    for name in ("upstream calendar", "audience check calendar", "metadata calendar", "clock calendar"):
        assert found[name].answer.status is Status.OK, found[name]
    assert found["revisions calendar"].answer.status is Status.SKIPPED
    assert found["tools calendar"].answer.status is Status.SKIPPED


@pytest.mark.parametrize(
    ("resource", "issuer", "said"),
    [
        ("URL/", "ISSUER", "it calls itself"),
        ("https://mcp.example.com/mcp", "ISSUER", "it calls itself"),
        ("URL", "https://other.example.com", "not to us"),
        ("URL", "ISSUER/", "not to us"),
    ],
)
async def test_metadata_that_points_elsewhere_is_found(
    resource: str, issuer: str, said: str, folder: Path, guarded: tuple[str, RecordingUpstream]
) -> None:
    """Another audience, by a slash even, and another authorization server."""
    url, upstream = guarded
    settings = _with_upstream(folder, url)
    named = issuer.replace("ISSUER", settings.issuer)
    upstream.script = _guarded({"resource": resource.replace("URL", url), "authorization_servers": [named]})
    found = (await _look(settings))["metadata calendar"].answer
    assert found.status is Status.FAILED
    assert said in found.seen
    assert found.fix


async def test_metadata_of_a_stranger_is_not_fetched(folder: Path, guarded: tuple[str, RecordingUpstream]) -> None:
    """A challenge that names an address beyond the server's own origin is not followed."""
    url, upstream = guarded
    async with recording_upstream() as (elsewhere, stranger):
        challenge = f'Bearer resource_metadata="{elsewhere}/.well-known/x"'
        upstream.script = lambda _: Scripted(401, {"www-authenticate": challenge}, ())
        found = await _look(_with_upstream(folder, url))
    assert stranger.received == []
    assert "serves none" in found["metadata calendar"].answer.seen


async def test_a_server_without_a_gateway_is_looked_at_too(
    folder: Path, guarded: tuple[str, RecordingUpstream]
) -> None:
    """At its own `uri`: clients find their way by its metadata alone."""
    url, upstream = guarded
    settings = load(folder / "perhop.yaml", {})
    rooms: Resource = replace(settings.registry.resources["rooms"], uri=ResourceUri(url))
    settings = replace(settings, registry=replace(settings.registry, resources={"rooms": rooms}))
    upstream.script = _guarded({"resource": url, "authorization_servers": [settings.issuer]})
    assert (await _look(settings))["metadata rooms"].answer.status is Status.OK
    upstream.script = _guarded({"resource": url, "authorization_servers": []})
    assert (await _look(settings))["metadata rooms"].answer.status is Status.FAILED
    upstream.script = lambda _: Scripted(404, {}, ())
    assert (await _look(settings))["metadata rooms"].answer.status is Status.WARNING


@pytest.mark.parametrize("allowed", [False, True])
async def test_an_open_server_is_found_without_a_running_perhop(folder: Path, allowed: bool) -> None:
    """Who lets strangers in does not look at audiences; where that is allowed, it is a warning still."""
    async with sdk_upstream() as url:
        found = await _look(_with_upstream(folder, url, unsafe_open_upstream=allowed))
    assert found["audience check calendar"].answer.status is (Status.WARNING if allowed else Status.FAILED)
    assert "lets strangers in" in found["audience check calendar"].answer.seen


async def test_a_server_that_takes_any_bearer_is_found(folder: Path, guarded: tuple[str, RecordingUpstream]) -> None:
    """It wants a token, and a token under a key that nobody knows will do."""
    url, upstream = guarded

    def answer(request: Received) -> Scripted:
        if request.header("authorization") is None:
            return Scripted(401, HERE, ())
        return json_answer({"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {}})

    upstream.script = answer
    assert (await _look(_with_upstream(folder, url)))["audience check calendar"].answer.status is Status.FAILED


def test_the_running_servers_self_test_is_told(tmp_path: Path) -> None:
    """While perhop serves, its own canary speaks: an open server fails."""

    async def look() -> None:
        async with sdk_upstream() as url:
            with installed(tmp_path / "installation", url) as installation:
                await asyncio.to_thread(await_verdict, installation, ["open"])
                found = await _look(load(installation.folder / "perhop.yaml", {}))
        answer = found["audience check everything"].answer
        assert (answer.status, "good nowhere" in answer.seen) == (Status.FAILED, True)

    asyncio.run(look())


async def test_a_server_that_is_not_there_is_a_warning_while_nothing_is_served(folder: Path) -> None:
    """What cannot be asked is skipped, and the rest is told."""
    found = await _look(load(folder / "perhop.yaml", {}))
    assert found["upstream calendar"].answer.status is Status.WARNING
    assert "nothing answers there" in found["upstream calendar"].answer.seen
    assert found["revisions calendar"].answer.status is Status.SKIPPED


async def test_revisions_and_tools_of_an_open_server_are_told(folder: Path) -> None:
    """What it speaks; and which tools and scopes do not know each other."""
    async with sdk_upstream() as url:
        settings = _with_upstream(folder, url, credential=CredentialKind.NONE, resource=None)
        found = await _look(settings)
    assert found["revisions calendar"].answer.seen == "speaks 2026-07-28, 2025-11-25"
    tools = found["tools calendar"].answer
    assert tools.status is Status.WARNING
    assert "no scope lists `add`, `count`, `echo`, `fail`" in tools.seen
    assert "scopes that list no tool of the server: `calendar:read`, `calendar:write`" in tools.seen
    assert "listed, and not there: `create_event`" in tools.seen
    assert found["audience check calendar"].answer.status is Status.OK


async def test_an_address_that_is_no_mcp_endpoint_is_found(
    folder: Path, guarded: tuple[str, RecordingUpstream]
) -> None:
    """It answers, and speaks nothing that is served here."""
    url, upstream = guarded
    upstream.script = lambda _: raw_answer(b"<html>hello</html>", content_type="text/html")
    settings = _with_upstream(folder, url, credential=CredentialKind.NONE, resource=None)
    assert (await _look(settings))["revisions calendar"].answer.status is Status.FAILED


async def test_a_servers_clock_is_looked_at(folder: Path, guarded: tuple[str, RecordingUpstream]) -> None:
    """A guard whose clock is behind refuses tokens that were just made."""
    url, upstream = guarded
    upstream.script = _guarded({}, date=formatdate(time.time() - 300, usegmt=True))
    found = (await _look(_with_upstream(folder, url)))["clock calendar"].answer
    assert found.status is Status.FAILED
    assert "300 s behind" in found.seen or "301 s behind" in found.seen


class Authority:
    """A certificate authority of one's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        now = datetime.now(UTC)
        built = self._builder(self.name, self.key, now - timedelta(days=1000), now + timedelta(days=1000))
        self.certificate = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(
            self.key, hashes.SHA256()
        )
        self.file = folder / "ca.pem"
        self.file.write_bytes(self.certificate.public_bytes(Encoding.PEM))

    def _builder(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, begins: datetime, ends: datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )

    def server(self, *, days: float) -> ssl.SSLContext:
        """TLS of a server on 127.0.0.1 whose certificate ends in so many days."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        built = self._builder(subject, key, now - timedelta(days=100), now + timedelta(days=days))
        signed = built.add_extension(names, critical=False).sign(self.key, hashes.SHA256())
        file = self.folder / f"server-{days}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.write_bytes(private + signed.public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


@asynccontextmanager
async def _tls_server(tls: ssl.SSLContext) -> AsyncIterator[str]:
    """Answers 401 to everything, over TLS."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}/mcp"
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("days", "status", "said"),
    [(-1, Status.FAILED, "expired"), (3, Status.WARNING, "2 days"), (60, Status.OK, "59 days")],
)
async def test_certificates_of_upstreams_are_looked_at(
    days: float, status: Status, said: str, folder: Path, tmp_path: Path
) -> None:
    """One that has ended, one that is about to, and one that holds, by an authority that `ca_file` names."""
    authority = Authority(tmp_path)
    async with _tls_server(authority.server(days=days)) as url:
        found = await _look(_with_upstream(folder, url, ca_certificates=authority.file.read_text(encoding="ascii")))
    assert found["certificate calendar"].answer.status is status
    assert said in found["certificate calendar"].answer.seen
    assert (found["upstream calendar"].answer.status is Status.OK) == (days > 0)


async def test_an_authority_that_nobody_named_is_not_believed(folder: Path, tmp_path: Path) -> None:
    """Without `ca_file` a certificate of one's own authority is none."""
    async with _tls_server(Authority(tmp_path).server(days=60)) as url:
        found = await _look(_with_upstream(folder, url))
    assert found["certificate calendar"].answer.status is Status.FAILED
    assert found["upstream calendar"].answer.status is Status.WARNING
