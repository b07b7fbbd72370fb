"""The commands on clients that nobody wrote into the configuration, on the files of an installation."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from perhop.journal.record import RequestFacts
from perhop.settings import load
from perhop.wiring.opening import open_plane
from tests.support.commands import perhop

RULES = """\
client_registration: adopted
client_documents:
  - {host: apps.example.com, owner: travel, expires: 2099-12-31, reaches: {calendar: [calendar:read]}}
"""
METADATA = (
    b'{"client_name": "Journey", "redirect_uris": ["https://apps.example.com/callback"],'
    b' "token_endpoint_auth_method": "none"}'
)


@pytest.fixture
def waiting(folder: Path) -> list[str]:
    """Two clients that have registered themselves."""
    with (folder / "perhop.yaml").open("a", encoding="utf-8") as file:
        file.write(RULES)

    async def register() -> list[str]:
        async with open_plane(load(folder / "perhop.yaml", {}), clock=time.time, record_start=False) as plane:
            for name in ("registered-1", "registered-2"):
                await plane.newcomers.registrations.register(
                    METADATA, client_id=name, new_secret=lambda: "", request=RequestFacts(ip="127.0.0.1")
                )
        return ["registered-1", "registered-2"]

    return asyncio.run(register())


def test_clients_that_wait_are_listed_adopted_and_rejected(folder: Path, waiting: list[str]) -> None:
    """Those that wait stand in the list until one is adopted and the other rejected."""
    listed = {each["id"]: each for each in perhop("client", "list", "--json", folder=folder).json}
    assert [(listed[each]["standing"], listed[each]["owner"]) for each in waiting] == [("waiting", None)] * 2
    assert listed["planner"]["origin"] == "file"
    adopt = ("client", "adopt", waiting[0], "--owner", "travel", "--expires", "2099-12-31")
    wrong = perhop(*adopt, "--reach", "calendar:calendar:read", folder=folder)
    assert (wrong.code, "RESOURCE=SCOPE" in wrong.err) == (2, True)
    reaches = ("--reach", "calendar=calendar:read", "--reach", "calendar=calendar:write")
    adopted = perhop(*adopt, *reaches, "--json", folder=folder)
    assert adopted.json["reaches"] == {"calendar": ["calendar:read", "calendar:write"]}
    rejected = perhop("client", "reject", waiting[1], "--why", "unknown", folder=folder)
    assert (rejected.code, rejected.out) == (0, f"rejected: client {waiting[1]}\n")
    listed = {each["id"]: each for each in perhop("client", "list", "--json", folder=folder).json}
    assert waiting[1] not in listed
    assert (listed[waiting[0]]["standing"], listed[waiting[0]]["origin"]) == ("enabled", "registration")
    assert perhop("client", "reject", waiting[1], folder=folder).code == 6


def test_a_url_that_a_rule_admits_can_be_disabled(folder: Path, waiting: list[str]) -> None:
    """A client that has not come yet is disabled by the URL of its document; one of another host is not known."""
    disabled = perhop("client", "disable", "https://apps.example.com/client.json", folder=folder)
    assert disabled.code == 0, disabled.err
    assert perhop("client", "disable", "https://other.example.com/client.json", folder=folder).code == 6
