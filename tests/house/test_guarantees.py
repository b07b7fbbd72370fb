"""A type that proves a check is made only where the check is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.sources import SOURCE, made_types, place, python_files, tree

MADE_IN = {
    "ResourceUri": "rules/resource_uri.py",
    "VerifiedToken": "tokens/verify.py",
    "VerifiedAssertion": "tokens/authorization_grant.py",
    "BoundToken": "rules/audience.py",
    "CheckedProof": "tokens/proof.py",
    "UsedProof": "tokens/possession.py",
    "ProvedToken": "rules/sender.py",
    "MintedToken": "tokens/mint.py",
    "HopToken": "authorization_server/hop.py",
    "InForce": "gateway/authenticate.py",
    "Covered": "gateway/cover.py",
    "Allowed": "gateway/decide.py",
    "Permit": "gateway/count.py",
}


def _strangers(name: str, files: list[Path], home: Path) -> list[str]:
    return [
        f"{place(file)}:{line}"
        for file in files
        if file != home
        for made, line in made_types(tree(file))
        if made == name
    ]


@pytest.mark.parametrize("name", MADE_IN)
def test_a_guarantee_is_made_in_one_module(name: str) -> None:
    """No module but its own constructs or casts to a type that proves a check."""
    assert _strangers(name, python_files("src"), SOURCE / MADE_IN[name]) == []


@pytest.mark.parametrize("name", MADE_IN)
def test_the_module_that_makes_a_guarantee_makes_it(name: str) -> None:
    """The module named above does construct the type, so that the rule cannot go stale."""
    assert name in {made for made, _ in made_types(tree(SOURCE / MADE_IN[name]))}


@pytest.mark.parametrize("written", ["BoundToken(t, r)", "token.BoundToken(t, r)", "cast(BoundToken, x)"])
def test_the_rule_sees_each_way_to_make_one(written: str) -> None:
    """A call, a call through a module and a cast all count as making the type."""
    assert "BoundToken" in {made for made, _ in made_types(ast.parse(written))}
