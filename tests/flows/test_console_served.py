"""The console of a real `perhop serve`: where it listens, what commands say of it, and who can decide there."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from perhop.errors import OperatorError
from perhop.serving.serve import serving
from perhop.settings import load
from tests.support.browsers import form_in
from tests.support.commands import Ran, perhop, ports_of
from tests.support.consoles import PASSWORD, no_control
from tests.support.installations import PERHOP
from tests.support.processes import Running, free_port, started

APPROVED = """\
@id("big-changes") @approval("owner")
permit (principal, action == MCP::Action::"call_tool", resource == MCP::Tool::"calendar/create_event");
"""


@pytest.fixture
def folder_with_approval(folder: Path) -> Path:
    """An installation with a policy that wants approval, and a person in the team that decides."""
    (folder / "policies/approved.cedar").write_text(APPROVED, encoding="utf-8")
    _change(
        folder, "travel@example.com", "travel@example.com, members: [Ann@example.com], deputies: [dora@example.com]"
    )
    return folder


@pytest.fixture
def served(folder_with_approval: Path) -> Iterator[tuple[Path, Running]]:
    folder = folder_with_approval
    (folder / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    added = perhop("account", "add", "ann@example.com", "--password-file", "password", folder=folder)
    assert added.code == 0, added.err
    ports = [*ports_of(folder), _console(folder).port]
    with started([PERHOP, "serve", "--json"], ports=ports, folder=folder) as process:
        yield folder, process


def _change(folder: Path, old: str, new: str) -> None:
    file = folder / "perhop.yaml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def _console(folder: Path) -> Any:
    return load(folder / "perhop.yaml", {}).listen.console


def _doctor(folder: Path) -> dict[str, dict[str, Any]]:
    """What `perhop doctor` says of the console, by the team that it is about."""
    ran = perhop("doctor", "--json", folder=folder)
    return {each["part"] or "": each for each in ran.json["checks"] if each["check"] == "console"}


def test_the_server_says_where_the_console_is(served: tuple[Path, Running]) -> None:
    """To people in a line, to programs in a member; there is a sign-in; and doctor finds it, and who can decide."""
    folder, process = served
    url = f"http://{_console(folder)}"
    deadline = time.monotonic() + 10
    while "\n{" not in process.output() and time.monotonic() < deadline:
        time.sleep(0.02)  # it listens first, and then says so
    assert f"console: {url}" in process.output()
    (line,) = [line for line in process.output().splitlines() if line.startswith("{")]
    assert json.loads(line)["console"] == url
    with httpx2.Client(base_url=url) as http:
        page = http.get("/sign-in")
        assert form_in(page).fields == ["email", "password"]
        sent = {**form_in(page).hidden, "email": "Ann@Example.com", "password": PASSWORD}
        assert http.post("/sign-in", data=sent).status_code == 303
        assert "Nothing waits for travel." in http.get("/approvals").text
        again = http.get("/sign-in")
        assert http.post("/sign-in", data={**form_in(again).hidden, "email": "x", "password": "y"}).status_code == 403
    found = _doctor(folder)
    assert (found[""]["status"], found[""]["seen"]) == ("ok", f"answers for {url}")
    assert (found["travel"]["status"], found["travel"]["seen"]) == (
        "ok",
        "accounts that can approve calls of `calendar`: 1",
    )
    (refused,) = _records(folder)
    assert (refused["event"], refused["reason"]) == ("token.refused", "client.authentication")


def _records(folder: Path) -> list[dict[str, Any]]:
    ran: Ran = perhop("journal", "query", "--resource", "perhop:console", "--json", folder=folder)
    return [json.loads(line) for line in ran.out.splitlines()]


def test_another_console_url_is_put_in_force_without_a_restart(served: tuple[Path, Running]) -> None:
    """Its name is good at once, and the one before no more; doctor tells when the file and the server differ."""
    folder, _ = served
    url = f"http://{_console(folder)}"
    _change(folder, "owners:", "console_url: https://console.example.com\nowners:")
    assert (_doctor(folder)[""]["status"], "421" in _doctor(folder)[""]["seen"]) == ("failed", True)
    assert perhop("apply", folder=folder).code == 0
    assert httpx2.get(f"{url}/sign-in").status_code == 421
    assert httpx2.get(f"{url}/sign-in", headers={"host": "console.example.com"}).status_code == 200
    assert _doctor(folder)[""]["seen"] == "answers for https://console.example.com"
    port = _console(folder).port
    _change(folder, f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}")
    refused = perhop("apply", folder=folder)
    assert refused.code == 2
    assert "`listen` is another one" in refused.err


def test_a_team_in_which_nobody_can_decide(folder_with_approval: Path) -> None:
    """Members without an account, and with a disabled one, are nobody; a deputy who has one is enough."""
    folder = folder_with_approval
    found = _doctor(folder)
    assert found[""]["status"] == "skipped"
    assert found["travel"]["status"] == "warning"
    assert "nobody can approve calls of `calendar`" in found["travel"]["seen"]
    assert "perhop account add" in found["travel"]["fix"]
    assert "rooms-team" not in found
    for email, able in (("stranger@example.com", False), ("ann@example.com", True)):
        (folder / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
        assert perhop("account", "add", email, "--password-file", "password", folder=folder).code == 0
        assert (_doctor(folder)["travel"]["status"] == "ok") == able
    assert perhop("account", "disable", "ann@example.com", folder=folder).code == 0
    assert _doctor(folder)["travel"]["status"] == "warning"
    assert perhop("account", "add", "dora@example.com", "--password-file", "password", folder=folder).code == 0
    assert _doctor(folder)["travel"]["status"] == "ok"


def test_without_a_policy_that_wants_approval_nobody_has_to_decide(folder: Path) -> None:
    """The starter policies of `perhop init` ask nobody."""
    assert list(_doctor(folder)) == [""]


async def test_a_port_that_is_taken(folder: Path) -> None:
    """Nothing is served without the console that is configured, and the error says where."""
    settings = load(folder / "perhop.yaml", {})
    with socket.create_server(("127.0.0.1", settings.listen.console.port)):
        with pytest.raises(OperatorError, match=f"cannot listen on {settings.listen.console}"):
            async with serving(settings, clock=time.time, control=no_control):
                pass
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{settings.issuer}/jwks")
