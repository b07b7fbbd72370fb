"""Every requirement is shown by tests that exist, or is an admitted gap."""

from __future__ import annotations

import ast
from functools import cache

import pytest

from scripts.spec_lines import link
from tests.requirements import REQUIREMENTS
from tests.support.sources import ROOT, tree

REVISIONS = {"2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"}


@cache
def _tests_in(path: str) -> frozenset[str]:
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    functions = (node for node in ast.walk(tree(file)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_a_requirement_is_shown_or_is_a_gap(name: str) -> None:
    """It has tests or a gap, never both and never neither, and can be looked up."""
    requirement = REQUIREMENTS[name]
    assert bool(requirement.tests) != bool(requirement.gap)
    assert link(requirement.spec).startswith("https://")
    assert set(requirement.revisions) <= REVISIONS


@pytest.mark.parametrize("name", [name for name, requirement in REQUIREMENTS.items() if requirement.tests])
def test_the_tests_of_a_requirement_exist(name: str) -> None:
    """Every test that is said to show it is a function of that file."""
    for test in REQUIREMENTS[name].tests:
        path, _, function = test.partition("::")
        assert function in _tests_in(path), test
