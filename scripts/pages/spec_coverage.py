"""docs/spec-coverage.md: requirement by requirement which test shows it, and section by section which code does it."""

from __future__ import annotations

from itertools import groupby
from pathlib import PurePosixPath

from scripts.spec_lines import link, spec_lines, split_reference
from tests.requirements import REQUIREMENTS
from tests.support.requirement import Requirement

_HEAD = """# What of the specifications is covered

<!-- written by `make docs` from tests/requirements.py and the `Spec:` lines of the code -->

A requirement is a sentence of ours that says what a specification asks of Perhop. It is shown by tests, or it is a gap,
and then the table says what is missing.
"""


def _shown(requirement: Requirement) -> str:
    if requirement.gap is not None:
        return f"**gap:** {requirement.gap}"
    return "<br>".join(_test(test) for test in requirement.tests)


def _test(test: str) -> str:
    path, _, name = test.partition("::")
    return f"[{PurePosixPath(path).stem}](../{path}) {name.removeprefix('test_').replace('_', ' ')}"


def _requirements() -> str:
    by_document = sorted(REQUIREMENTS.items(), key=lambda item: (split_reference(item[1].spec), item[0]))
    parts = []
    for document, entries in groupby(by_document, key=lambda item: split_reference(item[1].spec)[0]):
        parts.append(f"\n### {document}\n\n| Requirement | Where | Says | Shown by |\n| --- | --- | --- | --- |\n")
        for name, entry in entries:
            section = split_reference(entry.spec)[1] or "whole"
            parts.append(f"| `{name}` | [{section}]({link(entry.spec)}) | {_says(entry)} | {_shown(entry)} |\n")
    return "".join(parts)


def _says(entry: Requirement) -> str:
    return f"{entry.says} ({', '.join(entry.revisions)})" if entry.revisions else entry.says


def _code() -> str:
    parts = ["\n| Section | Code |\n| --- | --- |\n"]
    for (document, section), lines in groupby(spec_lines(), key=lambda line: (line.document, line.section)):
        places = "<br>".join(f"`{line.place}`" for line in lines)
        reference = f"{document} {section}".strip()
        parts.append(f"| [{reference}]({link(reference)}) | {places} |\n")
    return "".join(parts)


def render() -> str:
    """The page."""
    gaps = sum(entry.gap is not None for entry in REQUIREMENTS.values())
    count = f"\n{len(REQUIREMENTS)} requirements, {gaps} of them gaps.\n"
    return f"{_HEAD}{count}\n## Requirements\n{_requirements()}\n## Code\n{_code()}"
