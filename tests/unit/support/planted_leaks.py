"""Tests that leak, for the tests of the leak scan: every kind of secret in every kind of place, run by pytest in a run.

Each is born where such secrets are born in tests, so that the scan can know it, and is planted then.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from perhop.tokens.keys import SigningKey
from tests.support.commands import perhop
from tests.support.doors import Wire, send
from tests.support.forge import good_claims, sign
from tests.support.leaks.secrets import Kind
from tests.support.processes import LOOPBACK, started
from tests.support.spans import kept_spans

SIGNER = SigningKey.generate()


def a_token() -> str:
    claims = good_claims(issuer="http://127.0.0.1:1", audience="http://127.0.0.1:2/mcp", now=1_800_000_000)
    return sign(claims | {"jti": secrets.token_hex(8)}, SIGNER)


def exchange(answer: httpx2.Response, **request: Any) -> None:
    """One request of a client of a test's, and this answer."""
    with httpx2.Client(transport=httpx2.MockTransport(lambda _: answer)) as http:
        http.post("http://127.0.0.1:1/somewhere", **request)


def born(kind: Kind, folder: Path) -> str:
    """A new secret of this kind, in a way that the scan sees; written down where whoever runs this wants it."""
    secret = _born(kind, folder)
    with Path(os.environ["PLANTED_SECRETS"]).open("a", encoding="utf-8") as file:
        file.write(f"{secret}\n")
    return secret


def _born(kind: Kind, folder: Path) -> str:
    fresh = secrets.token_urlsafe(24)
    ok = httpx2.Response(200)
    match kind:
        case Kind.TOKEN:
            return a_token()  # by its form, unseen
        case Kind.REFRESH_TOKEN:
            exchange(httpx2.Response(200, json={"access_token": a_token(), "refresh_token": fresh}))
        case Kind.ASSERTION:
            fresh = a_token()
            exchange(ok, data={"client_assertion": fresh})
        case Kind.CLIENT_SECRET:
            exchange(ok, auth=("agent", fresh))
        case Kind.PASSWORD | Kind.VERIFIER:
            exchange(ok, data={"password" if kind is Kind.PASSWORD else "code_verifier": fresh})
        case Kind.PRIVATE_KEY:
            pem = SigningKey.generate().as_pem().reveal()
            (folder / "keys").mkdir(parents=True)
            (folder / "keys" / "signing.pem").write_text(pem, encoding="ascii")
            fresh = "".join(pem.splitlines()[1:-1])
        case Kind.CODE:
            exchange(httpx2.Response(303, headers={"location": f"http://127.0.0.1:1/callback?code={fresh}&state=x"}))
        case Kind.COOKIE:
            exchange(httpx2.Response(200, headers={"set-cookie": f"perhop-session={fresh}; HttpOnly"}))
        case Kind.SEAL:
            exchange(httpx2.Response(200, text=f'<form><input type="hidden" name="seal" value="{fresh}"></form>'))
        case Kind.SESSION:
            exchange(httpx2.Response(200, headers={"mcp-session-id": fresh}))
        case Kind.ARGUMENT:
            call = {"method": "tools/call", "params": {"name": "echo", "arguments": {"list": [{"text": fresh}]}}}
            exchange(ok, json=call)
    return fresh


# --- places ----------------------------------------------------------------------------------------------------------


def in_a_file(folder: Path, secret: str) -> None:
    (folder / "notes.txt").write_text(f"it is {secret}.", encoding="utf-8")


def in_a_file_percent_encoded(folder: Path, secret: str) -> None:
    (folder / "notes.txt").write_text("".join(f"%{ord(letter):02x}" for letter in secret), encoding="utf-8")


def in_a_file_within_basic(folder: Path, secret: str) -> None:
    wrapped = base64.b64encode(f"agent:{secret}".encode()).decode()
    (folder / "notes.txt").write_text(f"Authorization: Basic {wrapped}", encoding="utf-8")


