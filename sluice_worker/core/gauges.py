"""What a worker process looks like at a report: its buffer, its pools and its queues, and which way they go.

A depth that is not known is None: it is neither published nor a part of a trend, and never 0.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sluice_worker.core.model import Depth, Priority

TREND_REPORTS = 5
"""Reports over which a trend is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """One process; counts of messages and threads."""

    buffered: Mapping[Priority, int]
    """Messages received and not begun, by the priorities that have queues."""
    buffer_use: float
    """Share of what may be held now that is held, 0 to 1."""
    pushed: int
    """Messages that came into the buffer since the last report."""
    popped: int
    """Messages that were taken out of it to begin."""
    pollers: int
    slots: int
    busy: int
    """Slots at work."""
    depths: Mapping[str, Depth | None]
    """Each queue by its name as last seen, None where that is unknown or too long ago."""

    def line(self) -> dict[str, Any]:
        """As the report's line shows them."""
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
        """Those of a report."""
        self._reports.append(gauges)

    def trend(self) -> dict[str, Any]:
        """By how much the newest report differs from the one five before it, or from the oldest there is.

        `reports` is how many lie between; None stands for a difference to what is not known.
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
