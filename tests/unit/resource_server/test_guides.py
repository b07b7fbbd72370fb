"""The examples of the two guides are Python, and what they import is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[3] / "docs" / "guide"
EXAMPLES = [
    pytest.param(block, id=f"{page}-{number}")
    for page in ("guard-a-server.md", "call-from-an-agent.md")
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
