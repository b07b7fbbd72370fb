"""The ready policies do what they say: each set is clean, and its cases try every rule."""

from __future__ import annotations

import pytest

from perhop.policy.cases import run_cases
from perhop.policy.engine import PolicyEngine
from perhop.policy.policy_set import PolicySet, load_policies
from perhop.settings import load
from perhop.settings.policy_cases import load_cases
from tests.support.commands import perhop
from tests.support.sources import ROOT

FOLDER = ROOT / "examples" / "policies"
SETS = sorted(each.name for each in FOLDER.iterdir() if each.is_dir())


def test_every_set_is_in_the_list() -> None:
    """The page beside them names each folder, and no other."""
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert len(SETS) == 8
    assert [name for name in SETS if f"[{name}]({name}/{name}.cedar)" not in page] == []


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_clean_and_its_cases_try_every_rule(name: str) -> None:
    """Nothing is wrong or doubtful in it, all cases pass, and each rule decides in one of them."""
    assert perhop("policy", "check", "--policies", name, folder=FOLDER).out == "ok\n"
    ran = perhop("policy", "test", "--policies", name, "--full-coverage", "--json", folder=FOLDER)
    assert [each["name"] for each in ran.json["cases"] if not each["passed"]] == []
    assert (ran.code, ran.json["ok"]) == (0, True)


@pytest.mark.parametrize("name", SETS)
def test_a_set_without_one_of_its_rules_fails_its_cases(name: str) -> None:
    """No rule can be lost without a case that notices."""
    settings = load(FOLDER / "perhop.yaml", {})
    whole = load_policies(FOLDER / name)
    cases = load_cases(FOLDER / name / "cases.yaml", settings.registry, [each.id for each in whole.policies])
    for lost in whole.policies:
        rest = PolicySet(tuple(each for each in whole.policies if each is not lost), "without one")
        results = run_cases(PolicyEngine(rest, settings.registry), cases, {})
        assert not all(each.passed for each in results), lost.id
