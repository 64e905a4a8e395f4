"""The picture of a recommendation: each day held out with the present and the recommended settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator

from sluice_report.chart.canvas import (
    REGULAR_WIDTH,
    TITLE_LINE,
    TITLE_SIZE,
    Canvas,
    new_figure,
    style_axes,
    wrap_text,
)
from sluice_report.chart.palette import LIGHT
from sluice_report.chart.rendering import style, to_png

WIDTH, INDENT = 860.0, 8.0
HOURS_HEIGHT, LATE_HEIGHT = 170.0, 110.0
KEY_LINE, KEY_SIZE, SWATCH = 15.0, 9.5, 12.0
BAR_WIDTH, BAR_WIDTH_PER_DAY = 0.38, 0.07
"""In days; narrower if there are few."""
MAX_DAY_LABELS, MAX_DAYS_WITH_NUMBERS = 15, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedDays:
    """Each day with one choice of settings; all have as many days."""

    instance_hours: Sequence[float]
    late_percent: Sequence[float | None]
    """Messages that did not start in time; None for a day without messages."""


def png(
    name: str,
    verdict: str,
    *,
    first_day: int,
    present: JudgedDays,
    recommended: JudgedDays,
    allowed_late_percent: float,
) -> bytes:
    """Two panels: instance-hours, and the messages that start too late, day by day."""
    with style():
        return to_png(_figure(name, verdict, first_day, (present, recommended), allowed_late_percent))


def _figure(
    name: str, verdict: str, first_day: int, judged: tuple[JudgedDays, JudgedDays], allowed: float
) -> Figure:
    head = wrap_text(verdict, WIDTH - 2 * INDENT, TITLE_SIZE, REGULAR_WIDTH)
    panels = HOURS_HEIGHT + LATE_HEIGHT + 2 * (TITLE_LINE + KEY_LINE + 2)
    height = 8 + 26 + len(head) * TITLE_LINE + 14 + panels + 44
    canvas = Canvas(new_figure(WIDTH, height), indent=INDENT)
    canvas.move_down(8)
    canvas.write_lines([name], size=17, line=26, weight="bold")
    canvas.write_lines(head, size=TITLE_SIZE, line=TITLE_LINE, colour="muted")
    canvas.move_down(14)
    keys = [("present settings", "arriving", False), ("recommended", "desired", False)]
    hours = _panel(canvas, "Instance-hours of each day held out", keys, HOURS_HEIGHT)
    for side, (days, role) in zip((-1, 1), zip(judged, ("arriving", "desired"), strict=True), strict=True):
        _bars(hours, side, first_day, days.instance_hours, role)
    hours.xaxis.set_ticklabels([])
    canvas.move_down(18)
    keys.append((f"{allowed:g} % may be late", "target", True))
    late = _panel(canvas, "Messages that start later than promised, in percent", keys, LATE_HEIGHT)
    for side, (days, role) in zip((-1, 1), zip(judged, ("arriving", "desired"), strict=True), strict=True):
        _bars(late, side, first_day, [value or 0.0 for value in days.late_percent], role)
    late.axhline(allowed, color=LIGHT["target"], lw=1.4, ls=(0, (5, 2.5)), zorder=4)
    late.set_ylim(0, 1.2 * max(allowed, *(value or 0.0 for days in judged for value in days.late_percent)))
    return canvas.figure


def _panel(canvas: Canvas, title: str, keys: Sequence[tuple[str, str, bool]], height: float) -> Axes:
    canvas.write_lines([title], size=TITLE_SIZE, line=TITLE_LINE, weight="bold")
    x = INDENT
    for text, role, dashed in keys:
        canvas.draw_swatch(x, SWATCH, KEY_LINE / 2, LIGHT[role], line=dashed, dashed=dashed)
        canvas.write_text(x + SWATCH + 4, text, baseline=KEY_LINE * 0.73, size=KEY_SIZE, color=LIGHT["muted"])
        x += SWATCH + 30 + KEY_SIZE * REGULAR_WIDTH * len(text)
    canvas.move_down(KEY_LINE + 2)
    axes = canvas.add_plot(height)
    style_axes(axes)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    return axes


def _bars(axes: Axes, side: int, first_day: int, values: Sequence[float], role: str) -> None:
    places = [first_day + index for index in range(len(values))]
    step = -(-len(values) // MAX_DAY_LABELS)
    width = min(BAR_WIDTH, BAR_WIDTH_PER_DAY * len(values))
    bars = axes.bar(
        [place + side * width / 2 for place in places], values, width, color=LIGHT[role], zorder=3
    )
    if len(values) <= MAX_DAYS_WITH_NUMBERS:
        axes.bar_label(bars, fmt="%.3g", padding=2, fontsize=KEY_SIZE, color=LIGHT["muted"], zorder=5)
        axes.margins(y=0.12)
    axes.set_xlim(places[0] - 0.6, places[-1] + 0.6)
    axes.xaxis.set_major_locator(FixedLocator(places[::step]))
    axes.xaxis.set_major_formatter(lambda place, _: f"day {place:.0f}")
