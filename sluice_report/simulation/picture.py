"""A run as one figure, and the comparison of several; as PNGs that stand alone and as SVGs for the page.

Owns sizes and places, in points, and what keeps the SVG of a long run small.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator

from sluice_report.chart.canvas import (
    LEFT,
    REGULAR,
    RIGHT,
    TITLE,
    TITLE_LINE,
    Sheet,
    blank,
    plain_axes,
    wrapped,
)
from sluice_report.chart.compact_svg import compact
from sluice_report.chart.palette import LIGHT
from sluice_report.chart.rendering import Drawing, style, to_png, to_svg
from sluice_report.simulation.panels import Key, Panel
from sluice_report.simulation.time_series import Course

KEY, KEY_LINE = 9.5, 15.0
SWATCH, SWATCH_GAP, KEY_GAP = 12.0, 4.0, 14.0
BELOW_PLOT = 18.0
TICK_EVERY = 64.0
TICKS_S = (
    60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 432_000, 604_800,
    1_209_600,
)  # fmt: skip
UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


def png(name: str, verdict: str, panels: Sequence[Panel], course: Course, *, width: float = 860) -> bytes:
    """The picture that stands by itself, with its name and verdict."""
    with style():
        return to_png(_figure(panels, course, width, heading=(name, verdict)))


def drawing(name: str, panels: Sequence[Panel], course: Course, *, width: float) -> Drawing:
    """The panels for the page."""
    with style(salt=f"{name} {width}"):
        svg = to_svg(_figure(panels, course, width, heading=None))
    return Drawing(svg=compact(svg), left=LEFT / width, right=1 - RIGHT / width)


def _figure(
    panels: Sequence[Panel], course: Course, width: float, *, heading: tuple[str, str] | None
) -> Figure:
    indent = 8.0 if heading else 0.0
    titles = [wrapped(panel.title, width - 2 * indent, TITLE) for panel in panels]
    keys = [_rows(panel.keys, width - 2 * indent) for panel in panels]
    name, verdict = heading or ("", "")
    head = wrapped(verdict, width - 2 * indent, TITLE, REGULAR) if heading else []
    height = 14 + (34 + len(head) * TITLE_LINE + 14 if heading else 2)
    for panel, title, rows in zip(panels, titles, keys, strict=True):
        height += len(title) * TITLE_LINE + len(rows) * KEY_LINE + 2 + panel.height + BELOW_PLOT
    drawn = blank(width, height)
    page = Sheet(drawn, indent=indent)
    if heading:
        page.skip(8)
        page.write([name], size=17, line=26, weight="bold")
        page.write(head, size=TITLE, line=TITLE_LINE, colour="muted")
        page.skip(14)
    for index, (panel, title, rows) in enumerate(zip(panels, titles, keys, strict=True)):
        page.write(title, size=TITLE, line=TITLE_LINE, weight="bold")
        for row in rows:
            _key_line(page, row, indent)
        page.skip(2)
        axes = page.plot(panel.height)
        _time_axis(axes, course, width, labelled=index == len(panels) - 1)
        panel.draw(axes, course)
        page.skip(BELOW_PLOT)
    return drawn


def _key_width(key: Key) -> float:
    return SWATCH + SWATCH_GAP + KEY * REGULAR * len(key.text) + KEY_GAP


def _rows(keys: Sequence[Key], width: float) -> list[list[Key]]:
    """Keys in rows that fit."""
    rows: list[list[Key]] = []
    room = 0.0
    for key in keys:
        if not rows or _key_width(key) - KEY_GAP > room:
            rows.append([])
            room = width
        rows[-1].append(key)
        room -= _key_width(key)
    return rows


def _key_line(page: Sheet, keys: Sequence[Key], x: float) -> None:
    for key in keys:
        page.swatch(x, SWATCH, KEY_LINE / 2, LIGHT[key.role], line=key.line, dashed=key.dashed)
        page.text(x + SWATCH + SWATCH_GAP, key.text, baseline=KEY_LINE * 0.73, size=KEY, color=LIGHT["muted"])
        x += _key_width(key)
    page.skip(KEY_LINE)


def _time_axis(axes: Axes, course: Course, width: float, *, labelled: bool) -> None:
    axes.set_xlim(-0.5, course.end_s / course.stretch_s - 0.5)
    most = max(3, int((width - LEFT - RIGHT) / TICK_EVERY))
    step = next((step for step in TICKS_S if course.end_s / step <= most), TICKS_S[-1])
    size, unit = next(((size, unit) for size, unit in UNITS if step >= size), UNITS[-1])
    moments = range(0, int(course.end_s) + 1, step)
    axes.xaxis.set_major_locator(FixedLocator([at / course.stretch_s - 0.5 for at in moments]))
    texts = [f"{at / size:g} {unit}" if labelled else "" for at in moments]
    axes.xaxis.set_major_formatter(FixedFormatter(texts))
    plain_axes(axes)
    axes.grid(visible=True, axis="x", color=LIGHT["grid"], lw=0.8, zorder=0)
