"""The examples of the three guides are Python, and what they import is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from perhop.client import SignIn, TokenSource

GUIDE = Path(__file__).parents[3] / "docs" / "guide"
EXAMPLES = [
    pytest.param(block, id=f"{page}-{number}")
    for page in ("guard-a-server.md", "call-from-an-agent.md", "tokens-in-your-client.md")
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", (GUIDE / page).read_text("utf-8"), re.DOTALL))
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_python_and_its_imports_exist(example: str) -> None:
    """Every block parses, and every name that it imports can be imported."""
    imports = [node for node in ast.parse(example).body if isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(ast.Module(body=imports, type_ignores=[]), "<example>", "exec"), {})


def test_the_servers_of_the_guide_can_be_built() -> None:
    """The FastMCP server, the SDK's and the plain application are made by the guide's own lines."""
    page = (GUIDE / "guard-a-server.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    built = [block for block in blocks if "\napp = " in block]
    assert len(built) == 3
    for block in built:
        names: dict[str, object] = {}
        exec(compile(block, "<example>", "exec"), names)
        assert callable(names["app"])


def test_the_token_sources_of_the_guide_can_be_built() -> None:
    """What the guide for clients makes of its own lines is a sign-in, and two sources."""
    page = (GUIDE / "tokens-in-your-client.md").read_text("utf-8")
    names: dict[str, Callable[..., object]] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "<example>", "exec"), names)
    built = (
        names["sign_in"](),
        names["workload"](),
        names["of_a_company"](lambda: "an ID token", "a secret of the guide"),
    )
    assert [type(each) for each in built] == [SignIn, TokenSource, TokenSource]
