"""What the policies of a slice need to know of a question: what Cedar is shown, and what a decision is kept under.

Told from their syntax trees. A loaded policy reads the context one attribute at a time, so what none of the trees names
is read by none of them. Where a tree holds anything that is not understood here, everything is shown and nothing kept.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from cedarpy import pst

from perhop.core.decision import Question
from perhop.core.task import Task
from perhop.policy.argument_classes import ArgumentClasses
from perhop.policy.lasting import ClassOf
from perhop.policy.paths import GROUPS, context_paths
from perhop.policy.policy_set import Policy
from perhop.policy.reads import children, context_reads
from perhop.policy.vocabulary import CONTEXT_FACTS

KeyOf = Callable[[Question], Hashable]
"""None of a question whose decision is not kept."""

_TAGS = frozenset({"get_tag", "has_tag"})
"""Would read of entities what no path tells; our schema has none."""

_FIELDS: dict[str, tuple[str, ...]] = {
    "subject": ("subject",),
    "actor": ("actors",),
    "actors": ("actors",),
    "session": ("session",),
    "token.scopes": ("scopes",),
    "token.client_id": ("client_id",),
    "token.hop": ("hop",),
    "token.tenant": ("tenant",),
    "token.auth_time": ("authentication.time",),
    "token.acr": ("authentication.acr",),
    "request.ip": ("ip",),
    "request.revision": ("revision",),
    GROUPS: ("subject", "groups"),
}
"""Where in a question stands what a path tells."""

_HOURLY = frozenset({"request.hour", "request.weekday"})
_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Needs:
    """What some policies need. `paths` are those under `context`, in order; arguments are told apart.

    `key_of` gives everything that a decision follows from besides policies, entities and action, of arguments only what
    `argument_classes` tells; None where it follows from the second, or is not understood: then no decision is kept.
    `key_without_arguments` is the same for the policies with their arguments unknown. `groups`: a group may be read of
    a person. `lasts`: a decision follows from nothing that changes by itself, of the arguments from what `class_of`
    tells, None where none are read; see `lasting`.
    """

    paths: tuple[str, ...]
    groups: bool
    key_of: KeyOf | None
    key_without_arguments: KeyOf | None
    lasts: bool = False
    class_of: ClassOf | None = None


def needs_of(policies: Iterable[Policy]) -> Needs:
    """What these policies need, all of them together."""
    policies = tuple(policies)
    paths: set[str] = set()
    for policy in policies:
        read = paths_of(policy.tree)
        if read is None:
            return Needs(tuple(CONTEXT_FACTS), True, None, None)
        paths |= read
    if any(policy.authentication is not None for policy in policies):
        # Whether a sign-in would open what is forbidden hangs on whether there is a person who could sign in.
        key = _key_of(paths | {"subject"})
    else:
        key = _key_of(paths)
    reading = [policy.tree for policy in policies if policy.arguments]
    class_of = ArgumentClasses(reading).key_of if reading else None
    has_groups = GROUPS in paths
    return Needs(
        paths=tuple(path for path in CONTEXT_FACTS if path in paths),
        groups=has_groups,
        key_of=_with_classes(key, class_of) if key is not None and class_of is not None else key,
        key_without_arguments=key,
        lasts=key is not None and not has_groups and _HOURLY.isdisjoint(paths),
        class_of=class_of,
    )


def paths_of(tree: pst.Template) -> frozenset[str] | None:
    """The facts of the context that a policy reads or asks for, its arguments left out; None: not understood."""
    reads = context_reads(tree)
    if reads.whole or reads.whole_arguments or _asks_for_tags(tree):
        return None
    facts: set[str] = set()
    for path in context_paths(tree):
        under = {path} & {*CONTEXT_FACTS, GROUPS} | {fact for fact in CONTEXT_FACTS if fact.startswith(f"{path}.")}
        if not under:
            return None
        facts |= under
    return frozenset(facts)


def _asks_for_tags(tree: pst.Template) -> bool:
    stack: list[Any] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, pst.BinaryOp) and node.op in _TAGS:
            return True
        stack.extend(children(node))
    return False


def _key_of(paths: set[str]) -> KeyOf | None:
    if not paths <= {*_FIELDS, *_HOURLY, "task"}:
        return None
    fields = sorted({field for path in paths for field in _FIELDS.get(path, ())})
    plain: KeyOf = attrgetter(*fields) if fields else _nothing
    has_task, hourly = "task" in paths, not _HOURLY.isdisjoint(paths)
    if not has_task and not hourly:
        return plain

    def key_of(question: Question) -> Hashable:
        return (
            plain(question),
            _facts_of(question.task) if has_task else None,
            question.now // _HOUR if hourly else None,
        )

    return key_of


def _with_classes(key: KeyOf, class_of: ClassOf) -> KeyOf:
    def key_of(question: Question) -> Hashable:
        of_arguments = class_of(question.arguments)
        return None if of_arguments is None else (key(question), of_arguments)

    return key_of


def _nothing(_: Question) -> Hashable:
    return ()


def _facts_of(task: Task | None) -> Hashable:
    """All that policy is told of a task."""
    if task is None:
        return None
    return task.id, task.is_approved, task.purpose, task.limits.calls, task.limits.writes
