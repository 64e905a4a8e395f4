"""The panels of a run's picture: what each one draws, and the legend of its colours.

The time axis counts intervals. Where an interval has a minimum and a maximum, both are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator

from sluice_report.chart import scales
from sluice_report.chart.palette import LIGHT
from sluice_report.simulation import sentences
from sluice_report.simulation.decisions import Decision
from sluice_report.simulation.sentences import Result
from sluice_report.simulation.time_series import (
    MINUTE_S,
    Floats,
    TimeSeries,
)
from sluice_sim.simulator.run import Run

HEADROOM = 1.08
LOG_HEADROOM = 1.6
LOG_SCALE_FROM = 6.0
"""From this multiple of the promise on, a linear axis would leave it indistinguishable from zero."""
DASHED = (0, (5, 2.5))

Draw = Callable[[Axes, TimeSeries], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LegendKey:
    """One entry of a legend; a line's entry is drawn as a line."""

    role: str
    text: str
    line: bool = False
    dashed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A panel: its finding in words, its legend, and the function that draws it."""

    title: str
    keys: tuple[LegendKey, ...]
    height: float = 96
    """Of the plot, in points."""
    draw: Draw


def build(run: Run, result: Result, series: TimeSeries, decisions: Sequence[Decision]) -> tuple[Panel, ...]:
    """Arrivals, backlog, fleet, decisions, waits, cost."""
    panels = [
        Panel(title=sentences.arrivals(series), keys=_arrival_keys(series), height=64, draw=_arrivals),
        Panel(
            title=sentences.backlog(series),
            keys=(LegendKey(role="waiting", text="waiting"), LegendKey(role="in-flight", text="in flight")),
            draw=_backlog,
        ),
        Panel(title=sentences.instances(series), keys=_fleet_keys(series), height=120, draw=_instances),
    ]
    if decisions:
        panels.append(
            Panel(
                title=sentences.decisions(decisions), keys=_decision_keys(decisions), height=52,
                draw=partial(_decisions, decisions=decisions),
            )
        )  # fmt: skip
    waits = (
        LegendKey(role="p50", text="seconds until half have started"),
        LegendKey(role="p95", text="95 of 100"),
        LegendKey(role="p99", text="99 of 100"),
        LegendKey(role="ink", text="all", line=True),
        LegendKey(role="target", text="promise", line=True, dashed=True),
    )
    scaled = " (logarithmic scale)" if _needs_log_scale(series, run.promise_s) else ""
    panels.append(
        Panel(
            title=sentences.waits(result, series, run.promise_s) + scaled, keys=waits,
            draw=partial(_waits, promise_s=run.promise_s),
        )
    )  # fmt: skip
    panels.append(Panel(title=sentences.cost(result, series), keys=_cost_keys(series), height=80, draw=_cost))
    return tuple(panels)


def _arrival_keys(series: TimeSeries) -> tuple[LegendKey, ...]:
    mean = LegendKey(role="arriving", text="arrivals a minute")
    if series.interval_s == MINUTE_S:
        return (mean,)
    return (mean, LegendKey(role="ink", text="in the busiest minute", line=True))


def _fleet_keys(series: TimeSeries) -> tuple[LegendKey, ...]:
    keys = [LegendKey(role="running", text="running on average"), LegendKey(role="spread", text="at most")]
    keys.append(LegendKey(role="desired", text="desired", line=True))
    if series.floor is not None:
        shown = "minimum and maximum" if _shows_ceiling(series) else "minimum"
        keys.append(LegendKey(role="target", text=f"{shown} by schedules", line=True))
    if series.planned is not None:
        keys.append(LegendKey(role="plan", text="hindsight's plan", line=True, dashed=True))
    return tuple(keys)


def _decision_keys(decisions: Sequence[Decision]) -> tuple[LegendKey, ...]:
    changes = LegendKey(
        role="desired", text="instances more (up) and fewer (down), by the decisions of each time"
    )
    return (
        (changes, LegendKey(role="target", text="target"))
        if any(not decision.change for decision in decisions)
        else (changes,)
    )


def _cost_keys(series: TimeSeries) -> tuple[LegendKey, ...]:
    billed = LegendKey(role="processing", text="instance-hours billed so far", line=True)
    if series.bound_h is None:
        return (billed,)
    return (billed, LegendKey(role="plan", text="lower bound", line=True, dashed=True))


def _arrivals(axes: Axes, series: TimeSeries) -> None:
    minutes = np.full(series.intervals, series.interval_s / MINUTE_S)
    minutes[-1] = max(series.end_s / MINUTE_S - minutes[0] * (series.intervals - 1), 1)
    scales.linear(axes, float(series.busiest_minute.max()), integer=True, headroom=HEADROOM)
    _area(axes, series.arrivals / minutes, "arriving")
    if series.interval_s > MINUTE_S:
        _line(axes, series.busiest_minute.astype(float), "ink", width=0.7)


def _backlog(axes: Axes, series: TimeSeries) -> None:
    together = (series.waiting + series.in_flight).astype(float)
    scales.linear(axes, float(together.max()), integer=True, headroom=HEADROOM)
    _area(axes, series.in_flight.astype(float), "in-flight")
    _area(axes, together, "waiting", floor=series.in_flight.astype(float))


def _instances(axes: Axes, series: TimeSeries) -> None:
    plan = series.planned
    scales.linear(axes, _most_instances(series), integer=True, headroom=HEADROOM)
    _area(axes, series.running.maximum, "spread")
    _area(axes, series.running.mean, "running")
    _line(axes, series.desired.maximum, "desired", width=1.0)
    if plan is not None:
        _line(axes, plan.maximum, "plan", width=0.9, dashed=True)
    if series.floor is not None:
        _line(axes, series.floor.maximum, "target", width=0.9)
    if series.ceiling is not None and _shows_ceiling(series):
        _line(axes, series.ceiling.maximum, "target", width=0.9)


def _most_instances(series: TimeSeries) -> float:
    """The most of all that is drawn, apart from the ceiling."""
    drawn = (series.running, series.desired, series.planned, series.floor)
    return max(float(each.maximum.max()) for each in drawn if each is not None)


def _shows_ceiling(series: TimeSeries) -> bool:
    """Whether the ceiling comes down to where the instances are: a high one would make them small."""
    return series.ceiling is not None and bool(series.ceiling.minimum.min() <= _most_instances(series))


def _decisions(axes: Axes, series: TimeSeries, *, decisions: Sequence[Decision]) -> None:
    """Instances added and removed by the decisions of each interval; a diamond where the target changed."""
    changes = np.array([decision.change for decision in decisions])
    places = np.array([decision.interval for decision in decisions])
    more, fewer = (
        np.bincount(places, weights=weights, minlength=series.intervals)
        for weights in (np.maximum(changes, 0), np.maximum(-changes, 0))
    )
    reach = max(float(max(more.max(), fewer.max())), 1.0)
    axes.set_ylim(-reach * 1.15, reach * 1.15)
    _area(axes, more, "desired")
    _area(axes, -fewer, "desired")
    axes.axhline(0, color=LIGHT["muted"], lw=0.8, zorder=4)
    axes.spines["bottom"].set_visible(False)
    axes.yaxis.set_major_locator(FixedLocator([-reach, 0, reach]))
    axes.yaxis.set_major_formatter(FixedFormatter([f"−{reach:,.0f}", "0", f"+{reach:,.0f}"]))
    about = sorted({decision.interval for decision in decisions if not decision.change})
    if about:
        axes.plot(about, np.zeros(len(about)), "D", color=LIGHT["target"], ms=3, mew=0, zorder=5)


def _waits(axes: Axes, series: TimeSeries, *, promise_s: float) -> None:
    p50, p95, p99, longest = series.wait_s
    worst = float(np.nanmax(longest, initial=0.0))
    if _needs_log_scale(series, promise_s):
        scales.logarithmic(axes, worst, promise_s, headroom=LOG_HEADROOM)
    else:
        scales.linear(axes, max(worst, promise_s), headroom=HEADROOM)
    for values, role in ((p99, "p99"), (p95, "p95"), (p50, "p50")):
        _area(axes, values, role)
    _line(axes, longest, "ink", width=0.7)
    axes.axhline(promise_s, color=LIGHT["target"], lw=1.4, ls=DASHED, zorder=5)


def _cost(axes: Axes, series: TimeSeries) -> None:
    scales.linear(axes, float(series.billed_h[-1]), headroom=HEADROOM)
    _line(axes, series.billed_h, "processing", width=1.6)
    if series.bound_h is not None:
        _area(axes, series.billed_h, "grid", floor=series.bound_h)
        _line(axes, series.bound_h, "plan", width=1.2, dashed=True)


def _needs_log_scale(series: TimeSeries, promise_s: float) -> bool:
    """Whether waits are so far above the promise that a linear axis would hide it."""
    return bool(np.nanmax(series.wait_s[-1], initial=0.0) > LOG_SCALE_FROM * promise_s > 0)


def _area(axes: Axes, values: Floats, role: str, *, floor: Floats | None = None) -> None:
    """A filled step line; an unknown value is a gap."""
    sides = np.arange(values.size + 1) - 0.5
    tops, floors = (
        np.append(line, line[-1:]) for line in (values, np.zeros(values.size) if floor is None else floor)
    )
    axes.fill_between(sides, floors, tops, step="post", color=LIGHT[role], lw=0, zorder=3)


def _line(axes: Axes, values: Floats, role: str, *, width: float, dashed: bool = False) -> None:
    sides = np.arange(values.size + 1) - 0.5
    axes.step(
        sides, np.append(values, values[-1:]), where="post", color=LIGHT[role], lw=width,
        ls=DASHED if dashed else "-", zorder=4,
    )  # fmt: skip
