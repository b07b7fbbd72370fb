"""Loading policies: whole or not at all, and every refusal says where and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from perhop.errors import PolicyError
from perhop.policy.finding import Severity
from perhop.policy.policy_set import examine, load_policies, parse_policies
from perhop.policy.starter import load_starter_policy
from perhop.policy.statements import split_statements
from tests.support.policies import PERMIT_ALL

CALL = '(principal, action == MCP::Action::"call_tool", resource)'

REFUSED_POLICIES = {
    "no id": (f"permit {CALL};", "no `@id`", "@id("),
    "an empty id": (f'@id("") permit {CALL};', "is not an `@id`", "letters"),
    "an id with a blank": (f'@id("a b") permit {CALL};', "is not an `@id`", "letters"),
    "an id too long": (f'@id("{"a" * 129}") permit {CALL};', "is not an `@id`", "128"),
    "an approval by somebody else": (
        f'@id("a") @approval("me") permit {CALL};',
        "names nobody",
        '`@approval("owner")`',
    ),
    "an approval by nobody": (f'@id("a") @approval permit {CALL};', "names nobody", '`@approval("owner")`'),
    "a forbid that wants approval": (f'@id("a") @approval("owner") forbid {CALL};', "is a forbid", "only a permit"),
    "a misspelt approval": (f'@id("a") @aproval("owner") permit {CALL};', "`@aproval`", "`@approval`"),
    "a template": ('@id("a") permit (principal == ?principal, action, resource);', "template", "principal"),
    "an unknown action": (
        '@id("a") permit (principal, action == MCP::Action::"call_tol", resource);',
        "call_tol",
        "call_tool",
    ),
    "an unknown type": ('@id("a") permit (principal, action, resource in MCP::Servr::"x");', "Servr", "Server"),
    "a list rule about tools": (
        '@id("a") forbid (principal, action == MCP::Action::"list", resource is MCP::Tool);',
        "applicable action",
        "",
    ),
    "the server of a server": (
        '@id("a") forbid (principal, action, resource) when { resource.server.risk == "high" };',
        "server",
        "constrain `action`",
    ),
}

REFUSED_CONDITIONS = {
    "an unknown attribute": ("principal.ownr == 1", "ownr", ""),
    "an unknown context attribute": ("context.tokn.hop == 1", "tokn", ""),
    "the wrong type": ('context.token.hop == "1"', "Long and String", ""),
    "an unguarded argument": ("context.arguments.n > 3", "arguments.n", "context.arguments has n &&"),
    "an unguarded subject": ('context.subject == MCP::User::"u"', "subject", "context has subject &&"),
    "an argument of two types": (
        'context.arguments has n && (context.arguments.n > 3 || context.arguments.n == "x")',
        "Long",
        "",
    ),
    "all arguments": ("context.arguments == {}", "`context.arguments` as a value", "one argument"),
    "the whole context": ("context == {}", "`context` as a value", "one attribute"),
    "a reserved argument": ("context.arguments has __entity", "__entity", "Cedar"),
    "inner actors": ('context.actors.contains("x")', "context.actors", "outermost"),
    "inner actors, negated": ('!context["actors"].contains("x")', "context.actors", "outermost"),
    "inner actors, guarded": ("context has actors", "context.actors", "outermost"),
    "inner actors by a detour": (
        '(if true then context else context).actors.contains("x")',
        "`context` as a value",
        "",
    ),
}

REFUSED = REFUSED_POLICIES | {
    name: (f'@id("a") permit {CALL} when {{ {text} }};', problem, advice)
    for name, (text, problem, advice) in REFUSED_CONDITIONS.items()
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_unsound_policy_is_refused_with_place_and_remedy(case: str) -> None:
    """The message names file, line and fault; the advice says what to write."""
    text, problem, advice = REFUSED[case]
    with pytest.raises(PolicyError) as refused:
        parse_policies({"a.cedar": f"// one\n{PERMIT_ALL}\n\n{text}\n"})
    assert refused.value.problem.startswith("a.cedar:5: ")
    assert problem in refused.value.problem
    assert advice in refused.value.advice()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"{PERMIT_ALL}permit (principal, action, resource)", 2),
        (f'{PERMIT_ALL}\n@id("x")\nforbid (princpal, action, resource);\n{PERMIT_ALL}', 3),
        (f'{PERMIT_ALL}@id("x") permit (principal, action, resource) when {{ "open; }};', 2),
        (f'@id("x") @id("y") {PERMIT_ALL}', 1),
        ("\ufeff" + PERMIT_ALL, 1),
        (";", 1),
    ],
)
def test_a_file_that_does_not_parse_is_refused_whole(text: str, line: int) -> None:
    """One bad statement keeps every policy of the file out, and its line is named."""
    policies, findings = examine({"a.cedar": text})
    assert policies == ()
    assert [(each.file, each.line, each.severity) for each in findings] == [("a.cedar", line, Severity.ERROR)]
    with pytest.raises(PolicyError, match=f"a.cedar:{line}: "):
        parse_policies({"a.cedar": text})


@pytest.mark.parametrize(
    "condition",
    [
        "!" * 5000 + "true",
        "(" * 20000 + "true" + ")" * 20000,
        "!(" * 20000 + "true" + ")" * 20000,
        "[" * 20000 + "]" * 20000 + " == 1",
        "{a: " * 20000 + "1" + "}" * 20000 + " == 1",
        "if true then " * 20000 + "true" + " else true" * 20000,
        "true && " * 20000 + "true",
        "1 + " * 20000 + "1 == 1",
        "context" + ".a" * 20000,
        "context" + '["a"]' * 20000,
        "true && " * 200 + "true",
        "(" * 20000,
    ],
)
def test_a_condition_too_deep_for_the_parser_is_refused_and_not_shown_to_it(condition: str) -> None:
    """Nothing that an author writes overflows the parser's stack, which would end the whole process."""
    policies, findings = examine({"a.cedar": f'{PERMIT_ALL}@id("x") permit {CALL} when {{ {condition} }};'})
    assert policies == ()
    assert [each.where for each in findings] == ["a.cedar:2"]


