"""A figure that is filled from top to bottom with lines of text and plots; all lengths are in points."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sluice_report.chart.palette import LIGHT

POINTS_PER_INCH = 72
LEFT_MARGIN, RIGHT_MARGIN = 44.0, 12.0
"""Beside each plot, in points; the left one holds the numbers of the value axis."""
TITLE_SIZE, TITLE_LINE = 11.5, 15.0
"""A panel's title: text size and line height, in points."""
BOLD_WIDTH, REGULAR_WIDTH = 0.6, 0.55
"""Mean width of a character, as a multiple of the text size."""


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, `width` by `height` points."""
    return Figure(figsize=(width / POINTS_PER_INCH, height / POINTS_PER_INCH), dpi=POINTS_PER_INCH)


def wrap_text(text: str, width: float, size: float, character_width: float = BOLD_WIDTH) -> list[str]:
    """Split the text into lines that fit `width` points; `character_width` is a multiple of `size`."""
    return textwrap.wrap(text, max(20, int(width / (size * character_width))))


class Canvas:
    """A figure and the height up to which it is filled; `y` is the current position above its lower edge."""

    def __init__(self, figure: Figure, *, indent: float) -> None:
        self.figure = figure
        self._width, self.y = (float(inches) * POINTS_PER_INCH for inches in figure.get_size_inches())
        self._height, self._indent = self.y, indent

    def move_down(self, points: float) -> None:
        """Leave this much space empty."""
        self.y -= points

    def write_lines(
        self, lines: Sequence[str], *, size: float, line: float, colour: str = "ink", weight: str = "normal"
    ) -> None:
        """Write lines of text below each other, each `line` points high."""
        for text in lines:
            self.write_text(
                self._indent, text, baseline=line * 0.75, size=size, color=LIGHT[colour], weight=weight
            )
            self.move_down(line)

    def add_plot(self, height: float) -> Axes:
        """Axes over the whole width between the margins."""
        self.move_down(height)
        plot_width = self._width - LEFT_MARGIN - RIGHT_MARGIN
        return self.figure.add_axes(
            (LEFT_MARGIN / self._width, self.y / self._height, plot_width / self._width,
             height / self._height)
        )  # fmt: skip

    def draw_swatch(
        self, x: float, width: float, middle: float, colour: str, *, line: bool, dashed: bool
    ) -> None:
        """A patch of colour, or a piece of line, centred `middle` points below the current position."""
        y, half = self.y - middle, 1.0 if line else 4.0
        ends = ((x, x + 0.4 * width), (x + 0.6 * width, x + width)) if dashed else ((x, x + width),)
        for left, right in ends:
            self.figure.add_artist(
                Rectangle(
                    (left / self._width, (y - half) / self._height), (right - left) / self._width,
                    2 * half / self._height, transform=self.figure.transFigure, color=colour, lw=0,
                )
            )  # fmt: skip

    def write_text(self, x: float, text: str, *, baseline: float, **style: Any) -> None:
        """A text at x, its baseline this many points below the current position."""
        self.figure.text(x / self._width, (self.y - baseline) / self._height, text, va="baseline", **style)


def style_axes(axes: Axes) -> None:
    """Numbers without tick marks, faint horizontal lines, and no frame but the base line."""
    axes.tick_params(axis="both", length=0, pad=5, labelsize=9.5)
    axes.grid(visible=True, axis="y", color=LIGHT["grid"], lw=0.8, zorder=0)
    axes.set_axisbelow(True)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
