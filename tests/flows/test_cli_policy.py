"""`perhop policy test` and `explain`: what authors ask of their policies, and what they are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commands import make_installation, perhop

CASES = """\
cases:
  - name: the planner reads
    agent: planner
    resource: calendar
    tool: list_events
    expect: permit
    by: [start-what-scopes-list]
  - name: the planner never writes
    agent: planner
    resource: calendar
    tool: create_event
    expect: deny
"""
NEVER = (
    '@id("never") @reason("read only") forbid (principal, action, resource == MCP::Tool::"calendar/create_event");\n'
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An installation with one file of cases, the second of which fails."""
    folder = tmp_path / "here"
    make_installation(folder)
    (folder / "policies/tests").mkdir()
    (folder / "policies/tests/calendar.yaml").write_text(CASES, encoding="utf-8")
    return folder


def test_a_failed_case_is_told_with_place_and_grounds(folder: Path) -> None:
    """Exit code 7; what was expected, what it is, and which policy did it."""
    ran = perhop("policy", "test", folder=folder)
    assert ran.code == 7
    assert ran.out.splitlines() == [
        f"failed: {folder / 'policies/tests/calendar.yaml'}:8: the planner never writes",
        "  expected deny, and it is permit by `start-what-scopes-list`",
        "  permitted by `start-what-scopes-list`",
        "  permit `start-what-scopes-list` at start.cedar:6: the token's scopes list it",
        "1 of 2 cases passed",
        "every policy of 1 decides in a case",
        "no definition of a tool of `calendar` is known here: the owner of `calendar` has approved none; arguments are "
        "seen as without a schema",
    ]
    found = perhop("policy", "test", "--json", folder=folder)
    assert (found.code, found.json["ok"]) == (7, False)
    assert [each["passed"] for each in found.json["cases"]] == [True, False]
    assert found.json["cases"][1]["observed"] == {"outcome": "permit", "by": ["start-what-scopes-list"]}


ASKING = '@id("asks") @approval("owner") permit (principal, action, resource == MCP::Tool::"calendar/create_event");\n'


def test_a_case_may_expect_that_a_person_is_asked(folder: Path) -> None:
    """`approval` is neither `permit` nor `deny`, and its policies are all permits that are satisfied."""
    (folder / "policies/own.cedar").write_text(ASKING, encoding="utf-8")
    ran = perhop("policy", "test", folder=folder)
    assert ran.code == 7
    assert "  expected deny, and it is approval by `asks`, `start-what-scopes-list`" in ran.out.splitlines()
    assert "once a person of the owner's team approves this very call: `asks` wants that" in ran.out
    cases = folder / "policies/tests/calendar.yaml"
    by = "expect: approval\n    by: [asks, start-what-scopes-list]"
    cases.write_text(CASES.replace("expect: deny", by), encoding="utf-8")
    found = perhop("policy", "test", "--full-coverage", "--json", folder=folder)
    assert (found.code, found.json["ok"]) == (0, True)
    said = found.json["cases"][1]
    assert said["observed"] == {"outcome": "approval", "by": ["asks", "start-what-scopes-list"]}
    assert (said["explanation"]["allowed"], said["explanation"]["needs_approval"]) == (False, True)
    cases.write_text(CASES.replace("tool: create_event", "action: list").replace("expect: deny", by), encoding="utf-8")
    ran = perhop("policy", "test", folder=folder)
    assert ran.code == 2
    assert "`list` needs no permit, so nobody is asked to approve it" in ran.err


