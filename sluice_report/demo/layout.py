"""A story as one figure: panels on one time axis, the marks on each, and where it stands alone its chronicle.

Owns sizes and places, in points. Uses matplotlib's figures without pyplot, so that nothing global is changed
and no display is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import FixedFormatter, FixedLocator

from sluice_report.chart.canvas import (
    LEFT,
    POINTS_PER_INCH,
    REGULAR,
    RIGHT,
    TITLE,
    TITLE_LINE,
    Sheet,
    blank,
    plain_axes,
    wrapped,
)
from sluice_report.chart.palette import LIGHT
from sluice_report.demo import (
    panels,
    sentences,
)
from sluice_report.demo.annotations import (
    LABEL_HEIGHT,
    Mark,
    chronicle,
    label_width,
    labels,
)
from sluice_sim.embedded.timeline import (
    EventKind,
    Story,
)

BELOW_PLOT = 22.0
"""Room for half a mark below each panel."""
AXIS = 8.0
LISTED, LIST_LINE, LIST_GAP = 9.5, 14.0, 3.0
NUMBER = 8.5
"""Size of a mark's number."""
FEW_MARKS = 12
MOST_LISTED = 14
"""So many marks a PNG lists; the page lists them all."""
TICK_EVERY = 60.0
TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 1440, 2880, 10080)


def figure(story: Story, width: float, *, alone: bool) -> Figure:
    """The story's panels below each other; `alone` adds its name above and its chronicle below."""
    marks = chronicle(story)
    shown = panels.of(story.minutes, marks)
    titles = [wrapped(panel.title, width - (16 if alone else 0), TITLE) for panel in shown]
    head = wrapped(sentences.heading(story), width - 16, TITLE) if alone else []
    told = (sentences.why_late(story.summary), story.lesson) if alone else ()
    lesson = [line for text in told for line in wrapped(text, width - 16, LISTED, REGULAR)]
    listed = _listing(marks, width) if alone else []
    height = (
        sum(
            len(title) * TITLE_LINE + 4 + panel.height + BELOW_PLOT
            for panel, title in zip(shown, titles, strict=True)
        )
        + AXIS
        + (34 + len(head) * TITLE_LINE + 4 + len(lesson) * LIST_LINE + 12 if alone else 4)
        + (len(listed) * (LIST_LINE + LIST_GAP) + 24 if alone else 0)
    )
    drawn = blank(width, height)
    page = Sheet(drawn, indent=8 if alone else 0)
    if alone:
        page.skip(8)
        page.write([story.summary.name], size=17, line=26, weight="bold")
        page.write(head, size=TITLE, line=TITLE_LINE, colour="muted")
        page.skip(4)
        page.write(lesson, size=LISTED, line=LIST_LINE)
        page.skip(12)
    for index, (panel, title) in enumerate(zip(shown, titles, strict=True)):
        page.write(title, size=TITLE, line=TITLE_LINE, weight="bold")
        page.skip(4)
        axes = page.plot(panel.height)
        _time_axis(axes, story, width, labelled=index == len(shown) - 1)
        panel.draw(axes, story.minutes)
        _place_marks(axes, marks, story, width)
        page.skip(BELOW_PLOT)
    page.skip(AXIS + 10)
    for line in listed:
        _list_line(page, line)
    return drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One line of the chronicle; a mark's first line carries its number."""

    mark: Mark | None = None
    when: str = ""
    who: str = ""
    text: str
    last: bool = True


def _listing(marks: Sequence[Mark], width: float) -> list[_Line]:
    numbered = [mark for mark in marks if mark.number is not None]
    lines: list[_Line] = []
    weighty = sorted(numbered, key=lambda mark: mark.kind is EventKind.TARGET_TRACKING)[:MOST_LISTED]
    for mark in sorted(weighty, key=numbered.index):
        first, *rest = wrapped(mark.sentence, width - 214, LISTED, REGULAR) or [""]
        lines.append(_Line(mark=mark, when=f"minute {mark.minute}", who=mark.who, text=first, last=not rest))
        lines += [_Line(text=line, last=line is rest[-1]) for line in rest]
    if len(numbered) > MOST_LISTED:
        lines.append(_Line(text=f"and {len(numbered) - MOST_LISTED} more, all in report.html"))
    return lines


