"""Debian's nginx before the console, with the lines that docs/console.md gives, over https."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from tests.support.certificates import make_ca
from tests.support.consoles import BOB, ConsoleWorld, PersonsBrowser, console_world
from tests.support.nginx import nginx_with
from tests.support.processes import free_port
from tests.support.sources import ROOT

CONSOLE = "http://127.0.0.1:8421"
HOST = "localhost"


@dataclass(frozen=True)
class Behind:
    """A console, the URL at which people find it, and their browser."""

    world: ConsoleWorld
    url: str
    browser: PersonsBrowser


def _lines_of_the_guide() -> str:
    """The nginx block of docs/console.md."""
    (block,) = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs/console.md").read_text(encoding="utf-8"), re.S)
    assert block.count(CONSOLE) == 1
    return str(block)


@pytest.fixture
async def behind(tmp_path: Path) -> AsyncIterator[Behind]:
    port = free_port()
    url = f"https://{HOST}:{port}"
    authority, _ = make_ca(tmp_path, HOST)
    more = f"console_url: {url}\nforwarded_from: [127.0.0.1]\n"
    async with console_world(tmp_path / "i", more=more) as world:
        conf = (
            f"server {{\nlisten 127.0.0.1:{port} ssl;\nserver_name {HOST};\n"
            f"ssl_certificate {tmp_path}/cert.pem;\nssl_certificate_key {tmp_path}/key.pem;\n"
            f"{_lines_of_the_guide().replace(CONSOLE, world.console)}}}\n"
        )
        tls = ssl.create_default_context(cadata=authority)
        async with (
            nginx_with(tmp_path / "n", conf, port=port),
            httpx2.AsyncClient(verify=tls, timeout=15, trust_env=False) as http,
        ):
            yield Behind(world, url, PersonsBrowser(http, url))


async def test_a_person_signs_in_and_decides(behind: Behind) -> None:
    """As a browser does it, with the origin that it has; the journal says who it was, and from which address."""
    world, browser = behind.world, behind.browser
    approval = await world.asked()
    page = await browser.open("/sign-in")
    told = {"origin": behind.url, "sec_fetch_site": "same-origin", "x_forwarded_for": "198.51.100.7"}
    filled = {"email": BOB, "password": "wrong"}
    wrong = await browser.send(page, filled, **told)
    assert "The e-mail address or the password is wrong." in wrong.text
    assert (await browser.sign_in(BOB)).status_code == 303
    assert (await browser.decide(approval, "approve", "looked at")).status_code == 303
    assert await world.state(approval) == "approved"
    (refused,) = world.records("token.refused")
    # What the browser claims of its address is not believed: nginx says whom it sees.
    assert refused["request"]["ip"] == "127.0.0.1"


async def test_another_host_and_another_origin_are_refused_through_it(behind: Behind) -> None:
    """nginx passes both on as they came, so the console can tell."""
    browser = behind.browser
    assert (await browser.open("/sign-in", host="elsewhere.example.com")).status_code == 421
    page = await browser.open("/sign-in")
    filled = {"email": BOB, "password": "any"}
    told = {"origin": "https://elsewhere.example.com", "sec_fetch_site": "cross-site"}
    assert (await browser.send(page, filled, **told)).status_code == 403
