"""The relay keeps all that is sent, changes nothing, and catches a proxy that passes tokens on in any disguise."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest

from conformance.shim import Shim, Tokens
from perhop.tokens.keys import SigningKey
from tests.support.forge import good_claims, sign
from tests.support.recordings import FULL, Recordings, RecordingUnreadable, parse_requests
from tests.support.relay import Relay, Relayed, relayed, relaying
from tests.support.upstreams import json_answer, recording_upstream

KEY = SigningKey.generate()


def a_token(jti: str) -> str:
    """One of two tokens that differ in their `jti` and signature only."""
    claims = good_claims(issuer="http://127.0.0.1:1", audience="http://127.0.0.1:2/mcp", now=1_800_000_000)
    return sign(claims | {"jti": jti}, KEY)


INBOUND, OUTBOUND = a_token("inbound"), a_token("outbound")
CLAIMS, SIGNATURE = INBOUND.split(".")[1:]
OCTETS = base64.urlsafe_b64decode(SIGNATURE + "==")


@asynccontextmanager
async def a_relay(folder: Path) -> AsyncIterator[Relayed]:
    """A relay before a server that answers everything."""
    async with recording_upstream() as (url, upstream), relaying(url, folder / "sent") as relay:
        upstream.script = lambda _: json_answer({"ok": True})
        yield relay


class _Passed(Tokens):
    """A token source that has one."""

    async def current(self) -> str:
        return INBOUND


async def test_a_proxy_that_passes_tokens_on_is_caught(tmp_path: Path) -> None:
    """The shim adds the caller's token and sends it to the server: the relay has it, and says where."""
    async with a_relay(tmp_path) as relay:
        port = httpx2.URL(relay.url).port
        assert port is not None
        proxy = await asyncio.start_server(
            Shim("127.0.0.1", port, _Passed("", "", "", "", Path())).serve, "127.0.0.1", 0
        )
        async with proxy, httpx2.AsyncClient() as http:
            there = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}/mcp"
            assert (await http.post(there, json={})).json()["result"] == {"ok": True}
            proxy.close()
    assert [sent.bearer for sent in relay.recordings.requests()] == [INBOUND]
    found = relay.recordings.traces([INBOUND, OUTBOUND])
    assert {trace.token for trace in found} == {INBOUND}
    assert {trace.form for trace in found} >= {"claims", "signature"}
    assert any(trace.where.startswith("headers of b'POST /mcp") for trace in found)


DISGUISES = (
    INBOUND,
    INBOUND[: len(INBOUND) - 50],
    SIGNATURE,
    SIGNATURE[20:60],
    CLAIMS,
    base64.b64encode(INBOUND.encode()).decode(),
    base64.urlsafe_b64encode(b"Bearer " + INBOUND.encode()).decode(),
    base64.b64encode(b"Bearer: " + INBOUND.encode()).decode(),
    base64.b64encode(b"x" + CLAIMS.encode()).decode(),
    base64.b64encode(OCTETS).decode(),
    "".join(f"%{ord(letter):02x}" for letter in INBOUND),
    "".join(f"%25{ord(letter):02X}" for letter in SIGNATURE),
    INBOUND.encode().hex(),
    SIGNATURE.encode().hex().upper(),
    base64.urlsafe_b64decode(CLAIMS + "=" * (-len(CLAIMS) % 4)).decode(),
)


@pytest.mark.parametrize("place", ["target", "header", "body", "chunks", "escapes"])
async def test_a_token_is_found_in_any_disguise(tmp_path: Path, place: str) -> None:
    """Whole or in part, encoded or not, in target, headers and body, also in chunks and in JSON's escapes."""
    async with a_relay(tmp_path) as relay, httpx2.AsyncClient() as http:
        for number, disguised in enumerate(DISGUISES):
            url = f"{relay.url}/{number}/"
            match place:
                case "target":
                    await http.get(f"{url}?x={quote(disguised, safe='%')}")
                case "header":
                    await http.get(url, headers={"x-forwarded-authorization": disguised})
                case "body":
                    await http.post(url, content=f"before {disguised} after")
                case "chunks":
                    await http.post(url, content=_in_pieces(disguised.encode()))
                case _:
                    escaped = "".join(f"\\u{ord(letter):04x}" for letter in disguised)
                    assert json.loads(f'"{escaped}"') == disguised
                    await http.post(url, content=f'{{"x": "{escaped}"}}')
    traces = relay.recordings.traces([INBOUND, OUTBOUND])
    assert {trace.token for trace in traces} == {INBOUND}
    found = [number for number in range(len(DISGUISES)) if any(f"/mcp/{number}/" in trace.where for trace in traces)]
    assert found == list(range(len(DISGUISES)))


