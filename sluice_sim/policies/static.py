"""A fleet fixed at its peak: what many run today."""

from __future__ import annotations

import math

from sluice_sim.simulator.context import Site
from sluice_sim.simulator.fleet import ScaleIn


class Policy:
    """As many instances as the busiest ten minutes need, all the time."""

    name = "static"
    scale_in: ScaleIn | None = None

    def attach(self, site: Site) -> None:
        """Rate x service time / concurrency, rounded up (the offered load in instances)."""
        load = site.peak_rate_per_s * site.mean_service_s / site.concurrency
        site.ask(max(1, math.ceil(load)), f"the busiest ten minutes keep {load:.3g} instances busy")
