"""Commands beside a running server, and beside each other: one writer, one answer, whoever carries it out."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx2
import pytest

from perhop.control.failure import RemoteFailure
from perhop.control.local import carry_out
from perhop.control.socket import ask, is_answered, listening
from perhop.errors import NotFound
from perhop.journal.keys import VKEY_FILE, load_vkey
from perhop.journal.verify import verify_journal
from perhop.settings import load
from perhop.storage.journal_reader import JournalSnapshot
from tests.support.commands import SECRET, clean_environment, make_installation, perhop, ports_of
from tests.support.installations import PERHOP
from tests.support.processes import LOOPBACK, Running, answers, started


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Running]]:
    """An installation with `perhop serve` on it."""
    folder = tmp_path_factory.mktemp("served") / "installation"
    make_installation(folder)
    with started([PERHOP, "serve"], ports=ports_of(folder), folder=folder) as running:
        yield folder, running


def _token_status(folder: Path) -> int:
    """What the running server's token endpoint says to the client."""
    traffic, _ = ports_of(folder)
    form = {"grant_type": "client_credentials", "resource": "https://rooms.example.com/mcp"}
    answer = httpx2.post(f"http://{LOOPBACK}:{traffic}/token", data=form, auth=("planner", SECRET), timeout=10)
    return answer.status_code


def test_the_socket_is_for_the_owner_alone(served: tuple[Path, Running]) -> None:
    """It lies beside the database, mode 0600."""
    mode = (served[0] / "perhop.sock").stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


def test_a_change_is_in_force_in_the_running_server(served: tuple[Path, Running]) -> None:
    """The command ends when the server refuses, and when it issues again."""
    folder, _ = served
    assert _token_status(folder) == 200
    assert perhop("client", "disable", "planner", folder=folder).code == 0
    assert _token_status(folder) == 401
    assert perhop("client", "enable", "planner", folder=folder).code == 0
    assert _token_status(folder) == 200


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("token", "issue", "--client", "nobody", "--resource", "rooms"), 6, "nobody"),
        (("token", "issue", "--client", "planner", "--resource", "https://x.example/y"), 3, "audience.mismatch"),
        (("key", "rotate", "--alg", "HS256"), 2, "choose ES256"),
        (("account", "disable", "nobody@example.com"), 6, "perhop account list"),
    ],
)
def test_the_server_fails_as_the_files_would(
    words: tuple[str, ...], code: int, said: str, served: tuple[Path, Running], folder: Path
) -> None:
    """Exit code and words are the same through the socket and without a server."""
    through, without = perhop(*words, folder=served[0]), perhop(*words, folder=folder)
    assert (through.code, without.code) == (code, code)
    assert said in through.err
    assert said in without.err


def test_reading_commands_work_beside_the_server(served: tuple[Path, Running]) -> None:
    """They open the files, see what the server has just written, and find it good."""
    folder, _ = served
    token = perhop("token", "issue", "--client", "planner", "--resource", "rooms", "--json", folder=folder).json
    assert token["jti"] in perhop("journal", "query", "--json", "--jti", token["jti"], folder=folder).out
    assert perhop("journal", "verify", folder=folder).code == 0
    assert perhop("trace", token["jti"], folder=folder).code == 0
    for words in (("client", "list"), ("account", "list"), ("key", "list"), ("journal", "tail")):
        assert perhop(*words, folder=folder).code == 0
    checks = {each["name"]: each for each in perhop("doctor", "--json", folder=folder).json["checks"]}
    for name in ("issuer", "published keys", "clock", "address calendar"):
        assert checks[name]["status"] == "ok", checks[name]


def test_a_second_server_is_told_of_the_first(served: tuple[Path, Running]) -> None:
    """It ends at once, and the first one goes on."""
    folder, _ = served
    second = subprocess.run(
        [PERHOP, "serve"], cwd=folder, capture_output=True, text=True, timeout=60, env=clean_environment()
    )
    assert second.returncode == 1
    assert "serves this installation already" in second.stderr
    assert _token_status(folder) == 200


