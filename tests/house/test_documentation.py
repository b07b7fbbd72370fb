"""What the documentation says is what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bench.page import stray
from perhop.authorization_server.app import ACCESS_WELL_KNOWN, ENDPOINTS, WELL_KNOWN
from perhop.journal.record import Event
from perhop.journal.signals.overbroad import OVERBROAD
from perhop.journal.signals.theft import THEFT
from perhop.wiring.metric_table import TABLE
from perhop.wiring.metrics import Metrics
from scripts.generate_docs import PAGES, is_current
from scripts.pages import commands, reasons
from scripts.spec_lines import SpecLineMalformed, references_of, spec_lines
from tests.support.sources import ROOT, place, python_files


@pytest.mark.parametrize("path", PAGES)
def test_a_generated_page_is_current(path: str) -> None:
    """The page is what `make docs` writes from the code as it is now."""
    assert is_current(path), "run `make docs`"


def test_no_picture_of_an_older_run_is_left() -> None:
    """Every picture of the page on performance is of the run that is recorded."""
    assert stray(PAGES) == []


def test_every_reason_is_documented() -> None:
    """The page of reasons has a row for every dotted reason of the errors."""
    rows = set(re.findall(r"^\| `([a-z.]+)` \|", (ROOT / "docs/reference/reasons.md").read_text("utf-8"), re.M))
    assert rows == set(reasons.reasons())


def test_every_event_is_documented() -> None:
    """The page on the journal names every event."""
    page = (ROOT / "docs/journal-format.md").read_text(encoding="utf-8")
    assert [event.value for event in Event if f"`{event.value}`" not in page] == []


def test_every_metric_is_documented() -> None:
    """The page of metrics has a row for every metric of the table, and nothing is counted that is not in the table."""
    page = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(perhop_\w+)` \|", page, re.M))
    made = {family.name for family in Metrics().registry.collect()}
    assert rows == {metric.name for metric in TABLE}
    assert {name for name in made if name.startswith("perhop_")} <= {name.removesuffix("_total") for name in rows}


def test_every_signal_is_documented() -> None:
    """The page on leaks says of every signal when it speaks."""
    page = (ROOT / "docs/incident.md").read_text(encoding="utf-8")
    names = [signal.__name__.replace("_", "-") for signal in (*THEFT, *OVERBROAD)]
    assert [name for name in names if f"`{name}`" not in page] == []


def test_every_command_is_documented() -> None:
    """The page of commands has a section for every command."""
    page = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
    assert [name for name in commands.names() if f"## `{name}`" not in page] == []


def test_every_endpoint_is_described() -> None:
    """The OpenAPI description has every route of the authorization server with its methods, and no other."""
    paths = json.loads((ROOT / "docs/reference/openapi.json").read_text(encoding="utf-8"))["paths"]
    described = {(path, method.upper()) for path, operations in paths.items() for method in operations}
    gets = [(path, operations["get"]) for path, operations in paths.items() if "get" in operations]
    metadata = {(path, "GET") for path in (*WELL_KNOWN, ACCESS_WELL_KNOWN)}
    assert described - metadata == {(path, method) for path, _, methods in ENDPOINTS for method in methods}
    assert metadata <= described
    named = {path: {each["name"] for each in get.get("parameters", ()) if each["in"] == "path"} for path, get in gets}
    assert all(names == set(re.findall(r"{(\w+)}", path)) for path, names in named.items())


def test_spec_lines_follow_the_grammar() -> None:
    """Every `Spec:` line, in docstring or comment, ends with references that can be looked up."""
    wrong = []
    for file in python_files("src"):
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                references_of(line)
            except SpecLineMalformed as malformed:
                wrong.append(f"{place(file)}: {malformed}")
    assert wrong == []
    assert spec_lines(), "the code cites no specification at all"


@pytest.mark.parametrize("line", ["Spec: RFC 8707 section 2", "Spec: the standard", "Spec: RFC 8707 §2, more or less"])
def test_a_loose_citation_is_refused(line: str) -> None:
    """A citation that names no section by the grammar does not pass."""
    with pytest.raises(SpecLineMalformed):
        references_of(line)


def _pages() -> list[Path]:
    """Every page of ours; what is installed beside them is not, nor what docs/performance.md is made of."""
    at_the_root = [each for each in ROOT.iterdir() if each.is_dir() and not each.name.startswith(".")]
    inside = (page for folder in at_the_root for page in folder.rglob("*.md"))
    pages = [*ROOT.glob("*.md"), *(each for each in inside if "node_modules" not in each.parts)]
    return [each for each in pages if each != ROOT / "bench/performance.md"]


def _prose(page: Path) -> str:
    """The page without its blocks of code, whose comments look like headings."""
    return re.sub(r"^ *(```+|~~~+).*?^ *\1 *$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def _anchors(page: Path) -> set[str]:
    """The anchors of a page as GitHub makes them of its headings; one that comes again is counted."""
    found: dict[str, int] = {}
    anchors = set(re.findall(r'<a (?:id|name)="([^"]+)"', _prose(page)))
    for heading in re.findall(r"^ {0,3}#{1,6} +(.*?)(?: +#+)? *$", _prose(page), re.M):
        shown = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")
        again = found.get(slug, 0)
        found[slug] = again + 1
        anchors.add(f"{slug}-{again}" if again else slug)
    return anchors


def test_links_inside_the_documentation_lead_somewhere() -> None:
    """Every relative link of a page of ours names a file that exists, and its anchor a heading of that page."""
    broken, pages = [], _pages()
    for page in pages:
        for target, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)", _prose(page)):
            file = page.parent / target if target else page
            if not file.exists() or (anchor and file.suffix == ".md" and anchor not in _anchors(file)):
                broken.append(f"{place(page)}: {target}#{anchor}")
    assert len(pages) > 40
    assert broken == []
