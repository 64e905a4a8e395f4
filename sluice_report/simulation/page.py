"""The page of a simulation: one self-contained HTML file for one run, or for several and their comparison.

Owns what the template is given, and how much of a long run it holds, so that a phone can open it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from sluice_report.chart import palette
from sluice_report.chart.rendering import Drawing
from sluice_report.quantities import UNKNOWN, duration, durations, number, share, times
from sluice_report.simulation import (
    decisions,
    overview,
    panels,
    picture,
    sentences,
    time_series,
)
from sluice_report.simulation.comparison import Entry
from sluice_report.simulation.decisions import Move
from sluice_report.simulation.panels import Panel
from sluice_report.simulation.sentences import Result
from sluice_report.simulation.time_series import Course
from sluice_sim import policies
from sluice_sim.simulator.run import Run
from sluice_sim.study.lower_bound import Bound

WIDE, NARROW = 760.0, 350.0
"""Widths of the two drawings in points, which the page shows at about as many pixels."""
MOST_STRETCHES, MOST_STRETCHES_NARROW = 600, 300
FEW_RUNS = 4
"""More runs on a page have half as many stretches each."""
MOST_DECISIONS = 6000
"""Of a whole page; a PNG shows all, summed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One run with everything that is said and drawn of it."""

    name: str
    run: Run
    result: Result
    course: Course
    narrow: Course
    moves: tuple[Move, ...]
    panels: tuple[Panel, ...]

    @property
    def verdict(self) -> str:
        """Promise and cost in one sentence."""
        return sentences.verdict(self.result, self.run.promise_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number with its name and what it means."""

    label: str
    value: str
    about: str
    bad: bool = False