def test_explain_does_not_call_it_permitted_where_a_person_is_asked(folder: Path) -> None:
    """Exit code 3, as the call would be refused; `--json` says that it is an approval that is wanting."""
    (folder / "policies/own.cedar").write_text(ASKING, encoding="utf-8")
    asked = ("policy", "explain", "--agent", "planner", "--resource", "calendar", "--tool", "create_event")
    ran = perhop(*asked, folder=folder)
    assert ran.code == 3
    assert ran.out.splitlines()[0] == (
        "permitted by `asks`, `start-what-scopes-list` once a person of the owner's team approves this very call: "
        "`asks` wants that"
    )
    found = perhop(*asked, "--json", folder=folder)
    assert (found.code, found.json["allowed"], found.json["needs_approval"]) == (3, False, True)
    found = perhop(*asked, "--scope", "calendar:read", "--json", folder=folder)
    assert (found.code, found.json["allowed"], found.json["needs_approval"]) == (3, False, False)


def test_cases_that_pass_and_policies_that_none_has_tried(folder: Path) -> None:
    """With `--full-coverage` a policy that no case needs is a failure, and without it is told."""
    policies = folder / "policies"
    (policies / "own.cedar").write_text(NEVER, encoding="utf-8")
    assert perhop("policy", "test", "--full-coverage", folder=folder).code == 0
    (policies / "own.cedar").write_text(NEVER + NEVER.replace("never", "never-at-all"), encoding="utf-8")
    ran = perhop("policy", "test", folder=folder)
    assert (ran.code, "not tried: `never-at-all` at own.cedar:2" in ran.out) == (0, True)
    ran = perhop("policy", "test", "--full-coverage", "--json", folder=folder)
    assert (ran.code, ran.json["coverage"]["undecisive"]) == (7, ["never", "never-at-all"])


def test_a_draft_is_tested_beside_what_is_in_use(folder: Path) -> None:
    """`--policies` takes another folder, with the cases there, or with those that are named."""
    draft = folder / "draft"
    draft.mkdir()
    (draft / "start.cedar").write_text((folder / "policies/start.cedar").read_text("utf-8") + NEVER, encoding="utf-8")
    cases = "policies/tests/calendar.yaml"
    assert perhop("policy", "test", cases, folder=folder).code == 7
    assert perhop("policy", "test", cases, "--policies", "draft", folder=folder).code == 0
    assert perhop("policy", "test", "--policies", "draft", folder=folder).code == 6
    (draft / "cases.yaml").write_text(CASES, encoding="utf-8")
    assert perhop("policy", "test", "--policies", "draft", folder=folder).code == 0


def test_mistakes_of_several_files_are_told_together(folder: Path) -> None:
    """Exit code 2, each with its place."""
    cases = folder / "policies/tests/calendar.yaml"
    cases.write_text(CASES.replace("agent: planner", "agent: planer", 1), encoding="utf-8")
    (folder / "policies/tests/more.yaml").write_text(CASES.replace("expect: deny", "expects: deny"), encoding="utf-8")
    ran = perhop("policy", "test", folder=folder)
    assert ran.code == 2
    assert "calendar.yaml:3: unknown agent `planer` in `cases.0.agent`; did you mean `planner`?" in ran.err
    assert "more.yaml:12: unknown key `expects` in `cases.1`; did you mean `expect`?" in ran.err


def test_without_cases_there_is_nothing_to_test(folder: Path) -> None:
    """No file is found: that is not a pass."""
    (folder / "policies/tests/calendar.yaml").unlink()
    assert perhop("policy", "test", folder=folder).code == 6
    assert perhop("policy", "test", "nosuch.yaml", folder=folder).code == 6


def test_explain_takes_the_whole_situation(folder: Path) -> None:
    """Time, address, chain and hop are part of the question; what the nearest permit needs is told of them."""
    (folder / "policies/start.cedar").write_text(
        '@id("office") permit (principal == MCP::Agent::"planner", action, resource in MCP::Server::"calendar")'
        ' when { context.request has ip && context.request.ip.isInRange(ip("10.0.0.0/8")) && context.token.hop <= 2'
        ' && context.request.hour >= 8 && context has actor && context.actor == "idler" };',
        encoding="utf-8",
    )
    asked = ("policy", "explain", "--agent", "planner", "--resource", "calendar", "--tool", "list_events")
    right = ("--ip", "10.1.2.3", "--actor", "idler", "--at", "2026-01-31T12:00:00Z")
    assert perhop(*asked, *right, folder=folder).out.startswith("permitted by `office`\n")
    ran = perhop(*asked, "--ip", "192.0.2.1", "--actor", "idler", "--hop", "3", "--at", "2026-01-31", folder=folder)
    assert ran.code == 3
    assert "nearest permit `office` at start.cedar:1 would need: " in ran.out
    for needed in ('ip("10.0.0.0/8")', "context.token.hop <= 2", "context.request.hour >= 8"):
        assert needed in ran.out


