"""The policies whose head fits a question: evaluation costs what these cost, whatever else is in the folder.

Leaving out a policy whose head does not fit changes nothing, nor does taking the head from one where it fits: Cedar
looks at the head first, and goes no further unless it fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from operator import itemgetter
from typing import Any, assert_never

import cedarpy
from cedarpy import pst

from perhop.policy.arguments import Visible, is_visible
from perhop.policy.needs import Needs, needs_of
from perhop.policy.policy_set import Policy
from perhop.policy.vocabulary import Scene
from perhop.policy.widen import without_arguments

_NO_ANNOTATIONS: pst.FrozenMap[str, str] = pst.FrozenMap()
_NOTHING_UNDECIDABLE: tuple[str, ...] = ()
_ANY = pst.ScopeAny()


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Parsed handles of policies whose head fits: `exact` as written, `widened` with the arguments unknown.

    `arguments` are those that any of them asks for, each with the Python types of which all of them can judge any value
    that is visible. `needs` is what they read besides.
    """

    policies: Mapping[str, Policy]
    exact: cedarpy.PolicySet
    arguments: Mapping[str, frozenset[type]]
    needs: Needs
    forbids: frozenset[str]
    asking: frozenset[str]

    @cached_property
    def widened(self) -> cedarpy.PolicySet:
        """Made when a list is first asked for: what is only ever called has no use for it."""
        return handle_of_fitting(without_arguments(policy.tree) for policy in self.policies.values())

    def undecidable_for(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        """Ids of the policies that ask for an argument and could only misjudge its value."""
        for name, judged in self.arguments.items():
            if name in arguments and not (type(value := arguments[name]) in judged and is_visible(value)):
                return self._misjudging(arguments)
        return _NOTHING_UNDECIDABLE

    def _misjudging(self, arguments: Mapping[str, Any]) -> tuple[str, ...]:
        asked = {name: arguments[name] for name in self.arguments if name in arguments}
        return tuple(
            policy_id
            for policy_id, policy in self.policies.items()
            if not all(policy.can_decide_on(name, value) for name, value in asked.items())
        )

    def shown(self, arguments: Mapping[str, Any]) -> dict[str, Visible]:
        """The arguments that these policies ask for; where only presence is asked, True stands for the value."""
        shown: dict[str, Visible] = {}
        for name in self.arguments:
            if name in arguments:
                value = arguments[name]
                shown[name] = value if is_visible(value) else True
        return shown


def make_slice(policies: tuple[Policy, ...]) -> Slice:
    """Hand the policies to Cedar, once."""
    names = sorted(frozenset().union(*(policy.arguments for policy in policies)))
    return Slice(
        policies={policy.id: policy for policy in policies},
        exact=handle_of_fitting(policy.tree for policy in policies),
        arguments={name: _judged(name, policies) for name in names},
        needs=needs_of(policies),
        forbids=frozenset(policy.id for policy in policies if policy.effect == "forbid"),
        asking=frozenset(policy.id for policy in policies if policy.needs_approval),
    )


def _judged(name: str, policies: tuple[Policy, ...]) -> frozenset[type]:
    """The types of which every policy can judge any visible value: told by one value of each."""
    return frozenset(
        type(value) for value in ("", 0, False) if all(policy.can_decide_on(name, value) for policy in policies)
    )


def handle_of(trees: Iterable[pst.Template]) -> cedarpy.PolicySet:
    """Cedar's handle of some policies; its answers name them by the ids of the trees, and need no annotations."""
    policies = {tree.id: replace(tree, annotations=_NO_ANNOTATIONS) for tree in trees}
    return cedarpy.PolicySet.from_pst(pst.PolicySet(templates={}, static_policies=policies, template_links=()))


def handle_of_fitting(trees: Iterable[pst.Template]) -> cedarpy.PolicySet:
    """As `handle_of`, of policies whose head fits the question: what `fits` has judged, Cedar need not judge again."""
    return handle_of(replace(tree, principal=_ANY, action=_ANY, resource=_ANY) for tree in trees)


class Heads:
    """The policies of a set by what their heads name, so that a slice costs no look at those about other things."""

    def __init__(self, policies: Iterable[Policy]) -> None:
        self._of_one: dict[pst.EntityUid, list[tuple[int, Policy]]] = {}
        self._of_many: list[tuple[int, Policy]] = []
        for index, policy in enumerate(policies):
            match policy.tree.resource:
                case pst.ScopeEq(entity=pst.EntityUid() as only):
                    self._of_one.setdefault(only, []).append((index, policy))
                case _:
                    self._of_many.append((index, policy))

    def fitting(self, scene: Scene) -> tuple[str, ...]:
        """Ids of the policies whose head admits the principal, the action and the resource, in the set's order."""
        about = sorted((*self._of_one.get(scene.resource, ()), *self._of_many), key=itemgetter(0))
        return tuple(policy.id for _, policy in about if fits(policy.tree, scene))


def fits(tree: pst.Template, scene: Scene) -> bool:
    """True if the head of a policy admits the principal, the action and the resource."""
    return fits_principal(tree, scene) and fits_action(tree, scene) and fits_resource(tree, scene)


def fits_principal(tree: pst.Template, scene: Scene) -> bool:
    """True if the head admits the principal."""
    return _admits(tree.principal, scene.principal, scene.principal_line)


def fits_action(tree: pst.Template, scene: Scene) -> bool:
    """True if the head admits the action."""
    return _admits_action(tree.action, scene.action)


def fits_resource(tree: pst.Template, scene: Scene) -> bool:
    """True if the head admits the resource."""
    return _admits(tree.resource, scene.resource, scene.resource_line)


def _admits_action(constraint: pst.ActionConstraint, action: pst.EntityUid) -> bool:
    match constraint:
        case pst.ScopeAny():
            return True
        case pst.ActionEq(entity=entity):
            return entity == action
        case pst.ActionIn(entities=entities):
            return action in entities
        case _:
            assert_never(constraint)


def _admits(constraint: pst.PrincipalOrResourceConstraint, uid: pst.EntityUid, line: frozenset[pst.EntityUid]) -> bool:
    match constraint:
        case pst.ScopeAny():
            return True
        case pst.ScopeEq(entity=entity):
            return bool(entity == uid)
        case pst.ScopeIn(entity=entity):
            return entity in line
        case pst.ScopeIs(entity_type=entity_type):
            return bool(entity_type == uid.type)
        case pst.ScopeIsIn(entity_type=entity_type, entity=entity):
            return entity_type == uid.type and entity in line
        case _:
            assert_never(constraint)
