"""Lasting decisions: those on one question that follow from nothing that changes by itself.

Not from the time, nor from a person's groups, nor from anything that is not understood. What is left besides the
question's own facts is which clients are known, and of the arguments the class: both are looked at each time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from perhop.core.client import Client
from perhop.core.decision import Allow, NeedsApproval

MOST_CLASSES = 256

ClassOf = Callable[[Mapping[str, Any]], Hashable]
"""None of arguments of which no class is known."""

_ONE_CLASS = ()


class Lasting:
    """The decisions on one question by one engine, by the classes of its arguments; without `class_of` there is one.

    Whoever holds this sees to it that the question is the same in everything but arguments and time.
    """

    __slots__ = ("_agent", "_class_of", "_client", "_clients", "_decisions")

    def __init__(self, clients: Mapping[str, Client], agent: str, class_of: ClassOf | None) -> None:
        self._clients = clients
        self._agent = agent
        self._client = clients.get(agent)
        self._class_of = class_of
        self._decisions: dict[Hashable, Allow | NeedsApproval] = {}

    def find(self, arguments: Mapping[str, Any]) -> Allow | NeedsApproval | None:
        """What was decided about such arguments, if the agent is who it was, and its owner's."""
        if self._clients.get(self._agent) is not self._client:
            return None
        class_of = self._class_of
        return self._decisions.get(_ONE_CLASS if class_of is None else class_of(arguments))

    def keep(self, arguments: Mapping[str, Any], decision: Allow | NeedsApproval) -> bool:
        """Keep what was just decided about these arguments. What refuses is never kept.

        False if the agent is not any more who it was: then this is of no use, and holds nothing new.
        """
        if self._clients.get(self._agent) is not self._client:
            return False
        of_arguments = _ONE_CLASS if self._class_of is None else self._class_of(arguments)
        if of_arguments is not None and len(self._decisions) < MOST_CLASSES:
            self._decisions[of_arguments] = decision
        return True
