"""The MCP Inspector signs a person in: from the 401 by discovery to a consent in a real browser, and then it calls."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.fetch_real import entry_of, environment, node
from tests.support.chromium import chromium
from tests.support.inspector import PACKAGE
from tests.support.installations import Installation, await_verdict, installed
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind
from tests.support.processes import free_port, started

ROOT = Path(__file__).resolve().parents[2]
EMAIL, PASSWORD = "ann@example.com", THE_SCAN.note("a long passphrase of ann", Kind.PASSWORD)
ASKS = re.compile(r"Please navigate to: (\S+)")
SECONDS = 120


@pytest.fixture
def callback() -> str:
    """Where the Inspector waits for the browser to come back."""
    return f"http://127.0.0.1:{free_port()}/oauth/callback"


@pytest.fixture
def installation(tmp_path: Path, callback: str) -> Iterator[Installation]:
    """A gateway before a server of the official SDK; the Inspector is one of its clients, Ann has an account."""
    port = free_port()
    server = [sys.executable, "-m", "conformance.everything_server", "--port", str(port), "--bare"]
    client = f"""\
  inspector:
    owner: testers
    purpose: shows people what the server can do
    expires: 2099-12-31
    authentication: {{method: none}}
    redirect_uris: ["{callback}"]
    reaches: {{everything: ["everything:use"]}}
"""
    (tmp_path / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    with (
        started(server, ports=[port], folder=ROOT),
        installed(
            tmp_path / "perhop", f"http://127.0.0.1:{port}/mcp", unsafe_open=True, more_clients=client
        ) as running,
    ):
        await_verdict(running, ["open"])
        running.run("account", "add", EMAIL, "--password-file", str(tmp_path / "password"))
        yield running


async def test_the_inspector_gets_a_persons_token_by_discovery_and_calls_a_tool(
    installation: Installation, callback: str, tmp_path: Path
) -> None:
    """It finds the server by itself, asks the person to a page, waits for the code, and calls with what it got."""
    words = [str(node()), str(entry_of(PACKAGE, "mcp-inspector")), "--cli", "--transport", "http", "--format", "json"]
    words += ["--server-url", installation.url, "--client-id", "inspector", "--callback-url", callback]
    words += ["--method", "tools/call", "--tool-name", "test_simple_text"]
    alone = {
        "NO_COLOR": "1",
        "MCP_AUTO_OPEN_ENABLED": "true",
        "MCP_INSPECTOR_SECRET_STORE": "memory",
        "BROWSER": "true",
    }
    home = tmp_path / "home"
    home.mkdir()
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=home,
        env={**os.environ, **environment(home), **alone},
    )
    try:
        async with asyncio.timeout(SECONDS):
            url = await _asked_for(process)
            async with chromium(tmp_path / "profile") as tab:
                await tab.open(url)
                await tab.type_into("input[name=email]", EMAIL)
                await tab.type_into("input[name=password]", PASSWORD)
                await tab.click("button")
                await tab.click("button[value=allow]")
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert "simple text" in json.loads(output)["result"]["content"][0]["text"]
    (call,) = [
        each for each in installation.records("--event", "call.permitted") if each["call"]["method"] == "tools/call"
    ]
    assert call["in"]["sub"].startswith("user:")
    assert (call["in"]["agent"], call["in"]["aud"]) == ("inspector", installation.url)


async def _asked_for(process: asyncio.subprocess.Process) -> str:
    """The page to which it asks the person."""
    assert process.stderr is not None
    said = ""
    while True:
        line = (await process.stderr.readline()).decode()
        assert line, f"the Inspector asks for nothing\n{said}"
        said += line
        if found := ASKS.search(line):
            return found[1]
