"""The gauges of a worker process at a report (buffer, pools and queues), and their trend.

An unknown depth is None: it is neither published nor part of a trend, and never 0.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sluice_worker.core.model import Depth, Priority

TREND_REPORTS = 5
"""Reports over which a trend is computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """The gauges of one process, in messages and threads."""

    buffered: Mapping[Priority, int]
    """Messages received and not started, by the priorities that have queues."""
    buffer_use: float
    """Share of what may be held now that is held, 0 to 1."""
    pushed: int
    """Messages that entered the buffer since the last report."""
    popped: int
    """Messages that left the buffer to begin since the last report."""
    pollers: int
    slots: int
    busy: int
    """Slots at work."""
    depths: Mapping[str, Depth | None]
    """Each queue's last depth by its name, None if it is unknown or too old."""

    def line(self) -> dict[str, Any]:
        """The fields of the report's line."""
        return {
            "buffer": {priority.value: count for priority, count in self.buffered.items()},
            "bufferUse": round(self.buffer_use, 3),
            "pushed": self.pushed,
            "popped": self.popped,
            "queues": {
                name: depth and {"visible": depth.visible, "inFlight": depth.in_flight}
                for name, depth in self.depths.items()
            },
            "pollers": self.pollers,
            "slots": self.slots,
            "busy": self.busy,
        }


@dataclass(slots=True)
class GaugeHistory:
    """The gauges of the last reports."""

    _reports: deque[Gauges] = field(default_factory=lambda: deque(maxlen=TREND_REPORTS + 1))

    def add(self, gauges: Gauges) -> None:
        """Add the gauges of a report."""
        self._reports.append(gauges)

    def trend(self) -> dict[str, Any]:
        """The difference between the newest report and the one five before it, or the oldest one.

        `reports` is the number of reports between the two. A difference is None if one value is unknown.
        """
        oldest, newest = self._reports[0], self._reports[-1]
        return {
            "reports": len(self._reports) - 1,
            "buffered": sum(newest.buffered.values()) - sum(oldest.buffered.values()),
            "busy": newest.busy - oldest.busy,
            "visible": {
                name: None if now is None or before is None else now.visible - before.visible
                for name, now in newest.depths.items()
                for before in [oldest.depths.get(name)]
            },
        }
