"""What is made of what was measured: ratios, targets, the comparison with a recorded run, and the page."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.check import COMPARED, Ratio, confirmed, lost
from bench.measured import Results, Size
from bench.page import render
from bench.scenarios import SCENARIOS
from bench.tables import targets_table
from bench.targets import TARGETS, Reached, worst
from tests.bench.made_up import figure, results

WORK_TO_NGINX = next(each for each in TARGETS if each.what.startswith("CPU of a call, to nginx"))
ADDED = next(each for each in TARGETS if each.unit == " ms")
TO_FASTMCP = next(each for each in TARGETS if each.at_least)
IDLE = next(each for each in TARGETS if "idle stream" in each.what)
COST = Ratio("gateway", "perhop, work", "nginx", "cpu_us")
RATE = Ratio("gateway", "perhop, work", "nginx", "cpu_us", more_is_better=True)


def test_a_ratio_is_taken_round_by_round() -> None:
    """The ratio is the median of the rounds' ratios, so that a slow minute that meets both subjects falls out."""
    run = results(perhop_work=(80, 800, 90), nginx=(10, 100, 30))
    assert run.ratio("gateway", "perhop, work", "nginx", "cpu_us") == 8
    assert run.ratio("gateway", "nginx", "perhop, work", "cpu_us") == 1 / 8


def test_a_ratio_is_of_the_rounds_that_both_have() -> None:
    """What has more rounds than the other is held against it in the first ones, which both had together."""
    run = results(perhop_work=(80, 80, 10, 10, 10), nginx=(10, 10))
    assert run.ratio("gateway", "perhop, work", "nginx", "cpu_us") == 8


@pytest.mark.parametrize("other", ["envoy", "nginx"])
def test_there_is_no_ratio_without_both(other: str) -> None:
    """A ratio to a subject that was not measured, or that took nothing, is not there."""
    run = results(perhop_work=(80, 80), nginx=(10, 0))
    assert run.ratio("gateway", "perhop, work", other, "cpu_us") is None


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    """What is in the file is the run."""
    run = results(Size.QUICK, perhop_work=(80.5, 81), nginx=(10, 10))
    run.write(tmp_path / "quick.json")
    assert Results.read(tmp_path / "quick.json") == run


@pytest.mark.parametrize(
    ("times", "reached"),
    [(4, Reached.AIM), (4.01, Reached.MUST), (8, Reached.MUST), (8.01, Reached.NOT)],
    ids=lambda value: str(value),
)
def test_a_target_is_reached_up_to_its_bound(times: float, reached: Reached) -> None:
    """A target that is an upper bound is reached at it and below."""
    assert WORK_TO_NGINX.reached(results(perhop_work=(times * 100,), nginx=(100,))) == reached


@pytest.mark.parametrize(
    ("times", "reached"), [(12, Reached.AIM), (6, Reached.MUST), (5.9, Reached.NOT)], ids=lambda value: str(value)
)
def test_a_target_of_at_least_is_reached_from_its_bound(times: float, reached: Reached) -> None:
    """A target that is a lower bound is reached at it and above."""
    rates = [figure("perhop, work", times * 10, name="requests_a_second")]
    rates += [figure("fastmcp server", 10, name="requests_a_second")]
    assert TO_FASTMCP.reached(results().with_more(rates)) == reached


@pytest.mark.parametrize(("value", "told"), [(8, "8x"), (8.004, "8.004x"), (8.04, "8.04x"), (3.998, "3.998x")])
def test_what_misses_its_bound_does_not_read_as_if_it_were_there(value: float, told: str) -> None:
    """Three digits are enough, but where they hide on which side of a bound a figure is."""
    assert WORK_TO_NGINX.told(value) == told


def test_a_target_that_nobody_measured_is_not_reached() -> None:
    """A target without its figure says so, and so does one that the quick form measures only in small."""
    streams = [figure("idle streams", 1, scenario="growth", name="stream_kb")]
    assert {each.reached(results()) for each in TARGETS} == {Reached.UNKNOWN}
    assert IDLE.reached(results(Size.QUICK).with_more(streams)) == Reached.UNKNOWN
    assert IDLE.reached(results(Size.FULL).with_more(streams)) == Reached.AIM


