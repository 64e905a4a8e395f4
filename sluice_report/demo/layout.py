"""Lay out a demo run as one figure: panels on one time axis, each with the annotations.

The stand-alone picture also has a heading and the list of events. Sizes are in points. matplotlib is used
without pyplot: no display is needed and no global state changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import FixedFormatter, FixedLocator

from sluice_report.chart.canvas import (
    LEFT_MARGIN,
    POINTS_PER_INCH,
    REGULAR_WIDTH,
    RIGHT_MARGIN,
    TITLE_LINE,
    TITLE_SIZE,
    Canvas,
    new_figure,
    style_axes,
    wrap_text,
)
from sluice_report.chart.palette import LIGHT
from sluice_report.demo import colors, panels
from sluice_report.demo.annotations import (
    LABEL_HEIGHT,
    Annotation,
    annotate,
    label_width,
    labels,
)
from sluice_sim.embedded.timeline import (
    EventKind,
    Minute,
    SwitchSeen,
)

SPACE_BELOW_PLOT = 22.0
"""Leaves room for the lower half of the annotations' pills."""
AXIS_HEIGHT = 8.0
LIST_SIZE, LIST_LINE, LIST_GAP = 9.5, 14.0, 3.0
NUMBER_SIZE = 8.5
"""Text size of an annotation's number."""
FEW_ANNOTATIONS = 12
MAX_LISTED = 14
"""Events that a PNG lists at most; the page lists them all."""
MIN_TICK_DISTANCE = 60.0
DAY = 1440
"""Minutes."""
TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 1440, 2880, 10080)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What stands above a picture that stands alone."""

    name: str
    finding: str
    lessons: Sequence[str] = ()
    all_events: str
    """Where all events are that the list below it has no room for."""


def figure(
    minutes: Sequence[Minute],
    width: float,
    heading: Heading | None = None,
    switch: SwitchSeen | None = None,
) -> Figure:
    """The panels below each other; with a heading the list of events below them."""
    alone = heading is not None
    annotations = annotate(minutes)
    drawn_panels = panels.build(minutes, annotations, switch)
    titles = [wrap_text(panel.title, width - (16 if alone else 0), TITLE_SIZE) for panel in drawn_panels]
    head = wrap_text(heading.finding, width - 16, TITLE_SIZE) if heading else []
    lessons = heading.lessons if heading else ()
    lesson = [line for text in lessons for line in wrap_text(text, width - 16, LIST_SIZE, REGULAR_WIDTH)]
    listed = _listing(annotations, width, heading.all_events) if heading else []
    height = (
        sum(
            len(title) * TITLE_LINE + 4 + panel.height + SPACE_BELOW_PLOT
            for panel, title in zip(drawn_panels, titles, strict=True)
        )
        + AXIS_HEIGHT
        + (34 + len(head) * TITLE_LINE + 4 + len(lesson) * LIST_LINE + 12 if alone else 4)
        + (len(listed) * (LIST_LINE + LIST_GAP) + 24 if alone else 0)
    )
    canvas = Canvas(new_figure(width, height), indent=8 if alone else 0)
    if heading:
        canvas.move_down(8)
        canvas.write_lines([heading.name], size=17, line=26, weight="bold")
        canvas.write_lines(head, size=TITLE_SIZE, line=TITLE_LINE, colour="muted")
        canvas.move_down(4)
        canvas.write_lines(lesson, size=LIST_SIZE, line=LIST_LINE)
        canvas.move_down(12)
    for index, (panel, title) in enumerate(zip(drawn_panels, titles, strict=True)):
        canvas.write_lines(title, size=TITLE_SIZE, line=TITLE_LINE, weight="bold")
        canvas.move_down(4)
        axes = canvas.add_plot(panel.height)
        _time_axis(axes, minutes, width, labelled=index == len(drawn_panels) - 1)
        if switch is not None and switch.steps:
            colors.shade(axes, minutes, switch)
        panel.draw(axes, minutes)
        _draw_annotations(axes, annotations, minutes, width)
        canvas.move_down(SPACE_BELOW_PLOT)
    canvas.move_down(AXIS_HEIGHT + 10)
    for line in listed:
        _list_line(canvas, line)
    return canvas.figure


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One line of the list of events; an event's first line carries its number."""

    annotation: Annotation | None = None
    when: str = ""
    source: str = ""
    text: str
    last: bool = True


def _listing(annotations: Sequence[Annotation], width: float, all_events: str) -> list[_Line]:
    numbered = [annotation for annotation in annotations if annotation.number is not None]
    lines: list[_Line] = []
    # Target tracking acts most often: where there are too many events, its own are left out first.
    chosen = sorted(numbered, key=lambda one: one.kind is EventKind.TARGET_TRACKING)[:MAX_LISTED]
    for event in sorted(chosen, key=numbered.index):
        first, *rest = wrap_text(event.sentence, width - 214, LIST_SIZE, REGULAR_WIDTH) or [""]
        lines.append(
            _Line(
                annotation=event,
                when=event.named,
                source=event.source,
                text=first,
                last=not rest,
            )
        )
        lines += [_Line(text=line, last=line is rest[-1]) for line in rest]
    if len(numbered) > MAX_LISTED:
        lines.append(_Line(text=f"and {len(numbered) - MAX_LISTED} more, all in {all_events}"))
    return lines


