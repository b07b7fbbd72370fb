"""What a client says of itself: real documents, and the choices that are made from them."""

from __future__ import annotations

from typing import Any

import pytest

from perhop.core.client import GrantType
from perhop.errors import ClientMetadataInvalid
from perhop.rules.client_metadata import read_document, read_registration
from perhop.rules.freshness import MAX_FRESH, MIN_FRESH, fresh_for
from perhop.rules.redirect_uri import check_redirect_uri
from tests.support.client_documents import CHATGPT, CLAUDE, CLAUDE_CODE, VS_CODE

FOR_PEOPLE = {GrantType.AUTHORIZATION_CODE, GrantType.REFRESH_TOKEN}


@pytest.mark.parametrize(
    ("document", "name", "method"),
    [
        (CHATGPT, "ChatGPT", "private_key_jwt"),
        (CLAUDE, "Claude", "none"),
        (CLAUDE_CODE, "Claude Code", "none"),
        (VS_CODE, "Visual Studio Code", "none"),
    ],
)
def test_what_real_clients_publish(document: dict[str, Any], name: str, method: str) -> None:
    """The documents of ChatGPT, Claude, Claude Code and VS Code are good, without the grants that we do not give."""
    said = read_document(document, client_id=document["client_id"])
    assert (said.name, said.method, said.grants) == (name, method, FOR_PEOPLE)
    assert list(said.redirect_uris) == document["redirect_uris"]


@pytest.mark.parametrize(
    ("document", "uri"),
    [
        (VS_CODE, "http://127.0.0.1:50123/"),
        (VS_CODE, "https://vscode.dev/redirect"),
        (CLAUDE_CODE, "http://localhost:54545/callback"),
    ],
)
def test_a_loopback_redirect_of_any_port(document: dict[str, Any], uri: str) -> None:
    """An application takes the port that it gets: the document's own does not count on a loopback address."""
    check_redirect_uri(uri, read_document(document, client_id=document["client_id"]).redirect_uris)


@pytest.mark.parametrize(
    ("changes", "method"),
    [
        ({}, "none"),
        ({"jwks": {"keys": []}}, "private_key_jwt"),
        ({"token_endpoint_auth_methods_supported": ["none", "private_key_jwt"]}, "none"),
        (
            {
                "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
                "jwks_uri": "https://a.example.com/k",
            },
            "private_key_jwt",
        ),
        ({"token_endpoint_auth_methods_supported": ["client_secret_basic", "none"]}, "none"),
        (
            {"token_endpoint_auth_method": "tls_client_auth", "token_endpoint_auth_methods_supported": ["none"]},
            "none",
        ),
    ],
)
def test_a_method_is_chosen_from_what_is_offered(changes: dict[str, Any], method: str) -> None:
    """Without one that is named, the best of the methods on offer that we take is the client's."""
    document = {name: value for name, value in CLAUDE.items() if name != "token_endpoint_auth_method"} | changes
    assert read_document(document, client_id=CLAUDE["client_id"]).method == method  # type: ignore[arg-type]


def test_redirects_that_we_do_not_take_are_dropped_from_a_document() -> None:
    """One document is for every server: a redirect URI of another kind is passed over."""
    document = {**CLAUDE, "redirect_uris": ["claude://callback", "https://claude.ai/api/mcp/auth_callback"]}
    said = read_document(document, client_id=str(CLAUDE["client_id"]))
    assert said.redirect_uris == ("https://claude.ai/api/mcp/auth_callback",)


def test_the_grants_that_are_not_named_are_those_of_the_standard() -> None:
    """A client that names no grant types uses authorization codes, and gets no refresh token."""
    without = {name: value for name, value in CLAUDE.items() if name != "grant_types"}
    assert read_document(without, client_id=str(CLAUDE["client_id"])).grants == {GrantType.AUTHORIZATION_CODE}
    assert read_registration({**without, "token_endpoint_auth_method": "none"}).grants == {GrantType.AUTHORIZATION_CODE}


@pytest.mark.parametrize("member", ["grant_types", "response_types", "token_endpoint_auth_methods_supported", "jwks"])
def test_a_member_of_another_type_is_refused(member: str) -> None:
    """A member that is a text where a list or an object belongs refuses the whole."""
    with pytest.raises(ClientMetadataInvalid):
        read_document({**CLAUDE, member: "authorization_code"}, client_id=str(CLAUDE["client_id"]))


@pytest.mark.parametrize(
    ("cache_control", "age", "seconds"),
    [
        ("", "", MIN_FRESH),
        ("max-age=3600", "", 3600),
        ("public, Max-Age=3600", "600", 3000),
        ('max-age="3600"', "", 3600),
        ("max-age=1", "", MIN_FRESH),
        ("max-age=31536000", "", MAX_FRESH),
        ("max-age=3600", "9999", MIN_FRESH),
        ("no-store, max-age=3600", "", MIN_FRESH),
        ("no-cache", "", MIN_FRESH),
        ("max-age=3600, max-age=7200", "", MIN_FRESH),
        ("max-age=-1", "", MIN_FRESH),
        ("max-age=1e9", "", MIN_FRESH),
        ("max-age=3600", "soon", 3600),
    ],
)
def test_how_long_a_document_is_fresh(cache_control: str, age: str, seconds: int) -> None:
    """What the server says counts, between five minutes and a day; what cannot be read counts as the least."""
    assert fresh_for(cache_control, age) == seconds
