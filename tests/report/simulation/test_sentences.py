"""A run's sentences state its numbers."""

from __future__ import annotations

from typing import Any

import pytest

from sluice_report.simulation import (
    comparison,
    decisions,
    sentences,
    time_series,
)
from sluice_report.simulation.time_series import TimeSeries
from sluice_sim.study.lower_bound import Bound
from tests.report.simulation import builders

ALL_IN_TIME = "60 messages within 300 s and bills 0.817 instance-hours"


def _series(known: Bound | None = None, max_intervals: int = 600, **changes: Any) -> TimeSeries:
    return time_series.build(builders.run(**changes), known, max_intervals=max_intervals)


@pytest.mark.parametrize(
    ("at_s", "text"), [(0, "0 min"), (59, "0 min"), (58_500, "16 h 15 min"), (180_000, "2 d 2 h")]
)
def test_a_moment_counts_from_the_beginning_of_the_trace(at_s: float, text: str) -> None:
    assert sentences.moment(at_s) == text


def test_the_verdict_names_promise_and_cost() -> None:
    finished_run = builders.run()
    assert (
        sentences.verdict(builders.measured(finished_run, builders.bound()), builders.PROMISE_S)
        == "Starts 66.6 % of 60 messages within 300 s and bills 0.817 instance-hours, "
        "3.27 times the 0.25 that hindsight needs"
    )


@pytest.mark.parametrize(
    ("known", "changes", "text"),
    [
        (None, {}, "Starts 66.6 % of 60 messages within 300 s and bills 0.817 instance-hours"),
        (None, {"arrival_s": [], "wait_s": []}, "No message arrives; bills 0.817 instance-hours"),
        (
            builders.bound(instance_hours=0.8166),
            {"wait_s": [1.0] * 60},
            f"Starts every one of {ALL_IN_TIME}, which no policy that keeps the promise can beat",
        ),
    ],
)
def test_every_kind_of_verdict_has_its_sentence(known: Bound | None, changes: dict, text: str) -> None:
    assert sentences.verdict(builders.measured(builders.run(**changes), known), 300) == text


WAITS = {"during": {"mean_s": 4.0}, "during_without": {"mean_s": 5.0}}
COST = {"to": "green", "status": "SUCCEEDED", "duration_s": 490.0, "extra_instance_hours": 0.25, **WAITS}


@pytest.mark.parametrize(
    ("cost", "says"),
    [
        (
            COST,
            ". The switch to green took 490 s: messages waited 4 s on average meanwhile, 5 s without it",
        ),
        (COST, " without it, for 0.25 instance-hours more"),
        (COST | {"status": "FAILED"}, ". The switch to green took 490 s and failed: messages waited 4 s"),
        (COST | {"to": None}, ". The switch to the other color was refused"),
    ],
)
def test_the_verdict_says_what_a_switch_took(cost: dict, says: str) -> None:
    measured = {**builders.measured(builders.run(), None), "switch": cost}
    assert says in sentences.verdict(measured, 300)


def test_arrivals_and_backlog_are_described_with_their_worst_moment() -> None:
    drawn = _series()
    assert (
        sentences.arrivals(drawn)
        == "2 messages arrive a minute on average, 6 in the busiest minute (at 0 min)"
    )
    assert sentences.backlog(drawn) == "At most 21 messages wait (at 4 min); none waits 67.7 % of the time"


def test_a_run_without_messages_is_described_as_such() -> None:
    nothing = _series(arrival_s=[], wait_s=[])
    assert sentences.arrivals(nothing) == "No message arrives"
    assert sentences.backlog(nothing).startswith("No message waits")


def test_the_fleet_is_compared_with_the_lower_bounds_plan() -> None:
    assert sentences.instances(_series()) == "At most 2 instances run, 1.43 on average"
    assert (
        sentences.instances(_series(builders.bound()))
        == "At most 2 instances run, 1.43 on average; hindsight would run 0.4 on average and 1 at most"
    )


def test_waits_are_compared_with_the_promise_and_the_worst_interval_is_named() -> None:
    result = builders.measured(builders.run())
    text = sentences.waits(result, _series(), 300)
    assert text == (
        "Promise of 300 s kept for 66.6 %: half start within 5 s, 99 of 100 within 400 s, all within 400 s; "
        "30.0 % of the 20 late ones arrive from 0 min to 1 min"
    )
    assert sentences.waits(result, _series(max_intervals=10), 300).endswith(
        "90.0 % of the 20 late ones arrive from 0 min to 3 min"
    )


