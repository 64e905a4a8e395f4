"""A run as a course through time: at most some hundred stretches of equal length, with the extremes of each.

Owns what of a long run is drawn. A stretch keeps its least and its most, its worst moment and its latest
message, so that a month on a phone's width hides no minute. Refuses to average what somebody may fail by.
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
Whole = NDArray[np.int64]

MINUTE_S = 60.0
HOUR_S = 3600.0
MINUTES = (1, 2, 3, 5, 10, 15, 20, 30, 60, 90, 120, 180, 240, 360, 480, 720, 1440, 2880, 4320, 10080)
"""Lengths of a stretch that people think in."""
PERCENTILES = (50, 95, 99, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Least, most and mean of something in each stretch."""

    least: Floats
    most: Floats
    mean: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One value a stretch."""

    stretch_s: float
    end_s: float
    arrivals: Whole
    busiest: Whole
    """Arrivals of the stretch's busiest minute."""
    busiest_s: float
    """When the busiest minute of all begins."""
    waiting: Whole
    """At the moment of the greatest backlog."""
    in_work: Whole
    """At the same moment."""
    most_waiting_s: float
    """When most messages wait."""
    free: float
    """Share of the looks, one a minute, that find no message waiting."""
    desired: Range
    running: Range
    planned: Range | None
    """What the clairvoyant would run, in whole instances; None without a bound."""
    wait_s: Floats
    """Percentiles (rows) by the stretch in which a message arrived (columns); NaN where none arrived."""
    late: Whole
    """Messages that arrived here and did not start within the promise."""
    billed_h: Floats
    """Instance-hours from the beginning to the stretch's end."""
    bound_h: Floats | None
    """The lower bound's own, spread as its plan is."""
    attainable: bool
    """False where the most instances allowed cannot keep the promise, whoever steers them."""

    @property
    def stretches(self) -> int:
        """How many there are."""
        return int(self.arrivals.size)

    def stretch(self, at_s: float) -> int:
        """The stretch that holds a moment; the end belongs to the last."""
        return min(int(at_s // self.stretch_s), self.stretches - 1)


def of(run: Run, bound: Bound | None, *, most: int) -> Course:
    """The run in at most `most` stretches (where a stretch of a week is long enough for that)."""
    span_s = max(run.end_s, MINUTE_S)
    minutes = next((minutes for minutes in MINUTES if span_s <= most * minutes * MINUTE_S), MINUTES[-1])
    stretch_s = minutes * MINUTE_S
    count = math.ceil(span_s / stretch_s)
    edges_s = np.linspace(0, count * stretch_s, count + 1)
    edges_s[-1] = span_s
    arrivals, busiest = _arrivals(run, edges_s, minutes)
    waiting, in_work = _worst(run, edges_s)
    wait_s, late = _waits(run, edges_s)
    looked_s = np.array([snapshot.now_s for snapshot in run.snapshots])
    visible = np.array([snapshot.visible for snapshot in run.snapshots])
    desired = np.array([snapshot.desired for snapshot in run.snapshots], np.int64)
    return Course(
        stretch_s=stretch_s,
        end_s=span_s,
        arrivals=arrivals,
        busiest=busiest,
        busiest_s=float(_by_minute(run, 1).argmax() * MINUTE_S),
        waiting=waiting,
        in_work=in_work,
        most_waiting_s=float(looked_s[visible.argmax()]),
        free=float((visible == 0).mean()),
        desired=_range(Steps(at_s=looked_s, level=desired), edges_s),
        running=_range(result.supply(run), edges_s),
        planned=None if bound is None else _range(result.demand(bound), edges_s),
        wait_s=wait_s,
        late=late,
        billed_h=_billed_h(run, edges_s),
        bound_h=None if bound is None else _bound_h(bound, edges_s),
        attainable=bound is None or bound.attainable,
    )


def _arrivals(run: Run, edges_s: Floats, minutes: int) -> tuple[Whole, Whole]:
    """Arrivals of each stretch, and of its busiest minute."""
    count = edges_s.size - 1
    folded = _by_minute(run, count * minutes)[: count * minutes].reshape(count, minutes)
    return folded.sum(axis=1), folded.max(axis=1)


def _by_minute(run: Run, minutes: int) -> Whole:
    """Arrivals of each minute, of at least so many."""
    return np.bincount((run.load.arrival_s // MINUTE_S).astype(np.int64), minlength=minutes)


def _worst(run: Run, edges_s: Floats) -> tuple[Whole, Whole]:
    """Visible and in flight at the look of each stretch that saw the most of both."""
    looks = np.array(
        [(snapshot.now_s, snapshot.visible, snapshot.in_flight) for snapshot in run.snapshots], dtype=float
    )
    backlog = looks[:, 1] + looks[:, 2]
    place = np.clip(np.searchsorted(edges_s, looks[:, 0], "right") - 1, 0, edges_s.size - 2)
    worst_last = np.lexsort((backlog, place))
    last = np.searchsorted(place[worst_last], np.arange(edges_s.size - 1), "right") - 1
    chosen = looks[worst_last[np.maximum(last, 0)]].astype(np.int64)
    return chosen[:, 1], chosen[:, 2]


def _waits(run: Run, edges_s: Floats) -> tuple[Floats, Whole]:
    """Percentiles of the waits and how many were late; what was never processed waited to the end."""
    messages = run.messages
    processed = messages.state == queue_kernel.PROCESSED
    wait_s = np.where(processed, messages.started_s, run.end_s) - messages.arrival_s
    late = ~(processed & (wait_s <= run.promise_s))
    begins = np.searchsorted(messages.arrival_s, edges_s[:-1], "left")
    ends = np.append(begins[1:], wait_s.size)
    percentiles = np.full((len(PERCENTILES), begins.size), math.nan)
    for stretch, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        if end > begin:
            percentiles[:, stretch] = np.percentile(wait_s[begin:end], PERCENTILES, method="inverted_cdf")
    missed = np.concatenate([[0], np.cumsum(late)])
    return percentiles, (missed[ends] - missed[begins]).astype(np.int64)


def _range(steps: Steps, edges_s: Floats) -> Range:
    """Extremes and mean of a step function in each stretch."""
    first = np.searchsorted(steps.at_s, edges_s[:-1], "right") - 1
    until = np.searchsorted(steps.at_s, edges_s[1:], "left")
    between = np.column_stack([np.maximum(first, 0), np.maximum(until, 1)]).ravel()
    levels = np.append(steps.level, steps.level[-1])
    return Range(
        least=np.minimum.reduceat(levels, between)[::2].astype(float),
        most=np.maximum.reduceat(levels, between)[::2].astype(float),
        mean=np.diff(_integral(steps, edges_s)) / np.diff(edges_s),
    )


def _integral(steps: Steps, moments_s: Floats) -> Floats:
    """Of a step function from 0 to each moment; its last level goes on."""
    ends = np.append(steps.at_s[1:], max(moments_s[-1], steps.at_s[-1]) + 1.0)
    total = np.concatenate([[0.0], np.cumsum(steps.level * (ends - steps.at_s))])
    integral: Floats = np.interp(moments_s, np.append(steps.at_s, ends[-1]), total)
    return integral


def _billed_h(run: Run, edges_s: Floats) -> Floats:
    """From launch to termination, up to the end of each stretch."""
    launched_s = np.sort(np.array([one.launched_s for one in run.instances], dtype=float))
    gone_s = np.sort(np.where(np.isnan(run.gone_s), run.end_s, run.gone_s))
    hours: Floats = (_since(launched_s, edges_s[1:]) - _since(gone_s, edges_s[1:])) / HOUR_S
    return hours


def _since(began_s: Floats, moments_s: Floats) -> Floats:
    """Seconds gone by at each moment since every beginning (sorted) before it, summed."""
    before = np.searchsorted(began_s, moments_s, "right")
    total = np.concatenate([[0.0], np.cumsum(began_s)])
    since: Floats = before * moments_s - total[before]
    return since


def _bound_h(bound: Bound, edges_s: Floats) -> Floats:
    """The bound's hours in proportion to its plan: what boots cost has no moment of its own."""
    ends = bound.slot_s * np.arange(bound.demand.size + 1)
    total = np.concatenate([[0.0], np.cumsum(bound.demand)])
    scale = bound.instance_hours / total[-1] if total[-1] else 0.0
    hours: Floats = np.interp(edges_s[1:], ends, total * scale)
    return hours
