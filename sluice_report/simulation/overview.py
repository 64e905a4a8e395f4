"""The chart that compares several runs: cost to the right, punctuality upwards.

The vertical scale is logarithmic in the share of late messages: each line upwards stands for about ten times
fewer of them. A run without a message has no place on it and is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator

from sluice_report.chart.canvas import (
    LEFT_MARGIN,
    RIGHT_MARGIN,
    TITLE_LINE,
    TITLE_SIZE,
    Canvas,
    new_figure,
    style_axes,
    wrap_text,
)
from sluice_report.chart.compact_svg import compact
from sluice_report.chart.label_placement import LabelPlacement
from sluice_report.chart.palette import LIGHT
from sluice_report.chart.rendering import Drawing, style, to_png, to_svg
from sluice_report.quantities import number
from sluice_report.simulation import sentences
from sluice_report.simulation.comparison import ComparedRun

HEIGHT = 250.0
AXIS_LENGTH = 100.0
"""Both axes run from 0 to this; values are converted to it."""
MARGIN = 6.0
MIN_LATE_SHARE = 1e-4
"""A smaller share of late messages is drawn as none: a logarithmic scale has no zero."""
ATTAINMENTS = (0.0, 0.5, 0.9, 0.99, 0.999, 1.0)
MIN_COST = 1e-9
CLOSE_RATIO = 2.0
MAX_TICKS = 6


def png(compared: Sequence[ComparedRun], *, ratios: bool, width: float = 860) -> bytes:
    """The comparison as a PNG that stands alone."""
    with style():
        return to_png(_figure(compared, ratios, width, alone=True))


def drawing(compared: Sequence[ComparedRun], *, ratios: bool, width: float) -> Drawing:
    """The comparison for the page."""
    with style(salt=f"overview {width}"):
        svg = to_svg(_figure(compared, ratios, width, alone=False))
    return Drawing(svg=compact(svg), left=LEFT_MARGIN / width, right=1 - RIGHT_MARGIN / width)


def title(*, ratios: bool) -> str:
    """What the two axes show."""
    return "Up: messages that start within the promise. Right: " + (
        "cost, as a multiple of the lower bound" if ratios else "instance-hours billed"
    )


def _figure(compared: Sequence[ComparedRun], ratios: bool, width: float, *, alone: bool) -> Figure:
    indent = 8.0 if alone else 0.0
    lines = wrap_text(title(ratios=ratios), width - 2 * indent, TITLE_SIZE)
    sentence = sentences.comparison(compared, ratios=ratios) if alone else ""
    finding = wrap_text(sentence, width - 2 * indent, TITLE_SIZE)
    height = 2 * indent + (len(lines) + len(finding)) * TITLE_LINE + (6 if finding else 0) + 6 + HEIGHT + 26
    canvas = Canvas(new_figure(width, height), indent=indent)
    canvas.move_down(indent)
    canvas.write_lines(finding, size=TITLE_SIZE, line=TITLE_LINE, weight="bold")
    canvas.move_down(6 if finding else 0)
    canvas.write_lines(lines, size=TITLE_SIZE, line=TITLE_LINE, colour="muted")
    canvas.move_down(6)
    _scatter(canvas.add_plot(HEIGHT), compared, ratios)
    return canvas.figure


def _scatter(axes: Axes, compared: Sequence[ComparedRun], ratios: bool) -> None:
    right = _costs([one.cost for one in compared], ratios)
    up = _attainments([one.attainment for one in compared])
    right_ticks = right.ticks(_round(right.minimum, right.maximum), "{:g}×".format if ratios else number)
    up_ticks = up.ticks(ATTAINMENTS, lambda share: f"{100 * share:g} %")
    axes.set_xlim(-MARGIN, AXIS_LENGTH + MARGIN)
    axes.set_ylim(-MARGIN, AXIS_LENGTH + 2.5 * MARGIN)
    axes.xaxis.set_major_locator(FixedLocator([at for at, _ in right_ticks]))
    axes.xaxis.set_major_formatter(FixedFormatter([text for _, text in right_ticks]))
    axes.yaxis.set_major_locator(FixedLocator([at for at, _ in up_ticks]))
    axes.yaxis.set_major_formatter(FixedFormatter([text for _, text in up_ticks]))
    style_axes(axes)
    axes.grid(visible=True, axis="x", color=LIGHT["grid"], lw=0.8, zorder=0)
    placed = [(one, right(one.cost), up(one.attainment)) for one in compared]
    best = sorted((x, y) for one, x, y in placed if one.on_frontier)
    axes.plot(*zip(*best, strict=True), color=LIGHT["target"], lw=1.4, ls=(0, (5, 2.5)), zorder=3)
    labels = LabelPlacement(axes)
    for _, x, y in placed:
        labels.occupy_point(x, y, 6)
    for one, x, y in placed:
        axes.plot(
            [x], [y], "o", ms=9, mew=1.6, mec=LIGHT["desired"], zorder=5,
            mfc=LIGHT["desired" if one.on_frontier else "paper"],
        )  # fmt: skip
    for one, x, y in sorted(placed, key=lambda entry: not entry[0].on_frontier):
        labels.add_label(one.name, LIGHT["ink"], [(x, y)], weight="bold" if one.on_frontier else "normal")


def _round(minimum: float, maximum: float) -> list[float]:
    """Round numbers, dense enough that some lie in any range."""
    powers = range(math.floor(math.log10(minimum)), math.ceil(math.log10(maximum)) + 1)
    between = (1.1, 1.2, 1.3) if maximum < CLOSE_RATIO * minimum else ()
    return [step * 10.0**power for power in powers for step in (1, *between, 1.5, 2, 3, 5, 7)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """Maps a value from the shown range to 0 ... 100, after a transformation."""

    transform: Callable[[float], float]
    minimum: float
    maximum: float

    def __call__(self, value: float) -> float:
        low, high = self.transform(self.minimum), self.transform(self.maximum)
        return AXIS_LENGTH * (self.transform(value) - low) / (high - low) if high > low else AXIS_LENGTH / 2

    def ticks(self, values: Sequence[float], text: Callable[[float], str]) -> list[tuple[float, str]]:
        """The values within the shown range, thinned evenly where there are too many."""
        shown = [value for value in values if self.minimum <= value <= self.maximum]
        return [(self(value), text(value)) for value in shown[:: -(-len(shown) // MAX_TICKS) or 1]]


def _costs(costs: Sequence[float], ratios: bool) -> _Scale:
    """Logarithmic: twice the cost is the same distance everywhere."""
    minimum = max(1.0 if ratios else min(costs), MIN_COST)
    maximum = max(costs) * 1.02 if max(costs) > minimum else 2 * minimum
    return _Scale(transform=math.log, minimum=minimum, maximum=maximum)


def _attainments(attainments: Sequence[float]) -> _Scale:
    minimum = max((share for share in ATTAINMENTS[:-2] if share <= min(attainments)), default=0.0)
    return _Scale(
        transform=lambda share: -math.log10(1 - share + MIN_LATE_SHARE), minimum=minimum, maximum=1.0
    )
