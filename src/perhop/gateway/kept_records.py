"""The records that calls leave, as far as those of one token's calls of one tool are alike: see `perhop.journal.alike`.

What is kept is found by names and counts for the very values of which it was made, and for no others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perhop.core.decision import Permit
from perhop.core.resource import Resource
from perhop.core.token import TokenDraft, VerifiedToken
from perhop.gateway.kept_facts import MAX_KEPT
from perhop.journal.alike import alike_to
from perhop.journal.record import Alike, CallFacts, RequestFacts, TaskFacts

if TYPE_CHECKING:  # a trail looks here for what was kept of one like it
    from perhop.gateway.trail import Trail


LONGEST_NAME = 512
"""A caller chooses the names of tools and URIs, and each is kept several times."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class KeptRecords:
    """What the permit and the outcome say of every such call, and the values from which that follows."""

    caller: VerifiedToken
    draft: TokenDraft | None
    request: RequestFacts
    task: TaskFacts | None
    resource: Resource
    policies: tuple[str, ...]
    policy_version: str
    permit: Alike
    end: Alike


_kept: dict[tuple[str | None, ...], KeptRecords] = {}


def find_kept(trail: Trail, permit: Permit, draft: TokenDraft | None) -> KeptRecords | None:
    """What was kept of calls like the one of this trail; None if that is not known, or not kept.

    An approval is one call's, and so are the arguments that a resource's owner has recorded.
    """
    caller, facts, request, allow = trail.caller, trail.facts, trail.request, permit.allow
    if caller is None or facts is None or facts.arguments is not None or permit.approval is not None:
        return None
    found = _kept.get(_key(caller, draft, facts, request))
    if (
        found is not None
        and found.caller is caller
        and found.draft is draft
        and found.request is request
        and found.resource is trail.resource
        and (found.task is trail.task or found.task == trail.task)
        and found.policies == allow.policies
        and found.policy_version == allow.policy_version
    ):
        return found
    return None


def keep(trail: Trail) -> KeptRecords | None:
    """Keep what the two records of this permitted call share with those of further ones; None if there are none."""
    caller, facts, permit, draft = trail.caller, trail.facts, trail.permit, trail.draft
    if caller is None or facts is None or permit is None or (draft is not None and draft.call is not None):
        return None
    if facts.arguments is not None or permit.approval is not None or len(facts.name or "") > LONGEST_NAME:
        return None
    permitted = alike_to(trail.permit_record())
    ended = alike_to(trail.end_record(status=None, error=None, now=trail.started))
    if permitted is None or ended is None:
        return None
    made = KeptRecords(
        caller=caller,
        draft=draft,
        request=trail.request,
        task=trail.task,
        resource=trail.resource,
        policies=permit.allow.policies,
        policy_version=permit.allow.policy_version,
        permit=permitted,
        end=ended,
    )
    key = _key(caller, draft, facts, trail.request)
    if key not in _kept and len(_kept) >= MAX_KEPT:
        _kept.pop(next(iter(_kept)), None)
    _kept[key] = made
    return made


def _key(
    caller: VerifiedToken, draft: TokenDraft | None, facts: CallFacts, request: RequestFacts
) -> tuple[str | None, ...]:
    return (
        caller.fingerprint,
        draft.jti if draft is not None else None,
        facts.method,
        facts.name,
        facts.revision,
        request.ip,
        request.user_agent,
        request.session,
    )
