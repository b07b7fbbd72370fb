"""Commands run in the test's own process through their entry point, and an installation for them to work on."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from perhop.cli.main import main
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind
from tests.support.pools import pool_environment
from tests.support.processes import free_ports

CONFIGURATION = """\
issuer: http://127.0.0.1:{traffic}
listen: {{traffic: "127.0.0.1:{traffic}", console: "127.0.0.1:{console}", ops: "127.0.0.1:{ops}"}}
owners:
  travel: {{contact: travel@example.com}}
  rooms-team: {{contact: rooms@example.com}}
resources:
  calendar:
    uri: http://127.0.0.1:{traffic}/mcp/calendar
    owner: travel
    tenant: acme
    scopes:
      calendar:read: {{says: Read the calendar, tools: ["list_*"]}}
      calendar:write: {{says: Change the calendar, tools: [create_event]}}
    upstream: {{url: "http://127.0.0.1:{upstream}/mcp", credential: {{kind: none}}}}
  rooms:
    uri: https://rooms.example.com/mcp
    owner: rooms-team
    scopes: {{rooms:read: {{says: See rooms, tools: ["*"]}}}}
clients:
  planner:
    owner: travel
    purpose: plans trips
    expires: 2099-12-31
    authentication: {{method: client_secret_basic, secret: {secret}}}
    reaches: {{calendar: [calendar:read, calendar:write], rooms: [rooms:read]}}
  idler:
    owner: rooms-team
    purpose: waits
    expires: 2020-12-31
    authentication: {{method: client_secret_basic, secret: {secret}}}
    reaches: {{rooms: [rooms:read]}}
"""
SECRET = THE_SCAN.note("a-secret-of-a-test-that-is-long-enough-2", Kind.CLIENT_SECRET)


@dataclass(frozen=True, slots=True)
class Ran:
    """How one command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def perhop(*words: str, folder: Path, stdin: str = "") -> Ran:
    """Run `perhop WORDS` in this folder, without a terminal."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    code: object = 0
    with (
        contextlib.chdir(folder),
        patch.object(sys, "argv", ["perhop", *words]),
        patch.object(sys, "stdin", io.StringIO(stdin)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
    said = [stream.buffer.getvalue().decode() for stream in (out, err)]
    THE_SCAN.show_output(("perhop", *words), *said)
    return Ran(int(code) if isinstance(code, int) else 0 if code is None else 1, *said)


def make_installation(folder: Path) -> None:
    """An installation that nothing serves: two resources, a client in use, and one that has expired."""
    folder.mkdir(parents=True)
    traffic, console, ops, upstream = free_ports(4)
    text = CONFIGURATION.format(traffic=traffic, console=console, ops=ops, upstream=upstream, secret=SECRET)
    (folder / "perhop.yaml").write_text(text, encoding="utf-8")
    made = perhop("init", str(folder), folder=folder)
    assert made.code == 0, made.err


def ports_of(folder: Path) -> tuple[int, int]:
    """The ports on which the installation takes traffic and tells its health."""
    listen = perhop("config", "show", "--json", folder=folder).json["listen"]
    return int(listen["traffic"].rpartition(":")[2]), int(listen["ops"].rpartition(":")[2])


def clean_environment() -> dict[str, str]:
    """The environment without anything that configures Perhop, but for the pool that the whole run uses."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PERHOP_")}
    return clean | pool_environment()
