"""Where a label finds room beside what it names, so that a panel needs no legend.

Owns what is taken in one panel, in points, and the search for the free place nearest to one of several
anchors. Every panel leaves a strip free above its data, so that there nearly always is one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from sluice_report.chart.palette import LIGHT

POINTS = 10.0
"""Size of a label's text."""
CHARACTER = 0.6
"""Mean width of a character of the widest font in use, in sizes of the text."""
AIR = 3.0
FOOT = 9.0
"""Above the axis, points that the marks on it take."""
MOST_ANCHORS = 80
RANK = 0.2
"""What each later anchor costs against the one before it, in points of distance."""
LIFTS = (0.0, 4.0, 9.0, 16.0, 26.0, 40.0, 60.0, 80.0)
SHIFTS = (0.0, 6.0, -6.0, 14.0, -14.0, 28.0, -28.0, 50.0, -50.0, 80.0, -80.0)

Anchor = tuple[float, float]


class Room:
    """One panel's free and taken space."""

    def __init__(self, axes: Axes) -> None:
        self._axes = axes
        box = axes.bbox
        self._taken = np.array([(box.x0, 0.0, box.x1, box.y0 + FOOT)])

    def area(self, minutes: Sequence[int], tops: Sequence[float]) -> None:
        """Everything from the axis up to each minute's top is taken."""
        left, right = self._sides(minutes)
        top = self._points(minutes, tops)[:, 1] + AIR / 2
        self._take(left, np.zeros(len(minutes)), right, top)

    def line(self, minutes: Sequence[int], values: Sequence[float | None]) -> None:
        """A step line takes what it covers, rises and falls included."""
        known = [(minute, value) for minute, value in zip(minutes, values, strict=True) if value is not None]
        if not known:
            return
        left, right = self._sides([minute for minute, _ in known])
        height = self._points(*zip(*known, strict=True))[:, 1]
        before = np.concatenate([height[:1], height[:-1]])
        self._take(left, height - AIR, right, height + AIR)
        self._take(left - AIR / 2, np.minimum(before, height), left + AIR / 2, np.maximum(before, height))

    def spot(self, x: float, y: float, radius: float) -> None:
        """A dot takes so many points around it."""
        centre = self._points([x], [y])[0]
        self._take(*(np.array([edge]) for edge in (*(centre - radius), *(centre + radius))))

    def label(self, text: str, colour: str, anchors: Sequence[Anchor], *, weight: str = "bold") -> None:
        """Write the text in the free place nearest to an anchor (minute, value); far off, with a leader.

        Where no place is free, nothing is written: the panel's title still says what is seen.
        """
        width, height = CHARACTER * POINTS * len(text), POINTS * 1.15
        place = self._nearest(anchors, width, height)
        if place is None:
            return
        (left, floor), (x, y) = place
        self._taken = np.vstack([self._taken, (left - AIR, floor - 1, left + width + AIR, floor + height)])
        box = self._axes.bbox
        at = ((left + width / 2 - box.x0) / box.width, (floor + height * 0.22 - box.y0) / box.height)
        self._axes.text(
            *at, text, transform=self._axes.transAxes, color=colour, size=POINTS, weight=weight, ha="center",
            va="baseline", zorder=6, bbox={"facecolor": LIGHT["paper"], "edgecolor": "none", "pad": 0.5},
        )  # fmt: skip
        if floor - y > 2.5 * AIR or not left <= x <= left + width:
            end = (min(max(x, left), left + width), floor if floor >= y else floor + height / 2)
            ends = [((px - box.x0) / box.width, (py - box.y0) / box.height) for px, py in ((x, y), end)]
            self._axes.plot(
                *zip(*ends, strict=True), transform=self._axes.transAxes, color=colour, lw=0.8, zorder=5,
            )  # fmt: skip

    def _sides(self, minutes: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where each minute begins and ends."""
        nothing = np.zeros(len(minutes))
        middle = np.array(minutes, dtype=float)
        return self._points(middle - 0.5, nothing)[:, 0], self._points(middle + 0.5, nothing)[:, 0]

    def _points(self, minutes: ArrayLike, values: ArrayLike) -> NDArray[np.float64]:
        at = np.column_stack([np.asarray(minutes, dtype=float), np.asarray(values, dtype=float)])
        return np.asarray(self._axes.transData.transform(at), dtype=float)

    def _take(self, *edges: NDArray[np.float64]) -> None:
        self._taken = np.vstack([self._taken, np.column_stack(edges)])

    def _nearest(
        self, anchors: Sequence[Anchor], width: float, height: float
    ) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """(left, floor) of the best free place and the point it labels; earlier anchors are preferred."""
        box = self._axes.bbox
        best: tuple[float, tuple[float, float], tuple[float, float]] | None = None
        some = anchors[:: -(-len(anchors) // MOST_ANCHORS)]
        cost_of_rank = -RANK
        for x, y in self._points(*zip(*some, strict=True)).tolist():
            cost_of_rank += RANK
            for lift in LIFTS:
                for shift in SHIFTS:
                    left = min(max(x - width / 2 + shift, box.x0 + AIR), box.x1 - width)
                    floor = y + lift + AIR
                    cost = cost_of_rank + lift * 1.5 + abs(left + width / 2 - x) * 0.3
                    if floor + height > box.y1 + 1 or (best is not None and cost >= best[0]):
                        continue
                    if _free(self._taken, left, floor, width, height):
                        best = (cost, (left, floor), (x, y))
        return None if best is None else best[1:]


def _free(taken: NDArray[np.float64], left: float, floor: float, width: float, height: float) -> bool:
    apart = (
        (taken[:, 2] <= left)
        | (taken[:, 0] >= left + width)
        | (taken[:, 3] <= floor)
        | (taken[:, 1] >= floor + height)
    )
    return bool(apart.all())
