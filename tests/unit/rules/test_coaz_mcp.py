"""The binding of AuthZEN to MCP: every method has a row, and means what the gateway takes it for."""

from __future__ import annotations

import pytest

from perhop.core.call import Action, Target
from perhop.errors import MethodUnknown, QuestionUnclear
from perhop.rules.authzen import AskedAction
from perhop.rules.coaz_mcp import BINDING, OWN_ACTIONS, Kind, asked_actions, asked_targets
from perhop.rules.mcp_methods import NOTIFICATIONS, REQUESTS, Era
from tests.support.sources import ROOT

ABOUT_TASKS = {"tasks/get", "tasks/result", "tasks/cancel", "tasks/update"}
PARAMS = {"name": "x", "uri": "x", "notifications": {}, "ref": {"type": "ref/prompt", "name": "x"}}


def test_every_method_has_a_row() -> None:
    """What the gateway passes on can be asked about, and nothing else can."""
    assert BINDING.keys() == REQUESTS.keys() | NOTIFICATIONS.keys()


def test_the_page_names_every_method_and_action() -> None:
    """The table of docs/authzen.md is the table here."""
    page = (ROOT / "docs/authzen.md").read_text(encoding="utf-8")
    assert [name for name in (*BINDING, *OWN_ACTIONS) if f"`{name}`" not in page] == []


@pytest.mark.parametrize("method", sorted(REQUESTS.keys() - ABOUT_TASKS - {"completion/complete"}))
def test_a_method_touches_what_the_gateway_says(method: str) -> None:
    """For the kind of thing that its params name, the targets are those of the gateway's table."""
    rule = REQUESTS[method]
    kinds = set(BINDING[method]) - ({Kind.RESOURCE} if method == "subscriptions/listen" else set())
    for kind in kinds:
        assert asked_targets(AskedAction(method, {}), kind, "x", era=None) == rule.targets(PARAMS)


@pytest.mark.parametrize("method", sorted(ABOUT_TASKS))
def test_a_task_is_its_tool(method: str) -> None:
    """A word about a task is asked about as a call of the tool that opened it, and as nothing else."""
    assert asked_targets(AskedAction(method, {}), Kind.TOOL, "x", era=None) == (Target(Action.CALL_TOOL, "x"),)
    with pytest.raises(QuestionUnclear):
        asked_targets(AskedAction(method, {}), Kind.MCP_SERVER, "", era=None)


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("name", [*BINDING, *(action.value for action in Action), "tools/fly"])
def test_a_thing_is_asked_about_by_its_own_actions_only(name: str, kind: Kind) -> None:
    """What a search would offer for a kind is what can be asked; all else is a no, with its reason."""
    action = AskedAction(name, {})
    if name in asked_actions(kind):
        assert asked_targets(action, kind, "x", era=None) is not None
    else:
        with pytest.raises((QuestionUnclear, MethodUnknown)):
            asked_targets(action, kind, "x", era=None)


@pytest.mark.parametrize("action", [Action.ISSUE, Action.EXCHANGE])
def test_tokens_are_nobody_elses_matter(action: Action) -> None:
    """Whether a token is issued or exchanged is decided at the token endpoint, and cannot be asked about."""
    assert action not in OWN_ACTIONS
    for kind in Kind:
        with pytest.raises(MethodUnknown):
            asked_targets(AskedAction(action.value, {}), kind, "x", era=None)


def test_a_method_belongs_to_its_era() -> None:
    """Under a revision that does not have it, a method is unknown."""
    discover = AskedAction("server/discover", {})
    assert asked_targets(discover, Kind.SERVER, "", era=Era.MODERN) == ()
    with pytest.raises(MethodUnknown):
        asked_targets(discover, Kind.SERVER, "", era=Era.LEGACY)


def test_a_thing_without_a_name_is_nothing() -> None:
    """An item needs a name; a server has none."""
    for action, kind in (("tools/call", Kind.TOOL), ("call_tool", Kind.TOOL), ("tasks/get", Kind.TOOL)):
        with pytest.raises(QuestionUnclear):
            asked_targets(AskedAction(action, {}), kind, "", era=None)
