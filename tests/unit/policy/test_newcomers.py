"""Policies and clients that become known while the policies stay as they are."""

from __future__ import annotations

from dataclasses import replace

from perhop.core.client import Client
from perhop.core.decision import Allow, Deny
from perhop.policy.check import check
from perhop.policy.engine import PolicyEngine
from perhop.policy.policy_set import parse_policies
from tests.support.policies import PERMIT_ALL, REGISTRY, a_client, a_question

CLIENT_ID = "https://apps.example.com/client.json"
OF_FINANCE = PERMIT_ALL + '@id("theirs") forbid (principal in MCP::Owner::"finance", action, resource);\n'


def test_an_owner_counts_as_soon_as_a_client_has_one() -> None:
    """A client that becomes known, or another owner's, is decided on by its owner of now, not by one of before."""
    clients: dict[str, Client] = dict(REGISTRY.clients)
    engine = PolicyEngine(parse_policies({"p.cedar": OF_FINANCE}), replace(REGISTRY, clients=clients))
    question = a_question(agent=CLIENT_ID, client_id=CLIENT_ID)
    assert isinstance(engine.decide(question), Allow)
    clients[CLIENT_ID] = a_client(CLIENT_ID, "finance")
    assert isinstance(engine.decide(question), Deny)
    clients[CLIENT_ID] = a_client(CLIENT_ID, "travel-team")
    assert isinstance(engine.decide(question), Allow)


def test_a_policy_may_name_a_client_that_has_not_come() -> None:
    """A policy that names the URL of a document is not warned of, one that names an unknown client is."""
    text = '@id("{id}") permit (principal == MCP::Agent::"{name}", action, resource);'
    sources = {"p.cedar": text.format(id="url", name=CLIENT_ID) + text.format(id="typo", name="trip-planer")}
    assert [finding.policy for finding in check(sources, REGISTRY)] == ["typo"]
