"""Authorization server metadata: where it is looked for, and when it is believed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest

from perhop.client.discovery import discover, metadata_urls, parse_issuer_metadata
from perhop.errors import IssuerUnavailable, SettingsError
from perhop.rules.issuer_uri import parse_issuer

ISSUER = "https://auth.example.com/tenant"
GOOD = {"issuer": ISSUER, "jwks_uri": "https://keys.example.com/jwks", "token_endpoint": f"{ISSUER}/token?v=1"}


@pytest.mark.parametrize(
    "issuer",
    [
        "https://auth.example.com",
        "https://auth.example.com/",
        "https://auth.example.com:8443/tenant/",
        "http://127.0.0.1:8420",
        "http://localhost:8420/x",
        "http://[::1]:8420",
    ],
)
def test_an_issuer_is_kept_as_it_is_written(issuer: str) -> None:
    """Nothing is dropped or added, not even the slash of a bare origin."""
    assert parse_issuer(issuer) == issuer


@pytest.mark.parametrize(
    "issuer",
    [
        "http://auth.example.com",
        "http://127.0.0.1.example.com",
        "http://10.0.0.1",
        "HTTPS://auth.example.com",
        "https://Auth.example.com",
        "https://auth.example.com:443",
        "https://auth.example.com?x=1",
        "https://auth.example.com#x",
        "https://user@auth.example.com",
        "https://auth.example.com/../x",
        "ftp://auth.example.com",
        "file:///etc/passwd",
        "auth.example.com",
        " https://auth.example.com",
        "",
    ],
)
def test_an_odd_issuer_is_refused(issuer: str) -> None:
    """Plain http beyond loopback, queries, users, other schemes and spellings that are not canonical are refused."""
    with pytest.raises(SettingsError):
        parse_issuer(issuer)


def test_the_metadata_is_looked_for_at_three_places() -> None:
    """First RFC 8414 with the path after the suffix, then the two places of OpenID Connect."""
    assert metadata_urls("https://a.example/x/") == (
        "https://a.example/.well-known/oauth-authorization-server/x",
        "https://a.example/.well-known/openid-configuration/x",
        "https://a.example/x/.well-known/openid-configuration",
    )
    assert metadata_urls("https://a.example/") == (
        "https://a.example/.well-known/oauth-authorization-server",
        "https://a.example/.well-known/openid-configuration",
    )


def test_a_document_of_the_issuer_is_believed() -> None:
    """Endpoints are taken as they stand; those that are absent are None."""
    metadata = parse_issuer_metadata(json.dumps(GOOD).encode(), issuer=ISSUER)
    assert metadata.jwks_uri == "https://keys.example.com/jwks"
    assert metadata.token_endpoint == "https://auth.example.com/tenant/token?v=1"
    assert metadata.revocations_endpoint is None


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": ISSUER + "/"},
        {"issuer": ISSUER.upper()},
        {"issuer": [ISSUER]},
        {"issuer": None},
        {"jwks_uri": "http://keys.example.com/jwks"},
        {"jwks_uri": "http://127.0.0.1/jwks"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "https://u:p@keys.example.com/jwks"},
        {"token_endpoint": "https://auth.example.com/token#x"},
        {"token_endpoint": 1},
        {"perhop_revocations_endpoint": "gopher://x/"},
    ],
)
def test_a_document_that_could_mislead_is_not_believed(changes: Mapping[str, Any]) -> None:
    """Another issuer's document, and endpoints that are not https, make the whole document unusable."""
    with pytest.raises(IssuerUnavailable):
        parse_issuer_metadata(json.dumps(GOOD | changes).encode(), issuer=ISSUER)


INNER = [
    *("127.0.0.1", "127.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1"),
    *("[::1]", "[::]", "[fe80::1]", "[fd12:3456::1]", "localhost", "x.localhost"),
]


@pytest.mark.parametrize("host", INNER)
def test_an_issuer_elsewhere_leads_to_no_inner_host(host: str) -> None:
    """Requests of ours go to its endpoints: nobody far away chooses one on this machine or in its network."""
    for issuer in (ISSUER, "https://8.8.8.8"):
        for member in ("jwks_uri", "token_endpoint", "perhop_revocations_endpoint", "perhop_tasks_endpoint"):
            document = {"issuer": issuer, member: f"https://{host}:8443/x"}
            with pytest.raises(IssuerUnavailable, match=f"unusable {member}"):
                parse_issuer_metadata(json.dumps(document).encode(), issuer=issuer)


@pytest.mark.parametrize("host", INNER)
def test_an_issuer_at_an_inner_host_may_lead_to_others(host: str) -> None:
    """As in development, and in a company's network."""
    issuer, endpoint = f"https://{host}", "https://192.168.7.7/token"
    document = {"issuer": issuer, "token_endpoint": endpoint}
    assert parse_issuer_metadata(json.dumps(document).encode(), issuer=issuer).token_endpoint == endpoint


def test_a_public_address_is_as_good_as_a_name() -> None:
    """For an endpoint of any issuer."""
    document = GOOD | {"token_endpoint": "https://[2606:4700::1111]/token", "jwks_uri": "https://1.1.1.1/jwks"}
    assert parse_issuer_metadata(json.dumps(document).encode(), issuer=ISSUER).jwks_uri == "https://1.1.1.1/jwks"


@pytest.mark.parametrize("raw", [b"", b"[]", b'"x"', b"{", json.dumps(GOOD).encode()[:-1] + b',"issuer":"x"}'])
def test_a_document_that_is_no_object_is_not_believed(raw: bytes) -> None:
    """Other JSON, broken JSON and an issuer given twice are refused."""
    with pytest.raises(IssuerUnavailable):
        parse_issuer_metadata(raw, issuer=ISSUER)


def _serving(answers: Mapping[str, httpx2.Response], asked: list[str]) -> httpx2.AsyncClient:
    def handle(request: httpx2.Request) -> httpx2.Response:
        asked.append(str(request.url))
        return answers.get(str(request.url), httpx2.Response(404))

    return httpx2.AsyncClient(transport=httpx2.MockTransport(handle))


async def test_a_place_without_document_is_passed_over() -> None:
    """404 at one place leads to the next."""
    asked: list[str] = []
    last = metadata_urls(ISSUER)[-1]
    async with _serving({last: httpx2.Response(200, json=GOOD)}, asked) as http:
        metadata = await discover(http, ISSUER)
    assert metadata.issuer == ISSUER
    assert asked == list(metadata_urls(ISSUER))


async def test_a_document_of_another_issuer_ends_the_search() -> None:
    """After a wrong document no other place is tried."""
    asked: list[str] = []
    first = metadata_urls(ISSUER)[0]
    async with _serving({first: httpx2.Response(200, json=GOOD | {"issuer": "https://evil"})}, asked) as http:
        with pytest.raises(IssuerUnavailable):
            await discover(http, ISSUER)
    assert asked == [first]


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(302, headers={"location": "https://evil.example/"}),
        httpx2.Response(500),
        httpx2.Response(200, content=b" " * (64 * 1024) + json.dumps(GOOD).encode()),
        httpx2.Response(200, headers={"content-encoding": "br"}, stream=httpx2.ByteStream(b"x")),
    ],
)
async def test_an_odd_answer_is_not_followed(answer: httpx2.Response) -> None:
    """Redirects, errors, documents beyond 64 KiB and encodings that nobody asked for end the search."""
    asked: list[str] = []
    async with _serving({metadata_urls(ISSUER)[0]: answer}, asked) as http:
        with pytest.raises(IssuerUnavailable):
            await discover(http, ISSUER)
    assert len(asked) == 1
