"""RFC 8252: a program on a person's machine uses their browser, and is come back to on a loopback port."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import pytest

from perhop.client import PersonsBrowser
from tests.support.sign_in_world import SignInWorld


async def test_the_port_is_whatever_is_free_and_closed_afterwards() -> None:
    """§7.3 and §8.3: by address and not by name, on a port of the moment, which is let go of at once."""
    browser = PersonsBrowser(open_url=lambda _: True)
    async with browser.receiving(None) as first, browser.receiving(None) as second:
        places = [urlsplit(each.redirect_uri) for each in (first, second)]
    assert all(ipaddress.ip_address(place.hostname or "").is_loopback for place in places)
    assert places[0].port != places[1].port
    async with PersonsBrowser(redirect_uri=places[0].geturl(), open_url=lambda _: True).receiving(None) as again:
        assert urlsplit(again.redirect_uri).port == places[0].port


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
async def test_the_address_is_spelled_as_it_was_registered(host: str) -> None:
    """§7.3: each spelling of the loopback interface is kept, with the port beside it."""
    browser = PersonsBrowser(redirect_uri=f"http://{host}/back", open_url=lambda _: True)
    async with browser.receiving(None) as receiver:
        place = urlsplit(receiver.redirect_uri)
    assert (place.netloc, place.path) == (f"{host}:{place.port}", "/back")


async def test_a_program_says_that_it_is_native_and_keeps_no_secret() -> None:
    """§8.4 and §8.5: it registers as `native`, by `none` where that is offered."""
    world = SignInWorld()
    await world.call(world.sign_in())
    (registered,) = world.registered
    assert (registered["application_type"], registered["token_endpoint_auth_method"]) == ("native", "none")
