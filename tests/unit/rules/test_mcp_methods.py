"""The table of methods."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from perhop.core.call import Action
from perhop.errors import MethodUnknown, MethodUnknownModern, ParamsMalformed
from perhop.rules.mcp_methods import NOTIFICATIONS, REQUESTS, TASK_NEWS, Era, MethodRule, era_of, method_rule

EXAMPLE = {"name": "x", "uri": "x:1", "taskId": "t-1", "ref": {"type": "ref/prompt", "name": "x"}, "notifications": {}}
SCHEMAS: Mapping[str, Mapping[str, list[str]]] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "mcp-methods.json").read_text("utf-8")
)
TASKS_EXTENSION = "io.modelcontextprotocol/tasks"

REFUSED = {
    ("2025-11-25", "notifications/tasks/status"): "of a client's own tasks: a server may not rely on it, and polls",
}
"""Methods of a client that a schema knows and that are not passed on, and why."""

BEYOND = {
    "notifications/initialized": "clients of a handshake send it under 2026-07-28 too, and servers drop it",
    "notifications/cancelled": "the same, where closing the stream is what cancels",
    "notifications/progress": "the same",
    "notifications/roots/list_changed": "the same",
}
"""Methods that are passed on under 2026-07-28 though no schema of it has them."""

ACTIONS = {
    "tools/call": Action.CALL_TOOL,
    "prompts/get": Action.GET_PROMPT,
    "resources/read": Action.READ_RESOURCE,
    "resources/subscribe": Action.READ_RESOURCE,
    "resources/unsubscribe": Action.READ_RESOURCE,
    "completion/complete": Action.GET_PROMPT,
    "subscriptions/listen": Action.LIST,
    "tools/list": Action.LIST,
    "prompts/list": Action.LIST,
    "resources/list": Action.LIST,
    "resources/templates/list": Action.LIST,
    "tasks/list": Action.LIST,
}
ABOUT_TASKS = {"tasks/get", "tasks/cancel", "tasks/update", "tasks/result"}


@pytest.mark.parametrize("method", REQUESTS)
def test_every_request_asks_for_its_action(method: str) -> None:
    """What touches something is judged as that; the rest needs a bound token only."""
    actions = [target.action for target in REQUESTS[method].targets(EXAMPLE)]
    assert actions == ([ACTIONS[method]] if method in ACTIONS else [])


@pytest.mark.parametrize("method", NOTIFICATIONS)
def test_notifications_touch_nothing(method: str) -> None:
    """A notification is let through on a bound token."""
    assert NOTIFICATIONS[method].targets({}) == ()


def test_each_era_has_its_own_methods() -> None:
    """A method of the other era is as unknown as any."""
    assert method_rule("ping", era=Era.LEGACY, is_request=True)
    assert method_rule("server/discover", era=Era.MODERN, is_request=True)
    with pytest.raises(MethodUnknownModern):
        method_rule("ping", era=Era.MODERN, is_request=True)
    with pytest.raises(MethodUnknown):
        method_rule("server/discover", era=Era.LEGACY, is_request=True)
    with pytest.raises(MethodUnknown):
        method_rule("tools/call", era=Era.LEGACY, is_request=False)


def _era(revision: str) -> Era:
    era = Era.MODERN if revision == TASKS_EXTENSION else era_of(revision)
    assert era is not None
    return era


@pytest.mark.parametrize("revision", SCHEMAS)
def test_every_method_of_a_schema_is_in_the_table(revision: str) -> None:
    """What a client may say by the schema has a row, or is written down as refused."""
    for union, table in (("ClientRequest", REQUESTS), ("ClientNotification", NOTIFICATIONS)):
        for method in SCHEMAS[revision][union]:
            rule = table.get(method)
            has_row = rule is not None and _era(revision) in rule.eras
            assert has_row != ((revision, method) in REFUSED), method


@pytest.mark.parametrize("era", Era)
def test_every_row_is_of_a_schema(era: Era) -> None:
    """The table knows no method of its own making."""
    schemas = [each for revision, each in SCHEMAS.items() if _era(revision) is era]
    for union, table in (("ClientRequest", REQUESTS), ("ClientNotification", NOTIFICATIONS)):
        known = {method for each in schemas for method in each[union]}
        rows = {method for method, rule in table.items() if era in rule.eras}
        assert rows - known == ({*BEYOND} - known if era is Era.MODERN and union == "ClientNotification" else set())


def test_news_of_a_task_is_known_by_its_method() -> None:
    """What servers tell of tasks, under either revision, is what the gateway looks at."""
    told = {method for each in SCHEMAS.values() for method in each["ServerNotification"]}
    assert {method for method in told if "task" in method} == set(TASK_NEWS)


@pytest.mark.parametrize("method", REQUESTS)
def test_a_task_is_named_by_the_methods_about_it(method: str) -> None:
    """Each of them names one task, its id is what `Mcp-Name` mirrors, and no other method names any."""
    rule: MethodRule = REQUESTS[method]
    assert rule.tasks(EXAMPLE) == (("t-1",) if method in ABOUT_TASKS else ())
    assert (rule.mirrored == "taskId") == (method in ABOUT_TASKS)


@pytest.mark.parametrize("params", [{}, {"taskId": ""}, {"taskId": 1}, {"taskId": ["t-1"]}])
def test_a_task_is_named_by_a_text(params: Mapping[str, object]) -> None:
    """Anything else is no id."""
    with pytest.raises(ParamsMalformed):
        REQUESTS["tasks/get"].tasks(params)


def test_a_listen_filter_names_its_tasks() -> None:
    """Each once, and as texts."""
    listen = REQUESTS["subscriptions/listen"]
    assert listen.tasks({"notifications": {"taskIds": ["a", "b", "a"]}}) == ("a", "b")
    with pytest.raises(ParamsMalformed):
        listen.tasks({"notifications": {"taskIds": "a"}})
    with pytest.raises(ParamsMalformed):
        listen.tasks({"notifications": {"taskIds": [1]}})
