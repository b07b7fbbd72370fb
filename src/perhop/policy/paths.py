"""Which facts of a call a policy reads of the context, finer than by attribute: `token.hop`, `request.hour`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from cedarpy import pst

from perhop.core.decision import Question
from perhop.policy.reads import ARGUMENTS, CONTEXT, children

_RECORDS = ("token", "request", "arguments")

GROUPS = "subject.groups"

FACTS: Mapping[str, Callable[[Question], Any]] = {
    "subject": lambda asked: asked.subject,
    "actor": lambda asked: asked.actors[:1],
    "actors": lambda asked: frozenset(asked.actors),
    "session": lambda asked: asked.session,
    "token.scopes": lambda asked: asked.scopes,
    "token.client_id": lambda asked: asked.client_id,
    "token.hop": lambda asked: asked.hop,
    "token.tenant": lambda asked: asked.tenant,
    "token.auth_time": lambda asked: asked.authentication.time,
    "token.acr": lambda asked: asked.authentication.acr,
    "request.time": lambda asked: asked.now,
    "request.hour": lambda asked: datetime.fromtimestamp(asked.now, UTC).hour,
    "request.weekday": lambda asked: datetime.fromtimestamp(asked.now, UTC).isoweekday(),
    "request.ip": lambda asked: asked.ip,
    "request.revision": lambda asked: asked.revision,
}
"""What the journal's records tell, by the path under `context`; arguments are told apart.

Nothing of a task: a record has its id and purpose, and neither its limits nor whether a person had approved it. Nothing
of groups either: a record does not say in which a person was.
"""


def context_paths(policy: pst.Template) -> frozenset[str]:
    """The paths under `context` that a policy reads or asks for, its arguments left out.

    A record that is used as a whole counts as everything under it.
    """
    return frozenset(path for path in _paths(policy) if path.partition(".")[0] != "arguments")


def _paths(policy: pst.Template) -> Iterator[str]:
    stack: list[Any] = [policy]
    while stack:
        node = stack.pop()
        if _asks_for_groups(node):
            yield GROUPS
        match node:
            case pst.GetAttr(base=pst.GetAttr(base=base, attr=record), attr=name) if base == CONTEXT:
                yield f"{record}.{name}" if record in _RECORDS else record
            case pst.HasAttr(base=pst.GetAttr(base=base, attr=record), attrs=names) if base == CONTEXT:
                yield f"{record}.{names[0]}" if record in _RECORDS else record
            case pst.HasAttr(base=base, attrs=(record, *rest)) if base == CONTEXT:
                yield f"{record}.{rest[0]}" if rest and record in _RECORDS else record
            case pst.GetAttr(base=base, attr=record) if base == CONTEXT:
                yield record
            case _:
                stack.extend(children(node))


def _asks_for_groups(node: Any) -> bool:
    """True for what reads the groups of a person, however it comes to the person."""
    match node:
        case pst.GetAttr(base=base, attr="groups"):
            return bool(base != ARGUMENTS)
        case pst.HasAttr(base=base, attrs=("arguments", *_)) if base == CONTEXT:
            return False
        case pst.HasAttr(base=base, attrs=names):
            return base != ARGUMENTS and "groups" in names
        case _:
            return False


def all_under(path: str) -> frozenset[str]:
    """The facts that a path stands for: itself, or all that lie under it; empty for one that no record tells."""
    return frozenset(fact for fact in FACTS if fact == path or fact.startswith(f"{path}."))
