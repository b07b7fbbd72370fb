"""Which clients lose their tokens when another configuration is put in force."""

from __future__ import annotations

from dataclasses import replace

from perhop.core.resource import SenderConstraint
from perhop.wiring.changes import narrowed_clients
from tests.support.authorization_servers import Keys, a_registry


def test_a_client_that_is_given_bound_tokens_only_loses_its_bearer_tokens() -> None:
    """From `any` to `dpop` its tokens of before are revoked; from `dpop` to `any` nothing is taken from it."""
    plain = a_registry(Keys.generate())
    planner = replace(plain.clients["trip-planner"], sender=SenderConstraint.DPOP)
    strict = replace(plain, clients={**plain.clients, "trip-planner": planner})
    assert narrowed_clients(plain.clients, strict.clients) == ("trip-planner",)
    assert narrowed_clients(strict.clients, plain.clients) == ()
