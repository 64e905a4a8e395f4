"""What successive readings of a queue say about its arrivals, which no reading shows.

Owns the estimate that policies share: between two readings as many messages arrived as the backlog grew by
and as were finished meanwhile; those are, by Little's law, the messages in flight x time / service time. It
is right on average where the mean service time is. Refuses to look at anything but readings.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from sluice_sim.simulator.context import ScalingContext
from sluice_sim.simulator.fleet import Snapshot

MIN_SAMPLES = 30
"""Fewer messages in the last full hour say too little; then what was measured beforehand holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Messages that came between two readings, as far as readings tell."""

    until_s: float
    elapsed_s: float
    messages: float


@dataclass(slots=True, kw_only=True)
class ArrivalEstimate:
    """Arrivals between readings, kept for `memory_s`."""

    memory_s: float
    _last: Snapshot | None = None
    _deficit: float = 0.0
    _recent: deque[Arrivals] = field(default_factory=deque)

    def update(self, snapshot: Snapshot, mean_service_s: float) -> Arrivals | None:
        """One more reading; None for the first, which has nothing before it."""
        before, self._last = self._last, snapshot
        if before is None:
            return None
        elapsed_s = snapshot.now_s - before.now_s
        finished = (before.in_flight + snapshot.in_flight) / 2 * elapsed_s / mean_service_s
        grown = snapshot.backlog - before.backlog + finished + self._deficit
        # Nothing arrives backwards: what is below 0 was estimated too high before, or finished earlier.
        self._deficit = min(grown, 0.0)
        arrivals = Arrivals(until_s=snapshot.now_s, elapsed_s=elapsed_s, messages=max(grown, 0.0))
        self._recent.append(arrivals)
        while self._recent[0].until_s <= snapshot.now_s - self.memory_s:
            self._recent.popleft()
        return arrivals

    def rate_per_s(self, window_s: float) -> float:
        """Arrivals per second over the last `window_s`, or since the first reading."""
        messages = elapsed_s = 0.0
        for one in reversed(self._recent):
            if elapsed_s >= window_s:
                break
            messages, elapsed_s = messages + one.messages, elapsed_s + one.elapsed_s
        return messages / elapsed_s if elapsed_s else 0.0

    def peak_rate_per_s(self, window_s: float) -> float:
        """The highest rate over any `window_s` that is remembered."""
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
    """The last full hour's mean where enough messages tell it; else what was measured beforehand."""
    hour = context.service_times()
    return hour.mean_s if hour.messages >= MIN_SAMPLES else context.mean_service_s