def in_a_journal(folder: Path, secret: str) -> None:
    _database(folder / "journal.db", "record", json.dumps({"detail": secret}))


def in_a_record_percent_encoded(folder: Path, secret: str) -> None:
    _database(folder / "journal.db", "record", "".join(f"%{ord(letter):02x}" for letter in secret))


def in_a_long_record(folder: Path, secret: str) -> None:
    """What is longer than a page is in pieces in the file; here the secret is cut in two."""
    file = folder / "journal.db"
    for length in range(400, 600, 8):
        file.unlink(missing_ok=True)
        _database(file, "record", "before" * 100 + secret + "-" * length, pages=512)
        if secret.encode() not in file.read_bytes():
            return
    raise AssertionError("it is whole in every one of them")


def in_a_row_that_was_deleted(folder: Path, secret: str) -> None:
    file = folder / "perhop.db"
    _database(file, "code", secret)
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA secure_delete = OFF")
        db.execute("DELETE FROM code")
    db.close()


def in_a_log_that_was_never_checkpointed(folder: Path, secret: str) -> None:
    script = (
        "import os, sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('PRAGMA journal_mode = WAL');"
        "db.execute('CREATE TABLE t(x)'); db.execute('INSERT INTO t VALUES (?)', (sys.stdin.read(),));"
        "db.commit(); os._exit(0)"
    )
    words = [sys.executable, "-c", script, str(folder / "journal.db")]
    subprocess.run(words, input=secret, text=True, check=True)
    assert (folder / "journal.db-wal").exists()


def in_a_checkpoint(folder: Path, secret: str) -> None:
    (folder / "journal.checkpoint").write_text(f"{secret}\n1\nroot\n\n— log sig\n", encoding="utf-8")


def in_an_export_of_records(folder: Path, secret: str) -> None:
    (folder / "out.jsonl").write_text(json.dumps({"event": "x", "seq": 1, "detail": secret}), encoding="utf-8")


def in_an_export_to_ocsf(folder: Path, secret: str) -> None:
    (folder / "out.jsonl").write_text(json.dumps({"class_uid": 1, "message": secret}), encoding="utf-8")


def in_a_report(folder: Path, secret: str) -> None:
    (folder / "report.html").write_text(f"<!doctype html><p>{secret}</p>", encoding="utf-8")


def in_the_output_of_a_process(folder: Path, secret: str) -> None:
    subprocess.run(["cat"], input=secret, text=True, check=True, capture_output=True)


def in_the_output_of_an_async_process(folder: Path, secret: str) -> None:
    async def run() -> None:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec("sh", "-c", "cat >&2", stdin=pipe, stdout=pipe, stderr=pipe)
        await process.communicate(secret.encode())

    asyncio.run(run())


def in_the_output_of_a_server(folder: Path, secret: str) -> None:
    with started(["sh", "-c", f"echo {secret} >&2; exec sleep 60"]) as running:
        while secret not in running.output():
            pass


def in_what_a_command_says(folder: Path, secret: str) -> None:
    assert secret in perhop("journal", "query", f"=={secret}", folder=folder).err


def in_the_log(folder: Path, secret: str) -> None:
    logging.getLogger("perhop.somewhere").info("it is %s", secret)


def in_the_log_of_an_error(folder: Path, secret: str) -> None:
    try:
        raise ValueError(secret)
    except ValueError:
        logging.getLogger("perhop.somewhere").exception("it failed")


def in_what_the_test_printed(folder: Path, secret: str) -> None:
    print(secret)


def in_the_metrics(folder: Path, secret: str) -> None:
    metrics = httpx2.Response(200, text=f'perhop_x{{name="{secret}"}} 1.0')
    with httpx2.Client(transport=httpx2.MockTransport(lambda _: metrics)) as http:
        http.get("http://127.0.0.1:1/metrics")


def in_the_name_of_a_span(folder: Path, secret: str) -> None:
    _trace(lambda span: span.update_name(secret))


