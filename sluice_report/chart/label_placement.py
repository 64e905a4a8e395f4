"""Place labels beside the data that they name, without covering data or other labels.

`LabelPlacement` keeps the occupied rectangles of one panel in points, and searches the free place nearest to
one of several anchors. Each panel leaves headroom above its data, so that a free place nearly always exists.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from sluice_report.chart.palette import LIGHT

TEXT_SIZE = 10.0
CHARACTER_WIDTH = 0.6
"""Mean width of a character in the widest font in use, as a multiple of the text size."""
PADDING = 3.0
PILL_HEIGHT = 9.0
"""Points above the time axis that the numbers of the annotations cover."""
MAX_ANCHORS = 80
"""Of more anchors only some are tried: each costs a hundred candidate places."""
RANK_COST = 0.2
"""Cost of each later anchor against the one before it, in points of distance."""
VERTICAL_OFFSETS = (0.0, 4.0, 9.0, 16.0, 26.0, 40.0, 60.0, 80.0)
HORIZONTAL_OFFSETS = (0.0, 6.0, -6.0, 14.0, -14.0, 28.0, -28.0, 50.0, -50.0, 80.0, -80.0)

Anchor = tuple[float, float]
"""A point of the data: (minute, value)."""
Point = tuple[float, float]
"""A point of the figure, in points."""


class LabelPlacement:
    """The occupied space of one panel. Set the axes' limits before: they decide where data lies."""

    def __init__(self, axes: Axes) -> None:
        self._axes = axes
        box = axes.bbox
        self._occupied = np.array([(box.x0, 0.0, box.x1, box.y0 + PILL_HEIGHT)])

    def occupy_area(self, minutes: Sequence[int], tops: Sequence[float]) -> None:
        """Mark everything from the axis up to each minute's top as occupied."""
        left, right = self._minute_edges(minutes)
        top = self._to_points(minutes, tops)[:, 1] + PADDING / 2
        self._occupy(left, np.zeros(len(minutes)), right, top)

    def occupy_line(self, minutes: Sequence[int], values: Sequence[float | None]) -> None:
        """Mark a step line as occupied, its vertical steps included."""
        known = [(minute, value) for minute, value in zip(minutes, values, strict=True) if value is not None]
        if not known:
            return
        left, right = self._minute_edges([minute for minute, _ in known])
        height = self._to_points(*zip(*known, strict=True))[:, 1]
        before = np.concatenate([height[:1], height[:-1]])
        self._occupy(left, height - PADDING, right, height + PADDING)
        self._occupy(
            left - PADDING / 2, np.minimum(before, height), left + PADDING / 2, np.maximum(before, height)
        )

    def occupy_point(self, x: float, y: float, radius: float) -> None:
        """Mark a dot as occupied; `radius` in points."""
        centre = self._to_points([x], [y])[0]
        self._occupy(*(np.array([edge]) for edge in (*(centre - radius), *(centre + radius))))

    def add_label(self, text: str, colour: str, anchors: Sequence[Anchor], *, weight: str = "bold") -> None:
        """Write the text in the free place nearest to an anchor, with a leader line where it is far off.

        Earlier anchors are preferred. Without a free place nothing is written: the panel's title still says
        what the panel shows.
        """
        width, height = CHARACTER_WIDTH * TEXT_SIZE * len(text), TEXT_SIZE * 1.15
        place = self._best_place(anchors, width, height)
        if place is None:
            return
        (left, bottom), (x, y) = place
        self._occupied = np.vstack(
            [self._occupied, (left - PADDING, bottom - 1, left + width + PADDING, bottom + height)]
        )
        box = self._axes.bbox
        centre = ((left + width / 2 - box.x0) / box.width, (bottom + height * 0.22 - box.y0) / box.height)
        self._axes.text(
            *centre, text, transform=self._axes.transAxes, color=colour, size=TEXT_SIZE, weight=weight,
            ha="center", va="baseline", zorder=6,
            bbox={"facecolor": LIGHT["paper"], "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
        if bottom - y > 2.5 * PADDING or not left <= x <= left + width:
            end = (min(max(x, left), left + width), bottom if bottom >= y else bottom + height / 2)
            ends = [((px - box.x0) / box.width, (py - box.y0) / box.height) for px, py in ((x, y), end)]
            self._axes.plot(
                *zip(*ends, strict=True), transform=self._axes.transAxes, color=colour, lw=0.8, zorder=5,
            )  # fmt: skip

    def _minute_edges(self, minutes: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where each minute begins and ends: it is drawn from half before its number to half after."""
        zeros = np.zeros(len(minutes))
        middle = np.array(minutes, dtype=float)
        return self._to_points(middle - 0.5, zeros)[:, 0], self._to_points(middle + 0.5, zeros)[:, 0]

    def _to_points(self, minutes: ArrayLike, values: ArrayLike) -> NDArray[np.float64]:
        data = np.column_stack([np.asarray(minutes, dtype=float), np.asarray(values, dtype=float)])
        return np.asarray(self._axes.transData.transform(data), dtype=float)

    def _occupy(self, *edges: NDArray[np.float64]) -> None:
        """Add rectangles: left, bottom, right and top edges."""
        self._occupied = np.vstack([self._occupied, np.column_stack(edges)])

    def _best_place(
        self, anchors: Sequence[Anchor], width: float, height: float
    ) -> tuple[Point, Point] | None:
        """The lower left corner of the cheapest free place, and the point that it labels."""
        box = self._axes.bbox
        best: tuple[float, Point, Point] | None = None
        tried = anchors[:: -(-len(anchors) // MAX_ANCHORS)]
        rank_cost = -RANK_COST
        for x, y in self._to_points(*zip(*tried, strict=True)).tolist():
            rank_cost += RANK_COST
            for up in VERTICAL_OFFSETS:
                for right in HORIZONTAL_OFFSETS:
                    left = min(max(x - width / 2 + right, box.x0 + PADDING), box.x1 - width)
                    bottom = y + up + PADDING
                    cost = rank_cost + up * 1.5 + abs(left + width / 2 - x) * 0.3
                    # The overlap check is the expensive part: skip places that cannot win.
                    if bottom + height > box.y1 + 1 or (best is not None and cost >= best[0]):
                        continue
                    if _is_free(self._occupied, left, bottom, width, height):
                        best = (cost, (left, bottom), (x, y))
        return None if best is None else best[1:]


def _is_free(occupied: NDArray[np.float64], left: float, bottom: float, width: float, height: float) -> bool:
    apart = (
        (occupied[:, 2] <= left)
        | (occupied[:, 0] >= left + width)
        | (occupied[:, 3] <= bottom)
        | (occupied[:, 1] >= bottom + height)
    )
    return bool(apart.all())
