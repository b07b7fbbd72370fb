"""The methods of MCP, as a table: which revisions know them, and what each touches.

A method that is not in the table is not forwarded. Whether a caller may touch a target is for scope and policy.

Spec: MCP 2026-07-28 schema
Spec: MCP 2025-11-25 schema
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from perhop.core.call import Action, Target
from perhop.errors import MethodUnknown, MethodUnknownModern, ParamsMalformed


class Era(StrEnum):
    """How a revision works: by handshake and session, or by metadata on every request."""

    LEGACY = "legacy"
    MODERN = "modern"


MODERN_REVISIONS = ("2026-07-28",)
LEGACY_REVISIONS = ("2025-11-25", "2025-06-18", "2025-03-26")
SUPPORTED_REVISIONS = MODERN_REVISIONS + LEGACY_REVISIONS
ASSUMED_REVISION = "2025-03-26"
"""What a request without a version means. Spec: MCP 2025-11-25 transports."""

MAX_NAME_LENGTH = 8_000
"""Characters of a tool, a prompt or a URI (RFC 9110 §4.1): they stand in the journal, and in what is kept of calls."""

MAX_LISTENED = 256
"""Resources, and McpTasks, that one listen filter names: policy is asked about each of them."""

Params = Mapping[str, Any]
TargetsOf = Callable[[Params], tuple[Target, ...]]
TasksOf = Callable[[Params], tuple[str, ...]]


def _nothing(_params: Params) -> tuple[Target, ...]:
    return ()


def _list(_params: Params) -> tuple[Target, ...]:
    return (Target(Action.LIST),)


def _tool(params: Params) -> tuple[Target, ...]:
    return (Target(Action.CALL_TOOL, _text(params, "name")),)


def _prompt(params: Params) -> tuple[Target, ...]:
    return (Target(Action.GET_PROMPT, _text(params, "name")),)


def _mcp_resource(params: Params) -> tuple[Target, ...]:
    return (Target(Action.READ_RESOURCE, _text(params, "uri")),)


def _completion(params: Params) -> tuple[Target, ...]:
    """A completion is judged as what it completes. Spec: MCP 2025-11-25 completion."""
    reference = params.get("ref")
    if not isinstance(reference, Mapping):
        raise ParamsMalformed("`ref` is not an object")
    match reference.get("type"):
        case "ref/prompt":
            return _prompt(reference)
        case "ref/resource":
            return _mcp_resource(reference)
        case _:
            raise ParamsMalformed("`ref.type` is neither `ref/prompt` nor `ref/resource`")


def _listen(params: Params) -> tuple[Target, ...]:
    """Listening is listing, and reading each resource that the filter names. Spec: MCP 2026-07-28 subscriptions."""
    wanted = params.get("notifications")
    if not isinstance(wanted, Mapping):
        raise ParamsMalformed("`notifications` is not an object")
    uris = wanted.get("resourceSubscriptions", [])
    if not isinstance(uris, list) or not all(isinstance(uri, str) and 0 < len(uri) <= MAX_NAME_LENGTH for uri in uris):
        raise ParamsMalformed("`notifications.resourceSubscriptions` is not a list of URIs")
    if len(uris) > MAX_LISTENED:
        raise ParamsMalformed(f"more than {MAX_LISTENED} URIs in `notifications.resourceSubscriptions`")
    return (Target(Action.LIST), *(Target(Action.READ_RESOURCE, uri) for uri in uris))


def _no_tasks(_params: Params) -> tuple[str, ...]:
    return ()


def _task(params: Params) -> tuple[str, ...]:
    """The McpTask that the method is about. Spec: MCP 2025-11-25 tasks."""
    return (_text(params, "taskId"),)


def _listened_tasks(params: Params) -> tuple[str, ...]:
    """The McpTasks whose news a listen filter asks for, as in the extension io.modelcontextprotocol/tasks."""
    wanted = params.get("notifications")
    tasks = wanted.get("taskIds", []) if isinstance(wanted, Mapping) else []
    if not isinstance(tasks, list) or not all(isinstance(task, str) and task for task in tasks):
        raise ParamsMalformed("`notifications.taskIds` is not a list of ids")
    if len(tasks) > MAX_LISTENED:
        raise ParamsMalformed(f"more than {MAX_LISTENED} ids in `notifications.taskIds`")
    return tuple(dict.fromkeys(tasks))


def _text(params: Params, key: str) -> str:
    value = params.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME_LENGTH:
        raise ParamsMalformed(f"`{key}` is not a text of 1 to {MAX_NAME_LENGTH} characters")
    return value


@dataclass(frozen=True, slots=True)
class MethodRule:
    """One row: the eras that know the method, what it touches, and the parameter that `Mcp-Name` mirrors.

    `is_told_by_headers` is False where no header says what it touches.
    `tasks` gives the McpTasks that it is about: each stands for the call that has opened it, which is not in the
    message. Who decides must know that call, and refuse an id that it does not know.
    """

    eras: frozenset[Era]
    targets: TargetsOf
    mirrored: str | None = None
    is_told_by_headers: bool = True
    tasks: TasksOf = _no_tasks


BOTH = frozenset(Era)
LEGACY = frozenset({Era.LEGACY})
MODERN = frozenset({Era.MODERN})

REQUESTS: Mapping[str, MethodRule] = {
    "initialize": MethodRule(LEGACY, _nothing),
    "ping": MethodRule(LEGACY, _nothing),
    "logging/setLevel": MethodRule(LEGACY, _nothing),
    "server/discover": MethodRule(MODERN, _nothing),
    "tools/list": MethodRule(BOTH, _list),
    "tools/call": MethodRule(BOTH, _tool, mirrored="name"),
    "prompts/list": MethodRule(BOTH, _list),
    "prompts/get": MethodRule(BOTH, _prompt, mirrored="name"),
    "resources/list": MethodRule(BOTH, _list),
    "resources/templates/list": MethodRule(BOTH, _list),
    "resources/read": MethodRule(BOTH, _mcp_resource, mirrored="uri"),
    "resources/subscribe": MethodRule(LEGACY, _mcp_resource),
    "resources/unsubscribe": MethodRule(LEGACY, _mcp_resource),
    "subscriptions/listen": MethodRule(MODERN, _listen, is_told_by_headers=False, tasks=_listened_tasks),
    "completion/complete": MethodRule(BOTH, _completion, is_told_by_headers=False),
    "tasks/get": MethodRule(BOTH, _nothing, mirrored="taskId", is_told_by_headers=False, tasks=_task),
    "tasks/cancel": MethodRule(BOTH, _nothing, mirrored="taskId", is_told_by_headers=False, tasks=_task),
    "tasks/update": MethodRule(MODERN, _nothing, mirrored="taskId", is_told_by_headers=False, tasks=_task),
    "tasks/result": MethodRule(LEGACY, _nothing, mirrored="taskId", is_told_by_headers=False, tasks=_task),
    "tasks/list": MethodRule(LEGACY, _list),
}

# A modern server has no use for three of these, and the revision lets it drop them; clients in the field send them.
NOTIFICATIONS: Mapping[str, MethodRule] = {
    "notifications/initialized": MethodRule(BOTH, _nothing),
    "notifications/cancelled": MethodRule(BOTH, _nothing),
    "notifications/progress": MethodRule(BOTH, _nothing),
    "notifications/roots/list_changed": MethodRule(BOTH, _nothing),
}

TASK_NEWS = ("notifications/tasks/status", "notifications/tasks")
"""How servers tell of an McpTask: 2025-11-25, and the extension of 2026-07-28."""

STANDING_STREAM = "subscriptions/listen"
"""The one request whose answer is a stream that ends with the caller's token, not with an answer."""


def era_of(revision: str) -> Era | None:
    """The era of a revision; None for one that is not served here."""
    if revision in MODERN_REVISIONS:
        return Era.MODERN
    return Era.LEGACY if revision in LEGACY_REVISIONS else None


def method_rule(method: str, *, era: Era, is_request: bool) -> MethodRule:
    """Find the row of a method.

    Spec: MCP 2026-07-28 transports
    Raises: MethodUnknown, MethodUnknownModern
    """
    rule = (REQUESTS if is_request else NOTIFICATIONS).get(method)
    if rule is not None and era in rule.eras:
        return rule
    if era is Era.MODERN:
        raise MethodUnknownModern(f"method `{method[:64]}`")
    raise MethodUnknown(f"method `{method[:64]}`")
