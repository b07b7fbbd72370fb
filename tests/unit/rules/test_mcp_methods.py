"""The table of methods."""

from __future__ import annotations

import pytest

from perhop.core.call import Action
from perhop.errors import MethodUnknown, MethodUnknownModern
from perhop.rules.mcp_methods import NOTIFICATIONS, REQUESTS, Era, method_rule

EXAMPLE = {"name": "x", "uri": "x:1", "ref": {"type": "ref/prompt", "name": "x"}, "notifications": {}}

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
}


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
