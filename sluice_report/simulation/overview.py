"""Several runs beside each other: what each costs and how much of the promise it keeps.

Owns the frontier (runs that no other beats in both) and the chart's scales: each line upwards is ten times
fewer late messages. Refuses to compare a run without a message.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator

from sluice_report.chart.canvas import (
    LEFT,
    RIGHT,
    TITLE,
    TITLE_LINE,
    Sheet,
    blank,
    plain_axes,
    wrapped,
)
from sluice_report.chart.compact_svg import compact
from sluice_report.chart.label_placement import Room
from sluice_report.chart.palette import LIGHT
from sluice_report.chart.rendering import Drawing, style, to_png, to_svg
from sluice_report.quantities import number
from sluice_report.simulation import sentences
from sluice_report.simulation.comparison import Entry

HEIGHT = 250.0
ACROSS = 100.0
"""The chart's own scale, both ways: what it shows is placed in hundredths."""
MARGIN = 6.0
RARE = 1e-4
"""A smaller share of late messages is drawn as none."""
ATTAINMENTS = (0.0, 0.5, 0.9, 0.99, 0.999, 1.0)
TINY = 1e-9
CLOSE = 2.0
FEW_TICKS = 6


def png(compared: Sequence[Entry], *, ratios: bool, width: float = 860) -> bytes:
    """The comparison as a picture of its own."""
    with style():
        return to_png(_figure(compared, ratios, width, alone=True))


def drawing(compared: Sequence[Entry], *, ratios: bool, width: float) -> Drawing:
    """The comparison for the page."""
    with style(salt=f"overview {width}"):
        svg = to_svg(_figure(compared, ratios, width, alone=False))
    return Drawing(svg=compact(svg), left=LEFT / width, right=1 - RIGHT / width)


def title(*, ratios: bool) -> str:
    """What is up and what is right."""
    return "Up: messages that start within the promise. Right: " + (
        "cost, in times what hindsight needs" if ratios else "instance-hours billed"
    )


def _figure(compared: Sequence[Entry], ratios: bool, width: float, *, alone: bool) -> Figure:
    indent = 8.0 if alone else 0.0
    lines = wrapped(title(ratios=ratios), width - 2 * indent, TITLE)
    said = wrapped(sentences.comparison(compared, ratios=ratios), width - 2 * indent, TITLE) if alone else []
    height = 2 * indent + (len(lines) + len(said)) * TITLE_LINE + (6 if said else 0) + 6 + HEIGHT + 26
    drawn = blank(width, height)
    page = Sheet(drawn, indent=indent)
    page.skip(indent)
    page.write(said, size=TITLE, line=TITLE_LINE, weight="bold")
    page.skip(6 if said else 0)
    page.write(lines, size=TITLE, line=TITLE_LINE, colour="muted")
    page.skip(6)
    _scatter(page.plot(HEIGHT), compared, ratios)
    return drawn


def _scatter(axes: Axes, compared: Sequence[Entry], ratios: bool) -> None:
    right = _costs([one.cost for one in compared], ratios)
    up = _attainments([one.attainment for one in compared])
    right_ticks = right.ticks(_round(right.least, right.most), "{:g}×".format if ratios else number)
    up_ticks = up.ticks(ATTAINMENTS, lambda share: f"{100 * share:g} %")
    axes.set_xlim(-MARGIN, ACROSS + MARGIN)
    axes.set_ylim(-MARGIN, ACROSS + 2.5 * MARGIN)
    axes.xaxis.set_major_locator(FixedLocator([at for at, _ in right_ticks]))
    axes.xaxis.set_major_formatter(FixedFormatter([text for _, text in right_ticks]))
    axes.yaxis.set_major_locator(FixedLocator([at for at, _ in up_ticks]))
    axes.yaxis.set_major_formatter(FixedFormatter([text for _, text in up_ticks]))
    plain_axes(axes)
    axes.grid(visible=True, axis="x", color=LIGHT["grid"], lw=0.8, zorder=0)
    placed = [(one, right(one.cost), up(one.attainment)) for one in compared]
    best = sorted((x, y) for one, x, y in placed if one.on_frontier)
    axes.plot(*zip(*best, strict=True), color=LIGHT["target"], lw=1.4, ls=(0, (5, 2.5)), zorder=3)
    room = Room(axes)
    for _, x, y in placed:
        room.spot(x, y, 6)
    for one, x, y in placed:
        axes.plot(
            [x], [y], "o", ms=9, mew=1.6, mec=LIGHT["asked"], zorder=5,
            mfc=LIGHT["asked" if one.on_frontier else "paper"],
        )  # fmt: skip
    for one, x, y in sorted(placed, key=lambda entry: not entry[0].on_frontier):
        room.label(one.name, LIGHT["ink"], [(x, y)], weight="bold" if one.on_frontier else "normal")


def _round(least: float, most: float) -> list[float]:
    """Round numbers, so many that a few are left in any range."""
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    between = (1.1, 1.2, 1.3) if most < CLOSE * least else ()
    return [step * 10.0**power for power in powers for step in (1, *between, 1.5, 2, 3, 5, 7)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """From a value to its place, 0 to 100, over what is shown."""

    bent: Callable[[float], float]
    least: float
    most: float

    def __call__(self, value: float) -> float:
        low, high = self.bent(self.least), self.bent(self.most)
        return ACROSS * (self.bent(value) - low) / (high - low) if high > low else ACROSS / 2

    def ticks(self, values: Sequence[float], text: Callable[[float], str]) -> list[tuple[float, str]]:
        """Those of the values that are shown, evenly thinned where they are many."""
        shown = [value for value in values if self.least <= value <= self.most]
        return [(self(value), text(value)) for value in shown[:: -(-len(shown) // FEW_TICKS) or 1]]


def _costs(costs: Sequence[float], ratios: bool) -> _Scale:
    """Logarithmic: twice the cost is the same way everywhere."""
    least = max(1.0 if ratios else min(costs), TINY)
    most = max(costs) * 1.02 if max(costs) > least else 2 * least
    return _Scale(bent=math.log, least=least, most=most)


def _attainments(attainments: Sequence[float]) -> _Scale:
    least = max((share for share in ATTAINMENTS[:-2] if share <= min(attainments)), default=0.0)
    return _Scale(bent=lambda share: -math.log10(1 - share + RARE), least=least, most=1.0)
