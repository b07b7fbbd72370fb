"""Who calls, as the question says: the subject, the agent and the claims of a token that the client has verified.

The principal is the agent. `subject.properties` takes claims by their own names; `context.agent` is the binding's word
for `client_id`.

Spec: COAZ-MCP draft-1 §3.1
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from perhop.core.actor import Actor
from perhop.core.authentication import Authentication
from perhop.errors import QuestionUnclear, TokenMalformed
from perhop.rules.authzen import Entity
from perhop.tokens.claims import CallerClaims, parse_caller

PERSON_PREFIX = "user:"
MAX_NAME_LENGTH = 2048


class SubjectType(StrEnum):
    """The subjects that can be asked about: `identity` is the binding's, and is a token's `sub`."""

    IDENTITY = "identity"
    USER = "user"
    AGENT = "agent"


AGENT_TYPES = frozenset({SubjectType.IDENTITY, SubjectType.AGENT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls. `person` is None for an agent that acts for nobody; `scopes` is None where none are said."""

    subject: str
    person: str | None
    agent: str
    client_id: str
    actor: Actor | None
    scopes: frozenset[str] | None
    hop: int
    has_task: bool
    authentication: Authentication

    @property
    def actors(self) -> tuple[str, ...]:
        return tuple(self.actor.chain()) if self.actor else ()


def read_caller(subject: Entity, context: Mapping[str, Any]) -> Caller:
    """The caller; what contradicts itself is nobody.

    Raises: QuestionUnclear
    """
    kind = _parse_type(subject.type)
    claims = _parse_claims(subject.properties)
    client_id = _presenter(claims, context)
    is_person = subject.id.startswith(PERSON_PREFIX)
    if not subject.id or len(subject.id) > MAX_NAME_LENGTH or not subject.id.isprintable():
        raise QuestionUnclear("`subject.id` names nobody")
    if kind is not SubjectType.IDENTITY and is_person is not (kind is SubjectType.USER):
        raise QuestionUnclear(f"`subject.id` is none of a subject of type `{kind}`")
    # Of a token without `agent`, its client is the agent; an agent that acts for itself is the subject.
    agent = claims.agent or (client_id if is_person else subject.id)
    if agent is None:
        raise QuestionUnclear("no agent: `context.agent`, or `client_id` in `subject.properties`, says who acts")
    if not is_person and agent != subject.id:
        raise QuestionUnclear("`subject.id` is an agent, and `subject.properties.agent` is another one")
    return Caller(
        subject=subject.id,
        person=subject.id if is_person else None,
        agent=agent,
        client_id=client_id or agent,
        actor=claims.actor,
        scopes=claims.scopes,
        hop=claims.hop,
        has_task=claims.task is not None or "task" in context,
        authentication=claims.authentication,
    )


def _parse_type(type_name: str) -> SubjectType:
    try:
        return SubjectType(type_name)
    except ValueError:
        words = ", ".join(f"`{each}`" for each in SubjectType)
        raise QuestionUnclear(f"`subject.type` is none of {words}") from None


def _parse_claims(properties: Mapping[str, Any]) -> CallerClaims:
    try:
        return parse_caller(properties)
    except TokenMalformed as fact:
        raise QuestionUnclear(f"`subject.properties`: {fact.detail}") from None


def _presenter(claims: CallerClaims, context: Mapping[str, Any]) -> str | None:
    said = context.get("agent")
    if said is None:
        return claims.client_id
    if not isinstance(said, str) or not 0 < len(said) <= MAX_NAME_LENGTH or not said.isprintable():
        raise QuestionUnclear("`context.agent` is not a printable text")
    if claims.client_id not in (None, said):
        raise QuestionUnclear("`context.agent` and `subject.properties.client_id` differ")
    return said
