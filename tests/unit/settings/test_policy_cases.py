"""Files of cases: read strictly, every name held against configuration and policies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from perhop.core.authentication import UNKNOWN, Authentication
from perhop.core.call import Action
from perhop.core.task import TaskLimits
from perhop.errors import NotFound, SettingsError
from perhop.policy.cases import PolicyCase
from perhop.settings.policy_cases import load_cases
from tests.support.policies import REGISTRY

WHOLE = """\
cases:
  - name: everything at once
    agent: trip-planner
    resource: calendar
    tool: create_event
    arguments: {title: lunch, seats: 4, loud: true, guests: [ann], note: null}
    subject: user:ann
    client: clerk
    actors: [gateway:calendar, clerk]
    hop: 7
    scopes: ["calendar:all"]
    time: 2026-07-29T13:30:00Z
    ip: 192.0.2.7
    session: s-1
    task: {purpose: pay the rent, approved: true, limits: {calls: 9, writes: 1}}
    revision: 2025-11-25
    expect: deny
    by: [night, day]
"""
GIVEN = "{title: lunch, seats: 4, loud: true, guests: [ann], note: null}"
TWICE = """'{"a": 1, "a": 2}'"""
DEEP = f"""'{{"a": {"[" * 100_000}{"]" * 100_000}}}'"""
LEAST = "cases:\n  - {name: x, agent: clerk, resource: bank, tool: pay, expect: permit}\n"


def loaded(text: str, folder: Path) -> tuple[PolicyCase, ...]:
    """The cases of a file with this text."""
    file = folder / "cases.yaml"
    file.write_text(text, encoding="utf-8")
    return load_cases(file, REGISTRY, ("night", "day"))


def test_every_key_reaches_the_question(tmp_path: Path) -> None:
    """What a case says is what is asked, and its arguments stand as the call has them."""
    (case,) = loaded(WHOLE, tmp_path)
    asked = case.question
    assert (asked.agent, asked.server, asked.target.name) == ("trip-planner", "calendar", "create_event")
    assert asked.arguments == {"title": "lunch", "seats": 4, "loud": True, "guests": ["ann"], "note": None}
    assert (asked.subject, asked.client_id, asked.actors, asked.hop) == (
        "user:ann",
        "clerk",
        ("gateway:calendar", "clerk"),
        7,
    )
    assert (asked.scopes, asked.tenant, asked.ip) == ({"calendar:all"}, "acme", "192.0.2.7")
    assert (asked.now, asked.session, asked.revision) == (1785331800, "s-1", "2025-11-25")
    assert asked.task is not None
    assert (asked.task.purpose, asked.task.is_approved, asked.task.subject) == ("pay the rent", True, "user:ann")
    assert asked.task.limits == TaskLimits(calls=9, writes=1)
    assert (case.expect, case.by, case.place) == ("deny", {"night", "day"}, f"{tmp_path / 'cases.yaml'}:2")


def test_what_a_case_leaves_out_is_usual(tmp_path: Path) -> None:
    """All scopes, the agent itself, the first hop, a Wednesday at noon; and any policy may decide."""
    (case,) = loaded(LEAST, tmp_path)
    asked = case.question
    assert (asked.client_id, asked.actors, asked.hop, asked.scopes) == ("clerk", (), 1, {"bank:all"})
    assert (asked.now, asked.ip, asked.subject, case.by) == (1767787200, "", None, None)
    assert asked.task is None
    (case,) = loaded(LEAST.replace("tool: pay", "tool: pay, task: {}"), tmp_path)
    assert case.question.task is not None
    assert (case.question.task.is_approved, case.question.task.limits) == (False, TaskLimits())
    assert case.question.authentication == UNKNOWN
    signed_in = 'tool: pay, subject: "user:ann", auth_time: "2026-01-07T11:00:00Z", acr: gold'
    (case,) = loaded(LEAST.replace("tool: pay", signed_in), tmp_path)
    assert case.question.authentication == Authentication(1767787200 - 3600, "gold")
    (case,) = loaded(LEAST.replace("tool: pay", "tool: pay, actors: [trip-planner]"), tmp_path)
    assert (case.question.client_id, case.question.hop) == ("trip-planner", 2)


@pytest.mark.parametrize(
    ("written", "action"),
    [("prompt: p", Action.GET_PROMPT), ("read: x", Action.READ_RESOURCE), ("action: exchange", Action.EXCHANGE)],
)
def test_each_kind_of_question(written: str, action: Action, tmp_path: Path) -> None:
    """A prompt, an MCP resource, or one of the other actions."""
    (case,) = loaded(LEAST.replace("tool: pay", written), tmp_path)
    assert case.question.target.action is action


def test_arguments_as_json_can_hold_a_fraction(tmp_path: Path) -> None:
    """YAML of ours has no such numbers."""
    (case,) = loaded(LEAST.replace("tool: pay", """tool: pay, arguments: '{"a": 0.5, "b": 1}'"""), tmp_path)
    assert case.question.arguments == {"a": 0.5, "b": 1}


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("hop: 7", "hopp: 7", 10, "unknown key `hopp` in `cases.0`\ndid you mean `hop`?"),
        ("agent: trip-planner", "agent: trip-planer", 3, "unknown agent `trip-planer`\ndid you mean `trip-planner`?"),
        ("resource: calendar", "resource: calender", 4, "unknown resource `calender`\ndid you mean `calendar`?"),
        ("by: [night, day]", "by: [night, days]", 18, "unknown policy `days`\ndid you mean `day`?"),
        ("client: clerk", "client: clark", 8, "unknown client `clark`\ndid you mean `clerk`?"),
        ("[gateway:calendar, clerk]", "[gateway:calender]", 9, "`gateway:calender`\ndid you mean `gateway:calendar`?"),
        ('["calendar:all"]', "[calendar:al]", 11, "unknown scope `calendar:al`\ndid you mean `calendar:all`?"),
        ("expect: deny", "expect: denied", 17, "unknown value `denied`\none of `permit`, `approval`, `deny`, `error`"),
        ("tool: create_event", "action: fly", 5, "unknown value `fly`\none of `list`, `issue`, `exchange`"),
        ("tool: create_event", "tool: x\n    prompt: y", 2, "asks several things"),
        ("    tool: create_event\n", "", 2, "asks nothing"),
        ("tool: create_event", "action: list", 6, "only tools and prompts have arguments"),
        ("2026-07-29T13:30:00Z", "noon", 12, "`noon` is not a time"),
        ("192.0.2.7", "here", 13, "`here` is not an address"),
        ("user:ann", "ann", 7, "`ann` is not a person"),
        ("revision: 2025-11-25", "revision: 2025-11-26", 16, "did you mean `2025-11-25`?"),
        (
            GIVEN,
            "'[1]'",
            6,
            "not an object\nwrite keys and values",
        ),
        (GIVEN, "[1]", 6, "must hold keys and values"),
        (GIVEN, TWICE, 6, "duplicate key"),
        (GIVEN, DEEP, 6, "nested deeper than 30"),
        ("hop: 7", "hop: 0", 10, "greater than or equal to 1"),
        ("    expect: deny\n", "", 2, "has no `expect`"),
        ("writes: 1", "writes: -1", 15, "greater than or equal to 0"),
        ("writes: 1", "write: 1", 15, "unknown key `write` in `cases.0.task.limits`\ndid you mean `writes`?"),
        ("    subject: user:ann\n", "", 14, "nobody has approved this task\nname the person as `subject`"),
        (
            "    subject: user:ann\n",
            "    acr: gold\n",
            7,
            "nobody is there who could have signed in\nname the person as `subject`",
        ),
        ("cases:", "case:", 1, "unknown key `case`\ndid you mean `cases`?"),
    ],
)
def test_a_mistake_is_refused_with_its_place(old: str, new: str, line: int, words: str, tmp_path: Path) -> None:
    """The file, the line, what is wrong, and what may have been meant."""
    assert old in WHOLE
    with pytest.raises(SettingsError) as refused:
        loaded(WHOLE.replace(old, new, 1), tmp_path)
    told = f"{refused.value.problem}\n{refused.value.advice()}"
    assert f"cases.yaml:{line}: " in told
    for part in words.split("\n"):
        assert part in told


def test_a_tool_that_no_scope_lists_is_refused(tmp_path: Path) -> None:
    """A call that no token can ask for shows nothing of the policies."""
    bank = REGISTRY.resources["bank"]
    scope = next(iter(bank.scopes.values()))
    listing = replace(REGISTRY, resources={"bank": replace(bank, scopes={"s": replace(scope, tools=("pay", "get_*"))})})
    file = tmp_path / "cases.yaml"
    file.write_text(LEAST.replace("tool: pay", "tool: pai"), encoding="utf-8")
    with pytest.raises(SettingsError, match="unknown tool `pai`") as refused:
        load_cases(file, listing, ())
    assert refused.value.advice() == "did you mean `pay`?"


def test_two_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    """A failure must say which case it is."""
    with pytest.raises(SettingsError, match="two cases are named `x`"):
        loaded(LEAST + LEAST.partition("\n")[2], tmp_path)


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    """A second mistake does not wait for the first one to be mended."""
    with pytest.raises(SettingsError) as refused:
        loaded(WHOLE.replace("clerk", "clark").replace("create_event", "''"), tmp_path)
    assert "must not be empty" in refused.value.problem
    with pytest.raises(SettingsError) as refused:
        loaded(WHOLE.replace("client: clerk", "client: clark").replace("user:ann", "ann"), tmp_path)
    assert len(refused.value.problem.splitlines()) == 2


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    """It is told as missing, and not as a wrong configuration."""
    with pytest.raises(NotFound, match=r"nosuch\.yaml"):
        load_cases(tmp_path / "nosuch.yaml", REGISTRY, ())
