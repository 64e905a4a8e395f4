"""A sheet that is filled from top to bottom: lines of text, and plots between them.

Owns places in points and the bare look of a plot. Knows nothing of what is drawn.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sluice_report.chart.palette import LIGHT

POINTS_PER_INCH = 72
LEFT, RIGHT = 44.0, 12.0
"""Beside each plot, in points."""
TITLE, TITLE_LINE = 11.5, 15.0
"""A panel's title: size of its text and height of a line, in points."""
BOLD, REGULAR = 0.6, 0.55
"""Mean width of a character, in sizes of the text."""


def blank(width: float, height: float) -> Figure:
    """An empty figure of this many points."""
    return Figure(figsize=(width / POINTS_PER_INCH, height / POINTS_PER_INCH), dpi=POINTS_PER_INCH)


def wrapped(text: str, width: float, size: float, character: float = BOLD) -> list[str]:
    """The text in lines that fit; `character` is a character's mean width in sizes of the text."""
    return textwrap.wrap(text, max(20, int(width / (size * character))))


class Sheet:
    """A figure and how far down it is filled."""

    def __init__(self, figure: Figure, *, indent: float) -> None:
        self.figure = figure
        self._width, self.y = (float(inches) * POINTS_PER_INCH for inches in figure.get_size_inches())
        self._height, self._indent = self.y, indent

    def skip(self, points: float) -> None:
        """Leave this much empty."""
        self.y -= points

    def write(
        self, lines: Sequence[str], *, size: float, line: float, colour: str = "ink", weight: str = "normal"
    ) -> None:
        """One line of text below the other, each `line` high."""
        for text in lines:
            self.text(self._indent, text, baseline=line * 0.75, size=size, color=LIGHT[colour], weight=weight)
            self.skip(line)

    def plot(self, height: float) -> Axes:
        """Axes over the whole width but for the room of their numbers."""
        self.skip(height)
        return self.figure.add_axes(
            (LEFT / self._width, self.y / self._height, (self._width - LEFT - RIGHT) / self._width,
             height / self._height)
        )  # fmt: skip

    def swatch(self, x: float, width: float, middle: float, colour: str, *, line: bool, dashed: bool) -> None:
        """A patch of colour, or a piece of line, its middle so far below the present place."""
        y, half = self.y - middle, 1.0 if line else 4.0
        ends = ((x, x + 0.4 * width), (x + 0.6 * width, x + width)) if dashed else ((x, x + width),)
        for left, right in ends:
            self.figure.add_artist(
                Rectangle(
                    (left / self._width, (y - half) / self._height), (right - left) / self._width,
                    2 * half / self._height, transform=self.figure.transFigure, color=colour, lw=0,
                )
            )  # fmt: skip

    def text(self, x: float, text: str, *, baseline: float, **style: Any) -> None:
        """A text at x, its baseline so far below the present place."""
        self.figure.text(x / self._width, (self.y - baseline) / self._height, text, va="baseline", **style)


def plain_axes(axes: Axes) -> None:
    """Numbers without ticks, faint lines across, nothing but the base line around."""
    axes.tick_params(axis="both", length=0, pad=5, labelsize=9.5)
    axes.grid(visible=True, axis="y", color=LIGHT["grid"], lw=0.8, zorder=0)
    axes.set_axisbelow(True)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
