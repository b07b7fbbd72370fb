"""What counts as a loss when the suite runs on a way to the guarded server, and what is never allowed there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conformance import run
from conformance.installation import ALONE, EXCHANGE, Way, refused_tokens
from conformance.suite import Outcome, SuiteRun
from tests.support.processes import Running
from tests.support.recordings import Recordings


def _suite_run(**outcomes: Outcome) -> SuiteRun:
    return SuiteRun(0, dict(outcomes), Path())


PASSED, FAILED, SKIPPED = Outcome(2, 0), Outcome(2, 1, ("x: y",)), Outcome(0, 0, skipped=1)


@pytest.fixture(autouse=True)
def _one_scored_scenario(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "scored_scenarios", lambda revision: ("ping",) if revision == "scored" else None)


@pytest.mark.parametrize(
    ("here", "is_lost"),
    [
        (_suite_run(ping=PASSED), False),
        (_suite_run(ping=Outcome(3, 0)), True),
        (_suite_run(ping=Outcome(1, 0)), True),
        (_suite_run(ping=Outcome(2, 0, skipped=1)), True),
        (_suite_run(ping=FAILED), True),
        (_suite_run(ping=Outcome(0, 0)), True),
        (_suite_run(ping=SKIPPED), True),
        (_suite_run(), True),
    ],
)
@pytest.mark.parametrize("revision", ["scored", "unscored"])
def test_a_scenario_is_lost_unless_it_passes_with_the_same_checks(revision: str, here: SuiteRun, is_lost: bool) -> None:
    """It is lost when it fails, is skipped, did not run, or has passed other checks than on the bare server."""
    assert bool(list(run.losses(revision, _suite_run(ping=PASSED), here))) is is_lost


def test_a_scenario_that_is_not_scored_is_lost_all_the_same() -> None:
    """What passes on the bare server must pass here, required or not; what fails there is shown only."""
    bare = _suite_run(ping=PASSED, other=PASSED, failing=FAILED, skipped=SKIPPED)
    same = _suite_run(ping=PASSED, other=PASSED, failing=Outcome(0, 5), skipped=SKIPPED)
    assert list(run.losses("scored", bare, same)) == []
    (loss,) = run.losses("scored", bare, _suite_run(ping=PASSED, other=FAILED, failing=FAILED, skipped=SKIPPED))
    assert "other" in loss
    assert "x: y" in loss


def test_a_scenario_that_ran_on_one_side_only_is_told() -> None:
    """Whichever side it is, and whatever came of it."""
    told = [
        *run.losses("scored", _suite_run(ping=PASSED, there=FAILED), _suite_run(ping=PASSED)),
        *run.losses("scored", _suite_run(ping=PASSED), _suite_run(ping=PASSED, here=PASSED)),
    ]
    assert [line.split(": ")[0] for line in told] == ["scored there", "scored here"]
    assert all("did not run" in line for line in told)


def test_a_failing_bare_server_is_a_problem() -> None:
    """There is nothing to compare with when the bare server fails a required scenario, or runs none."""
    assert len(list(run.failures("scored", _suite_run(ping=Outcome(1, 1, ("x",)))))) == 1
    assert len(list(run.failures("scored", _suite_run()))) == 1
    assert len(list(run.failures("unscored", _suite_run(ping=PASSED, other=SKIPPED)))) == 1
    assert len(list(run.failures("unscored", _suite_run()))) == 1
    assert list(run.failures("unscored", _suite_run(ping=PASSED))) == []


def test_the_table_has_a_column_for_each_leg() -> None:
    """Passed and failed checks, what was skipped, and what did not run."""
    legs = {"bare": _suite_run(ping=PASSED, other=SKIPPED), "gateway": _suite_run(ping=FAILED)}
    assert [line.split() for line in run.table("scored", legs).splitlines()] == [
        ["scored", "bare", "gateway"],
        ["ping", "2/0", "2/1"],
        ["(other)", "skipped", "-"],
    ]


HEADER, CLAIMS, SIGNATURE = "eyJhbGciOiJFUzI1NiJ9", "eyJqdGkiOiJpbmJvdW5kIn0", "s" * 86
INBOUND, OUTBOUND = f"{HEADER}.{CLAIMS}.{SIGNATURE}", f"{HEADER}.eyJqdGkiOiJvdXRib3VuZCJ9.{'t' * 86}"


def _way(
    folder: Path, *, name: str = EXCHANGE, sent: str = OUTBOUND, output: str = "", presented: str = INBOUND
) -> Way:
    (folder / "sent").mkdir()
    (folder / "sent" / "000000").write_text(f"POST /mcp HTTP/1.1\r\nauthorization: Bearer {sent}\r\n\r\n", "ascii")
    (folder / "output").write_text(output, "utf-8")
    (folder / "presented").write_text(f"{presented}\n", "ascii")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    server = Running(command=(), ports=(), pid=ended.pid, log=folder / "output", process=ended)
    recordings = Recordings(folder / "sent") if name != ALONE else None
    return Way(name=name, url="", server=server, presented=folder / "presented", recordings=recordings)


CANARY = "perhop.resource_server refused: audience.mismatch: 'addressed to `http://x/canary/1`, expected `http://y`'\n"
NO_TOKEN = "perhop.resource_server refused: token.malformed: 'no Authorization header'\n"


def test_a_way_on_which_all_is_well_has_no_wrongs(tmp_path: Path) -> None:
    """The server got another token than the shim presented, and refused what the self-test sends to be refused."""
    assert list(run.wrongs(_way(tmp_path, output=CANARY + NO_TOKEN))) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sent": INBOUND}, "the claims of a token"),
        ({"sent": f"x.{CLAIMS}y.{SIGNATURE}"}, "the signature of a token"),
        ({"sent": ""}, "the server was sent no token"),
        ({"presented": ""}, "no token was presented"),
        ({"output": "perhop.resource_server refused: token.replayed: 'used before'\n"}, "token.replayed"),
        ({"output": CANARY.replace("canary", "mcp")}, "audience.mismatch"),
        ({"output": NO_TOKEN, "name": ALONE}, "token.malformed"),
        ({"output": CANARY, "name": ALONE}, "audience.mismatch"),
    ],
)
def test_what_must_not_happen_on_a_way_is_told(tmp_path: Path, changes: dict[str, str], told: str) -> None:
    """A token that was passed on, a token that was refused, and a way on which nothing was to be seen."""
    found = list(run.wrongs(_way(tmp_path, **changes)))
    assert any(told in wrong for wrong in found), found


@pytest.mark.parametrize(
    ("record", "is_told"),
    [
        ({"event": "call.refused", "reason": "token.expired"}, True),
        ({"event": "call.refused", "reason": "header.mismatch"}, False),
        ({"event": "call.ended", "result": {"error": "upstream.unavailable"}}, True),
        ({"event": "call.ended", "result": {"status": 200}}, False),
    ],
)
def test_a_token_refused_here_or_behind_is_told(record: dict[str, object], is_told: bool) -> None:
    """The gateway's own refusal, and the answer to a call that the server's guard has refused."""
    assert bool(refused_tokens([record])) is is_told
