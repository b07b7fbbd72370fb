"""The console in a real browser, in which no script runs: a person signs in, looks at a call, and decides on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perhop.rules.approval import FRESH_SECONDS
from tests.support.chromium import Tab, chromium
from tests.support.consoles import ANN, BOB, PASSWORD, ConsoleWorld, console_world
from tests.support.upstreams import raw_answer, recording_upstream


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[ConsoleWorld]:
    async with console_world(tmp_path / "i") as made:
        yield made


@pytest.fixture
async def tab(tmp_path: Path) -> AsyncIterator[Tab]:
    async with chromium(tmp_path / "profile") as opened:
        yield opened


async def _sign_in(tab: Tab, world: ConsoleWorld, email: str) -> None:
    await tab.open(f"{world.console}/sign-in")
    await tab.type_into("#email", email)
    await tab.type_into("#password", PASSWORD)
    await tab.click("button")


async def test_a_person_approves_a_call(world: ConsoleWorld, tab: Tab) -> None:
    """From the link to the sign-in, to the call, to the decision; then the agent's call passes, once."""
    token = await world.token()
    approval = (await world.call(token=token)).json()["error"]["data"]["approval"]
    await tab.open(f"{world.console}/approvals/{approval}")
    await tab.type_into("#email", BOB)
    await tab.type_into("#password", PASSWORD)
    await tab.click("button")
    assert await tab.url() == f"{world.console}/approvals/{approval}"
    page = await tab.html()
    assert "trip-planner" in page
    assert "2026-11-27" in page
    assert (await tab.picture()).startswith(b"\x89PNG")
    await tab.type_into("#why", "asked the planners")
    await tab.click("button[value=approve]")
    assert "The agent repeats its call by itself" in await tab.html()
    assert (await world.call(token=token)).status_code == 200
    assert (await world.call(token=token)).status_code == 403
    assert world.records("approval.changed")[1]["about"]["why"] == "asked the planners"


async def test_a_person_denies_a_call_after_signing_in_again(world: ConsoleWorld, tab: Tab) -> None:
    """What was typed, over two lines, is there again after the password was asked for once more."""
    approval = await world.asked(person=ANN)
    await _sign_in(tab, world, BOB)
    await tab.open(f"{world.console}/approvals/{approval}")
    world.clock.ahead += FRESH_SECONDS + 1
    await tab.type_into("#why", "first line\nand <second>")
    await tab.click("button[value=deny]")
    assert await world.state(approval) == "waiting"
    await tab.type_into("#password", PASSWORD)
    await tab.click("button")
    assert await tab.url() == f"{world.console}/approvals/{approval}"
    await tab.click("button[value=deny]")
    assert await world.state(approval) == "denied"
    assert world.records("approval.changed")[-1]["about"]["why"] == "first line\nand <second>"


async def test_a_form_on_another_port_of_the_machine(world: ConsoleWorld, tab: Tab) -> None:
    """A page of another server on the machine sends a form with the person's cookie: it is refused as another's."""
    approval = await world.asked()
    await _sign_in(tab, world, BOB)
    url = f"{world.console}/approvals/{approval}"
    forged = f'<form method="post" action="{url}"><button name="decision" value="approve">Win</button></form>'
    async with recording_upstream() as (elsewhere, upstream):
        upstream.script = lambda _: raw_answer(forged.encode(), content_type="text/html")
        await tab.open(elsewhere)
        await tab.click("button")
    assert await tab.url() == url
    assert "The form came from another site" in await tab.html()
    assert await world.state(approval) == "waiting"


async def test_a_person_signs_out(world: ConsoleWorld, tab: Tab) -> None:
    """Two clicks, and the list is closed."""
    await _sign_in(tab, world, BOB)
    await tab.click("header a[href='/sign-out']")
    await tab.click("button")
    assert await tab.url() == f"{world.console}/sign-in"
    await tab.open(f"{world.console}/approvals")
    assert await tab.url() == f"{world.console}/sign-in"
