"""`docs/performance.md` and its pictures, from the recorded full run: `python -m bench.page`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from string import Template

from bench.measured import Measured, Results, number
from bench.plots import Bar, bars
from bench.tables import scenarios
from bench.targets import TARGETS

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = Path(__file__).with_name("performance.md")
RECORDED = ROOT / "bench" / "results" / "full.json"
PAGE, PICTURES = "docs/performance.md", "docs/performance"


_OURS = "perhop"
_NAMES = {
    "perhop": "Perhop",
    "envoy": "Envoy",
    "mcp sdk": "MCP SDK",
    "fastmcp": "FastMCP",
    "contextforge": "ContextForge",
}
_FIGURES = {
    "cpu_us": "CPU of a call",
    "requests_a_second": "calls a second",
    "added_p50_ms": "added latency, half of the calls",
    "added_p99_ms": "added latency, 99 of 100 calls",
    "decision_us": "time of a decision",
    "records_a_second": "records a second",
    "seconds": "time",
    "resident_mb": "memory",
    "stream_kb": "memory of a stream",
}


@cache
def rendered() -> dict[str, str]:
    """Every file of the page, by its path in the repository: the page and its pictures."""
    return render(Results.read(RECORDED))


def render(results: Results) -> dict[str, str]:
    """The page and its pictures, of this run."""
    pictures: dict[str, str] = {}

    def picture(name: str, title: str, rows: Sequence[Measured]) -> str:
        if len(rows) < 2:
            return ""
        drawn = [
            Bar(name=_short(each.subject), rounds=each.rounds, median=each.median, is_ours=_is_ours(each.subject, rows))
            for each in rows
        ]
        pictures[f"{PICTURES}/{name}.svg"] = bars(title, rows[0].unit, drawn)
        return f"![{title}](performance/{name}.svg)\n\n"

    others = [name for name in scenarios(results.measured) if name != "gateway"]
    page = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        targets=_targets(results),
        beside=_beside(results, picture),
        kinds=_kinds(results, picture),
        scenarios="\n".join(_scenario(name, results, picture) for name in others),
        machine=_table(("", ""), list(results.machine.items())),
    )
    return {PAGE: page.rstrip("\n") + "\n", **pictures}


def write() -> list[str]:
    """Write the page from what is recorded, and remove pictures that it has no longer; the paths that changed."""
    rendered.cache_clear()
    files = rendered()
    changed = []
    for path, text in files.items():
        file = ROOT / path
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            changed.append(path)
    for path in stray(files):
        (ROOT / path).unlink()
        changed.append(path)
    return changed


def stray(files: Iterable[str]) -> list[str]:
    """Pictures that lie there and are none of these."""
    there = (f"{PICTURES}/{file.name}" for file in (ROOT / PICTURES).glob("*"))
    return sorted(set(there) - set(files))


Picture = Callable[[str, str, Sequence[Measured]], str]


def _targets(results: Results) -> str:
    rows = [
        (each.what, each.told(each.value(results)), each.bound(each.must), each.bound(each.aim), each.reached(results))
        for each in TARGETS
    ]
    return _table(("Target", "Measured", "Must", "Aim", ""), rows)


def _beside(results: Results, picture: Picture) -> str:
    gateway = _of("gateway", results)
    names = [name for name in _subjects(gateway) if _is_beside(name)]
    rows = []
    for name in names:
        found = {each.figure: each for each in gateway if each.subject == name}
        figures = [
            _cell(found.get(figure)) for figure in ("cpu_us", "requests_a_second", "added_p50_ms", "added_p99_ms")
        ]
        to_nginx = _times(results, name, "nginx", "cpu_us")
        rows.append((_short(name), figures[0], to_nginx, *figures[1:], _cell(found.get("resident_mb"))))
    head = ("", "CPU, us", "to nginx", "calls a second", "added p50, ms", "added p99, ms", "MB")

    def of(figure: str) -> list[Measured]:
        return [each for each in gateway if each.figure == figure and each.subject in names]

    quick = [each for each in of("added_p50_ms") if each.subject not in ("fastmcp proxy", "contextforge")]
    return (
        picture("gateway-cpu", "CPU of a call", of("cpu_us"))
        + picture("gateway-rate", "Calls a second", of("requests_a_second"))
        + picture("gateway-latency", "Latency added at 100 calls a second, half of the calls", quick)
        + _table(head, rows)
        + "\n"
        + _setups([each for each in gateway if each.subject in names])
    )


def _is_beside(name: str) -> bool:
    """One of ours in its ordinary form, or a peer: not a kind of call."""
    kind = name.removeprefix("perhop, ").partition(", ")[2]
    return not kind or (not name.startswith((_OURS, "nginx")))


def _kinds(results: Results, picture: Picture) -> str:
    gateway = _of("gateway", results)
    names = [name for name in _subjects(gateway) if name.startswith((_OURS, "nginx"))]
    rows = []
    for name in names:
        found = {each.figure: each for each in gateway if each.subject == name}
        to_work = _times(results, name, "perhop, work", "cpu_us") if name.startswith(_OURS) else ""
        rows.append((_short(name), _cell(found.get("cpu_us")), to_work, _cell(found.get("requests_a_second"))))
    kinds = [each for each in gateway if each.figure == "cpu_us" and each.subject in names]
    table = _table(("", "CPU, us", "to `work`", "calls a second"), rows)
    return picture("gateway-kinds", "CPU of a call, by kind", kinds) + table


def _scenario(name: str, results: Results, picture: Picture) -> str:
    """A scenario whose subjects are told as they are: a picture for each figure that several have, and a table."""
    measured = _of(name, results)
    title = name.replace("_", " ").capitalize()
    pictures = ""
    for figure in dict.fromkeys(each.figure for each in measured):
        rows = [each for each in measured if each.figure == figure]
        pictures += picture(f"{name.replace('_', '-')}-{figure.replace('_', '-')}", f"{title}: {_named(figure)}", rows)
    table = [(each.subject, _named(each.figure), number(each.median), _range(each), each.unit) for each in measured]
    return f"## {title}\n\n{pictures}{_table(('', 'Figure', 'Median', 'Rounds', 'Unit'), table)}\n{_setups(measured)}"


def _named(figure: str) -> str:
    return _FIGURES.get(figure, figure.replace("_", " "))


def _of(scenario: str, results: Results) -> list[Measured]:
    return [each for each in results.measured if each.scenario == scenario]


def _is_ours(name: str, rows: Sequence[Measured]) -> bool:
    """Ours is what says so, or everything where nobody says so: then no peer is among them."""
    return name.startswith(_OURS) or not any(each.subject.startswith(_OURS) for each in rows)


def _subjects(measured: Iterable[Measured]) -> list[str]:
    """Subjects, each once, in order."""
    return list(dict.fromkeys(each.subject for each in measured))


def _setups(measured: Sequence[Measured]) -> str:
    setups = {each.subject: each.setup for each in measured if each.setup}
    return "".join(f"- **{_short(name)}**: {setup}\n" for name, setup in setups.items())


def _times(results: Results, subject: str, other: str, figure: str) -> str:
    found = results.ratio("gateway", subject, other, figure)
    return "" if found is None else f"{number(found)}x"


def _cell(each: Measured | None) -> str:
    return "" if each is None else number(each.median)


def _range(each: Measured) -> str:
    return f"{number(min(each.rounds))} to {number(max(each.rounds))}"


def _short(name: str) -> str:
    for written, read in _NAMES.items():
        name = name.replace(written, read)
    return name


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "Nothing is recorded yet.\n"
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    for changed in write():
        sys.stderr.write(f"bench: wrote {changed}\n")
