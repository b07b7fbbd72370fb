"""The figures of docs/conformance.md: made by a run, and held against the next one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from conformance.authorization_leg import LEG as AUTHORIZATION
from conformance.client_legs import LEGS
from conformance.suite import PACKAGE, REVISIONS, SuiteRun, scored_scenarios
from scripts.fetch_real import ROOT, version_of

PAGE = ROOT / "docs" / "conformance.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


@dataclass(slots=True)
class Figures:
    """What came out of a run, as far as it went. `servers` is by revision, then by leg."""

    clients: Mapping[str, SuiteRun] = field(default_factory=dict)
    servers: Mapping[str, Mapping[str, SuiteRun]] = field(default_factory=dict)
    authorization: SuiteRun | None = None

    @property
    def is_whole(self) -> bool:
        """True if everything ran that the page tells of."""
        return bool(self.clients and self.servers and self.authorization)

    def table(self) -> str:
        """Scenarios that pass, of those that ran; how many checks a scenario makes is its own affair."""
        rows = [_row(leg, LEGS[leg], run, "client") for leg, run in self.clients.items()]
        for revision in REVISIONS if self.servers else ():
            words = ("--requirements", revision)
            rows.extend(
                _row(f"server {revision}, {leg}", words, run, "server") for leg, run in self.servers[revision].items()
            )
        if self.authorization is not None:
            rows.append(_row(AUTHORIZATION, ("", ""), self.authorization, "client"))
        return "\n".join((f"`{PACKAGE}` {version_of(PACKAGE)}", "", *_HEAD, *rows))


_HEAD = ("| Run | Scored, passed | All, passed |", "| --- | --- | --- |")


def _row(name: str, words: Sequence[str], run: SuiteRun, side: str) -> str:
    scored = scored_scenarios(words[1], side) if words[0] == "--requirements" else None
    passed = [scenario for scenario, outcome in run.outcomes.items() if outcome.is_passed]
    told = "-" if scored is None else f"{len(set(scored) & set(passed))} of {len(scored)}"
    return f"| {name} | {told} | {len(passed)} of {len(run.outcomes)} |"


def write_figures(figures: Figures) -> None:
    """Put what came out between the marks of the page, if everything ran."""
    if figures.is_whole:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{figures.table()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def check_figures(figures: Figures) -> Iterator[str]:
    """The page says what is not so."""
    if figures.is_whole and f"{BEGIN}\n{figures.table()}\n{END}" not in PAGE.read_text(encoding="utf-8"):
        yield "docs/conformance.md tells other figures; `python -m conformance.run --write` writes these"
