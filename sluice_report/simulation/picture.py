"""A run as one figure, and the comparison of several; as PNGs that stand alone and as SVGs for the page.

Owns sizes and places, in points, and what keeps the SVG of a long run small.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator

from sluice_report.chart.canvas import (
    LEFT,
    REGULAR,
    RIGHT,
    Sheet,
    blank,
    plain_axes,
    wrapped,
)
from sluice_report.chart.palette import LIGHT
from sluice_report.demo.picture import (
    png_of,
    style,
    svg_of,
)
from sluice_report.simulation.panels import Key, Panel
from sluice_report.simulation.time_series import Course

TITLE, TITLE_LINE = 11.5, 15.0
KEY, KEY_LINE = 9.5, 15.0
SWATCH, SWATCH_GAP, KEY_GAP = 12.0, 4.0, 14.0
BELOW_PLOT = 18.0
TICK_EVERY = 64.0
TICKS_S = (
    60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 432_000, 604_800,
    1_209_600,
)  # fmt: skip
UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """An SVG for the page, and where in its width time begins and ends (0 to 1)."""

    svg: str
    left: float
    right: float


def png(name: str, verdict: str, panels: Sequence[Panel], course: Course, *, width: float = 860) -> bytes:
    """The picture that stands by itself, with its name and verdict."""
    with style():
        return png_of(_figure(panels, course, width, heading=(name, verdict)))


def drawing(name: str, panels: Sequence[Panel], course: Course, *, width: float) -> Drawing:
    """The panels for the page."""
    with style(salt=f"{name} {width}"):
        svg = svg_of(_figure(panels, course, width, heading=None))
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


def compact(svg: str) -> str:
    """The same drawing in fewer bytes: a tenth of a point, steps as H and V, what lies on a line left out."""
    return re.sub(r' d="([^"]*)"', lambda found: f' d="{_compact_path(found[1])}"', svg)


def _compact_path(path: str) -> str:
    """Only straight paths; one with curves stays as it is."""
    steps = re.findall(r"([A-Za-z])([^A-Za-z]*)", path)
    if any(command not in "MLz" for command, _ in steps):
        return path
    written: list[str] = []
    corners: list[tuple[float, float]] = []
    for command, rest in steps:
        if command == "z":
            written.append(_polyline(corners) + "z")
            corners = []
            continue
        if command == "M" and corners:
            written.append(_polyline(corners))
            corners = []
        x, y = (round(float(value), 1) for value in rest.split())
        corners.append((x, y))
    return "".join(written) + _polyline(corners)


def _polyline(corners: Sequence[tuple[float, float]]) -> str:
    if not corners:
        return ""
    kept: list[tuple[float, float]] = []
    for corner in corners:
        while len(kept) > 1 and _between(kept[-2], kept[-1], corner):
            kept.pop()
        if not kept or kept[-1] != corner:
            kept.append(corner)
    (x, y), *others = kept
    parts = [f"M{x:g} {y:g}"]
    for nx, ny in others:
        parts.append(f"H{nx:g}" if ny == y else f"V{ny:g}" if nx == x else f"L{nx:g} {ny:g}")
        x, y = nx, ny
    return "".join(parts)


def _between(before: tuple[float, float], middle: tuple[float, float], after: tuple[float, float]) -> bool:
    """Whether the middle of three lies on a horizontal or vertical line that goes on in its direction."""
    for along, across in ((0, 1), (1, 0)):
        if before[across] == middle[across] == after[across]:
            return (before[along] - middle[along]) * (middle[along] - after[along]) >= 0
    return False
