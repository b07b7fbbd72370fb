"""What the journal keeps of questions about access: one record for each verdict, one for each search.

INVARIANT: who is named as the caller was named by the client that asked; no token of theirs was seen here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perhop.authorization_server.access.caller import Caller
from perhop.authorization_server.access.judge import Verdict
from perhop.authorization_server.access.search import Found
from perhop.authorization_server.issuer import Issuer
from perhop.core.client import Client
from perhop.core.decision import Allow
from perhop.errors import PolicyRefused
from perhop.journal.record import (
    CallFacts,
    DecisionFacts,
    Event,
    Inbound,
    Record,
    RequestFacts,
    act_claim,
)
from perhop.rules.authzen import Search
from perhop.rules.scope import render_scope


def verdict_record(verdict: Verdict, *, id_: str, client: Client, request: RequestFacts, issuer: Issuer) -> Record:
    """The record of one verdict."""
    resource = verdict.place.resource if verdict.place else None
    return Record(
        event=Event.ACCESS_EVALUATED,
        reason=None if isinstance(verdict.outcome, Allow) else verdict.outcome.reason,
        hop=verdict.caller.hop if verdict.caller else None,
        inbound=_inbound(verdict.caller) if verdict.caller else None,
        call=_call(verdict, id_, issuer),
        decision=decision_of(verdict, issuer),
        request=request,
        owner=resource.owner if resource else None,
        tenant=resource.tenant if resource else None,
        resource=resource.name if resource else None,
        client=client.id,
        detail=None if isinstance(verdict.outcome, Allow) else verdict.outcome.detail or None,
    )


def search_record(asked: Search, found: Found, *, client: Client, request: RequestFacts) -> Record:
    """The record of one search: that it was made, and how much was found."""
    about: Mapping[str, Any] = {"sought": asked.sought.value, "results": len(found.results)}
    resource = found.resource
    return Record(
        event=Event.ACCESS_SEARCHED,
        request=request,
        owner=resource.owner if resource else None,
        tenant=resource.tenant if resource else None,
        resource=resource.name if resource else None,
        client=client.id,
        about=about,
    )


def decision_of(verdict: Verdict, issuer: Issuer) -> DecisionFacts:
    """The decision, with the policies that made it, if it came to them."""
    match verdict.outcome:
        case Allow(policies=policies):
            return DecisionFacts(effect="permit", policies=policies, policy_version=issuer.policy.version)
        case PolicyRefused(policies=policies):
            return DecisionFacts(effect="deny", policies=policies, policy_version=issuer.policy.version)
        case _:
            return DecisionFacts(effect="deny", policies=(), policy_version=issuer.policy.version)


def _inbound(caller: Caller) -> Inbound:
    return Inbound(
        sub=caller.subject,
        agent=caller.agent,
        client_id=caller.client_id,
        act=act_claim(caller.actor),
        scope=None if caller.scopes is None else render_scope(caller.scopes),
    )


def _call(verdict: Verdict, id_: str, issuer: Issuer) -> CallFacts:
    """What was asked. Of arguments only a MAC is kept."""
    said = verdict.circumstances
    arguments = said.arguments if said else None
    return CallFacts(
        id=id_,
        method=verdict.action,
        name=verdict.place.name or None if verdict.place else None,
        arguments_mac=issuer.journal.mac(arguments) if arguments is not None else None,
        revision=said.revision or None if said else None,
    )
