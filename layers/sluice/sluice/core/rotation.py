"""Rotates the order of workloads, so that a shortage of time does not always affect the same ones."""

from __future__ import annotations

import math
from collections.abc import Iterable

GOLDEN_RATIO = 0.618
"""Starting points this fraction of a circle apart are spread over it evenly (the three-gap theorem)."""


def rotated(names: Iterable[str], turn: int) -> list[str]:
    """The names in sorted order, starting at another one each turn; n turns start at each of n names once.

    Successive turns start far apart, so that a name that comes late in one turn comes early in one of the
    next.
    """
    ordered = sorted(names)
    if len(ordered) < 2:
        return ordered
    stride = round(len(ordered) * GOLDEN_RATIO)
    while math.gcd(stride, len(ordered)) > 1:
        stride -= 1
    first = turn * stride % len(ordered)
    return ordered[first:] + ordered[:first]
