"""docs/reference/policy-cases.md: every key of a file of test cases for policies, from the model that reads it."""

from __future__ import annotations

from perhop.settings.policy_cases import describe_cases
from scripts.keys_table import keys_table

_HEAD = """# Test cases of policies

<!-- written by `make docs` from perhop.settings.policy_cases -->

`perhop policy test` reads files of cases: YAML, as strict as `perhop.yaml`. A key that is not in this table is refused,
with its line and what you may have meant, and so is an agent, resource, scope, tool or policy that there is not. How
they are used is in [Tools for policies](../policy-tools.md#test).

"""


def render() -> str:
    """The page."""
    return _HEAD + keys_table(describe_cases())
