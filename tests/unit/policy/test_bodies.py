"""Which policies close a server to calls whose body is not there."""

from __future__ import annotations

import pytest

from perhop.policy.bodies import needs_body
from perhop.policy.policy_set import parse_policies
from tests.support.policies import PERMIT_ALL, an_engine

READS = 'when { context.arguments has title && context.arguments.title == "coup" };'


def _forbid(head: str) -> str:
    return f'@id("reads") forbid ({head}) {READS}'


@pytest.mark.parametrize(
    "head",
    [
        "principal, action, resource",
        'principal == MCP::Agent::"clerk", action, resource',
        'principal, action == MCP::Action::"call_tool", resource',
        'principal, action in [MCP::Action::"get_prompt", MCP::Action::"issue"], resource',
        'principal, action, resource == MCP::Tool::"calendar/create_event"',
        'principal, action, resource in MCP::Server::"calendar"',
        'principal, action, resource in MCP::Owner::"travel-team"',
        'principal, action, resource in MCP::Tenant::"acme"',
        "principal, action, resource is MCP::Tool",
        'principal, action, resource is MCP::Tool in MCP::Server::"calendar"',
    ],
)
def test_a_policy_that_reads_arguments_of_a_call_there_wants_the_body(head: str) -> None:
    """Whatever its head leaves open counts: for some agent and some tool it would be asked."""
    assert an_engine(PERMIT_ALL, _forbid(head)).needing_body("calendar") == ("reads",)


@pytest.mark.parametrize(
    "head",
    [
        'principal, action == MCP::Action::"exchange", resource',
        'principal, action in [MCP::Action::"issue"], resource',
        'principal, action, resource == MCP::Tool::"rooms/create_event"',
        'principal, action, resource == MCP::Tool::"calendar-admin/create_event"',
        'principal, action, resource in MCP::Server::"rooms"',
        'principal, action, resource in MCP::Owner::"finance"',
        'principal, action, resource is MCP::Tool in MCP::Server::"rooms"',
    ],
)
def test_a_policy_about_something_else_does_not(head: str) -> None:
    """A head that admits no call at this server closes nothing."""
    assert an_engine(PERMIT_ALL, _forbid(head)).needing_body("calendar") == ()


def test_a_presence_is_read_too() -> None:
    """Asking only whether an argument is there is asking for the body."""
    text = '@id("asks") permit (principal, action, resource) when { context.arguments has title };'
    assert an_engine(text).needing_body("calendar") == ("asks",)


def test_a_permit_that_wants_an_approval_wants_the_body() -> None:
    """The approval is of the call as it is, so it must be there."""
    (policy,) = parse_policies({"p.cedar": PERMIT_ALL}).policies
    assert not needs_body(policy)
    (asking,) = parse_policies({"p.cedar": f'@approval("owner") {PERMIT_ALL}'}).policies
    assert needs_body(asking)
