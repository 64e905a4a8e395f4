"""The panels of the demo's picture: what each one draws, and which labels name the data.

All panels share the minutes of the run. A row's value fills the minute in which it was counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes

from sluice_report import quantities
from sluice_report.chart import scales
from sluice_report.chart.label_placement import LabelPlacement
from sluice_report.chart.palette import LIGHT
from sluice_report.demo import colors, sentences
from sluice_report.demo.annotations import Annotation
from sluice_sim.embedded.timeline import (
    EventKind,
    Minute,
    SwitchSeen,
)

HEADROOM = 1.38
"""The axis ends this far above the greatest value, so that labels fit above the data."""
LOG_HEADROOM = 3.5
LOG_SCALE_FROM = 6.0
"""From this multiple of the target on, a linear axis would leave the target indistinguishable from zero."""
MAX_LABELLED_ARRIVALS = 5

Rows = Sequence[Minute]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A panel: its finding in words, and the function that draws it."""

    title: str
    height: float = 104
    """Of the plot, in points."""
    draw: Callable[[Axes, Rows], None]


def build(
    minutes: Rows, annotations: Sequence[Annotation], switch: SwitchSeen | None = None
) -> tuple[Panel, ...]:
    """The panels of a run; those of arrivals and processing times only if there is data."""
    logarithmic = " (logarithmic scale)" if _needs_log_scale(minutes) else ""
    panels = [
        Panel(title=sentences.backlog(minutes), draw=partial(_backlog, annotations=annotations)),
        *_fleets(minutes),
        Panel(title=sentences.per_instance(minutes) + logarithmic, draw=_per_instance),
    ]
    if sentences.counts_arrivals(minutes):
        panels.insert(1, Panel(title=sentences.arrivals(minutes), height=64, draw=_arrivals))
    if any(row.processing_s is not None for row in minutes):
        panels.append(Panel(title=sentences.processing(minutes), height=64, draw=_processing))
    if switch is not None and switch.steps:
        steps = partial(colors.draw_steps, switch=switch)
        panels.insert(0, Panel(title=sentences.switch(switch), height=44, draw=steps))
    return tuple(panels)


def _fleets(minutes: Rows) -> list[Panel]:
    """One panel for a single fleet, one for each of two colors."""
    if not minutes[0].colors:
        return [Panel(title=sentences.instances(minutes), draw=_instances)]
    return [
        Panel(
            title=sentences.color(each.color, minutes),
            height=72,
            draw=partial(colors.draw_instances, color=each.color),
        )
        for each in minutes[0].colors
    ]


def _backlog(axes: Axes, minutes: Rows, *, annotations: Sequence[Annotation]) -> None:
    at = [row.minute for row in minutes]
    in_work = [row.in_flight for row in minutes]
    together = [row.visible + row.in_flight for row in minutes]
    scales.linear(axes, max(together), headroom=HEADROOM, integer=True)
    axes.fill_between(at, in_work, color=LIGHT["in-flight"], step="mid", lw=0, zorder=3)
    axes.fill_between(at, in_work, together, color=LIGHT["waiting"], step="mid", lw=0, zorder=3)
    labels = LabelPlacement(axes)
    labels.occupy_area(at, together)
    arrivals = [annotation for annotation in annotations if annotation.kind is EventKind.ARRIVAL]
    by_minute = dict(zip(at, together, strict=True))
    for annotation in arrivals if len(arrivals) <= MAX_LABELLED_ARRIVALS else ():
        labels.add_label(
            annotation.sentence,
            LIGHT["muted"],
            [(annotation.minute, by_minute[annotation.minute])],
            weight="normal",
        )
    _label_areas(labels, minutes, together)


def _label_areas(labels: LabelPlacement, minutes: Rows, together: Sequence[int]) -> None:
    """`waiting` where the backlog is greatest, `in flight` where much is and few messages wait above it."""
    stacked = sorted(zip(minutes, together, strict=True), key=lambda pair: -pair[1])
    waiting = [(float(row.minute), float(top)) for row, top in stacked if row.visible > row.in_flight]
    if waiting:
        labels.add_label("waiting", LIGHT["waiting"], waiting)
    if max(row.in_flight for row in minutes):
        working = sorted((pair for pair in stacked if pair[0].in_flight), key=lambda pair: -pair[0].in_flight)
        clear = [pair for pair in working if pair[0].visible <= pair[0].in_flight / 2] or working
        anchors = [(float(row.minute), float(top)) for row, top in clear]
        labels.add_label("in flight", LIGHT["in-flight-text"], anchors)


def _arrivals(axes: Axes, minutes: Rows) -> None:
    at, sent = [row.minute for row in minutes], [row.sent for row in minutes]
    sustained = [row.sustained_per_minute for row in minutes]
    known = [(float(row), value) for row, value in zip(at, sustained, strict=True) if value is not None]
    scales.linear(axes, max([*sent, *(value for _, value in known)]), headroom=HEADROOM, integer=True)
    axes.fill_between(at, sent, color=LIGHT["arriving"], step="mid", lw=0, zorder=3)
    axes.step(at, _gaps(sustained), where="mid", color=LIGHT["plan"], lw=1.6, zorder=4)
    labels = LabelPlacement(axes)
    labels.occupy_area(at, sent)
    labels.occupy_line(at, sustained)
    if any(value for _, value in known):
        labels.add_label("sustained", LIGHT["plan"], sorted(known, key=lambda point: -point[1]))
    if any(sent):
        peak = max(zip(sent, at, strict=True))
        labels.add_label("arriving", LIGHT["muted"], [(float(peak[1]), float(peak[0]))])


