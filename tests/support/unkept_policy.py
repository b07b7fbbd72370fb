"""Decisions worked out anew from the whole question, as a second opinion on what is kept and on what Cedar is shown.

Nothing is kept here, nothing of the context is left out, and every policy of the set is tried, whatever its head says.
"""

from __future__ import annotations

import json
from typing import Any

import cedarpy

from perhop.core.decision import Allow, Decision, Deny, NeedsApproval, Question
from perhop.core.registry import Registry
from perhop.policy.policy_set import PolicySet
from perhop.policy.slices import handle_of, make_slice
from perhop.policy.vocabulary import NEEDS_PERMIT, context, person_entity, scene, uid_value


class UnkeptPolicy:
    """One set and one registry. Says nothing of the sign-in that would open what is forbidden."""

    def __init__(self, policy_set: PolicySet, registry: Registry) -> None:
        self._set = policy_set
        self._registry = registry

    def decide(self, question: Question) -> Decision:
        version = self._set.version
        asked = scene(question.agent, question.server, question.target, self._registry)
        entities: list[Any] = list(asked.entities)
        if question.subject is not None and question.groups is not None:
            entities.append(person_entity(question.subject, question.groups))
        policies = make_slice(self._set.policies)
        request = {
            "principal": uid_value(asked.principal),
            "action": uid_value(asked.action),
            "resource": uid_value(asked.resource),
            "context": context(question, policies.shown(question.arguments)),
        }
        known = cedarpy.Entities.from_json_str(json.dumps(entities))
        answer = cedarpy.is_authorized(request, handle_of(policy.tree for policy in self._set.policies), known)
        if answer.diagnostics.errors:
            return Deny((), version, failed=True)
        reasons = tuple(sorted(answer.diagnostics.reasons))
        if reasons and not answer.allowed:
            return Deny(reasons, version)
        if question.target.action not in NEEDS_PERMIT:
            return Allow((), version)
        if not answer.allowed:
            return Deny((), version, detail="no policy permits it")
        asking = tuple(each for each in reasons if policies.policies[each].needs_approval)
        return NeedsApproval(reasons, version, asking) if asking else Allow(reasons, version)