@contextmanager
def _serving(folder: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`perhop serve --json`, and what it said once it served."""
    with subprocess.Popen(
        [PERHOP, "serve", "--json"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    ) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()
            process.communicate()


def test_a_crash_leaves_nothing_that_stands_in_the_way(folder: Path) -> None:
    """After a kill the socket is there and nobody answers: commands use the files, and the next server starts.

    Asked to stop, it ends with exit code 0, and takes its socket along; who waits for revocations is not waited for.
    """
    with _serving(folder) as (crashed, _):
        crashed.kill()
        crashed.wait(timeout=10)
    assert (folder / "perhop.sock").exists()
    assert perhop("account", "add", "ann@example.com", folder=folder).code == 0
    with _serving(folder) as (stopped, said):
        assert said["resources"]["rooms"] == "https://rooms.example.com/mcp"
        assert httpx2.get(f"{said['ops']}/livez", timeout=10).json() == {"live": True}
        waiting = HTTPConnection(said["issuer"].removeprefix("http://"), timeout=30)
        waiting.request("GET", "/revocations?wait=0")
        statement = waiting.getresponse().read().decode()
        newest = json.loads(base64.urlsafe_b64decode(statement.split(".")[1] + "=="))["next"]
        waiting.request("GET", f"/revocations?after={newest}&wait=25")
        began = time.monotonic()
        stopped.send_signal(signal.SIGTERM)
        assert waiting.getresponse().status == 200
        assert stopped.wait(timeout=20) == 0
        assert time.monotonic() - began < 5
        _, said_at_the_end = stopped.communicate()
        assert "stopping" in said_at_the_end
    assert not (folder / "perhop.sock").exists()
    assert not any(answers(port) for port in ports_of(folder))
    assert perhop("journal", "verify", folder=folder).code == 0


@pytest.mark.parametrize("lost", ["journal.db", "perhop.db", "keys/journal.pem", "keys/journal.vkey"])
def test_serve_makes_nothing(lost: str, folder: Path) -> None:
    """What `perhop init` should have made is missing, and stays missing; the error says so."""
    (folder / lost).unlink()
    before = sorted(folder.rglob("*"))
    ran = perhop("serve", folder=folder)
    assert ran.code in (1, 6)
    assert "perhop init" in ran.err
    assert [file for file in sorted(folder.rglob("*")) if file not in before and ".lock" not in file.name] == []


async def test_commands_wait_for_each_other(folder: Path) -> None:
    """Without a server the files have one writer at a time, and nobody is turned away for that."""
    settings = load(folder / "perhop.yaml", {})
    added = await asyncio.gather(
        *(
            carry_out(settings, "account.add", {"email": f"{name}@example.com", "password": None})
            for name in ("ann", "bob", "cid")
        )
    )
    assert len({each["subject"] for each in added}) == 3
    with JournalSnapshot(settings.journal_path) as snapshot:
        assert verify_journal(snapshot, load_vkey(settings.keys_dir / VKEY_FILE)).ok


async def _slow_answer(begun: asyncio.Event, go: asyncio.Event, operation: str) -> dict[str, str]:
    begun.set()
    await go.wait()
    return {"did": operation}


async def test_what_was_asked_before_the_stop_is_answered(tmp_path: Path) -> None:
    """The socket is gone, and the answer still comes."""
    path, begun, go = tmp_path / "perhop.sock", asyncio.Event(), asyncio.Event()
    leave = asyncio.Event()

    async def serve() -> None:
        async with listening(path, lambda operation, _: _slow_answer(begun, go, operation)):
            await leave.wait()

    serving = asyncio.create_task(serve())
    async with asyncio.timeout(5):
        while not await is_answered(path):
            await asyncio.sleep(0.01)
    asking = asyncio.create_task(ask(path, "wait", {}))
    await begun.wait()
    leave.set()
    while path.exists():
        await asyncio.sleep(0.01)
    assert not serving.done()
    go.set()
    assert await asking == {"did": "wait"}
    await serving
    assert await ask(path, "wait", {}) is None


async def test_a_line_that_is_no_request_is_refused(tmp_path: Path) -> None:
    """What cannot be read is told as usage; what is too long or silent is not answered; the next asker is."""
    path = tmp_path / "perhop.sock"

    async def answer(operation: str, _: Any) -> dict[str, str]:
        return {"did": operation}

    async def send(line: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(line)
        writer.write_eof()
        try:
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async with listening(path, answer):
        for line in (b"nonsense\n", b'{"operation": "x"}\n', b'{"operation": "x", "arguments": 1}\n', b"[]\n"):
            assert json.loads(await send(line))["failure"]["exit_code"] == 2
        assert await send(b"") == b""
        assert await send(b"a" * (1024 * 1024 + 1) + b"\n") == b""
        assert await ask(path, "work", {}) == {"did": "work"}


async def test_the_path_of_the_socket_may_be_long(tmp_path: Path) -> None:
    """The system's bound of 108 bytes is not the bound of an installation's folder."""
    folder = tmp_path / ("a" * 120)
    folder.mkdir()

    async def answer(operation: str, _: Any) -> dict[str, str]:
        return {"did": operation}

    async with listening(folder / "perhop.sock", answer):
        assert os.stat(folder / "perhop.sock").st_mode & 0o777 == 0o600
        assert await ask(folder / "perhop.sock", "work", {}) == {"did": "work"}


async def test_an_operation_that_is_not_there(served: tuple[Path, Running], folder: Path) -> None:
    """Another version's command is told, by a server and without one."""
    for where, expected in ((served[0], RemoteFailure), (folder, NotFound)):
        with pytest.raises(expected, match="no operation `fly`"):
            await carry_out(load(where / "perhop.yaml", {}), "fly", {})
    with pytest.raises(RemoteFailure, match="takes other arguments"):
        await carry_out(load(served[0] / "perhop.yaml", {}), "key.rotate", {"speed": 1})