def _instances(axes: Axes, minutes: Rows) -> None:
    at = [row.minute for row in minutes]
    desired, running = [row.desired for row in minutes], [row.running for row in minutes]
    scales.linear(axes, max(*desired, *running), headroom=HEADROOM, integer=True)
    axes.fill_between(at, running, color=LIGHT["running"], step="mid", lw=0, zorder=3)
    axes.step(at, desired, where="mid", color=LIGHT["desired"], lw=1.6, zorder=4)
    labels = LabelPlacement(axes)
    labels.occupy_area(at, running)
    labels.occupy_line(at, desired)
    scaling_out = [(float(row.minute), float(row.desired)) for row in minutes if row.desired > row.running]
    anchors = scaling_out or [(float(row.minute), float(row.desired)) for row in minutes if row.desired]
    if anchors:
        labels.add_label("desired", LIGHT["desired"], anchors)
    if max(running):
        peak = max(running)
        labels.add_label(
            "running",
            LIGHT["running-text"],
            [(float(m), float(peak)) for m, r in zip(at, running, strict=True) if r == peak],
        )


def _per_instance(axes: Axes, minutes: Rows) -> None:
    at = [row.minute for row in minutes]
    plain, values = (
        [row.backlog_per_instance for row in minutes],
        [row.tracked_per_instance for row in minutes],
    )
    targets = [row.target for row in minutes]
    known = [value for value in (*values, *targets) if value is not None]
    if _needs_log_scale(minutes):
        scales.logarithmic(
            axes, max(known), min(target for target in targets if target), headroom=LOG_HEADROOM
        )
    else:
        scales.linear(axes, max(known, default=1), headroom=HEADROOM)
    if sentences.counts_arrivals(minutes):
        axes.fill_between(at, _gaps(plain), color=LIGHT["of-backlog"], step="mid", lw=0, zorder=3)
        axes.fill_between(
            at, _gaps(plain), _gaps(values), color=LIGHT["of-arrivals"], step="mid", lw=0, zorder=3
        )
    axes.step(at, _gaps(values), where="mid", color=LIGHT["per-instance"], lw=1.6, zorder=4)
    axes.step(at, _gaps(targets), where="mid", color=LIGHT["target"], lw=1.4, ls=(0, (5, 2.5)), zorder=3)
    labels = LabelPlacement(axes)
    labels.occupy_line(at, values)
    labels.occupy_line(at, targets)
    periods = sentences.targets(minutes)
    for index, (target, first, last) in enumerate(periods):
        named = len(periods) <= sentences.MAX_NAMED_TARGETS or index in (0, len(periods) - 1)
        text = f"target {quantities.number(target)}" if index == 0 else quantities.number(target)
        if named:
            labels.add_label(text, LIGHT["target"], [(float(m), target) for m in range(last, first - 1, -1)])
    published = [(float(row.minute), value) for row in minutes if (value := row.tracked_per_instance)]
    if published:
        labels.add_label(
            "per instance", LIGHT["per-instance"], sorted(published, key=lambda point: -point[1])
        )
    arriving = sorted((row for row in minutes if row.arriving_per_instance), key=_arriving, reverse=True)
    if arriving:
        middles = [
            (float(row.minute), (row.tracked_per_instance or 0) - _arriving(row) / 2) for row in arriving
        ]
        labels.add_label("of arrivals", LIGHT["muted"], middles, weight="normal")
        waiting = sorted(arriving, key=lambda row: -(row.backlog_per_instance or 0))
        halves = [(float(row.minute), (row.backlog_per_instance or 0) / 2) for row in waiting]
        labels.add_label("of the backlog", LIGHT["muted"], halves, weight="normal")


def _arriving(row: Minute) -> float:
    return row.arriving_per_instance


def _processing(axes: Axes, minutes: Rows) -> None:
    at, values = [row.minute for row in minutes], [row.processing_s for row in minutes]
    known = [(float(row.minute), row.processing_s) for row in minutes if row.processing_s is not None]
    scales.linear(axes, max(value for _, value in known), headroom=HEADROOM)
    axes.step(at, _gaps(values), where="mid", color=LIGHT["processing"], lw=1.6, zorder=4)
    labels = LabelPlacement(axes)
    labels.occupy_line(at, values)
    labels.add_label("seconds a message", LIGHT["processing"], known)


def _gaps(values: Sequence[float | None]) -> list[float]:
    """An unknown value is a gap in the line, never a zero."""
    return [math.nan if value is None else value for value in values]


def _needs_log_scale(minutes: Rows) -> bool:
    """Whether a burst is so far above the target that a linear axis would hide the target."""
    targets = [row.target for row in minutes if row.target]
    peak = max((row.tracked_per_instance or 0 for row in minutes), default=0)
    return bool(targets) and peak > LOG_SCALE_FROM * min(targets)
