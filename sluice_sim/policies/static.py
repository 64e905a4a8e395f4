"""A fleet of constant size, sized for its peak: what many run today."""

from __future__ import annotations

import math

from sluice_sim.simulator.context import ScalingContext
from sluice_sim.simulator.fleet import ScaleIn


class Policy:
    """As many instances as the busiest ten minutes need, all the time."""

    name = "static"
    scale_in: ScaleIn | None = None

    def attach(self, context: ScalingContext) -> None:
        """Set rate x service time / concurrency, rounded up (the offered load in instances)."""
        load = context.peak_rate_per_s * context.mean_service_s / context.concurrency
        context.set_desired(
            max(1, math.ceil(load)), f"the busiest ten minutes keep {load:.3g} instances busy"
        )