def test_explain_takes_the_groups_of_a_person(folder: Path) -> None:
    """A policy by group permits the person of that group; without a person there is nobody to be in one."""
    (folder / "policies/start.cedar").write_text(
        '@id("staff") permit (principal, action, resource)'
        ' when { context has subject && context.subject has groups && context.subject.groups.contains("staff") };',
        encoding="utf-8",
    )
    asked = ("policy", "explain", "--agent", "planner", "--resource", "calendar", "--tool", "list_events")
    right = ("--subject", "user:ann", "--group", "staff")
    assert perhop(*asked, *right, folder=folder).out.startswith("permitted by `staff`\n")
    ran = perhop(*asked, "--subject", "user:ann", folder=folder)
    assert ran.code == 3
    assert "context.subject has groups" in ran.out
    assert perhop(*asked, "--group", "staff", folder=folder).code == 2


def test_explain_takes_the_sign_in_of_a_person(folder: Path) -> None:
    """A forbid that wants a fresh sign-in says so of an old one; without a person nobody has signed in."""
    (folder / "policies/start.cedar").write_text(
        '@id("all") permit (principal, action, resource);'
        '@id("fresh") @authentication("max_age=300") forbid (principal, action, resource)'
        " unless { context.token has auth_time && context.token.auth_time >= context.request.time - 300"
        ' && context.token has acr && context.token.acr == "gold" };',
        encoding="utf-8",
    )
    asked = ("policy", "explain", "--agent", "planner", "--resource", "calendar", "--tool", "list_events")
    when = ("--subject", "user:ann", "--acr", "gold", "--at", "2026-01-07T12:00:00Z", "--auth-time")
    assert perhop(*asked, *when, "2026-01-07T11:55:00Z", folder=folder).out.startswith("permitted by `all`\n")
    ran = perhop(*asked, *when, "2026-01-07T11:54:59Z", "--json", folder=folder)
    assert (ran.code, ran.json["wanted"]) == (3, {"max_age": 300, "acr_values": []})
    assert perhop(*asked, "--acr", "gold", folder=folder).code == 2


def test_explain_takes_the_limits_of_a_task(folder: Path) -> None:
    """A permit that rests on a small budget is satisfied by it; a limit without a task is refused."""
    (folder / "policies/start.cedar").write_text(
        '@id("budget") permit (principal, action, resource) when { context has task'
        " && context.task has max_writes && context.task.max_writes <= 5"
        " && context.task has max_calls && context.task.max_calls <= 50 };",
        encoding="utf-8",
    )
    asked = ("policy", "explain", "--agent", "planner", "--resource", "calendar", "--tool", "create_event")
    task = ("--purpose", "book the rooms")
    assert perhop(*asked, *task, "--max-writes", "5", "--max-calls", "50", folder=folder).code == 0
    ran = perhop(*asked, *task, "--max-writes", "6", "--max-calls", "50", folder=folder)
    assert (ran.code, "would need: context.task.max_writes <= 5\n" in ran.out) == (3, True)
    assert perhop(*asked, *task, "--max-writes", "5", folder=folder).code == 3
    for option in ("--max-writes", "--max-calls"):
        ran = perhop(*asked, option, "5", folder=folder)
        assert (ran.code, "there is no task" in ran.err) == (2, True)