def test_the_slowest_of_a_kind_counts() -> None:
    """A target on a question is held to the slowest form of that question, and to no other question."""
    asked = {"trace, one": 1.0, "trace, busy": 3.0, "trace": 2.0, "traces": 9.0}
    run = results().with_more(figure(name, value, scenario="journal", name="seconds") for name, value in asked.items())
    assert worst("journal", "trace", "seconds")(run) == 3


def test_every_target_is_printed() -> None:
    """What is missed and what was not measured is printed beside what is reached."""
    printed = targets_table(results(perhop_work=(900,), nginx=(100,)))
    assert [each.what for each in TARGETS if each.what not in printed] == []
    assert re.search(r"to nginx forwarding without any check +9x +<= 8x +<= 4x +NOT reached", printed)


@pytest.mark.parametrize(
    ("compared", "now", "is_lost"),
    [(COST, 149, False), (COST, 151, True), (COST, 20, False), (RATE, 67, False), (RATE, 66, True), (RATE, 900, False)],
    ids=["noise", "loss", "gain", "noise of a rate", "loss of a rate", "gain of a rate"],
)
def test_only_a_gross_loss_is_one(compared: Ratio, now: float, is_lost: bool) -> None:
    """A ratio is lost when it is more than half as bad again as the recorded one, whichever way is worse."""
    recorded = results(perhop_work=(100, 100), nginx=(10, 10))
    run = results(perhop_work=(now, now * 10), nginx=(10, 100))
    assert bool(lost(run, recorded, [compared])) == is_lost


def test_a_ratio_that_is_missing_is_lost_and_says_where() -> None:
    """A ratio that one of the two runs lacks fails the comparison, which names that run."""
    whole, half = results(perhop_work=(100,), nginx=(10,)), results(perhop_work=(100,))
    (not_now,), (not_recorded,) = lost(half, whole, [COST]), lost(whole, half, [COST])
    assert "not measured by this run" in str(not_now)
    assert "not in the recorded run" in str(not_recorded)


def test_what_is_lost_is_measured_again_before_it_fails() -> None:
    """A loss that a second measurement of its scenario does not show was noise; one that it shows is one."""
    recorded, slow = results(perhop_work=(100,), nginx=(10,)), results(perhop_work=(200,), nginx=(10,))
    asked: list[list[str]] = []

    def again(second: Results) -> Callable[[Sequence[str]], Results]:
        return lambda scenarios: asked.append(list(scenarios)) or second

    assert confirmed(recorded, recorded, again(slow), [COST]) == []
    assert asked == []
    assert confirmed(slow, recorded, again(recorded), [COST]) == []
    assert [each.ratio for each in confirmed(slow, recorded, again(slow), [COST, RATE])] == [COST]
    assert asked == [["gateway"], ["gateway"]]


def test_what_was_never_recorded_is_not_measured_again() -> None:
    """Without a recorded ratio the comparison fails at once."""
    lost_at_once = confirmed(results(), results(), lambda _: pytest.fail("measured again"), COMPARED)
    assert [each.ratio for each in lost_at_once] == list(COMPARED)


@pytest.mark.parametrize("size", list(Size))
def test_the_scenarios_fit_into_their_time(size: Size) -> None:
    """The times that the scenarios allow themselves stay under three minutes, or thirty."""
    allowed = {Size.QUICK: 180, Size.FULL: 1800}[size]
    assert sum(each.budget(size) for each in SCENARIOS) <= allowed
    named = {each.name for each in SCENARIOS}
    assert {each.scenario for each in COMPARED} <= named


def test_the_page_tells_what_is_missed() -> None:
    """The page says of a target that is missed that it is, and shows the peers that were measured."""
    page = render(results(perhop_work=(900,), nginx=(100,), envoy=(300,)))["docs/performance.md"]
    assert "| CPU of a call, to nginx forwarding without any check | 9x | <= 8x | <= 4x | NOT reached |" in page
    assert "| Envoy | 300 | 3x |" in page
    assert "| CPU | made up |" in page


def test_a_picture_is_an_svg_that_tells_its_values() -> None:
    """A plot parses as XML, and says in words what it shows."""
    run = results(perhop_work=(900, 1000, 1100), nginx=(10, 12, 11))
    pictures = {path: text for path, text in render(run).items() if path.endswith(".svg")}
    assert "docs/performance/gateway-cpu.svg" in pictures
    for text in pictures.values():
        root = ElementTree.fromstring(text)
        assert "Perhop, work 1,000" in root.attrib["aria-label"]
        assert "logarithmic" in text
