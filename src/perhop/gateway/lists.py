"""Lists: what a caller sees of an upstream's tools, prompts, resources and McpTasks.

Any result that holds such a list is filtered, whatever was asked. An item is hidden if no arguments could make it
permitted, no scope of the token lists it, or it is a tool that is not as its owner approved it; a task if the caller
has not opened it, and so is news of it.

Spec: MCP 2026-07-28 caching
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from perhop.core.call import Action, Target
from perhop.errors import AnswerUnfit, JsonUnparsable
from perhop.gateway.catalogue import AT_ONCE, Catalogue
from perhop.gateway.revisions import narrow_versions
from perhop.rules.mcp_message import render_json
from perhop.rules.mcp_methods import TASK_NEWS
from perhop.rules.strict_json import parse_json

LISTS: Mapping[str, tuple[Action, str]] = {
    "tools": (Action.CALL_TOOL, "name"),
    "prompts": (Action.GET_PROMPT, "name"),
    "resources": (Action.READ_RESOURCE, "uri"),
    "resourceTemplates": (Action.READ_RESOURCE, "uriTemplate"),
}

TASKS = "tasks"

TOOL_ERROR = "tool_error"

_CHANGED = frozenset({*LISTS, TASKS, "supportedVersions"})
"""The members of a result that are filtered."""

# An answer may be deeper and wider than a request: it is the upstream's own.
_ANSWER_DEPTH = 256
_ANSWER_KEYS = 100_000

# As a member's name or a method in JSON text: inside a string the quotes would be escaped. A letter may be written as
# an escape.
_MAY_NAME_A_LIST = re.compile(
    rb'"(?:tools|prompts|resources|resourceTemplates|tasks)"|"notifications\\?/tasks|\\u00(?:2f|6[1-9a-f]|7[0-9a]|54)',
    re.IGNORECASE,
)


# And of anything else that is filtered, or kept for what comes later: versions, tasks and requests of the server.
_MAY_BE_LOOKED_AT = re.compile(
    _MAY_NAME_A_LIST.pattern + rb'|"(?:supportedVersions|taskId|method)"|\\u0056',
    re.IGNORECASE,
)

# More than the above, and how the journal calls the end, in lower case.
_MAY_COUNT = re.compile(
    rb'"(?:tools"|prompts"|resource(?:s|templates)"|tasks"|notifications|supportedversions"|taskid"|method"'
    rb'|error"|iserror"\s*:\s*true)'
)


@dataclass(frozen=True, slots=True)
class Judged:
    """A message from the upstream: `octets` None if it passes as it is, empty if nothing of it does.

    `error` is as the journal has it. `messages` are those that pass: several for a batch, none that was not read.
    """

    messages: tuple[Any, ...]
    octets: bytes | None
    error: str | None


_UNREMARKABLE = Judged((), None, None)


def says_nothing(octets: bytes) -> bool:
    """True for a message that passes as it is, and of which nothing is kept or recorded, however it is read."""
    return b"\\u" not in octets and b"\x00" not in octets and not _MAY_COUNT.search(octets.lower())


class ListFilter:
    """Filters the lists of one caller.

    `is_shown` says whether the caller may see an item, `is_own_task` whether it has opened a task, and `may_serve`
    whether a revision may be advertised.
    """

    __slots__ = ("catalogue", "is_own_task", "is_private", "is_shown", "max_bytes", "may_serve")

    def __init__(
        self,
        *,
        is_shown: Callable[[Target], bool],
        is_own_task: Callable[[object], bool],
        may_serve: Callable[[object], bool],
        is_private: bool,
        catalogue: Catalogue,
        max_bytes: int,
    ) -> None:
        self.is_shown = is_shown
        self.is_own_task = is_own_task
        self.may_serve = may_serve
        self.is_private = is_private
        self.catalogue = catalogue
        self.max_bytes = max_bytes

    async def judge(self, octets: bytes) -> Judged:
        """Look at one JSON-RPC message of the upstream and take out what the caller may not see.

        What cannot be read passes if it can hold no list. What says nothing that counts is not read, nor is what is
        longer than a list may be, only to learn how the journal calls its end. Others get their turn while a long list
        is filtered: each item is judged as things stand then.

        Raises: AnswerUnfit
        """
        if says_nothing(octets):
            return _UNREMARKABLE
        if b"\x00" in octets:
            # No JSON in UTF-8 holds one; in UTF-16 or UTF-32 all of it does, and some clients read that.
            raise AnswerUnfit("an answer that is not UTF-8")
        if not _MAY_BE_LOOKED_AT.search(octets):
            return _passing(octets) if len(octets) <= self.max_bytes else _UNREMARKABLE
        try:
            message = parse_json(octets, max_bytes=self.max_bytes, max_depth=_ANSWER_DEPTH, max_keys=_ANSWER_KEYS)
        except JsonUnparsable as error:
            if _MAY_NAME_A_LIST.search(octets):
                raise AnswerUnfit(f"a list that cannot be filtered: {error.detail}") from error
            return Judged((), None, None)
        came = message if isinstance(message, list) else [message]
        passing = [each for each in came if not self._is_news_of_another_task(each)]
        changed = [await self._filter(each) for each in passing]
        if len(passing) == len(came) and not any(changed):
            return Judged(tuple(passing), None, error_of(message))
        if not passing:
            return Judged((), b"", None)
        octets_now = render_json(passing if isinstance(message, list) else passing[0])
        return Judged(tuple(passing), octets_now, error_of(message))

    def _is_news_of_another_task(self, message: Any) -> bool:
        if not isinstance(message, dict) or message.get("method") not in TASK_NEWS:
            return False
        params = message.get("params")
        return not (isinstance(params, dict) and self.is_own_task(params.get("taskId")))

    async def _filter(self, message: Any) -> bool:
        """Filter the freshly parsed message where it lies; True if anything in it is another now."""
        result = message.get("result") if isinstance(message, dict) else None
        if not isinstance(result, dict) or result.keys().isdisjoint(_CHANGED):
            return False
        held = [key for key in (*LISTS, TASKS) if isinstance(result.get(key), list)]
        if "tools" in held:
            await self.catalogue.learn(result["tools"])
        changed = False
        for key in held:
            shown = []
            for number, item in enumerate(result[key], 1):
                if self._shows(key, item):
                    shown.append(item)
                if not number % AT_ONCE:
                    await asyncio.sleep(0)
            changed = changed or len(shown) < len(result[key])
            result[key] = shown
        if held and self.is_private and result.get("cacheScope") != "private":
            result["cacheScope"] = "private"
            changed = True
        versions = narrow_versions(result, self.may_serve)
        if versions is not None:
            result["supportedVersions"] = versions
            changed = True
        return changed

    def _shows(self, key: str, item: Any) -> bool:
        if key == TASKS:
            return isinstance(item, dict) and self.is_own_task(item.get("taskId"))
        action, name_key = LISTS[key]
        name = item.get(name_key) if isinstance(item, dict) else None
        return isinstance(name, str) and self.is_shown(Target(action, name))


def _passing(octets: bytes) -> Judged:
    """A message that says nothing that is filtered or kept, however it is read: only how it calls the end counts."""
    try:
        message = json.loads(octets.decode())
    except (ValueError, RecursionError):
        return Judged((), None, None)
    return Judged((message,), None, error_of(message))


def error_of(message: Any) -> str | None:
    """How the journal calls the end that this message is: an error's code, a tool's own error, or nothing."""
    if not isinstance(message, dict) or "method" in message:
        return None
    error, result = message.get("error"), message.get("result")
    if isinstance(error, dict):
        code = error.get("code")
        return str(code) if isinstance(code, int) and abs(code) < 2**31 else "error"
    if isinstance(result, dict) and result.get("isError") is True:
        return TOOL_ERROR
    return None
