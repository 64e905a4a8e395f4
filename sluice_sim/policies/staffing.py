"""Square-root staffing with delayed off: capacity for the load, its variance, and the backlog.

Source: the square-root rule of call centres (Halfin and Whitt: R + beta x sqrt(R) servers for an offered load
R = arrival rate x service time). The arrival rate is estimated from readings, and the capacity that drains
the waiting messages within the promise is added. An instance terminates once it was not needed for a boot
time (DelayedOff of Gandhi, Harchol-Balter and others: waiting has then cost as much as a new start).

From 0 the first message that is observed starts one instance; without arrivals and backlog it scales to the
minimum.
"""

from __future__ import annotations

import math
from collections import deque

from sluice_sim.simulator.arrival_estimate import (
    ArrivalEstimate,
    mean_service_s,
)
from sluice_sim.simulator.context import (
    ScalingContext,
    every,
)
from sluice_sim.simulator.fleet import ScaleIn

TICK_S = 60.0
RATE_WINDOW_S = 300.0
MARGIN = 1.0
"""Beta: the margin in multiples of the square root of the offered load."""


class Policy:
    """Arrival rate x service time + a square-root margin + what drains the backlog in time; delayed off."""

    name = "staffing"
    scale_in: ScaleIn | None = None
    tick_s = TICK_S

    def attach(self, context: ScalingContext) -> None:
        """Observe and decide once a minute."""
        self._context = context
        self._arrivals = ArrivalEstimate(memory_s=RATE_WINDOW_S)
        self._needs: deque[tuple[float, int]] = deque()
        every(context, self.tick_s, self._tick)

    def _tick(self) -> None:
        snapshot, context = self._context.observe(), self._context
        service_s = mean_service_s(context)
        self._arrivals.update(snapshot, service_s)
        slots = self._arrivals.rate_per_s * service_s
        drain = (snapshot.visible + snapshot.delayed) * service_s / context.promise_s
        need = needed_instances(slots, drain, context.concurrency)
        self._needs.append((snapshot.now_s, need))
        while self._needs[0][0] < snapshot.now_s - context.boot_s:
            self._needs.popleft()
        wanted = max(need for _, need in self._needs)
        context.set_desired(wanted, f"{slots:.3g} slots busy, {drain:.3g} more to drain the queue in time")


def needed_instances(load_slots: float, drain_slots: float, concurrency: int) -> int:
    """Load, margin and drain (in slots) as whole instances."""
    return math.ceil((load_slots + MARGIN * math.sqrt(load_slots) + drain_slots) / concurrency)
