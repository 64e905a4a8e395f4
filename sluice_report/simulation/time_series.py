"""A run as time series: at most some hundred intervals of equal length, with the extremes of each.

Each interval keeps its minimum and maximum, its worst moment and its latest message, so that a month on a
phone's width hides no bad minute. A mean alone would hide exactly what breaks a promise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sluice_sim.simulator import queue_kernel
from sluice_sim.simulator.run import Run
from sluice_sim.study import result
from sluice_sim.study.lower_bound import Bound
from sluice_sim.study.result import Steps

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MINUTE_S = 60.0
HOUR_S = 3600.0
INTERVALS_MIN = (
    1,
    2,
    3,
    5,
    10,
    15,
    20,
    30,
    60,
    90,
    120,
    180,
    240,
    360,
    480,
    720,
    1440,
    2880,
    4320,
    10080,
)
"""Lengths of an interval that are easy to read, in minutes."""
PERCENTILES = (50, 95, 99, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Minimum, maximum and mean in each interval."""

    minimum: Floats
    maximum: Floats
    mean: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSeries:
    """One value per interval; times are seconds from the beginning of the trace."""

    interval_s: float
    end_s: float
    arrivals: Integers
    busiest_minute: Integers
    """Arrivals in the interval's busiest minute."""
    busiest_at_s: float
    """When the busiest minute of the whole run begins."""
    waiting: Integers
    """Visible messages at the interval's greatest backlog."""
    in_flight: Integers
    """Messages in flight at the same moment."""
    max_waiting_at_s: float
    """When the most messages wait."""
    share_without_backlog: float
    """Share of the snapshots, one per minute, in which no message waits."""
    desired: Range
    running: Range
    floor: Range | None
    """The fleet's own minimum; None without schedules, which set it and the maximum."""
    ceiling: Range | None
    planned: Range | None
    """The lower bound's plan, in whole instances; None without a bound."""
    wait_s: Floats
    """Percentiles (rows) by the interval in which messages arrived (columns); NaN if none arrived."""
    late: Integers
    """Messages that arrived in the interval and did not start within the promise."""
    billed_h: Floats
    """Instance-hours from the beginning to the end of the interval."""
    bound_h: Floats | None
    """Instance-hours of the lower bound, distributed like its plan; None without a bound."""
    attainable: bool
    """False if even the maximum number of instances cannot keep the promise under any policy."""

    @property
    def intervals(self) -> int:
        """Number of intervals."""
        return int(self.arrivals.size)

    def interval_at(self, at_s: float) -> int:
        """Index of the interval that holds a moment; the run's end belongs to the last one."""
        return min(int(at_s // self.interval_s), self.intervals - 1)


def build(run: Run, bound: Bound | None, *, max_intervals: int) -> TimeSeries:
    """The run in at most `max_intervals` intervals; a run of many years gets more, of a week each."""
    span_s = max(run.end_s, MINUTE_S)
    minutes = next(
        (minutes for minutes in INTERVALS_MIN if span_s <= max_intervals * minutes * MINUTE_S),
        INTERVALS_MIN[-1],
    )
    interval_s = minutes * MINUTE_S
    count = math.ceil(span_s / interval_s)
    edges_s = np.linspace(0, count * interval_s, count + 1)
    edges_s[-1] = span_s
    arrivals, busiest_minute = _arrivals(run, edges_s, minutes)
    waiting, in_flight = _greatest_backlog(run, edges_s)
    wait_s, late = _waits(run, edges_s)
    snapshot_s = np.array([snapshot.now_s for snapshot in run.snapshots])
    visible = np.array([snapshot.visible for snapshot in run.snapshots])
    desired = np.array([snapshot.desired for snapshot in run.snapshots], np.int64)
    floor, ceiling = _bounds(run, edges_s)
    return TimeSeries(
        interval_s=interval_s,
        end_s=span_s,
        arrivals=arrivals,
        busiest_minute=busiest_minute,
        busiest_at_s=float(_by_minute(run, 1).argmax() * MINUTE_S),
        waiting=waiting,
        in_flight=in_flight,
        max_waiting_at_s=float(snapshot_s[visible.argmax()]),
        share_without_backlog=float((visible == 0).mean()),
        desired=_range(Steps(at_s=snapshot_s, level=desired), edges_s),
        running=_range(result.supply(run), edges_s),
        floor=floor,
        ceiling=ceiling,
        planned=None if bound is None else _range(result.demand(bound), edges_s),
        wait_s=wait_s,
        late=late,
        billed_h=_billed_h(run, edges_s),
        bound_h=None if bound is None else _bound_h(bound, edges_s),
        attainable=bound is None or bound.attainable,
    )


def _arrivals(run: Run, edges_s: Floats, minutes: int) -> tuple[Integers, Integers]:
    """Arrivals of each interval, and of its busiest minute."""
    count = edges_s.size - 1
    folded = _by_minute(run, count * minutes)[: count * minutes].reshape(count, minutes)
    return folded.sum(axis=1), folded.max(axis=1)


def _by_minute(run: Run, minutes: int) -> Integers:
    """Arrivals of each minute, for at least this many minutes."""
    return np.bincount((run.load.arrival_s // MINUTE_S).astype(np.int64), minlength=minutes)


def _greatest_backlog(run: Run, edges_s: Floats) -> tuple[Integers, Integers]:
    """Visible and in flight in the snapshot of each interval with the greatest backlog."""
    snapshots = np.array(
        [(snapshot.now_s, snapshot.visible, snapshot.in_flight) for snapshot in run.snapshots], dtype=float
    )
    backlog = snapshots[:, 1] + snapshots[:, 2]
    place = np.clip(np.searchsorted(edges_s, snapshots[:, 0], "right") - 1, 0, edges_s.size - 2)
    worst_last = np.lexsort((backlog, place))
    last = np.searchsorted(place[worst_last], np.arange(edges_s.size - 1), "right") - 1
    chosen = snapshots[worst_last[np.maximum(last, 0)]].astype(np.int64)
    return chosen[:, 1], chosen[:, 2]


def _waits(run: Run, edges_s: Floats) -> tuple[Floats, Integers]:
    """Percentiles of the waits, and how many were late; an unprocessed message has waited to the end."""
    messages = run.messages
    processed = messages.state == queue_kernel.PROCESSED
    wait_s = np.where(processed, messages.started_s, run.end_s) - messages.arrival_s
    late = ~(processed & (wait_s <= run.promise_s))
    begins = np.searchsorted(messages.arrival_s, edges_s[:-1], "left")
    ends = np.append(begins[1:], wait_s.size)
    percentiles = np.full((len(PERCENTILES), begins.size), math.nan)
    for interval, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        if end > begin:
            percentiles[:, interval] = np.percentile(wait_s[begin:end], PERCENTILES, method="inverted_cdf")
    missed = np.concatenate([[0], np.cumsum(late)])
    return percentiles, (missed[ends] - missed[begins]).astype(np.int64)


def _bounds(run: Run, edges_s: Floats) -> tuple[Range, Range] | tuple[None, None]:
    """The fleet's own minimum and maximum in each interval, if schedules set them."""
    if not run.scheduled:
        return None, None
    at_s = np.array([each.at_s for each in run.scheduled])
    low, high = (
        _range(Steps(at_s=at_s, level=np.array(levels, np.int64)), edges_s)
        for levels in zip(*((each.bounds.min, each.bounds.max) for each in run.scheduled), strict=True)
    )
    return low, high


def _range(steps: Steps, edges_s: Floats) -> Range:
    """Minimum, maximum and mean of a step function in each interval."""
    first = np.searchsorted(steps.at_s, edges_s[:-1], "right") - 1
    until = np.searchsorted(steps.at_s, edges_s[1:], "left")
    between = np.column_stack([np.maximum(first, 0), np.maximum(until, 1)]).ravel()
    levels = np.append(steps.level, steps.level[-1])
    return Range(
        minimum=np.minimum.reduceat(levels, between)[::2].astype(float),
        maximum=np.maximum.reduceat(levels, between)[::2].astype(float),
        mean=np.diff(_integral(steps, edges_s)) / np.diff(edges_s),
    )


def _integral(steps: Steps, moments_s: Floats) -> Floats:
    """Integral of a step function from 0 to each moment; its last level continues."""
    ends = np.append(steps.at_s[1:], max(moments_s[-1], steps.at_s[-1]) + 1.0)
    total = np.concatenate([[0.0], np.cumsum(steps.level * (ends - steps.at_s))])
    integral: Floats = np.interp(moments_s, np.append(steps.at_s, ends[-1]), total)
    return integral


def _billed_h(run: Run, edges_s: Floats) -> Floats:
    """Instance-hours from launch to termination, up to the end of each interval."""
    launched_s = np.sort(np.array([one.launched_s for one in run.instances], dtype=float))
    terminated_s = np.sort(np.where(np.isnan(run.terminated_s), run.end_s, run.terminated_s))
    hours: Floats = (_since(launched_s, edges_s[1:]) - _since(terminated_s, edges_s[1:])) / HOUR_S
    return hours


def _since(began_s: Floats, moments_s: Floats) -> Floats:
    """Sum over all starts (sorted) before a moment of the seconds since then, for each moment."""
    before = np.searchsorted(began_s, moments_s, "right")
    total = np.concatenate([[0.0], np.cumsum(began_s)])
    since: Floats = before * moments_s - total[before]
    return since


def _bound_h(bound: Bound, edges_s: Floats) -> Floats:
    """The bound's hours in proportion to its plan: the cost of boots belongs to no moment."""
    ends = bound.slot_s * np.arange(bound.demand.size + 1)
    total = np.concatenate([[0.0], np.cumsum(bound.demand)])
    scale = bound.instance_hours / total[-1] if total[-1] else 0.0
    hours: Floats = np.interp(edges_s[1:], ends, total * scale)
    return hours