def test_long_lists_are_no_depth() -> None:
    """A set of thousands of names, and a policy of a hundred conditions, load."""
    names = ", ".join(f'"user-{index}"' for index in range(5000))
    conditions = " && ".join(["context.token.hop < 9"] * 90)
    text = f'@id("x") forbid {CALL} when {{ [{names}].contains(context.token.client_id) && {conditions} }};'
    assert len(parse_policies({"a.cedar": text}).policies) == 1


def test_an_id_is_unique_over_all_files() -> None:
    """The second use of an `@id` is refused, and the first one named."""
    with pytest.raises(PolicyError, match=r"^b\.cedar:2: `@id` `all` is already used at a\.cedar:1$"):
        parse_policies({"b.cedar": "\n" + PERMIT_ALL, "a.cedar": PERMIT_ALL})


def test_the_version_follows_the_sources() -> None:
    """The order of files does not matter to the version; their names and every character do."""
    other = PERMIT_ALL.replace("all", "other")
    version = parse_policies({"a.cedar": PERMIT_ALL, "b.cedar": other}).version
    assert version == parse_policies({"b.cedar": other, "a.cedar": PERMIT_ALL}).version
    assert version != parse_policies({"a.cedar": other, "b.cedar": PERMIT_ALL}).version
    assert version != parse_policies({"a.cedar": PERMIT_ALL, "b.cedar": other + " "}).version
    assert len(version) == 16