def _list_line(canvas: Canvas, line: _Line) -> None:
    if line.annotation is not None:
        middle = canvas.y - LIST_LINE / 2
        _pill(canvas.figure, 18, middle, str(line.annotation.number), line.annotation.kind)
    for x, text, colour in ((38, line.when, "muted"), (98, line.source, "muted"), (206, line.text, "ink")):
        canvas.write_text(x, text, baseline=LIST_LINE * 0.73, size=LIST_SIZE, color=LIGHT[colour])
    canvas.move_down(LIST_LINE + (LIST_GAP if line.last else 0))


def _time_axis(axes: Axes, minutes: Sequence[Minute], width: float, *, labelled: bool) -> None:
    first, last = minutes[0].minute, minutes[-1].minute
    axes.set_xlim(first - 0.5, last + 0.5)
    max_ticks = max(3, int((width - LEFT_MARGIN - RIGHT_MARGIN) / MIN_TICK_DISTANCE))
    step = next((step for step in TICKS if (last - first) / step <= max_ticks), TICKS[-1])
    at = list(range(-(-first // step) * step, last + 1, step))
    axes.xaxis.set_major_locator(FixedLocator(at))
    axes.xaxis.set_major_formatter(FixedFormatter(_names(at, minutes) if labelled else [""] * len(at)))
    style_axes(axes)
    axes.tick_params(axis="x", pad=12)


def _names(at: Sequence[int], minutes: Sequence[Minute]) -> list[str]:
    """The names of these minutes on the axis; beyond a day with the date."""
    first, last = minutes[0], minutes[-1]
    if first.time is None:
        return [f"minute {at[0]}", *map(str, at[1:])] if at else []
    form = "%H:%M" if last.minute - first.minute < DAY else "%m-%d %H:%M"
    return [f"{first.time + timedelta(minutes=minute - first.minute):{form}}" for minute in at]


def _draw_annotations(
    axes: Axes, annotations: Sequence[Annotation], minutes: Sequence[Minute], width: float
) -> None:
    """A hairline at each annotation (only decisions and failures where there are many), and the numbers."""
    numbered = [annotation for annotation in annotations if annotation.number is not None]
    with_line = [one for one in numbered if len(numbered) <= FEW_ANNOTATIONS or _fill_role(one.kind)]
    for minute in sorted({annotation.minute for annotation in with_line}):
        axes.axvline(minute, color=LIGHT["muted"], lw=0.6, ls=(0, (1, 2)), zorder=2)
    span = minutes[-1].minute - minutes[0].minute + 1
    for label in labels(numbered, (width - LEFT_MARGIN - RIGHT_MARGIN) / span):
        x, y = axes.get_xaxis_transform().transform((label.minute, 0))
        size = label_width(label.text)
        centre = min(float(x) + (size - LABEL_HEIGHT) / 2, width - size / 2 - 1)
        _pill(axes, centre, float(y), label.text, label.kind)


def _pill(target: Figure | Axes, x: float, y: float, text: str, kind: EventKind) -> None:
    """Draw a number on a pill; a filled pill is a decision of Sluice, or a failure."""
    figure = target if isinstance(target, Figure) else target.figure
    inches = figure.dpi_scale_trans
    width, height = label_width(text), LABEL_HEIGHT
    left, bottom, size = (part / POINTS_PER_INCH for part in (x - width / 2, y - height / 2, width))
    radius = height / (6 if kind is EventKind.FAILURE else 2) / POINTS_PER_INCH
    target.add_artist(
        FancyBboxPatch(
            (left, bottom), size, height / POINTS_PER_INCH, boxstyle=f"round,pad=0,rounding_size={radius}",
            transform=inches, facecolor=LIGHT[_fill_role(kind) or "paper"], lw=1, zorder=8, clip_on=False,
            edgecolor=LIGHT[_fill_role(kind) or ("muted" if kind is EventKind.NOTE else "ink")],
        )
    )  # fmt: skip
    target.text(
        x / POINTS_PER_INCH, (y - 0.36 * NUMBER_SIZE) / POINTS_PER_INCH, text, transform=inches,
        size=NUMBER_SIZE,
        weight="bold", color=LIGHT["paper" if _fill_role(kind) else "ink"], ha="center", va="baseline",
        zorder=9,
    )  # fmt: skip


def _fill_role(kind: EventKind) -> str | None:
    return {EventKind.DECISION: "ink", EventKind.FAILURE: "failure"}.get(kind)
