"""Estimates arrivals from successive readings of a queue, which do not show them.

Arrivals between two readings = growth of the backlog + messages finished meanwhile. The latter follow from
Little's law: messages in flight x elapsed time / mean service time. The estimate is unbiased if the mean
service time is right. It uses nothing but readings, as a deployed policy would have to.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from sluice_sim.simulator.context import ScalingContext
from sluice_sim.simulator.fleet import Snapshot

MIN_SAMPLES = 30
"""With fewer messages in the last full hour, the service time measured beforehand is used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Estimated arrivals between two readings."""

    until_s: float
    elapsed_s: float
    messages: float


@dataclass(slots=True, kw_only=True)
class ArrivalEstimate:
    """Estimated arrivals between readings, kept for `memory_s` seconds."""

    memory_s: float
    _last: Snapshot | None = None
    _deficit: float = 0.0
    _recent: deque[Arrivals] = field(default_factory=deque)

    def update(self, snapshot: Snapshot, mean_service_s: float) -> Arrivals | None:
        """Add a reading and return the arrivals since the previous one; None for the first."""
        before, self._last = self._last, snapshot
        if before is None:
            return None
        elapsed_s = snapshot.now_s - before.now_s
        finished = (before.in_flight + snapshot.in_flight) / 2 * elapsed_s / mean_service_s
        grown = snapshot.backlog - before.backlog + finished + self._deficit
        # A negative estimate corrects an earlier one that was too high: carry it over to the next interval.
        self._deficit = min(grown, 0.0)
        arrivals = Arrivals(until_s=snapshot.now_s, elapsed_s=elapsed_s, messages=max(grown, 0.0))
        self._recent.append(arrivals)
        while self._recent[0].until_s <= snapshot.now_s - self.memory_s:
            self._recent.popleft()
        return arrivals

    def rate_per_s(self, window_s: float) -> float:
        """Arrivals per second over the last `window_s`, or since the first reading if that is later."""
        messages = elapsed_s = 0.0
        for one in reversed(self._recent):
            if elapsed_s >= window_s:
                break
            messages, elapsed_s = messages + one.messages, elapsed_s + one.elapsed_s
        return messages / elapsed_s if elapsed_s else 0.0

    def peak_rate_per_s(self, window_s: float) -> float:
        """Highest arrival rate over any `window_s` within the memory, per second."""
        peak = messages = elapsed_s = 0.0
        window: deque[Arrivals] = deque()
        for one in self._recent:
            window.append(one)
            messages, elapsed_s = messages + one.messages, elapsed_s + one.elapsed_s
            while elapsed_s - window[0].elapsed_s >= window_s:
                first = window.popleft()
                messages, elapsed_s = messages - first.messages, elapsed_s - first.elapsed_s
            peak = max(peak, messages / max(elapsed_s, window_s))
        return peak


def mean_service_s(context: ScalingContext) -> float:
    """Mean service time of the last full hour, or the one measured beforehand if samples are too few."""
    hour = context.service_times()
    return hour.mean_s if hour.messages >= MIN_SAMPLES else context.mean_service_s
