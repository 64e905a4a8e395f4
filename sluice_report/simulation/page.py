"""The page of a simulation: one self-contained HTML file for one run, or for several and their comparison.

This module gathers what the template needs, and limits how much of a long run the page holds, so that a phone
can open it.

A little over 300 lines: the tables of the page are built here, one short function each.
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
    overview,
    panels,
    picture,
    sentences,
    time_series,
)
from sluice_report.simulation.comparison import ComparedRun
from sluice_report.simulation.decisions import Decision, most_important, parse
from sluice_report.simulation.panels import Panel
from sluice_report.simulation.sentences import Result
from sluice_report.simulation.time_series import TimeSeries
from sluice_sim import policies
from sluice_sim.simulator.run import Run
from sluice_sim.study.lower_bound import Bound

WIDE, NARROW = 760.0, 350.0
"""Widths of the two drawings, in points; the page shows a point as about one CSS pixel."""
MAX_INTERVALS, MAX_INTERVALS_NARROW = 600, 300
FEW_RUNS = 4
"""With more runs than this on a page, each has half as many intervals."""
MAX_DECISIONS = 6000
"""Per page; a PNG shows all decisions, summed per interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """One run with everything that the report shows of it; `narrow` has fewer intervals, for a phone."""

    name: str
    run: Run
    result: Result
    series: TimeSeries
    narrow: TimeSeries
    decisions: tuple[Decision, ...]
    panels: tuple[Panel, ...]

    @property
    def verdict(self) -> str:
        """Promise and cost in one sentence."""
        return sentences.verdict(self.result, self.run.promise_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number with its name and its meaning; `bad` marks it as a failure."""

    label: str
    value: str
    about: str
    bad: bool = False


def describe(name: str, run: Run, result: Result, bound: Bound | None, *, runs: int) -> RunReport:
    """Prepare the report of one of `runs` runs on the page."""
    share = 1 if runs <= FEW_RUNS else 2
    wide = time_series.build(run, bound, max_intervals=MAX_INTERVALS // share)
    decided = parse(run.log, wide)
    return RunReport(
        name=name,
        run=run,
        result=result,
        series=wide,
        narrow=time_series.build(run, bound, max_intervals=MAX_INTERVALS_NARROW // share),
        decisions=decided,
        panels=panels.build(run, result, wide, decided),
    )


def render(
    reports: Sequence[RunReport], compared: Sequence[ComparedRun], *, ratios: bool, workload: str
) -> str:
    """The page's HTML."""
    environment = Environment(
        loader=PackageLoader("sluice_report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"unbroken": lambda text: text.replace(" %", "\u00a0%")}
    several = len(reports) > 1
    subject = workload or "this workload"
    return environment.get_template("simulation.html").render(
        heading=f"What {subject} would cost, and whether its promise would hold",
        finding=sentences.comparison(compared, ratios=ratios) if several else reports[0].verdict,
        overview=_overview(reports, compared, ratios=ratios) if several and compared else None,
        sections=[_section(one, MAX_DECISIONS // len(reports)) for one in reports],
        light=palette.LIGHT,
        dark=palette.DARK,
    )


def _about(policy: str) -> str:
    """The first line of a policy's docstring; empty if the run's policy is not one of ours."""
    if policy not in policies.names():
        return ""
    return (type(policies.named(policy)).__doc__ or "").strip().split("\n")[0]


def _overview(
    reports: Sequence[RunReport], compared: Sequence[ComparedRun], *, ratios: bool
) -> dict[str, Any]:
    best = {one.name for one in compared if one.on_frontier}
    shown = ("attainment", "wait_p99_s", "cost_ratio", "instance_hours", "launches", "peak_instances", "lost")
    columns = [_column([one.result for one in reports], key) for key in shown]
    return {
        "title": overview.title(ratios=ratios),
        "drawings": [
            ("wide", overview.drawing(compared, ratios=ratios, width=WIDE)),
            ("narrow", overview.drawing(compared, ratios=ratios, width=NARROW)),
        ],
        "columns": [METRICS[key][0] for key in shown],
        "rows": [
            {"name": one.name, "on_frontier": one.name in best, "cells": cells}
            for one, *cells in zip(reports, *columns, strict=True)
        ],
    }


def _section(report: RunReport, max_decisions: int) -> dict[str, Any]:
    return {
        "name": report.name,
        "about": _about(report.run.policy),
        "verdict": report.verdict,
        "warnings": report.result.get("warnings", ()),
        "cards": _cards(report),
        "figures": [
            Metric(label=METRICS[key][0], value=value, about=_meaning(report.result, key))
            for key, value in _values(report.result).items()
        ],
        "titles": [panel.title for panel in report.panels],
        "drawings": _drawings(report),
        "last": report.series.end_s / report.series.interval_s - 1,
        "each": sentences.moment(report.series.interval_s),
        "decided": sentences.decisions(report.decisions) if report.decisions else "",
        "data": _data(report, max_decisions),
    }


def _drawings(report: RunReport) -> list[tuple[str, Drawing]]:
    """The wide and the narrow drawing: half the width needs half the intervals only."""
    narrow = report.narrow
    fewer = panels.build(report.run, report.result, narrow, parse(report.run.log, narrow))
    return [
        ("wide", picture.drawing(report.name, report.panels, report.series, width=WIDE)),
        ("narrow", picture.drawing(report.name, fewer, narrow, width=NARROW)),
    ]


def _cards(report: RunReport) -> list[Metric]:
    result, promise = report.result, duration(report.run.promise_s)
    lost = int(str(result["lost"]))
    hours = sentences.hours(float(str(result["instance_hours"])))
    ratio, bound = _value(result, "cost_ratio"), _value(result, "lower_bound_instance_hours")
    cost = (
        Metric(label="Cost", value=hours.split()[0], about="instance-hours")
        if result.get("cost_ratio") is None
        else Metric(label="Cost against hindsight", value=f"{ratio}×", about=f"{hours}; hindsight {bound}")
    )
    return [
        Metric(label="Promise kept", value=_value(result, "attainment"), about=f"start within {promise}"),
        cost,
        Metric(label="99 of 100 start within", value=_value(result, "wait_p99_s"),
               about=f"the last within {_value(result, 'wait_max_s')}"),
        Metric(label="Peak instances", value=_value(result, "peak_instances"),
               about=f"{_value(result, 'launches')} launches"),
        Metric(label="Messages lost", value=number(lost), bad=lost > 0,
               about=f"{_value(result, 'processed')} of {_value(result, 'messages')} processed"),
    ]  # fmt: skip


def _data(report: RunReport, max_decisions: int) -> dict[str, Any]:
    """What the page's script shows under the pointer: one row per interval, and the decisions."""
    shown = most_important(report.decisions, max_decisions)
    more: dict[int, int] = {}
    for group, sign in ((report.decisions, 1), (shown, -1)):
        for decision in group:
            more[decision.interval] = more.get(decision.interval, 0) + sign
    columns = _columns(report.series)
    rows = [
        [sentences.span(report.series, interval), *(column[interval] for column in columns.values())]
        for interval in range(report.series.intervals)
    ]
    return {
        "columns": list(columns),
        "rows": rows,
        "decisions": [
            [decision.interval, sentences.moment(decision.at_s), decision.source, decision.text]
            for decision in shown
        ],
        "more": {str(interval): left for interval, left in more.items() if left},
    }


def _columns(series: TimeSeries) -> dict[str, list[str]]:
    p50, p95, p99, longest = (
        durations([None if math.isnan(value) else value for value in row]) for row in series.wait_s.tolist()
    )
    columns = {
        "arrivals": [number(value) for value in series.arrivals.tolist()],
        "busiest minute": [number(value) for value in series.busiest_minute.tolist()],
        "waiting": [number(value) for value in series.waiting.tolist()],
        "in flight": [number(value) for value in series.in_flight.tolist()],
        "desired": _between(series.desired),
        "running": _between(series.running),
        "half within": p50,
        "95 of 100": p95,
        "99 of 100": p99,
        "all within": longest,
        "late": [number(value) for value in series.late.tolist()],
        "hours so far": [number(value) for value in series.billed_h.tolist()],
    }
    if series.floor is not None and series.ceiling is not None:
        columns |= {"minimum": _between(series.floor), "maximum": _between(series.ceiling)}
    if series.planned is not None:
        columns["hindsight"] = _between(series.planned)
    return columns


def _between(values: time_series.Range) -> list[str]:
    return [
        number(highest) if lowest == highest else f"{number(lowest)}–{number(highest)}"
        for lowest, highest in zip(values.minimum.tolist(), values.maximum.tolist(), strict=True)
    ]


def _value(result: Result, key: str) -> str:
    value = result.get(key)
    return UNKNOWN if value is None else METRICS[key][2](float(str(value)))


def _meaning(result: Result, key: str) -> str:
    """What a metric means; for the target also where it comes from, for a missing ratio why it is missing."""
    because = {"target_per_instance": "target_because", "cost_ratio": "no_cost_ratio_because"}.get(key, "")
    reason = str(result.get(because) or "")
    return f"{METRICS[key][1]} {reason[:1].upper()}{reason[1:]}." if reason else METRICS[key][1]


def _values(result: Result) -> dict[str, str]:
    """Every metric; the waits stand below one another, so they share a unit."""
    waits = [key for key in METRICS if key.startswith("wait_")]
    in_one_unit = durations([sentences.number_of(result[key]) for key in waits])
    return {key: _value(result, key) for key in METRICS} | dict(zip(waits, in_one_unit, strict=True))


def _column(results: Sequence[Result], key: str) -> list[str]:
    """One metric of several runs; durations share a unit."""
    if METRICS[key][2] is duration:
        return durations([sentences.number_of(result[key]) for result in results])
    return [_value(result, key) for result in results]


def _per_hour(changes: float) -> str:
    return f"{number(changes)} an hour"


METRICS: Mapping[str, tuple[str, str, Callable[[float], str]]] = {
    "attainment": ("Promise kept", "Messages that start within the promise.", share),
    "messages": ("Messages", "In the trace.", number),
    "processed": ("Processed", "Finished by the end of the run.", number),
    "dead_letters": ("Dead letters", "Received too often without being finished.", number),
    "lost": ("Lost", "Neither processed nor held anywhere, by their ids.", number),
    "redelivered": ("Redelivered", "Received again after a worker was gone.", number),
    "attempts": ("Attempts", "Times that a message was worked on.", number),
    "failed_attempts": ("Failed attempts", "The downstream failed them.", number),
    "failed_share": ("Failed share", "Of all attempts.", share),
    "failed_instance_hours": ("Hours failed", "Instance-hours spent on failed attempts.", number),
    "wait_p50_s": ("Half start within", "From arrival to the start of processing.", duration),
    "wait_p95_s": ("95 of 100 within", "", duration),
    "wait_p99_s": ("99 of 100 within", "", duration),
    "wait_max_s": ("All within", "", duration),
    "instance_hours": ("Instance-hours", "Billed from launch to termination, and the warm pool.", number),
    "warm_pool_size": ("Warm pool", "Stopped instances that it holds.", number),
    "warm_pool_hours": ("Warm pool hours", "Its cost, in hours of a running instance.", number),
    "lower_bound_instance_hours": ("Lower bound", "No policy that keeps the promise bills less.", number),
    "cost_ratio": ("Cost ratio", "Instance-hours over the lower bound.", times),
    "launches": ("Launches", "", number),
    "warm_launches": ("Warm launches", "Started from the warm pool.", number),
    "launches_refused": ("Launches refused", "They found no capacity and were tried again.", number),
    "interruptions": ("Interruptions", "Spot instances taken back.", number),
    "peak_instances": ("Peak instances", "Running at the same time.", number),
    "mean_load": ("Load", "Instances that the messages keep busy on average.", number),
    "mean_processing_s": ("Processing", "What a message takes on average.", duration),
    "target_per_instance": ("Target", "Messages per instance held at the end.", number),
    "peak_backlog": ("Peak backlog", "Waiting and in flight.", number),
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
