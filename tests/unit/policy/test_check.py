"""Checking policy files: every error and every doubt at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perhop.core.registry import Registry
from perhop.policy.check import check
from perhop.policy.finding import Severity
from perhop.policy.starter import STARTER_FILE, load_starter_policy
from tests.support.policies import PERMIT_ALL, REGISTRY


def test_all_findings_come_at_once_in_order() -> None:
    """Errors of several files and policies, and warnings beside them, are told in one go."""
    findings = check(
        {
            "b.cedar": f"{PERMIT_ALL}\npermit (principal, action, resource);\n{PERMIT_ALL}",
            "a.cedar": '\n@id("x") forbid (principal == MCP::Agent::"trip-planer", action, resource);',
            "c.cedar": "half a",
        },
        REGISTRY,
    )
    assert [(each.where, each.severity) for each in findings] == [
        ("a.cedar:2", Severity.WARNING),
        ("b.cedar:3", Severity.ERROR),
        ("b.cedar:4", Severity.ERROR),
        ("c.cedar:1", Severity.ERROR),
    ]


@pytest.mark.parametrize(
    ("head", "word"),
    [
        ('principal == MCP::Agent::"trip-planer", action, resource', "trip-planer"),
        ('principal in MCP::Owner::"travel", action, resource', "travel"),
        ('principal, action, resource in MCP::Server::"calender"', "calender"),
        ('principal, action, resource in MCP::Tenant::"initech"', "initech"),
        ('principal, action, resource == MCP::Tool::"calender/create_event"', "no server `calender`"),
        ('principal, action, resource == MCP::Tool::"create_event"', "names no server"),
        ('principal, action, resource == MCP::Prompt::"calendar/"', "names no server"),
    ],
)
def test_a_name_that_the_registry_does_not_know_is_a_warning(head: str, word: str) -> None:
    """A misspelt name is found, with the names that there are."""
    (finding,) = check({"a.cedar": f'{PERMIT_ALL}@id("x") forbid ({head});'}, REGISTRY)
    assert (finding.severity, finding.line, finding.policy) == (Severity.WARNING, 2, "x")
    assert word in finding.message
    assert "calendar" in finding.advice or "`" in finding.advice


def test_known_names_give_no_finding() -> None:
    """Names of the configuration, tools of known servers and people are not doubted."""
    text = (
        '@id("x") @owner("finance") forbid (principal == MCP::Agent::"clerk", action == MCP::Action::"call_tool",'
        ' resource == MCP::Tool::"bank/pay")'
        ' when { context has subject && context.subject == MCP::User::"user:1"'
        ' && resource in MCP::Tenant::"globex" && principal in MCP::Owner::"finance" };'
    )
    assert check({"a.cedar": f'@owner("finance") {PERMIT_ALL}{text}'}, REGISTRY) == []


def test_an_unknown_owner_is_a_warning() -> None:
    """`@owner` names an owner of the configuration."""
    (finding,) = check({"a.cedar": '@owner("nobody") ' + PERMIT_ALL}, REGISTRY)
    assert "nobody" in finding.message


def test_a_permit_without_effect_is_a_warning() -> None:
    """A permit of listing, issue or exchange alone permits nothing."""
    text = '@id("x") permit (principal, action in [MCP::Action::"list", MCP::Action::"issue"], resource);'
    assert "no effect" in check({"a.cedar": PERMIT_ALL + text})[0].message


@pytest.mark.parametrize(
    "sources", [{}, {"a.cedar": ""}, {"a.cedar": '@id("x") forbid (principal, action, resource);'}]
)
def test_a_set_that_permits_nothing_is_a_warning(sources: dict[str, str]) -> None:
    """Every tool call would be refused: the author is told before the callers are."""
    (finding,) = check(sources)
    assert finding.severity is Severity.WARNING
    assert "every tool call is refused" in finding.message


def test_the_starter_policy_has_no_finding() -> None:
    """What `init` writes is clean in any configuration."""
    assert check({STARTER_FILE: load_starter_policy()}, REGISTRY) == []


def without_people(name: str = "finance", **changes: tuple[str, ...]) -> Registry:
    """The registry, with nobody in this team but for who is named."""
    owner = replace(REGISTRY.owners[name], members=(), **changes)
    return replace(REGISTRY, owners={**REGISTRY.owners, name: owner})


ASKING = '@id("asks") @approval("owner") permit (principal, action == MCP::Action::"call_tool", resource{0}){1};'


@pytest.mark.parametrize(
    ("head", "condition", "servers"),
    [
        ("", "", "`bank`"),
        (' in MCP::Server::"bank"', "", "`bank`"),
        (' == MCP::Tool::"bank/pay"', "", "`bank`"),
        (' in MCP::Tenant::"globex"', "", "`bank`"),
        (' in MCP::Owner::"finance"', "", "`bank`"),
        ("", ' when { resource.server.risk == "high" }', "`bank`"),
        ("", ' when { resource.name like "pay*" }', "`bank`"),
        (' in MCP::Server::"calendar"', "", None),
        ("", ' when { resource.server.risk != "high" }', None),
        ("", ' when { resource.server.owner == MCP::Owner::"travel-team" }', None),
        ("", ' unless { resource.server == MCP::Server::"bank" }', None),
        ("", ' when { ["low", "medium"].contains(resource.server.risk) }', None),
    ],
)
def test_an_approval_that_nobody_can_give_is_a_warning(head: str, condition: str, servers: str | None) -> None:
    """The servers that the permit is about are told whose owner has no people: there every such call is refused."""
    findings = check({"a.cedar": ASKING.format(head, condition)}, without_people())
    assert [each.severity for each in findings] == ([Severity.WARNING] if servers is not None else [])
    if servers is not None:
        assert f"nobody can give the approval that it wants for {servers}: `finance` has" in findings[0].message
        assert "`members` or `deputies`" in findings[0].advice


def test_a_deputy_is_enough_to_approve() -> None:
    """Members and deputies decide alike; with no owner at all nobody does, and without a registry nothing is said."""
    text = {"a.cedar": ASKING.format(' in MCP::Server::"bank"', "")}
    assert check(text, without_people(deputies=("dora@example.com",))) == []
    assert "nobody can give" in check(text, replace(REGISTRY, owners={}))[0].message
    assert check(text) == []


def test_an_approval_of_what_needs_no_permit_is_a_warning() -> None:
    """The permit has no effect, so it asks nobody."""
    text = '@id("x") @approval("owner") permit (principal, action == MCP::Action::"list", resource);'
    (finding,) = check({"a.cedar": PERMIT_ALL + text}, REGISTRY)
    assert "has no effect" in finding.message


def test_a_permit_that_spares_nobody_an_approval_is_a_warning() -> None:
    """Another one permits all that it permits, and wants an approval; a wider one does permit something."""
    narrow = '@id("narrow") permit (principal, action == MCP::Action::"call_tool", resource in MCP::Server::"bank");'
    (finding,) = check({"a.cedar": f"{ASKING.format('', '')}\n{narrow}"}, REGISTRY)
    assert (finding.policy, "`asks` at a.cedar:1 permits all that it permits" in finding.message) == ("narrow", True)
    assert check({"a.cedar": ASKING.format("", " when { context.token.hop > 1 }") + narrow}, REGISTRY) == []
    assert check({"a.cedar": ASKING.format("", "") + PERMIT_ALL}, REGISTRY) == []


def test_a_permit_with_and_one_without_an_approval_do_not_say_the_same() -> None:
    """The one is told as void, and not as a copy of the other."""
    plain = ASKING.format("", "").replace('@approval("owner") ', "").replace('"asks"', '"plain"')
    (finding,) = check({"a.cedar": ASKING.format("", "") + plain})
    assert "wants an approval" in finding.message
