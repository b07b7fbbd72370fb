"""The console's door: which hosts are its own, and which forms.

Spec: RFC 9110 §7.4
"""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from perhop.console.door import Door
from perhop.errors import ForeignForm, ForeignHost


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("http://127.0.0.1:8421", {"127.0.0.1:8421", "localhost:8421"}),
        ("http://localhost:8421", {"127.0.0.1:8421", "localhost:8421"}),
        ("http://127.0.0.1", {"127.0.0.1", "127.0.0.1:80", "localhost", "localhost:80"}),
        ("http://[::1]:8421", {"[::1]:8421", "127.0.0.1:8421", "localhost:8421"}),
        ("https://console.example.com", {"console.example.com", "console.example.com:443"}),
        ("https://console.example.com:8443", {"console.example.com:8443"}),
    ],
)
def test_the_hosts_of_a_url(url: str, hosts: set[str]) -> None:
    """The URL's own, with the port that it means; on this machine its other name as well."""
    assert Door.of(url).hosts == hosts


@pytest.mark.parametrize("named", [[], ["a", "console.example.com"], ["console.example.com"] * 2, [""], ["a"]])
def test_a_host_that_is_not_the_consoles(named: list[str]) -> None:
    """None, two, or another one."""
    headers = Headers(raw=[(b"host", each.encode()) for each in named])
    with pytest.raises(ForeignHost):
        Door.of("https://console.example.com").check_host(headers)


@pytest.mark.parametrize(
    ("sent", "is_ours"),
    [
        ([], True),
        ([("origin", "https://console.example.com"), ("sec-fetch-site", "same-origin")], True),
        ([("origin", "https://console.example.com:443")], True),
        ([("origin", "http://console.example.com")], False),
        ([("origin", "https://console.example.com.evil.example")], False),
        ([("origin", "https://evil.example#https://console.example.com")], False),
        ([("origin", "https://console.example.com"), ("origin", "https://evil.example")], False),
        ([("origin", "https://console.example.com"), ("sec-fetch-site", "cross-site")], False),
        ([("sec-fetch-site", "same-site")], False),
    ],
)
def test_where_a_form_comes_from(sent: list[tuple[str, str]], is_ours: bool) -> None:
    """Whatever a browser says must be us, and each of it."""
    door, headers = Door.of("https://console.example.com"), Headers(raw=[(a.encode(), b.encode()) for a, b in sent])
    if is_ours:
        door.check_form(headers)
        assert door.is_known_ours(headers) == (sent != [])
    else:
        with pytest.raises(ForeignForm):
            door.check_form(headers)
