"""The panels of a run's picture: what each draws into its axes, and the key that names its colours.

Owns scales, areas and lines. The time axis counts stretches; where a stretch has extremes, both are drawn.
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
from sluice_report.simulation.decisions import Move
from sluice_report.simulation.sentences import Result
from sluice_report.simulation.time_series import (
    MINUTE_S,
    Course,
    Floats,
)
from sluice_sim.simulator.run import Run

HEADROOM = 1.08
LOG_HEADROOM = 1.6
DWARFED = 6.0
"""Beyond so many promises, a linear axis would press the promise into the ground."""
DASHED = (0, (5, 2.5))

Draw = Callable[[Axes, Course], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One colour's name; a line's key is drawn as a line."""

    role: str
    text: str
    line: bool = False
    dashed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A panel: what it says in words, what its colours mean, and how it is drawn."""

    title: str
    keys: tuple[Key, ...]
    height: float = 96
    """Of the plot, in points."""
    draw: Draw


def of(run: Run, result: Result, course: Course, moves: Sequence[Move]) -> tuple[Panel, ...]:
    """Arrivals, backlog, fleet, decisions, waits, cost."""
    shown = [
        Panel(title=sentences.arrivals(course), keys=_arrival_keys(course), height=64, draw=_arrivals),
        Panel(
            title=sentences.backlog(course),
            keys=(Key(role="waiting", text="waiting"), Key(role="in-work", text="in work")),
            draw=_backlog,
        ),
        Panel(title=sentences.instances(course), keys=_fleet_keys(course), height=120, draw=_instances),
    ]
    if moves:
        shown.append(
            Panel(
                title=sentences.decisions(moves), keys=_move_keys(moves), height=52,
                draw=partial(_decisions, moves=moves),
            )
        )  # fmt: skip
    waits = (
        Key(role="p50", text="seconds until half have started"),
        Key(role="p95", text="95 of 100"),
        Key(role="p99", text="99 of 100"),
        Key(role="ink", text="all", line=True),
        Key(role="target", text="promise", line=True, dashed=True),
    )
    scaled = " (logarithmic scale)" if _dwarfs(course, run.promise_s) else ""
    shown.append(
        Panel(
            title=sentences.waits(result, course, run.promise_s) + scaled, keys=waits,
            draw=partial(_waits, promise_s=run.promise_s),
        )
    )  # fmt: skip
    shown.append(Panel(title=sentences.cost(result, course), keys=_cost_keys(course), height=80, draw=_cost))
    return tuple(shown)


def _arrival_keys(course: Course) -> tuple[Key, ...]:
    mean = Key(role="arriving", text="arrivals a minute")
    if course.stretch_s == MINUTE_S:
        return (mean,)
    return (mean, Key(role="ink", text="in the busiest minute", line=True))


def _fleet_keys(course: Course) -> tuple[Key, ...]:
    keys = [Key(role="running", text="running on average"), Key(role="spread", text="at most")]
    keys.append(Key(role="asked", text="asked for", line=True))
    if course.planned is not None:
        keys.append(Key(role="plan", text="hindsight's plan", line=True, dashed=True))
    return tuple(keys)


def _move_keys(moves: Sequence[Move]) -> tuple[Key, ...]:
    ways = Key(role="asked", text="instances more (up) and fewer (down), by the decisions of each time")
    return (ways, Key(role="target", text="target")) if any(not move.change for move in moves) else (ways,)


def _cost_keys(course: Course) -> tuple[Key, ...]:
    billed = Key(role="processing", text="instance-hours billed so far", line=True)
    if course.bound_h is None:
        return (billed,)
    return (billed, Key(role="plan", text="lower bound", line=True, dashed=True))


def _arrivals(axes: Axes, course: Course) -> None:
    minutes = np.full(course.stretches, course.stretch_s / MINUTE_S)
    minutes[-1] = max(course.end_s / MINUTE_S - minutes[0] * (course.stretches - 1), 1)
    scales.linear(axes, float(course.busiest.max()), integer=True, headroom=HEADROOM)
    _area(axes, course.arrivals / minutes, "arriving")
    if course.stretch_s > MINUTE_S:
        _line(axes, course.busiest.astype(float), "ink", width=0.7)


def _backlog(axes: Axes, course: Course) -> None:
    together = (course.waiting + course.in_work).astype(float)
    scales.linear(axes, float(together.max()), integer=True, headroom=HEADROOM)
    _area(axes, course.in_work.astype(float), "in-work")
    _area(axes, together, "waiting", floor=course.in_work.astype(float))


def _instances(axes: Axes, course: Course) -> None:
    most = max(course.running.most.max(), course.desired.most.max())
    plan = course.planned
    scales.linear(axes, float(max(most, plan.most.max()) if plan else most), integer=True, headroom=HEADROOM)
    _area(axes, course.running.most, "spread")
    _area(axes, course.running.mean, "running")
    _line(axes, course.desired.most, "asked", width=1.0)
    if plan is not None:
        _line(axes, plan.most, "plan", width=0.9, dashed=True)


def _decisions(axes: Axes, course: Course, *, moves: Sequence[Move]) -> None:
    """What was asked for more and fewer in each stretch, summed; a diamond where the target was set anew."""
    changes = np.array([move.change for move in moves])
    places = np.array([move.stretch for move in moves])
    more, fewer = (
        np.bincount(places, weights=weights, minlength=course.stretches)
        for weights in (np.maximum(changes, 0), np.maximum(-changes, 0))
    )
    reach = max(float(max(more.max(), fewer.max())), 1.0)
    axes.set_ylim(-reach * 1.15, reach * 1.15)
    _area(axes, more, "asked")
    _area(axes, -fewer, "asked")
    axes.axhline(0, color=LIGHT["muted"], lw=0.8, zorder=4)
    axes.spines["bottom"].set_visible(False)
    axes.yaxis.set_major_locator(FixedLocator([-reach, 0, reach]))
    axes.yaxis.set_major_formatter(FixedFormatter([f"−{reach:,.0f}", "0", f"+{reach:,.0f}"]))
    about = sorted({move.stretch for move in moves if not move.change})
    if about:
        axes.plot(about, np.zeros(len(about)), "D", color=LIGHT["target"], ms=3, mew=0, zorder=5)


def _waits(axes: Axes, course: Course, *, promise_s: float) -> None:
    half, most, nearly_all, longest = course.wait_s
    worst = float(np.nanmax(longest, initial=0.0))
    if _dwarfs(course, promise_s):
        scales.logarithmic(axes, worst, promise_s, headroom=LOG_HEADROOM)
    else:
        scales.linear(axes, max(worst, promise_s), headroom=HEADROOM)
    for values, role in ((nearly_all, "p99"), (most, "p95"), (half, "p50")):
        _area(axes, values, role)
    _line(axes, longest, "ink", width=0.7)
    axes.axhline(promise_s, color=LIGHT["target"], lw=1.4, ls=DASHED, zorder=5)


def _cost(axes: Axes, course: Course) -> None:
    scales.linear(axes, float(course.billed_h[-1]), headroom=HEADROOM)
    _line(axes, course.billed_h, "processing", width=1.6)
    if course.bound_h is not None:
        _area(axes, course.billed_h, "grid", floor=course.bound_h)
        _line(axes, course.bound_h, "plan", width=1.2, dashed=True)


def _dwarfs(course: Course, promise_s: float) -> bool:
    """Whether waits would press the promise into the ground."""
    return bool(np.nanmax(course.wait_s[-1], initial=0.0) > DWARFED * promise_s > 0)


def _area(axes: Axes, values: Floats, role: str, *, floor: Floats | None = None) -> None:
    """Each stretch is as wide as its time; where nothing is known there is a gap."""
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
