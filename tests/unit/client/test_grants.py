"""Other ways to a client's token: the word of the platform that it runs on, and that of the company."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest

from perhop.client import IdentityAssertion, TokenSource, WorkloadIdentity
from perhop.core.secret import Secret
from perhop.errors import IssuerUnavailable, SettingsError, TokenNotGranted
from tests.support.leaks.scan import THE_SCAN
from tests.support.leaks.secrets import Kind
from tests.support.sign_in_world import ISSUER, SERVER, issuer_metadata

IDP = "https://idp.example.com"
JWT = THE_SCAN.note("a-workload-jwt-of-the-platform", Kind.ASSERTION)
ID_TOKEN = THE_SCAN.note("an-id-token-of-the-company", Kind.ASSERTION)
ID_JAG = THE_SCAN.note("an-id-jag-of-the-company", Kind.ASSERTION)
SECRET = THE_SCAN.note("a-secret-at-the-resource-side", Kind.CLIENT_SECRET)
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ID_JAG_TYPE = "urn:ietf:params:oauth:token-type:id-jag"


class Endpoints:
    """Token endpoints of two issuers; `answers` by host."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, str], str | None]] = []
        self.answers: dict[str, tuple[int, dict[str, Any]]] = {
            "auth.example.com": (200, {"access_token": "t1", "token_type": "Bearer", "expires_in": 300}),
            "idp.example.com": (200, {"access_token": ID_JAG, "issued_token_type": ID_JAG_TYPE, "token_type": "N_A"}),
        }

    def http(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=httpx2.MockTransport(self._answer))

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            return httpx2.Response(200, json=issuer_metadata(f"https://{request.url.host}"))
        form = {name: values[0] for name, values in parse_qs((await request.aread()).decode()).items()}
        self.sent.append((request.url.host, form, request.headers.get("authorization")))
        status, document = self.answers[request.url.host]
        return httpx2.Response(status, json=document)


async def test_a_workload_asks_with_its_platforms_jwt() -> None:
    """No client id, no secret; the JWT is read anew for each token, and the resource is named."""
    endpoints, read = Endpoints(), iter([f"{JWT}\n", "another-jwt-of-the-platform"])
    source = TokenSource(issuer=ISSUER, grant=WorkloadIdentity(lambda: next(read)), http=endpoints.http())
    await source.token_for(SERVER, ["mcp:read"])
    await source.token_for(SERVER)
    assert endpoints.sent == [
        (
            "auth.example.com",
            {"grant_type": JWT_BEARER, "assertion": JWT, "resource": SERVER, "scope": "mcp:read"},
            None,
        ),
        (
            "auth.example.com",
            {"grant_type": JWT_BEARER, "assertion": "another-jwt-of-the-platform", "resource": SERVER},
            None,
        ),
    ]


async def test_what_is_refused_is_not_tried_again() -> None:
    """One request, and the error is told."""
    endpoints = Endpoints()
    endpoints.answers["auth.example.com"] = (400, {"error": "invalid_grant"})
    source = TokenSource(issuer=ISSUER, grant=WorkloadIdentity(lambda: JWT), http=endpoints.http())
    with pytest.raises(TokenNotGranted, match="invalid_grant"):
        await source.token_for(SERVER)
    assert len(endpoints.sent) == 1


def _enterprise(endpoints: Endpoints) -> TokenSource:
    grant = IdentityAssertion(issuer=IDP, client_id="desk-at-idp", read_id_token=lambda: Secret(ID_TOKEN))
    return TokenSource(issuer=ISSUER, client_id="desk", client_secret=SECRET, grant=grant, http=endpoints.http())


async def test_the_company_says_where_a_person_may_go() -> None:
    """The ID token goes to the company alone, the ID-JAG to the one authorization server, each with its own client."""
    endpoints = Endpoints()
    await _enterprise(endpoints).token_for(SERVER, ["mcp:read"])
    (first, asked, _), (second, redeemed, authorization) = endpoints.sent
    assert (first, second) == ("idp.example.com", "auth.example.com")
    assert asked == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "requested_token_type": ID_JAG_TYPE,
        "subject_token": ID_TOKEN,
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        "audience": ISSUER,
        "resource": SERVER,
        "scope": "mcp:read",
        "client_id": "desk-at-idp",
    }
    assert redeemed == {"grant_type": JWT_BEARER, "assertion": ID_JAG, "resource": SERVER, "scope": "mcp:read"}
    assert authorization is not None
    assert authorization.startswith("Basic ")


@pytest.mark.parametrize(
    "document",
    [
        {"access_token": ID_JAG, "token_type": "N_A"},
        {"access_token": ID_JAG, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"},
        {"access_token": "a b", "issued_token_type": ID_JAG_TYPE},
        {"issued_token_type": ID_JAG_TYPE},
    ],
)
async def test_what_is_no_id_jag_is_not_passed_on(document: dict[str, Any]) -> None:
    """Another token of the company would be of use to whoever got it."""
    endpoints = Endpoints()
    endpoints.answers["idp.example.com"] = (200, document)
    with pytest.raises(IssuerUnavailable, match="no ID-JAG"):
        await _enterprise(endpoints).token_for(SERVER)
    assert [host for host, _, _ in endpoints.sent] == ["idp.example.com"]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"client_id": "a"},
        {"client_secret": "s"},
        {"client_id": "a", "grant": IdentityAssertion(issuer=IDP, client_id="x", read_id_token=lambda: "t")},
    ],
)
def test_who_proves_nothing_gets_no_source(arguments: dict[str, Any]) -> None:
    """Only a workload does without a credential of its own."""
    with pytest.raises(SettingsError, match="exactly one credential"):
        TokenSource(issuer=ISSUER, **arguments)


async def test_a_secret_may_go_into_the_form() -> None:
    """For a server that takes it there; the header stays away."""
    endpoints = Endpoints()
    source = TokenSource(
        issuer=ISSUER,
        client_id="desk",
        client_secret=SECRET,
        secret_method="client_secret_post",
        http=endpoints.http(),
    )
    await source.token_for(SERVER)
    ((_, form, authorization),) = endpoints.sent
    assert (form["client_id"], form["client_secret"], authorization) == ("desk", SECRET, None)