def _list_line(page: Sheet, line: _Line) -> None:
    if line.mark is not None:
        _pill(page.figure, 18, page.y - LIST_LINE / 2, str(line.mark.number), line.mark.kind)
    for x, text, colour in ((38, line.when, "muted"), (98, line.who, "muted"), (206, line.text, "ink")):
        page.text(x, text, baseline=LIST_LINE * 0.73, size=LISTED, color=LIGHT[colour])
    page.skip(LIST_LINE + (LIST_GAP if line.last else 0))


def _time_axis(axes: Axes, story: Story, width: float, *, labelled: bool) -> None:
    first, last = story.minutes[0].minute, story.minutes[-1].minute
    axes.set_xlim(first - 0.5, last + 0.5)
    most = max(3, int((width - LEFT - RIGHT) / TICK_EVERY))
    step = next((step for step in TICKS if (last - first) / step <= most), TICKS[-1])
    at = list(range(-(-first // step) * step, last + 1, step))
    axes.xaxis.set_major_locator(FixedLocator(at))
    named = [f"minute {at[0]}", *map(str, at[1:])] if at else []
    axes.xaxis.set_major_formatter(FixedFormatter(named if labelled else [""] * len(at)))
    plain_axes(axes)
    axes.tick_params(axis="x", pad=12)


def _place_marks(axes: Axes, marks: Sequence[Mark], story: Story, width: float) -> None:
    """A hairline at every mark (at Sluice's own where there are many), and on the axis its number."""
    numbered = [mark for mark in marks if mark.number is not None]
    lined = [mark for mark in numbered if len(numbered) <= FEW_MARKS or _filled(mark.kind)]
    for minute in sorted({mark.minute for mark in lined}):
        axes.axvline(minute, color=LIGHT["muted"], lw=0.6, ls=(0, (1, 2)), zorder=2)
    minutes = story.minutes[-1].minute - story.minutes[0].minute + 1
    for label in labels(numbered, (width - LEFT - RIGHT) / minutes):
        x, y = axes.get_xaxis_transform().transform((label.minute, 0))
        size = label_width(label.text)
        centre = min(float(x) + (size - LABEL_HEIGHT) / 2, width - size / 2 - 1)
        _pill(axes, centre, float(y), label.text, label.kind)


def _pill(on: Figure | Axes, x: float, y: float, text: str, kind: EventKind) -> None:
    """A mark's number on a pill at a point of the figure. Filled: Sluice decided, or something failed."""
    figure = on if isinstance(on, Figure) else on.figure
    inches = figure.dpi_scale_trans
    width, height = label_width(text), LABEL_HEIGHT
    left, floor, size = (part / POINTS_PER_INCH for part in (x - width / 2, y - height / 2, width))
    radius = height / (6 if kind is EventKind.FAILURE else 2) / POINTS_PER_INCH
    on.add_artist(
        FancyBboxPatch(
            (left, floor), size, height / POINTS_PER_INCH, boxstyle=f"round,pad=0,rounding_size={radius}",
            transform=inches, facecolor=LIGHT[_filled(kind) or "paper"], lw=1, zorder=8, clip_on=False,
            edgecolor=LIGHT[_filled(kind) or ("muted" if kind is EventKind.NOTE else "ink")],
        )
    )  # fmt: skip
    on.text(
        x / POINTS_PER_INCH, (y - 0.36 * NUMBER) / POINTS_PER_INCH, text, transform=inches, size=NUMBER,
        weight="bold", color=LIGHT["paper" if _filled(kind) else "ink"], ha="center", va="baseline", zorder=9,
    )  # fmt: skip


def _filled(kind: EventKind) -> str | None:
    return {EventKind.DECISION: "ink", EventKind.FAILURE: "failure"}.get(kind)
