"""docs/reference/commands.md: every command with its arguments and options, from the command line itself."""

from __future__ import annotations

from collections.abc import Iterator

import typer
from typer.core import TyperArgument, TyperGroup, TyperOption

from perhop.cli.main import app

_HEAD = """# Commands

<!-- written by `make docs` from perhop.cli -->

stdout is data, stderr is talk. `--json` prints JSON. Without a terminal nothing is asked. Exit codes: 0 ok, 1 failure,
2 usage, 3 denied, 4 authentication needed, 5 remote unreachable, 6 not found, 7 a check found problems.
"""


def _commands(group: TyperGroup, path: str) -> Iterator[tuple[str, object]]:
    for name in group.commands:
        command = group.commands[name]
        if command.hidden:
            continue
        if isinstance(command, TyperGroup):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def names() -> list[str]:
    """Every command as it is typed: `perhop journal verify`."""
    return [name for name, _ in _all()]


def _all() -> list[tuple[str, object]]:
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup), "perhop has commands, so its root is a group"
    return list(_commands(root, "perhop"))


def _cell(words: str) -> str:
    return " ".join(words.split()).replace("|", "\\|")


def _rows(command: object) -> Iterator[str]:
    for parameter in getattr(command, "params", []):
        if isinstance(parameter, TyperArgument):
            name = (parameter.metavar or parameter.name or "").strip("[]").upper()
            shown = f"`{_cell(name)}`" + ("" if parameter.required else " (optional)")
            yield f"| {shown} | {_cell(parameter.help or '')} |"
        elif isinstance(parameter, TyperOption) and not parameter.hidden and "--help" not in parameter.opts:
            yield f"| `{', '.join([*parameter.opts, *parameter.secondary_opts])}` | {_cell(parameter.help or '')} |"


def render() -> str:
    """The page."""
    parts = [_HEAD]
    for name, command in _all():
        rows = list(_rows(command))
        table = "\n| Argument or option | Meaning |\n| --- | --- |\n" + "\n".join(rows) + "\n" if rows else ""
        parts.append(f"\n## `{name}`\n\n{_cell(getattr(command, 'help', None) or '')}\n{table}")
    return "".join(parts)
