"""The guide for authors of policies: its examples load, and its words are those of the schema."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from perhop.policy.check import check
from perhop.policy.policy_set import parse_policies
from tests.support.policies import REGISTRY

GUIDE = Path(__file__).parents[3] / "docs" / "policies.md"
EXAMPLES = re.findall(r"```cedar\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
CONTEXT_ROWS = re.findall(r"^\| `(context[.\w]*)` \| ([^|]*) \|", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)


def test_every_example_loads_together_and_names_what_there_is() -> None:
    """The examples are sound, their ids differ, and they raise no doubt."""
    sources = {f"example-{index}.cedar": text for index, text in enumerate(EXAMPLES)}
    assert len(parse_policies(sources).policies) >= 6
    assert check(sources, REGISTRY) == []


@pytest.mark.parametrize(("name", "type_name"), [row for row in CONTEXT_ROWS if "NAME" not in row[0]])
def test_every_word_of_the_context_is_in_the_schema_as_the_guide_says(name: str, type_name: str) -> None:
    """A value that the guide calls optional must be guarded; any other need not be."""
    record, _, attribute = name.rpartition(".")
    outer = {"context.task": "context has task && ", "context.subject": "context has subject && "}.get(record, "")
    guard = outer + (f"{record} has {attribute} && " if "optional" in type_name else "")
    policy = f'@id("x") forbid (principal, action, resource) when {{ {{}}{name} == {name} }};'
    parse_policies({"a.cedar": policy.replace("{}", guard)})
    if guard:
        assert check({"a.cedar": policy.replace("{}", "")})[0].severity == "error"


def test_the_guide_names_all_of_the_context() -> None:
    """No attribute of the schema's context is left out of the guide."""
    schema = (Path(__file__).parents[3] / "src/perhop/policy/schema.cedarschema").read_text(encoding="utf-8")
    records = {
        "Context": "context",
        "Token": "context.token",
        "Task": "context.task",
        "Request": "context.request",
    }
    declared = {
        f"{prefix}.{attribute}"
        for type_name, prefix in records.items()
        for attribute in re.findall(r"^\s+(\w+)\??:", _body(schema, type_name), re.MULTILINE)
    } - {"context.token", "context.request"} | {"context.subject.groups"}  # of the person, who is an entity
    assert {name.removesuffix(".NAME") for name, _ in CONTEXT_ROWS} == declared


def _body(schema: str, type_name: str) -> str:
    found = re.search(rf"type {type_name} = \{{(.*?)\n    \}};", schema, re.DOTALL)
    assert found is not None
    return found[1]
