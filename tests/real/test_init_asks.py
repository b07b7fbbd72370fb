"""`perhop init --upstream` before a server of others: scopes and policies by its own tools, and a first look."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.support.commands import perhop


async def test_the_reference_server_becomes_scopes_and_policies(tmp_path: Path, everything_npm: str) -> None:
    """Its read-only tools are permitted by name, the others are not; both files are good, and `doctor` agrees."""
    ran = await asyncio.to_thread(
        perhop, "init", "new", "--upstream", everything_npm, "--name", "everything", "--json", folder=tmp_path
    )
    resource = ran.json["resource"]
    assert {"echo", "get-sum"} <= set(resource["read"])
    assert "toggle-simulated-logging" in resource["write"]
    assert (resource["left_out"], resource["problem"]) == ([], "")
    for words in (("config", "check"), ("policy", "check")):
        assert (await asyncio.to_thread(perhop, *words, folder=tmp_path / "new")).out == "ok\n"
    looked = (await asyncio.to_thread(perhop, "doctor", "--json", folder=tmp_path / "new")).out
    found = {each["name"]: each for each in json.loads(looked)["checks"]}
    assert found["tools everything"]["status"] == "ok"
    assert found["revisions everything"]["seen"] == "speaks 2025-11-25"