def tell(name: str, run: Run, result: Result, bound: Bound | None, *, runs: int) -> Told:
    """What is said of one of so many runs."""
    share = 1 if runs <= FEW_RUNS else 2
    wide = time_series.of(run, bound, most=MOST_STRETCHES // share)
    decided = decisions.of(run.told, wide)
    return Told(
        name=name,
        run=run,
        result=result,
        course=wide,
        narrow=time_series.of(run, bound, most=MOST_STRETCHES_NARROW // share),
        moves=decided,
        panels=panels.of(run, result, wide, decided),
    )


def render(told: Sequence[Told], compared: Sequence[Entry], *, ratios: bool, workload: str) -> str:
    """The page's HTML."""
    environment = Environment(
        loader=PackageLoader("sluice_report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"unbroken": lambda text: text.replace(" %", "\u00a0%")}
    several = len(told) > 1
    subject = workload or "this workload"
    return environment.get_template("simulation.html").render(
        heading=f"What {subject} would cost, and whether its promise would hold",
        finding=sentences.comparison(compared, ratios=ratios) if several else told[0].verdict,
        overview=_overview(told, compared, ratios=ratios) if several and compared else None,
        sections=[_section(one, MOST_DECISIONS // len(told)) for one in told],
        light=palette.LIGHT,
        dark=palette.DARK,
    )


def _about(policy: str) -> str:
    """What a policy says of itself in a sentence; nothing where the run was another's."""
    if policy not in policies.names():
        return ""
    return (type(policies.named(policy)).__doc__ or "").strip().split("\n")[0]


def _overview(told: Sequence[Told], compared: Sequence[Entry], *, ratios: bool) -> dict[str, Any]:
    best = {one.name for one in compared if one.on_frontier}
    shown = ("attainment", "wait_p99_s", "cost_ratio", "instance_hours", "launches", "peak_instances", "lost")
    columns = [_column([one.result for one in told], key) for key in shown]
    return {
        "title": overview.title(ratios=ratios),
        "drawings": [
            ("wide", overview.drawing(compared, ratios=ratios, width=WIDE)),
            ("narrow", overview.drawing(compared, ratios=ratios, width=NARROW)),
        ],
        "columns": [FIGURES[key][0] for key in shown],
        "rows": [
            {"name": one.name, "on_frontier": one.name in best, "cells": cells}
            for one, *cells in zip(told, *columns, strict=True)
        ],
    }


def _section(told: Told, most_decisions: int) -> dict[str, Any]:
    return {
        "name": told.name,
        "about": _about(told.run.policy),
        "verdict": told.verdict,
        "warnings": told.result.get("warnings", ()),
        "cards": _cards(told),
        "figures": [
            Figure(label=FIGURES[key][0], value=value, about=_meaning(told.result, key))
            for key, value in _values(told.result).items()
        ],
        "titles": [panel.title for panel in told.panels],
        "drawings": _drawings(told),
        "last": told.course.end_s / told.course.stretch_s - 1,
        "each": sentences.moment(told.course.stretch_s),
        "decided": sentences.decisions(told.moves) if told.moves else "",
        "data": _data(told, most_decisions),
    }


def _drawings(told: Told) -> list[tuple[str, Drawing]]:
    """Half the stretches suffice for half the width."""
    narrow = told.narrow
    fewer = panels.of(told.run, told.result, narrow, decisions.of(told.run.told, narrow))
    return [
        ("wide", picture.drawing(told.name, told.panels, told.course, width=WIDE)),
        ("narrow", picture.drawing(told.name, fewer, narrow, width=NARROW)),
    ]


def _cards(told: Told) -> list[Figure]:
    result, promise = told.result, duration(told.run.promise_s)
    lost = int(str(result["lost"]))
    hours = sentences.hours(float(str(result["instance_hours"])))
    ratio, bound = _value(result, "cost_ratio"), _value(result, "lower_bound_instance_hours")
    cost = (
        Figure(label="Cost", value=hours.split()[0], about="instance-hours")
        if result.get("cost_ratio") is None
        else Figure(label="Cost against hindsight", value=f"{ratio}×", about=f"{hours}; hindsight {bound}")
    )
    return [
        Figure(label="Promise kept", value=_value(result, "attainment"), about=f"start within {promise}"),
        cost,
        Figure(label="99 of 100 start within", value=_value(result, "wait_p99_s"),
               about=f"the last within {_value(result, 'wait_max_s')}"),
        Figure(label="Instances at most", value=_value(result, "peak_instances"),
               about=f"{_value(result, 'launches')} launches"),
        Figure(label="Messages lost", value=number(lost), bad=lost > 0,
               about=f"{_value(result, 'processed')} of {_value(result, 'messages')} processed"),
    ]  # fmt: skip


def _data(told: Told, most_decisions: int) -> dict[str, Any]:
    """What pointing shows: a row a stretch, and the decisions."""
    shown = decisions.kept(told.moves, most_decisions)
    more: dict[int, int] = {}
    for moves_in, sign in ((told.moves, 1), (shown, -1)):
        for move in moves_in:
            more[move.stretch] = more.get(move.stretch, 0) + sign
    columns = _columns(told.course)
    rows = [
        [sentences.span(told.course, stretch), *(column[stretch] for column in columns.values())]
        for stretch in range(told.course.stretches)
    ]
    return {
        "columns": list(columns),
        "rows": rows,
        "decisions": [[move.stretch, sentences.moment(move.at_s), move.who, move.text] for move in shown],
        "more": {str(stretch): left for stretch, left in more.items() if left},
    }


def _columns(drawn: Course) -> dict[str, list[str]]:
    half, most, nearly_all, longest = (
        durations([None if math.isnan(value) else value for value in row]) for row in drawn.wait_s.tolist()
    )
    columns = {
        "arrivals": [number(value) for value in drawn.arrivals.tolist()],
        "busiest minute": [number(value) for value in drawn.busiest.tolist()],
        "waiting": [number(value) for value in drawn.waiting.tolist()],
        "in work": [number(value) for value in drawn.in_work.tolist()],
        "asked for": _between(drawn.desired),
        "running": _between(drawn.running),
        "half within": half,
        "95 of 100": most,
        "99 of 100": nearly_all,
        "all within": longest,
        "late": [number(value) for value in drawn.late.tolist()],
        "hours so far": [number(value) for value in drawn.billed_h.tolist()],
    }
    if drawn.planned is not None:
        columns["hindsight"] = _between(drawn.planned)
    return columns


def _between(values: time_series.Range) -> list[str]:
    return [
        number(most) if least == most else f"{number(least)}–{number(most)}"
        for least, most in zip(values.least.tolist(), values.most.tolist(), strict=True)
    ]


def _value(result: Result, key: str) -> str:
    value = result.get(key)
    return UNKNOWN if value is None else FIGURES[key][2](float(str(value)))


def _meaning(result: Result, key: str) -> str:
    """What a figure is; of the target also how it came about, of a missing ratio why there is none."""
    because = {"target_per_instance": "target_because", "cost_ratio": "no_cost_ratio_because"}.get(key, "")
    reason = str(result.get(because) or "")
    return f"{FIGURES[key][1]} {reason[:1].upper()}{reason[1:]}." if reason else FIGURES[key][1]


def _values(result: Result) -> dict[str, str]:
    """Every figure; the waits, which stand below one another, in one unit."""
    waits = [key for key in FIGURES if key.startswith("wait_")]
    in_one_unit = durations([sentences.number_of(result[key]) for key in waits])
    return {key: _value(result, key) for key in FIGURES} | dict(zip(waits, in_one_unit, strict=True))


def _column(results: Sequence[Result], key: str) -> list[str]:
    """One figure of several runs; durations in one unit."""
    if FIGURES[key][2] is duration:
        return durations([sentences.number_of(result[key]) for result in results])
    return [_value(result, key) for result in results]


def _per_hour(changes: float) -> str:
    return f"{number(changes)} an hour"


FIGURES: Mapping[str, tuple[str, str, Callable[[float], str]]] = {
    "attainment": ("Promise kept", "Messages that start within the promise.", share),
    "messages": ("Messages", "In the trace.", number),
    "processed": ("Processed", "Finished by the end of the run.", number),
    "dead_letters": ("Dead letters", "Received too often without being finished.", number),
    "lost": ("Lost", "Neither processed nor held anywhere, by their ids.", number),
    "redelivered": ("Redelivered", "Received again after a worker was gone.", number),
    "wait_p50_s": ("Half start within", "From arrival to the start of processing.", duration),
    "wait_p95_s": ("95 of 100 within", "", duration),
    "wait_p99_s": ("99 of 100 within", "", duration),
    "wait_max_s": ("All within", "", duration),
    "instance_hours": ("Instance-hours", "Billed from launch to termination.", number),
    "lower_bound_instance_hours": ("Lower bound", "No policy that keeps the promise bills less.", number),
    "cost_ratio": ("Cost ratio", "Instance-hours over the lower bound.", times),
    "launches": ("Launches", "", number),
    "launches_refused": ("Launches refused", "They found no capacity and were tried again.", number),
    "interruptions": ("Interruptions", "Spot instances taken back.", number),
    "peak_instances": ("Instances at most", "Running at the same time.", number),
    "mean_load": ("Load", "Instances that the messages keep busy on average.", number),
    "mean_processing_s": ("Processing", "What a message takes on average.", duration),
    "target_per_instance": ("Target", "Messages per instance held at the end.", number),
    "peak_backlog": ("Backlog at most", "Waiting and in work.", number),
    "missing_instances": ("Missing instances", "Fewer than hindsight's plan, on average.", number),
    "surplus_instances": ("Surplus instances", "More than hindsight's plan, on average.", number),
    "missing_time_share": ("Time with too few", "Share of the time.", share),
    "surplus_time_share": ("Time with too many", "Share of the time.", share),
    "extra_changes_per_hour": (
        "Changes beyond the plan's",
        "How much more often the fleet changes.",
        _per_hour,
    ),
    "simulated_s": ("Simulated", "", duration),
    "wall_s": ("Computed in", "", duration),
}