def in_an_attribute_of_a_span(folder: Path, secret: str) -> None:
    _trace(lambda span: span.set_attribute("perhop.x", secret))


def in_an_event_of_a_span(folder: Path, secret: str) -> None:
    _trace(lambda span: span.add_event("x", {"y": secret}))


def in_an_exception_of_a_span(folder: Path, secret: str) -> None:
    _trace(lambda span: span.record_exception(ValueError(secret)))


def in_the_body_of_a_refusal(folder: Path, secret: str) -> None:
    exchange(httpx2.Response(403, json={"error": secret}))


def in_a_header_of_a_refusal(folder: Path, secret: str) -> None:
    exchange(httpx2.Response(401, headers={"www-authenticate": f'Bearer error_description="{secret}"'}))


def in_a_refusal_that_is_streamed(folder: Path, secret: str) -> None:
    async def run() -> None:
        async def app(_: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(500, stream=_Body(secret.encode()))

        async with (
            httpx2.AsyncClient(transport=httpx2.MockTransport(app)) as http,
            http.stream("GET", "http://127.0.0.1:1/") as answer,
        ):
            await answer.aread()

    asyncio.run(run())


def in_a_refusal_at_a_door(folder: Path, secret: str) -> None:
    asyncio.run(_at_a_door(f"HTTP/1.1 400 Bad Request\r\ncontent-length: {len(secret)}\r\n\r\n{secret}".encode()))


PLACES: tuple[Callable[[Path, str], None], ...] = (
    *(in_a_file, in_a_file_percent_encoded, in_a_file_within_basic, in_a_journal, in_a_long_record),
    in_a_record_percent_encoded,
    *(in_a_row_that_was_deleted, in_a_log_that_was_never_checkpointed, in_a_checkpoint, in_an_export_of_records),
    *(in_an_export_to_ocsf, in_a_report, in_the_output_of_a_process, in_the_output_of_an_async_process),
    *(in_the_output_of_a_server, in_what_a_command_says, in_the_log, in_the_log_of_an_error, in_what_the_test_printed),
    *(in_the_metrics, in_the_name_of_a_span, in_an_attribute_of_a_span, in_an_event_of_a_span),
    *(in_an_exception_of_a_span, in_the_body_of_a_refusal, in_a_header_of_a_refusal, in_a_refusal_that_is_streamed),
    in_a_refusal_at_a_door,
)


def _database(file: Path, table: str, text: str, *, pages: int = 4096) -> None:
    db = sqlite3.connect(file)
    db.execute(f"PRAGMA page_size = {pages}")
    db.execute("PRAGMA synchronous = OFF")
    with db:
        db.execute(f"CREATE TABLE {table}(seq INTEGER PRIMARY KEY, body TEXT)")
        db.execute(f"INSERT INTO {table}(body) VALUES (?)", (text,))
    db.close()


def _trace(write: Callable[[Any], None]) -> None:
    from opentelemetry import trace

    with kept_spans():
        span = trace.get_tracer("tests").start_span("x")
        write(span)
        span.end()


class _Body(httpx2.AsyncByteStream):
    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    async def __aiter__(self) -> Any:
        yield self._octets


async def _at_a_door(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, LOOPBACK, 0) as server:
        address = f"{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
        await send(address, Wire(method="GET").render(path="/", host=address))


# --- the tests -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.name)
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_leaks(place: Callable[[Path, str], None], kind: Kind, tmp_path: Path) -> None:
    """Ends well, but for the scan."""
    place(tmp_path, born(kind, tmp_path))


@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.name)
def test_keeps_to_itself(kind: Kind, tmp_path: Path) -> None:
    """Has a secret, and leaks none: its hash may be anywhere, and so may a secret that is of no kind."""
    import hashlib

    secret = born(kind, tmp_path)
    for place in PLACES:
        folder = tmp_path / place.__name__
        folder.mkdir()
        place(folder, hashlib.sha256(secret.encode()).hexdigest())