def test_evenly_spread_late_messages_are_described_by_their_share_of_intervals() -> None:
    finished_run = builders.run(wait_s=[400.0] * 60)
    text = sentences.waits(
        builders.measured(finished_run), time_series.build(finished_run, None, max_intervals=600), 300
    )
    assert text.endswith("60 are late, in 33.3 % of the intervals of 1 min drawn")


def test_the_cost_is_compared_with_the_bound_and_an_unattainable_bound_is_named() -> None:
    finished_run, known = builders.run(), builders.bound()
    result = builders.measured(finished_run, known)
    text = sentences.cost(result, _series(known))
    assert (
        text
        == "0.817 instance-hours billed; the lower bound, which knows all arrivals, is 0.25, a ratio of 3.27"
    )
    assert (
        sentences.cost(result, _series(builders.bound(attainable=False)))
        == f"{text}. {sentences.OUT_OF_REACH}"
    )
    assert sentences.cost(builders.measured(finished_run), _series()) == "0.817 instance-hours billed"


def test_decisions_are_counted_by_direction_except_retunes() -> None:
    decided = decisions.parse(builders.decisions(), _series())
    assert [decision.change for decision in decided] == [1, 1, 0, -1]
    assert sentences.decisions(decided) == (
        "4 decisions: 2 out, 1 in, 1 about the target; the direction turns 1 time"
    )
    assert sentences.decisions([]).startswith("Nothing is decided")


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("0 -> 3: why", 3),
        ("5 -> 0: why", -5),
        ("bootstrap 0 -> 1: why", 1),
        (builders.RETUNE, 0),
        ("retune 30 -> 24: why", 0),
        ("it rains", 0),
    ],
)
def test_a_decisions_change_is_parsed_from_its_sentence(text: str, change: int) -> None:
    (decision,) = decisions.parse([builders.log_entry(0, text)], _series())
    assert decision.change == change


def test_too_many_decisions_are_reduced_to_the_first_and_largest_of_each_interval() -> None:
    log = [
        builders.log_entry(60.0 * minute + 1, f"0 -> {size}: x") for minute in range(3) for size in (1, 2, 9)
    ]
    decided = decisions.parse(log, _series())
    assert decisions.most_important(decided, 9) == decided
    assert [(decision.interval, decision.change) for decision in decisions.most_important(decided, 5)] == [
        (0, 1), (0, 9), (1, 1), (1, 9), (2, 1),
    ]  # fmt: skip


def _compared(*runs: tuple[str, float, float]) -> tuple[comparison.ComparedRun, ...]:
    results = [{"attainment": attained, "cost_ratio": ratio} for _, attained, ratio in runs]
    return comparison.compare([name for name, _, _ in runs], results)


def test_the_frontier_has_the_runs_that_no_other_beats_in_both_cost_and_promise() -> None:
    compared = _compared(
        ("a", 0.999, 3.0), ("b", 0.95, 1.2), ("c", 0.95, 1.5), ("d", 0.9, 1.2), ("e", 0.5, 1.1)
    )
    assert [one.name for one in compared if one.on_frontier] == ["a", "b", "e"]
    assert sentences.comparison(compared, ratios=True) == (
        "a is the cheapest that starts 99 % in time, at 3.00 times the bound. "
        "On the frontier are e, b and a: nothing here is cheaper without being later"
    )


def test_if_no_run_keeps_the_promise_the_closest_is_named() -> None:
    text = sentences.comparison(_compared(("a", 0.9, 3.0), ("b", 0.8, 4.0)), ratios=True)
    assert text.startswith("None starts 99 % in time, a comes closest with 90.0 %. On the frontier is a:")


def test_without_bounds_costs_are_instance_hours() -> None:
    results = [{"attainment": 1.0, "cost_ratio": None, "instance_hours": 12.0}]
    assert not comparison.uses_cost_ratios(results)
    assert "at 12 instance-hours" in sentences.comparison(comparison.compare(["a"], results), ratios=False)
