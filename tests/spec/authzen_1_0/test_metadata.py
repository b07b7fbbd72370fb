"""AuthZEN 1.0 §9: where the decision point says what it has."""

from __future__ import annotations

from pathlib import Path

from tests.support.access import access_server, basic
from tests.support.authorization_servers import ISSUER

WELL_KNOWN = "/.well-known/authzen-configuration"


async def test_the_document_names_the_decision_point_and_its_endpoints(tmp_path: Path) -> None:
    """Every endpoint is named, answers where it is named, and nothing that has no value is there."""
    async with access_server(tmp_path) as server:
        answer = await server.http.get(WELL_KNOWN)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.json() == {
            "policy_decision_point": ISSUER,
            "access_evaluation_endpoint": f"{ISSUER}/access/v1/evaluation",
            "access_evaluations_endpoint": f"{ISSUER}/access/v1/evaluations",
            "search_subject_endpoint": f"{ISSUER}/access/v1/search/subject",
            "search_resource_endpoint": f"{ISSUER}/access/v1/search/resource",
            "search_action_endpoint": f"{ISSUER}/access/v1/search/action",
        }
        for name, url in answer.json().items():
            if name.endswith("_endpoint"):
                assert (await server.http.post(url, headers=basic("pep"))).status_code == 400, name
                assert (await server.http.get(url)).status_code == 405, name


async def test_a_decision_point_with_a_path_has_its_document_before_the_path(tmp_path: Path) -> None:
    """The well-known name goes between host and path, the endpoints lie below the path."""
    url = "https://example.com/auth"
    async with access_server(tmp_path, issuer_url=url) as server:
        document = (await server.http.get(f"https://example.com{WELL_KNOWN}/auth")).json()
        assert document["policy_decision_point"] == url
        assert document["access_evaluation_endpoint"] == f"{url}/access/v1/evaluation"
        assert (await server.http.get(f"https://example.com{WELL_KNOWN}")).status_code == 404