@pytest.mark.parametrize(
    ("condition", "values"),
    [
        ("context.arguments has n && context.arguments.n > 3", {"n": "Long"}),
        ("context.arguments has n && 3 + context.arguments.n > 3", {"n": "Long"}),
        ('context.arguments has s && context.arguments.s like "a*"', {"s": "String"}),
        ('context.arguments has s && ["a", "b"].contains(context.arguments.s)', {"s": "String"}),
        ("context.arguments has b && context.arguments.b", {"b": "Bool"}),
        ("context.arguments has b && !context.arguments.b", {"b": "Bool"}),
        ("context has arguments.n && context.arguments.n != 3", {"n": "Long"}),
        ("context.arguments has n", {}),
        ("context.arguments has u && context.arguments.u == context.token.client_id", {"u": None}),
        ("context.arguments has h && context.token.hop == context.arguments.h", {"h": None}),
        ('context.arguments has "a b" && context.arguments["a b"] == "x"', {"a b": "String"}),
        ('context.arguments has "ü\\u{1}\\"" && context.arguments["ü\\u{1}\\""] == "x"', {'ü\x01"': "String"}),
    ],
)
def test_arguments_get_the_type_that_the_policy_takes_them_for(condition: str, values: dict[str, str | None]) -> None:
    """Each use of an argument behind a `has` is accepted, with the type that its use tells."""
    (policy,) = parse_policies({"a.cedar": f'@id("a") forbid {CALL} when {{ {condition} }};'}).policies
    assert policy.values == values


def test_two_policies_may_take_one_argument_for_two_types() -> None:
    """The argument `limit` of one tool is not that of another."""
    limit = "context.arguments has limit && context.arguments.limit"
    text = (
        f'@id("a") forbid (principal, action, resource) when {{ {limit} > 3 }};'
        f'@id("b") forbid (principal, action, resource) when {{ {limit} == "x" }};'
    )
    assert len(parse_policies({"a.cedar": text}).policies) == 2


def test_annotations_and_places_are_kept() -> None:
    """A policy knows its reason, owner, file and line."""
    text = f'\n// why\n@id("a")\n@reason("so")\n@owner("travel-team")\nforbid {CALL};'
    (policy,) = parse_policies({"a.cedar": text}).policies
    assert (policy.id, policy.effect, policy.reason, policy.owner) == ("a", "forbid", "so", "travel-team")
    assert (policy.file, policy.line) == ("a.cedar", 3)


def test_statements_are_split_outside_strings_and_comments() -> None:
    """A `;` in a string or a comment ends nothing."""
    source = 'a ";//\\";" b; // c; "d\n\n  e\n;  // f'
    assert [(each.line, each.text) for each in split_statements(source)] == [(1, 'a ";//\\";" b;'), (3, "e\n;")]


def test_the_files_of_a_folder_are_read(tmp_path: Path) -> None:
    """`*.cedar` counts, hidden files, other names and folders below do not."""
    (tmp_path / "a.cedar").write_text(PERMIT_ALL)
    (tmp_path / ".#a.cedar").write_text("half a")
    (tmp_path / "a.cedar~").write_text("half a")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "b.cedar").write_text("half a")
    policy_set = load_policies(tmp_path)
    assert [policy.id for policy in policy_set.policies] == ["all"]
    assert policy_set == parse_policies({"a.cedar": PERMIT_ALL})


def test_an_empty_folder_is_a_policy_set(tmp_path: Path) -> None:
    """No policy at all is sound: nothing is permitted."""
    assert load_policies(tmp_path).policies == ()


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A wrong path is never an empty policy set."""
    with pytest.raises(PolicyError, match="is not a folder"):
        load_policies(tmp_path / "polices")


def test_a_file_that_is_not_utf8_is_an_error(tmp_path: Path) -> None:
    """A file that cannot be read is named."""
    (tmp_path / "a.cedar").write_bytes(b'@id("\xff") ')
    with pytest.raises(PolicyError, match=r"a\.cedar"):
        load_policies(tmp_path)


def test_the_starter_policy_loads_with_its_examples() -> None:
    """What `init` writes is sound, and so are the examples in it once their slashes are gone."""
    starter = load_starter_policy()
    assert [policy.id for policy in parse_policies({"start.cedar": starter}).policies] == ["start-what-scopes-list"]
    lines = starter.splitlines()
    first, last = (next(i for i, line in enumerate(lines) if mark in line) for mark in ("no-deletes", "Or replace"))
    examples = "\n".join(line.removeprefix("//") for line in lines[first:last])
    assert [policy.id for policy in parse_policies({"x.cedar": examples}).policies] == [
        "no-deletes-by-planner",
        "small-payments-only",
    ]
