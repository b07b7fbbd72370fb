"""What the runs on our client and on our authorization server must come to, and what the page of figures may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance import client_legs, figures
from conformance.authorization_leg import authorization_problems
from conformance.client_legs import LEGS, client_problems
from conformance.figures import BEGIN, END, Figures, check_figures, write_figures
from conformance.suite import REVISIONS, Outcome, SuiteRun, outcomes_in

PASSED, WARNED = Outcome(3, 0), Outcome(3, 1, ("x: WARNING",))


def _suite_run(**outcomes: Outcome) -> SuiteRun:
    return SuiteRun(0, dict(outcomes), Path())


@pytest.fixture(autouse=True)
def _one_scored_scenario(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (client_legs, figures):
        monkeypatch.setattr(module, "scored_scenarios", lambda revision, side: ("ping",))


def test_a_leg_of_the_client_is_whole() -> None:
    """A scored scenario that did not run is a problem, and so is anything that failed, or warned, scored or not."""
    name = "client 2026-07-28"
    assert list(client_problems({name: _suite_run(ping=PASSED, other=PASSED)})) == []
    assert list(client_problems({name: _suite_run(other=PASSED)})) == [f"{name} ping: did not run"]
    assert list(client_problems({name: _suite_run(ping=PASSED, other=WARNED)})) == [f"{name} other: 3/1; x: WARNING"]
    (nothing,) = client_problems({"client backcompat": _suite_run()})
    assert "nothing ran" in nothing


def _authorized(outcome: Outcome) -> SuiteRun:
    outcomes = {"authorization-code-grant": PASSED, "authorization-server-metadata-endpoint": outcome}
    return SuiteRun(0, outcomes, Path())


def test_the_authorization_server_passes_without_a_warning() -> None:
    """Both scenarios run and pass; a warning is a problem, and so is a scenario that did not run."""
    assert list(authorization_problems(_authorized(PASSED))) == []
    assert list(authorization_problems(_authorized(WARNED))) != []
    assert len(list(authorization_problems(_suite_run()))) == 2


def test_the_page_says_what_came_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a run writes is taken by the next one that comes to the same, and by no other."""
    page = tmp_path / "conformance.md"
    page.write_text(f"before\n{BEGIN}\n{END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(figures, "PAGE", page)
    servers = {revision: {"bare": _suite_run(ping=PASSED)} for revision in REVISIONS}
    done = Figures(dict.fromkeys(LEGS, _suite_run(ping=PASSED)), servers, _authorized(PASSED))
    assert list(check_figures(done)) != []
    write_figures(done)
    assert list(check_figures(done)) == []
    assert page.read_text(encoding="utf-8").startswith("before\n")
    assert page.read_text(encoding="utf-8").endswith("after\n")
    worse = Figures(dict.fromkeys(LEGS, _suite_run(ping=WARNED)), servers, _authorized(PASSED))
    assert list(check_figures(worse)) != []
    assert list(check_figures(Figures(clients=worse.clients))) == []


def test_results_are_found_in_whatever_folder_they_lie(tmp_path: Path) -> None:
    """Scenarios of clients lie a folder deeper, and those of authorization servers have a longer name."""
    for folder in ("auth/dpop", "server-ping", "authorization-server-authorization-code-grant"):
        place = tmp_path / f"{folder}-2026-11-26T15-10-48-505Z"
        place.mkdir(parents=True)
        (place / "checks.json").write_text('[{"id": "x", "status": "SUCCESS"}]', encoding="utf-8")
    assert outcomes_in(tmp_path).keys() == {"auth/dpop", "ping", "authorization-code-grant"}
