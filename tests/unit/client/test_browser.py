"""The person's browser comes back to an address of this machine, and only with the answer that is awaited."""

from __future__ import annotations

import httpx2
import pytest

from perhop.client import PersonsBrowser
from perhop.errors import BrowserUnavailable, SettingsError
from tests.support.windows import URL, come_back


async def test_the_answer_is_taken_and_the_person_told() -> None:
    """A fixed page with no script in it, whatever came; the query is what the browser brought."""

    async def act(http: httpx2.AsyncClient, place: str) -> None:
        page = await http.get(f"{place}?code=c&state=our-state&note=<script>")
        assert page.status_code == 200
        assert "script" not in page.text
        assert "close this page" in page.text
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert page.headers["cache-control"] == "no-store"

    assert (await come_back(act)).startswith("code=c&state=our-state")


async def test_whatever_else_knocks_is_not_the_answer() -> None:
    """Another path, method, host or state gets a 404, and the right answer is still awaited."""

    async def act(http: httpx2.AsyncClient, place: str) -> None:
        good = f"{place}?code=evil&state=our-state"
        refused = [
            await http.get(place),
            await http.get(f"{place}?code=evil&state=another"),
            await http.get(f"{place}?code=evil&state=our-state&state=our-state"),
            await http.get(good.replace("/callback", "/favicon.ico")),
            await http.post(good),
            await http.get(good, headers={"host": "rebound.example.com"}),
        ]
        assert {each.status_code for each in refused} == {404}
        await http.get(f"{place}?code=right&state=our-state")

    assert await come_back(act) == "code=right&state=our-state"


async def test_the_port_of_before_is_taken_again_if_it_is_free() -> None:
    """A client that registered with an address comes back to it; if it is taken, another one will do."""
    browser = PersonsBrowser(open_url=lambda _: True)
    async with browser.receiving(None) as first:
        async with browser.receiving(first.redirect_uri) as second:
            assert second.redirect_uri != first.redirect_uri
        before = first.redirect_uri
    async with browser.receiving(before) as third:
        assert third.redirect_uri == before
    fixed = PersonsBrowser(redirect_uri=before, open_url=lambda _: True)
    async with fixed.receiving(None) as fourth:
        assert fourth.redirect_uri == before
        with pytest.raises(BrowserUnavailable, match="is taken"):
            async with fixed.receiving(None):
                pass


async def test_who_cannot_be_asked_or_does_not_come_back_is_told() -> None:
    """No browser, no patience left, and no URL for browsers."""
    async with PersonsBrowser(open_url=lambda _: False).receiving(None) as receiver:
        with pytest.raises(BrowserUnavailable, match="no browser"):
            await receiver.answer_to(URL, "s")
    async with PersonsBrowser(open_url=lambda _: True, patience=0.01).receiving(None) as receiver:
        with pytest.raises(BrowserUnavailable, match="nobody came back"):
            await receiver.answer_to(URL, "s")
        for url in (
            "javascript:alert(1)",
            "http://auth.example.com/authorize?x",
            "file:///x",
            "https://user@a.example/",
        ):
            with pytest.raises(BrowserUnavailable, match="authorization endpoint"):
                await receiver.answer_to(url, "s")


@pytest.mark.parametrize("uri", ["https://desk.example.com/callback", "http://0.0.0.0/x", "https://127.0.0.1/x", "x"])
def test_the_person_comes_back_to_this_machine(uri: str) -> None:
    """Any other address is refused."""
    with pytest.raises(SettingsError):
        PersonsBrowser(redirect_uri=uri)
