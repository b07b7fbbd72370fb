"""What a token says of itself, offline: here of its sender; the command's own tests have the rest."""

from __future__ import annotations

from typing import Any

import pytest

from perhop.tokens.inspect import inspect_token
from tests.support.forge import NOW, good_claims, sign
from tests.support.verifier import KEY


@pytest.mark.parametrize(
    ("changes", "bound_to", "problem"),
    [
        ({}, None, None),
        ({"cnf": {"jkt": KEY.kid}}, KEY.kid, None),
        ({"cnf": {"x5t#S256": KEY.kid}}, None, "sender.mismatch"),
        ({"cnf": {"jkt": "short"}}, None, "sender.mismatch"),
        ({"cnf": {"jkt": KEY.kid, "x5t#S256": KEY.kid}}, None, "sender.mismatch"),
        ({"cnf": "text"}, None, "token.malformed"),
        ({"cnf": {}}, None, "token.malformed"),
    ],
    ids=["none", "key", "certificate", "short", "both", "text", "empty"],
)
def test_inspecting_tells_the_key(changes: dict[str, Any], bound_to: str | None, problem: str | None) -> None:
    """A token that is bound to one key is good with a proof of it; bound to anything else it is good nowhere."""
    found = inspect_token(sign(good_claims(**changes), KEY), now=NOW)
    assert found.bound_to == bound_to
    assert [each.partition(":")[0] for each in found.problems] == ([] if problem is None else [problem])
