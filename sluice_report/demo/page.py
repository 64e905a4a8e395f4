"""The demo's page: one self-contained HTML file that shows every run.

This module gathers what the template needs. The template escapes everything but the drawings, whose texts
matplotlib has escaped already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from sluice_report import quantities
from sluice_report.chart import palette
from sluice_report.demo import (
    panels,
    sentences,
)
from sluice_report.demo.annotations import (
    Annotation,
    annotate,
)
from sluice_report.demo.picture import (
    Drawing,
    drawing,
)
from sluice_report.quantities import UNKNOWN, durations, share
from sluice_sim.embedded.timeline import (
    Summary,
    Timeline,
)

WIDE, NARROW = 760.0, 350.0
"""Widths of the two drawings, in points; the page shows a point as about one CSS pixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What the page shows of one run."""

    timeline: Timeline
    heading: str
    outcome: str
    is_good: bool
    verdict: str
    why_late: str
    waits: tuple[str, str, str, str]
    """The promise, the share that started in time, the median and the 99th percentile of waits."""
    decisions: str
    panels: tuple[str, ...]
    annotations: tuple[Annotation, ...]
    drawings: tuple[tuple[str, Drawing], ...]


def render(timelines: Sequence[Timeline]) -> str:
    """The page's HTML."""
    environment = Environment(
        loader=PackageLoader("sluice_report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": lambda value: "–" if value is None else quantities.number(value)}
    return environment.get_template("report.html").render(
        sections=[_section(timeline) for timeline in timelines], light=palette.LIGHT, dark=palette.DARK
    )


def _outcome(summary: Summary) -> tuple[str, bool]:
    """The outcome in a few words, and whether it is a good one."""
    if not summary.ok:
        return "not done", False
    if summary.waits is None:
        return "done", True
    return ("promise kept", True) if summary.waits.kept else ("promise not kept", False)


def _waits(summary: Summary) -> tuple[str, str, str, str]:
    if summary.waits is None:
        return (UNKNOWN,) * 4
    waits = summary.waits
    promised, half, nearly_all = durations([waits.promise_s, waits.p50_s, waits.p99_s])
    return promised, share(waits.attainment), half, nearly_all


def _section(timeline: Timeline) -> Section:
    annotations = annotate(timeline.minutes)
    outcome, is_good = _outcome(timeline.summary)
    decisions = sorted(timeline.summary.decisions.items())
    return Section(
        timeline=timeline,
        heading=sentences.heading(timeline),
        outcome=outcome,
        is_good=is_good,
        verdict=sentences.verdict(timeline.summary),
        why_late=sentences.why_late(timeline.summary),
        waits=_waits(timeline.summary),
        decisions=", ".join(f"{amount} {kind}" for kind, amount in decisions) or "none",
        panels=tuple(
            panel.title for panel in panels.build(timeline.minutes, annotations, timeline.summary.switch)
        ),
        annotations=annotations,
        drawings=(("wide", drawing(timeline, width=WIDE)), ("narrow", drawing(timeline, width=NARROW))),
    )
