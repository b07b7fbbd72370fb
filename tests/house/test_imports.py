"""Each outside library has one home; the order of our own modules is import-linter's to check."""

from __future__ import annotations

import pytest

from tests.support.sources import SOURCE, imported_modules, place, python_files, tree

HOMES = {
    "joserfc": ("tokens",),
    "cedarpy": ("policy",),
    "sqlalchemy": ("storage",),
    "aiosqlite": ("storage",),
    "alembic": ("storage",),
    # The demo's attacker changes the journal's file behind our back, so not through our storage.
    # What a guard keeps on disk must not make an MCP author install a database library.
    "sqlite3": (
        *("storage", "demo/attacks.py"),
        *("resource_server/sqlite_replay.py", "resource_server/reports_file.py"),
    ),
    "pydantic": ("settings",),
    "pydantic_core": ("settings",),
    "pydantic_settings": ("settings",),
    "yaml": ("settings",),
    "typer": ("cli",),
    "rich": ("cli", "demo"),
    "fastmcp": ("resource_server/fastmcp.py", "demo"),
    "mcp": ("resource_server/mcp_sdk.py", "resource_server/fastmcp.py", "demo"),  # FastMCP is built on the SDK
    "argon2": ("authorization_server",),
    "prometheus_client": ("wiring", "serving"),
    "opentelemetry": ("resource_server/hop_span.py",),
    "jinja2": ("authorization_server", "cli/incident_page.py"),
}


@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_imported_in_its_home_only(library: str) -> None:
    """Only the modules of its home import the library."""
    homes = [SOURCE / home for home in HOMES[library]]
    strangers = [
        f"{place(file)}:{line}"
        for file in python_files("src")
        for module, line in imported_modules(tree(file))
        if module.split(".")[0] == library and not any(file.is_relative_to(home) for home in homes)
    ]
    assert strangers == []
