"""Delegation: who may act for whom through an exchange, and how far it may go.

The chain is written by us alone, from a subject token that we verified; nothing of it is taken from a request.

Spec: RFC 8693 §4
"""

from __future__ import annotations

from perhop.core.actor import Actor
from perhop.core.resource import ResourceUri
from perhop.core.token import VerifiedToken
from perhop.errors import ChainCycle, ChainTooDeep, PresenterMismatch

MAX_CHAIN_DEPTH = 4
GATEWAY_PREFIX = "gateway:"
"""Client ids never start so: an actor of this name is a gateway of ours, which adds no delegation of its own."""


def next_actor(parent: VerifiedToken, presenter: str) -> Actor:
    """The `act` chain of the child: the presenter, before it the parent's chain, else the parent's own client.

    A presenter that is also the subject is written down like any other: that is what happened, and it widens nothing.

    Spec: RFC 8693 §4.1
    """
    before = parent.actor
    if before is None and parent.client_id != parent.subject:
        before = Actor(parent.client_id)
    return Actor(presenter, before)


def check_chain_depth(actor: Actor) -> None:
    """Refuse a chain of more than four actors; gateways do not count.

    Raises: ChainTooDeep
    """
    depth = sum(not subject.startswith(GATEWAY_PREFIX) for subject in actor.chain())
    if depth > MAX_CHAIN_DEPTH:
        raise ChainTooDeep(f"{depth} actors, at most {MAX_CHAIN_DEPTH}")


def check_cycle(target: ResourceUri, lineage: frozenset[str]) -> None:
    """Refuse a target that was already an audience on the way from the first token of the chain to this one.

    Raises: ChainCycle
    """
    if target in lineage:
        raise ChainCycle(f"the chain was at `{target}` before")


def check_may_act(token: VerifiedToken, presenter: str, issuer: str) -> None:
    """Refuse a presenter that the token's `may_act` does not name; a token without it names nobody in particular.

    Spec: RFC 8693 §4.4
    Raises: PresenterMismatch
    """
    may_act = token.may_act
    if may_act is None:
        return
    if presenter not in may_act.subjects or may_act.issuer not in (None, issuer):
        raise PresenterMismatch(f"`may_act` does not name `{presenter}`")
