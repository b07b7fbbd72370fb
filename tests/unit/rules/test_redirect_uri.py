"""Redirect URIs: exactly what was registered, but for the port on the person's own machine."""

from __future__ import annotations

import pytest

from perhop.errors import RedirectRefused
from perhop.rules.redirect_uri import check_redirect_uri, is_loopback_only, parse_redirect_uri

APP = "https://app.example.com/callback"
DESK = "http://127.0.0.1:3955/callback"


@pytest.mark.parametrize(
    "uri",
    [
        APP,
        DESK,
        "http://localhost/callback",
        "http://[::1]:1/callback",
        "https://app.example.com:443/callback?a=b",
        "https://localhost/callback",
    ],
)
def test_https_and_loopback_may_be_registered(uri: str) -> None:
    """An https address, and http to this machine, are kept as they are written."""
    assert parse_redirect_uri(uri) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "http://app.example.com/callback",
        "http://127.0.0.2/callback",
        "http://localhost.example.com/callback",
        "http://127.0.0.1.example.com/callback",
        "http://0.0.0.0/callback",
        "http://[::ffff:127.0.0.1]/callback",
        "javascript:alert(1)",
        "data:text/html,x",
        "com.example.app:/callback",
        "com.example.app://callback",
        "https://app.example.com/callback#x",
        "https://user@app.example.com/callback",
        "https://app.example.com\\@evil.example/callback",
        "https://*.example.com/callback",
        "https://app.example.com/*",
        "https://app.example.com/../callback",
        "//app.example.com/callback",
        "/callback",
        "",
    ],
)
def test_other_addresses_may_not_be_registered(uri: str) -> None:
    """Plain http elsewhere, custom and script schemes, wildcards and odd spellings are refused."""
    with pytest.raises(RedirectRefused):
        parse_redirect_uri(uri)


@pytest.mark.parametrize(
    "uri",
    [
        APP + "/",
        APP + "/x",
        APP + "?x=1",
        APP + "#x",
        APP.upper(),
        APP.replace("https", "http"),
        APP.replace("example.com", "example.com:443"),
        APP.replace("example.com", "example.com:8443"),
        APP.replace("app.", "user@app."),
        APP.replace("/callback", "/%63allback"),
        APP.replace("/callback", "/x/../callback"),
        "https://evil.example/callback",
        "",
    ],
)
def test_registered_address_is_matched_exactly(uri: str) -> None:
    """A longer, shorter, re-spelt or re-cased address is another address."""
    check_redirect_uri(APP, [APP])
    with pytest.raises(RedirectRefused):
        check_redirect_uri(uri, [APP, DESK])


@pytest.mark.parametrize("port", ["", ":1", ":3955", ":65535"])
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_loopback_port_is_free(host: str, port: str) -> None:
    """An application on the person's machine may come with any port."""
    check_redirect_uri(f"http://{host}{port}/callback", [f"http://{host}:3955/callback"])
    check_redirect_uri(f"http://{host}{port}/callback", [f"http://{host}/callback"])


@pytest.mark.parametrize(
    "uri",
    [
        "http://localhost:3955/callback",
        "http://[::1]:3955/callback",
        "http://127.0.0.1:3955/callback/",
        "http://127.0.0.1:3955/Callback",
        "http://127.0.0.1:3955/callback?x=1",
        "http://127.0.0.1:3955/callback#",
        "http://127.0.0.1:3955",
        "https://127.0.0.1:3955/callback",
        "http://127.0.0.1:0/callback",
        "http://127.0.0.1:03955/callback",
        "http://127.0.0.1:65536/callback",
        "http://127.0.0.1:/callback",
        "http://127.0.0.1:3955@evil.example/callback",
        "http://127.0.0.1:3955.evil.example/callback",
        "http://127.0.0.1.evil.example/callback",
        "http://x@127.0.0.1:3955/callback",
        "HTTP://127.0.0.1:3955/callback",
        "http://127.0.0.1:3955/callback\n",
    ],
)
def test_only_the_port_is_free(uri: str) -> None:
    """Host, path, query, scheme and every odd spelling of the port stay as registered."""
    with pytest.raises(RedirectRefused):
        check_redirect_uri(uri, [DESK])


def test_port_is_not_free_elsewhere() -> None:
    """The exception is for http to this machine only."""
    with pytest.raises(RedirectRefused):
        check_redirect_uri("https://localhost:1/callback", ["https://localhost:2/callback"])


@pytest.mark.parametrize(("uris", "answer"), [([DESK], True), ([DESK, APP], False), ([APP], False), ([], False)])
def test_loopback_only(uris: list[str], answer: bool) -> None:
    """A client is loopback-only if it has redirect URIs and all of them lead to the person's own machine."""
    assert is_loopback_only(uris) is answer
