"""Real software: `make test-real` fetches it; without it these tests are skipped by name, and CI fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scripts import fetch_debian
from scripts.fetch_real import entry_of, environment, is_fetched, node
from tests.support.processes import free_port, started_beside

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder `real`, and skip it when the software is not there."""
    is_there = is_fetched() and fetch_debian.is_fetched()
    for item in items:
        if not item.path.is_relative_to(HERE):
            continue
        item.add_marker("real")
        if not is_there:
            item.add_marker(pytest.mark.skip(reason="needs pinned real software; run `make test-real`"))


@pytest.fixture
async def everything_npm(tmp_path: Path) -> AsyncIterator[str]:
    """URL of the reference server `@modelcontextprotocol/server-everything`, which checks no token."""
    port = free_port()
    entry = entry_of("@modelcontextprotocol/server-everything", "mcp-server-everything")
    variables = {**environment(tmp_path), "PORT": str(port)}
    async with started_beside([node(), entry, "streamableHttp"], ports=[port], environment=variables):
        yield f"http://127.0.0.1:{port}/mcp"
