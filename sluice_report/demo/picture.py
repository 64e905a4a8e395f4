"""A demo run as a PNG that stands alone, and as the SVGs that the page embeds; one layout draws both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sluice_report.chart.canvas import LEFT_MARGIN, RIGHT_MARGIN
from sluice_report.chart.rendering import style, to_png, to_svg
from sluice_report.demo import sentences
from sluice_report.demo.layout import Heading, figure
from sluice_sim.embedded.timeline import Minute, SwitchSeen, Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """An SVG for the page, and where in its width (0 to 1) the time axis begins and ends.

    `first` and `last` are the axis's first and last minute.
    """

    svg: str
    left: float
    right: float
    first: int
    last: int


def png(timeline: Timeline, *, width: float = 860) -> bytes:
    """The picture that stands alone: title, panels and the list of events."""
    heading = Heading(
        name=timeline.summary.name,
        finding=sentences.heading(timeline),
        lessons=(sentences.why_late(timeline.summary), timeline.explanation),
        all_events="report.html",
    )
    return png_of(timeline.minutes, heading, switch=timeline.summary.switch, width=width)


def png_of(
    minutes: Sequence[Minute], heading: Heading, *, switch: SwitchSeen | None = None, width: float = 860
) -> bytes:
    """The same picture of any minutes below any heading."""
    with style():
        return to_png(figure(minutes, width, heading, switch))


def drawing(timeline: Timeline, *, width: float) -> Drawing:
    """The panels for the page, `width` points wide."""
    with style(salt=f"{timeline.summary.name} {width}"):
        svg = to_svg(figure(timeline.minutes, width, switch=timeline.summary.switch))
    return Drawing(
        svg=svg,
        left=LEFT_MARGIN / width,
        right=1 - RIGHT_MARGIN / width,
        first=timeline.minutes[0].minute,
        last=timeline.minutes[-1].minute,
    )
