"""How many pollers receive, how many slots process, and how many messages a worker may prefetch.

Owns the three formulas. Never counts anything itself: the numbers are arguments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sluice_worker.core.model import IN_FLIGHT_QUOTA, Depth


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A minimum and a maximum, both inclusive."""

    min: int
    max: int

    def clamp(self, count: int) -> int:
        """The nearest count within the range."""
        return max(self.min, min(self.max, count))


def desired_pollers(
    depths: Sequence[Depth], *, average_s: float, interval_s: float, buffer_use: float, pollers: Range
) -> int:
    """Pollers that receive the backlog within `interval_s`, as far as the buffer has free capacity.

    pollers = clamp(ceil(min(visible x average_s / interval_s, max x (1 - buffer_use))), min, max), where
    average_s is the seconds a poller spends on one message and buffer_use is 0 to 1. Back-pressure is the
    second term: at 0.9 a tenth of the pollers is left. `visible` are the messages of all queues but those at
    SQS's quota of messages in flight, which deliver nothing.
    """
    visible = sum(depth.visible for depth in depths if depth.in_flight < IN_FLIGHT_QUOTA)
    asked = min(visible * average_s / interval_s, pollers.max * (1 - buffer_use))
    return pollers.clamp(math.ceil(round(asked, 9)))


def desired_slots(busy: int, slots: int, *, high_use: float, bounds: Range, threshold: float = 0.7) -> int:
    """The desired number of slots: one more, one fewer or the same.

    More above the threshold in utilisation (busy / slots) or in use of the high-priority buffer, fewer below
    half of it in both; one step at a time, within bounds.
    """
    utilisation = busy / slots if slots else 1.0
    fullest = max(utilisation, high_use)
    step = 1 if fullest > threshold else -1 if fullest < threshold / 2 else 0
    return bounds.clamp(slots + step)


def prefetch_limit(idle: int, slots: int, *, average_s: float | None, prefetch_s: float) -> int:
    """Messages of one priority that a worker may hold before they begin.

    As many as its slots begin within `prefetch_s`: `idle` of them now, and slots x prefetch_s / average_s as
    slots become free. So a message is not held behind long ones, but left in the queue for another worker.
    """
    if average_s is None:
        return idle
    return idle + math.floor(slots * prefetch_s / max(average_s, 1e-6))