def test_explain_tells_of_an_argument_that_policy_cannot_read(folder: Path) -> None:
    """A number with a fraction is not passed over: the gateway would refuse such a call, and so it is told."""
    (folder / "policies/own.cedar").write_text(
        '@id("few") forbid (principal, action, resource == MCP::Tool::"calendar/list_events")'
        " when { context.arguments has days && context.arguments.days > 7 };",
        encoding="utf-8",
    )
    asked = ("policy", "explain", "--agent", "planner", "--resource", "calendar", "--tool", "list_events")
    ran = perhop(*asked, "--arguments", '{"days": 7.5}', "--json", folder=folder)
    assert (ran.code, ran.json["failed"]) == (3, True)
    assert "cannot judge" in ran.json["errors"][0]


def test_a_check_that_is_strict_fails_on_a_warning(folder: Path) -> None:
    """A warning alone is told, with grade, place and advice; with `--strict` the exit code is 7. A hint never is."""
    (folder / "policies/own.cedar").write_text(
        '@id("odd") @owner("travel") forbid (principal, action, resource) when { context.request.hour > 23 };',
        encoding="utf-8",
    )
    ran = perhop("policy", "check", folder=folder)
    assert ran.code == 0
    grade, place = ran.out.splitlines()[1].split()[:2]
    assert (grade, place, "can never be satisfied" in ran.out) == ("warning", "own.cedar:1", True)
    assert ran.out.splitlines()[-1] == "ok"
    strict = perhop("policy", "check", "--strict", "--json", folder=folder)
    assert (strict.code, strict.json["ok"]) == (7, False)
    assert [each["severity"] for each in strict.json["findings"]] == ["warning", "hint"]
    (folder / "policies/own.cedar").write_text(NEVER.replace("@reason", '@owner("travel") @reason'), encoding="utf-8")
    strict = perhop("policy", "check", "--strict", "--json", folder=folder)
    assert (strict.code, [each["severity"] for each in strict.json["findings"]]) == (0, ["hint"])


@pytest.mark.parametrize(
    ("question", "told"),
    [
        (("--tool", "list_events", "--subject", "ann"), ("--subject", "`ann` is not a person: write it as `user:ann`")),
        (("--tool", ""), ("--tool", "it is empty")),
        (("--prompt", ""), ("--prompt", "it is empty")),
        (("--read", ""), ("--read", "it is empty")),
        (("--tool", "x", "--arguments", '{"a": 1, "a": 2}'), ("--arguments", "duplicate key", "write a JSON object")),
        (
            ("--tool", "x", "--arguments", '{"a": ' + "[" * 5000),
            ("--arguments", "nested deeper", "write a JSON object"),
        ),
        (("--tool", "x", "--arguments", '{"a": NaN}'), ("--arguments", "`NaN` is not JSON")),
        (("--tool", "x", "--arguments", "[]"), ("--arguments", "not an object", "write a JSON object")),
        (("--tool", "x", "--arguments", '{"a": "\\ud800"}'), ("--arguments", "not UTF-8")),
        (
            ("--tool", "list_events", "--scope", "calendar:raed"),
            ("--scope", "`calendar` has no scope `calendar:raed`", "did you mean `calendar:read`?"),
        ),
        (
            ("--tool", "list_events", "--actor", "gateway:calender"),
            ("--actor", "there is no client `gateway:calender`", "did you mean `gateway:calendar`?"),
        ),
        (("--tool", "list_events", "--client", "planer"), ("--client", "no client `planer`", "mean `planner`?")),
        (("--tool", "list_events", "--ip", "10.0.0"), ("--ip", "`10.0.0` is not an address")),
    ],
)
def test_explain_refuses_what_no_call_can_ask(folder: Path, question: tuple[str, ...], told: tuple[str, ...]) -> None:
    """Exit code 2, the option, and what to write instead: an answer would be one about another question."""
    ran = perhop("policy", "explain", "--agent", "planner", "--resource", "calendar", *question, folder=folder)
    assert ran.code == 2
    said = " ".join(ran.err.replace("\u2502", " ").split())
    for each in told:
        assert each in said
