"""Rotates the order of workloads, so that a shortage of time does not always hit the same ones."""

from __future__ import annotations

import math
from collections.abc import Iterable

GOLDEN_RATIO = 0.618
"""Successive starts at this part of a circle are spread over it evenly (the three-gap theorem)."""


def rotated(names: Iterable[str], turn: int) -> list[str]:
    """The names in order, beginning with another one each turn; as many turns as names begin with each once.

    Successive turns begin far apart: whoever comes too late in one is early in another soon after.
    """
    ordered = sorted(names)
    stride = max(round(len(ordered) * GOLDEN_RATIO), 1)
    while math.gcd(stride, len(ordered)) > 1:
        stride -= 1
    first = turn * stride % max(len(ordered), 1)
    return ordered[first:] + ordered[:first]
