"""RFC 9728: where a resource's metadata is, and what it says."""

from __future__ import annotations

import httpx2
import pytest

from perhop.resource_server import Guard
from perhop.rules.challenge import metadata_url
from perhop.rules.resource_uri import parse_resource_uri


@pytest.mark.parametrize(
    ("resource", "url"),
    [
        ("https://resource.example.com", "https://resource.example.com/.well-known/oauth-protected-resource"),
        (
            "https://resource.example.com/resource1",
            "https://resource.example.com/.well-known/oauth-protected-resource/resource1",
        ),
    ],
)
def test_the_examples_of_the_path_form(resource: str, url: str) -> None:
    """§3.1: the well-known suffix goes between the host and the path."""
    assert metadata_url(parse_resource_uri(resource)) == url


def test_the_terminating_slash_of_the_host_is_removed() -> None:
    """§3.1: "any terminating slash (/) following the host component MUST be removed"."""
    for resource in ("https://r.example", "https://r.example/"):
        assert metadata_url(parse_resource_uri(resource)) == "https://r.example/.well-known/oauth-protected-resource"


async def _nothing(_scope: object, _receive: object, _send: object) -> None:
    raise AssertionError("the application is not asked")


@pytest.mark.parametrize("resource", ["https://mcp.example.com/mcp", "https://mcp.example.com", "https://h.example/a/"])
async def test_the_document_is_where_the_challenge_says(resource: str) -> None:
    """§5.1: the URL of a challenge's `resource_metadata` has the document, whose `resource` is the one asked for."""
    guard = Guard(resource=resource, issuers=["https://auth.example.com", "https://auth2.example.com"])
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(guard.asgi(_nothing))) as http:
        refused = await http.get(resource)
        url = refused.headers["www-authenticate"].partition('resource_metadata="')[2].partition('"')[0]
        answer = await http.get(url)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    # §3.3: "The resource value returned MUST be identical to the protected resource's resource identifier value"
    assert document["resource"] == resource
    assert document["authorization_servers"] == ["https://auth.example.com", "https://auth2.example.com"]
    assert document["bearer_methods_supported"] == ["header"]


async def test_what_is_empty_is_left_out() -> None:
    """§3.2: "Parameters with zero elements MUST be omitted from the response"."""
    guard = Guard(resource="https://mcp.example.com/mcp", issuers=["https://auth.example.com"])
    assert "scopes_supported" not in guard.metadata()