async def _in_pieces(octets: bytes) -> AsyncIterator[bytes]:
    """Chunks that are shorter than anything that is looked for."""
    for start in range(0, len(octets), 7):
        yield octets[start : start + 7]


async def test_another_token_of_the_same_key_is_not_taken_for_it(tmp_path: Path) -> None:
    """The gateway's own token, alike but for its `jti`, is no trace of the caller's."""
    async with a_relay(tmp_path) as relay, httpx2.AsyncClient() as http:
        await http.post(relay.url, json={}, headers={"authorization": f"Bearer {OUTBOUND}"})
    assert relay.recordings.traces([INBOUND]) == []
    assert relay.recordings.requests()[0].bearer == OUTBOUND


async def test_what_is_no_token_of_ours_is_found_too(tmp_path: Path) -> None:
    """Of a text that is no JWT every piece counts."""
    opaque = "authlab.0123456789abcdefghijklmnopqrstuvwxyz"
    async with a_relay(tmp_path) as relay, httpx2.AsyncClient() as http:
        await http.get(f"{relay.url}?x={opaque[10:]}{opaque}")
    assert {trace.token for trace in relay.recordings.traces([opaque, INBOUND])} == {opaque}


async def test_what_is_not_kept_does_not_pass(tmp_path: Path) -> None:
    """At its bound the relay closes, and from then on its recordings prove nothing."""
    (tmp_path / "sent").mkdir()
    async with recording_upstream() as (url, upstream):
        port = httpx2.URL(url).port
        assert port is not None
        relay = Relay("127.0.0.1", port, tmp_path / "sent", max_bytes=1000)
        server = await asyncio.start_server(relay.connect, "127.0.0.1", 0)
        async with server, httpx2.AsyncClient() as http:
            there = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
            await http.post(there, content=b"x" * 100)
            with pytest.raises(httpx2.TransportError):
                await http.post(there, content=b"x" * 2000)
            server.close()
        assert len(upstream.received) == 1
    assert (tmp_path / "sent" / FULL).exists()
    with pytest.raises(RecordingUnreadable):
        Recordings(tmp_path / "sent").traces([INBOUND])


@pytest.mark.parametrize(
    "octets",
    [
        b"\x16\x03\x01\x02\x00 no HTTP at all",
        b"POST / HTTP/1.1\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nno size\r\n",
    ],
)
def test_what_cannot_be_read_proves_nothing(octets: bytes) -> None:
    """Bytes in which a token could hide unseen are an error, not an absence."""
    with pytest.raises(RecordingUnreadable):
        list(parse_requests(octets))


async def test_as_a_process_it_keeps_the_same(tmp_path: Path) -> None:
    """A relay of its own process passes requests and answers, and what it kept is there when it has ended."""
    async with recording_upstream() as (url, _), httpx2.AsyncClient() as http:
        lifetime = relayed(url, tmp_path / "sent")
        relay = await asyncio.to_thread(lifetime.__enter__)
        try:
            answer = await http.post(
                f"{relay.url}?a=b", content=b"hello", headers={"authorization": f"bearer {INBOUND}"}
            )
        finally:
            await asyncio.to_thread(lifetime.__exit__, None, None, None)
    assert answer.json()["result"] == {"ok": True}
    (sent,) = relay.recordings.requests()
    assert (sent.bearer, sent.body) == (INBOUND, b"hello")
    assert sent.head.startswith(b"POST /mcp?a=b HTTP/1.1\r\n")
