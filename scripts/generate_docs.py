"""Writes the generated pages of docs/; `--check` writes nothing and fails if one is not what the code says.

python -m scripts.generate_docs [--check]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

from bench import page
from scripts.pages import commands, configuration, doctor, metrics, openapi, policy_cases, reasons, spec_coverage
from scripts.spec_lines import ROOT

PAGES: dict[str, Callable[[], str]] = {
    "docs/reference/commands.md": commands.render,
    "docs/reference/configuration.md": configuration.render,
    "docs/reference/metrics.md": metrics.render,
    "docs/reference/policy-cases.md": policy_cases.render,
    "docs/reference/doctor.md": doctor.render,
    "docs/reference/openapi.json": openapi.render,
    "docs/reference/reasons.md": reasons.render,
    "docs/spec-coverage.md": spec_coverage.render,
    **{path: partial(page.rendered().__getitem__, path) for path in page.rendered()},
}


def is_current(path: str) -> bool:
    """True if the page says what the code says now."""
    page = ROOT / path
    return page.is_file() and page.read_text(encoding="utf-8") == PAGES[path]()


def write(path: str) -> None:
    """Write one page."""
    page = ROOT / path
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(PAGES[path](), encoding="utf-8")


def main() -> int:
    """Write the pages that differ, or only name them."""
    stale = [path for path in PAGES if not is_current(path)]
    for path in stale:
        print(path)
        if "--check" not in sys.argv:
            write(path)
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
