"""The time series of a run keep its extremes, however long it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice_report.simulation import time_series
from tests.report.simulation import builders

MINUTE_S = 60.0


def test_a_short_run_is_drawn_minute_by_minute() -> None:
    drawn = time_series.build(builders.run(), None, max_intervals=600)
    assert (drawn.interval_s, drawn.intervals) == (60, 30)
    assert drawn.arrivals[:11].tolist() == [6] * 10 + [0]


@pytest.mark.parametrize(("days", "interval_min"), [(1, 3), (14, 60), (30, 90), (58, 180), (365, 1440)])
def test_a_long_run_is_drawn_in_readable_intervals_up_to_the_limit(days: int, interval_min: int) -> None:
    end_s = days * 86_400.0
    finished_run = builders.run(end_s=end_s, snapshots=[builders.snapshot(0.0), builders.snapshot(end_s)])
    drawn = time_series.build(finished_run, None, max_intervals=600)
    assert drawn.interval_s == interval_min * MINUTE_S
    assert drawn.intervals <= 600


def test_an_interval_has_its_busiest_minute_beside_its_sum() -> None:
    finished_run = builders.run(arrival_s=[*np.arange(0.0, 60.0, 10.0), 61.0, 150.0])
    drawn = time_series.build(finished_run, None, max_intervals=10)
    assert drawn.interval_s == 180
    assert (drawn.arrivals[0], drawn.busiest_minute[0], drawn.busiest_at_s) == (8, 6, 0)


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 50)), min_size=31, max_size=31))
def test_no_snapshot_has_a_greater_backlog_than_its_interval(counts: list[tuple[int, int]]) -> None:
    snapshots = [
        builders.snapshot(60.0 * minute, visible=visible, in_flight=in_flight)
        for minute, (visible, in_flight) in enumerate(counts)
    ]
    drawn = time_series.build(builders.run(snapshots=snapshots), None, max_intervals=7)
    for interval in range(drawn.intervals):
        own = [sum(counts[m]) for m in range(31) if drawn.interval_at(60.0 * m) == interval]
        assert drawn.waiting[interval] + drawn.in_flight[interval] == max(own)


@given(st.lists(st.tuples(st.floats(0, 1700), st.floats(0, 300), st.floats(0, 900)), max_size=12))
def test_maximum_minimum_and_billed_hours_of_every_interval_match_the_instances(
    lives: list[tuple[float, float, float]],
) -> None:
    lives = [(round(at, 1), round(boot, 1), round(life, 1)) for at, boot, life in lives]
    finished_run = builders.run(
        instances=builders.instances(*((at, at + boot) for at, boot, _ in lives)),
        terminated_s=np.array([at + boot + life if life > 1 else math.nan for at, boot, life in lives]),
    )
    drawn = time_series.build(finished_run, None, max_intervals=7)
    terminated_s = np.where(np.isnan(finished_run.terminated_s), builders.END_S, finished_run.terminated_s)
    ready_s = np.array([one.ready_s for one in finished_run.instances])
    launched_s = np.array([one.launched_s for one in finished_run.instances])
    for interval in range(drawn.intervals):
        begin, end = interval * drawn.interval_s, min((interval + 1) * drawn.interval_s, drawn.end_s)
        moments = [begin, *(at for at in (*ready_s, *terminated_s) if begin <= at < end)]
        levels = [int(((ready_s <= at) & (at < terminated_s)).sum()) for at in moments]
        assert (drawn.running.minimum[interval], drawn.running.maximum[interval]) == (
            min(levels),
            max(levels),
        )
        spent_s = (np.clip(terminated_s, None, end) - np.clip(launched_s, None, end)).clip(0).sum()
        assert drawn.billed_h[interval] == pytest.approx(spent_s / 3600)


def test_a_wait_counts_where_its_message_arrived_and_percentiles_are_real_waits() -> None:
    drawn = time_series.build(builders.run(), None, max_intervals=600)
    assert drawn.wait_s[:, 0].tolist() == [400, 400, 400, 400]
    assert drawn.wait_s[:, 3].tolist() == [5, 400, 400, 400]
    assert np.isnan(drawn.wait_s[:, 12]).all()
    assert drawn.late.tolist()[:5] == [6, 6, 6, 2, 0]


def test_a_message_never_processed_has_waited_to_the_end_and_is_late() -> None:
    waits = np.full(60, 1.0)
    waits[59] = math.nan
    drawn = time_series.build(builders.run(wait_s=waits), None, max_intervals=600)
    assert drawn.wait_s[-1, 9] == builders.END_S - 590
    assert int(drawn.late.sum()) == 1
    with_long_promise = time_series.build(
        builders.run(wait_s=waits, promise_s=5000.0), None, max_intervals=600
    )
    assert int(with_long_promise.late.sum()) == 1


def test_the_bounds_hours_follow_its_plan_and_end_at_the_bound() -> None:
    drawn = time_series.build(builders.run(), builders.bound([0, 0, 3, 1]), max_intervals=600)
    assert drawn.bound_h is not None
    assert drawn.bound_h[[0, 1, 2, 3, 29]].tolist() == pytest.approx([0, 0, 0.1875, 0.25, 0.25])
    assert drawn.planned is not None
    assert drawn.planned.maximum[:6].tolist() == [0, 0, 3, 1, 0, 0]


def test_without_a_bound_there_is_neither_plan_nor_bound() -> None:
    drawn = time_series.build(builders.run(), None, max_intervals=600)
    assert (drawn.planned, drawn.bound_h) == (None, None)
