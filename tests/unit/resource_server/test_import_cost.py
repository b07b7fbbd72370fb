"""An MCP author installs little."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {
    "sqlalchemy",
    "aiosqlite",
    "alembic",
    "cedarpy",
    "pydantic",
    "typer",
    "rich",
    "aiohttp",
    "starlette",
    "uvicorn",
    "yaml",
    "jinja2",
    "argon2",
    "mcp",
    "fastmcp",
    "opentelemetry",
    "prometheus_client",
    "perhop.policy",
    # A guard writes records in the journal's form; it neither keeps a journal nor reads one.
    "perhop.journal.writer",
    "perhop.journal.keys",
    "perhop.journal.query",
    "perhop.journal.investigate",
    "perhop.gateway",
    "perhop.authorization_server",
    "perhop.storage",
}


@pytest.mark.parametrize("module", ["perhop.resource_server", "perhop.client", "perhop.resource_server.testing"])
def test_the_libraries_import_nothing_of_the_server(module: str) -> None:
    """Importing a library in a fresh interpreter loads no module that only the server's extra installs."""
    code = f"import {module}, sys, json; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(run.stdout))
    assert module in loaded
    assert loaded & HEAVY == set()
