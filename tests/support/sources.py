"""Reads the repository's own Python files, for tests that hold the house together."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE = ROOT / "src" / "perhop"
_NOT_OURS = {"node_modules", "__pycache__", "build", "dist", "results"}
_BINARY = {".pyc", ".db", ".sock", ".png"}


def python_files(*folders: str) -> list[Path]:
    """Every Python file under these folders of the repository; a folder that is not there has none."""
    return sorted(
        file
        for folder in folders
        for file in (ROOT / folder).rglob("*.py")
        if not _NOT_OURS.intersection(file.relative_to(ROOT).parts)
    )


def _text_files() -> Iterator[Path]:
    hidden_but_ours = {".ci", ".gitignore"}
    for entry in sorted(ROOT.iterdir()):
        if entry.name.startswith(".") and entry.name not in hidden_but_ours:
            continue
        for file in sorted(entry.rglob("*")) if entry.is_dir() else [entry]:
            parts = file.relative_to(ROOT).parts
            if file.is_file() and not _NOT_OURS.intersection(parts) and file.suffix not in _BINARY:
                yield file


@cache
def texts() -> dict[str, str]:
    """The text of every file of the repository that a person wrote or that is committed, by its path."""
    return {place(file): file.read_text(encoding="utf-8") for file in _text_files()}


def place(file: Path) -> str:
    """The file's path inside the repository, as messages show it."""
    return file.relative_to(ROOT).as_posix()


@cache
def tree(file: Path) -> ast.Module:
    """The parsed file."""
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def imported_modules(module: ast.Module) -> Iterator[tuple[str, int]]:
    """Every absolute import in a file, also those inside functions, with its line."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node.lineno


def made_types(module: ast.Module) -> Iterator[tuple[str, int]]:
    """Every name that a file calls or casts to, as `Name(...)`, `x.Name(...)` or `cast(Name, ...)`, with its line."""
    for node in ast.walk(module):
        if not isinstance(node, ast.Call):
            continue
        called = _last_name(node.func)
        yield called, node.lineno
        if called == "cast" and node.args:
            yield _last_name(node.args[0]), node.lineno


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Constant(value=str(name)):
            return name
        case _:
            return ""
