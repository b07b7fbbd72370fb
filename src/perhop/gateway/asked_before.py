"""What policy was asked before at one gate: by the same token, about the same thing, in the same words.

Spares the question and what leads to it, not the checks beside it: a scope, an approval of the tool and the types of
the arguments are looked at for every call.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from perhop.core.call import Call, Target
from perhop.core.decision import Covered
from perhop.core.task import Task
from perhop.core.token import VerifiedToken
from perhop.policy.lasting import Lasting

MOST_KEPT = 8192
LONGEST_NAMES = 512


@dataclass(frozen=True, slots=True)
class _Asked:
    token: VerifiedToken
    task: Task | None
    policy: object
    lasting: Lasting


class AskedBefore:
    """Lasting decisions by who asked for what.

    INVARIANT: a key and what is held with it are everything from which `decide` makes a question, but for arguments
    and time. The token, its task and the policy are told by the object, which is held, so that its id stays its own.
    """

    def __init__(self, *, most_kept: int = MOST_KEPT) -> None:
        self._asked: dict[Hashable, _Asked] = {}
        self._most_kept = most_kept

    def __len__(self) -> int:
        return len(self._asked)

    def find(self, target: Target, address: str | None, asked: Covered, policy: object) -> Lasting | None:
        """What is kept of exactly this question."""
        token, call = asked.bound.token, asked.call
        found = self._asked.get((id(token), target.action, target.name, address, call.revision, call.session))
        if found is None or found.token is not token or found.task is not asked.task or found.policy is not policy:
            return None
        return found.lasting

    def keep(self, target: Target, address: str | None, asked: Covered, policy: object, lasting: Lasting) -> None:
        """Keep what lasts, unless a caller has chosen long words; what is full begins anew."""
        token, call = asked.bound.token, asked.call
        if _length(target, address, call) > LONGEST_NAMES:
            return
        if len(self._asked) >= self._most_kept:
            self._asked.clear()
        key = (id(token), target.action, target.name, address, call.revision, call.session)
        self._asked[key] = _Asked(token, asked.task, policy, lasting)


def _length(target: Target, address: str | None, call: Call) -> int:
    return len(target.name) + len(address or "") + len(call.revision) + len(call.session or "")
