"""Estimates arrivals from successive readings of a queue, as the deadline engine does.

It uses nothing but readings, as a deployed policy would have to.
"""

from __future__ import annotations

from dataclasses import dataclass

from sluice.core.deadline.arrivals import arrivals_since, rate_per_s
from sluice.core.deadline.state import Arrivals, EngineState
from sluice.core.model import Backlog
from sluice_sim.simulator.context import ScalingContext
from sluice_sim.simulator.fleet import Snapshot

MIN_SAMPLES = 30
"""With fewer messages in the last full hour, the service time measured beforehand is used."""


@dataclass(slots=True, kw_only=True)
class ArrivalEstimate:
    """Estimated arrivals between readings, kept for `memory_s` seconds."""

    memory_s: float
    _last: EngineState | None = None
    _recent: tuple[Arrivals, ...] = ()

    def update(self, snapshot: Snapshot, mean_service_s: float) -> Arrivals | None:
        """Add a reading and return the arrivals since the previous one; None for the first."""
        now_s, newest, deficit = snapshot.now_s, None, 0.0
        backlog = Backlog(visible=snapshot.visible, in_flight=snapshot.in_flight, delayed=snapshot.delayed)
        if self._last is not None:
            newest, deficit = arrivals_since(self._last, now_s, backlog, mean_service_s)
            kept = (one for one in self._recent if one.until_s > now_s - self.memory_s)
            self._recent = (*kept, newest)
        self._last = EngineState(tick_s=now_s, read_s=now_s, backlog=backlog, desired=0, deficit=deficit)
        return newest

    @property
    def rate_per_s(self) -> float:
        """Arrivals per second over the memory, or since the first reading if that is later."""
        return rate_per_s(self._recent)


def mean_service_s(context: ScalingContext) -> float:
    """Mean service time of the last full hour, or the one measured beforehand if samples are too few."""
    hour = context.service_times()
    return hour.mean_s if hour.messages >= MIN_SAMPLES else context.mean_service_s
