"""Target tracking on metric math: visible messages / instances in service, both from AWS's own metrics.

Source: AWS's documentation of target tracking with metric math, whose example is this quotient. No function
of one's own, at the price of a metric that is two minutes old and leaves out messages in flight.

At 0 the quotient has no value and nothing starts; the usual companion is included: an alarm on visible
messages asks for one instance. Scale-in reaches 0 by itself, fifteen minutes after the queue emptied.
"""

from __future__ import annotations

from sluice_sim.simulator.cloudwatch import SimulatedAws
from sluice_sim.simulator.context import Site
from sluice_sim.simulator.fleet import ScaleIn
from sluice_sim.simulator.target_tracking import (
    quotient,
    track,
    visible_metric,
    wake_by_alarm,
)


class Policy:
    """Target tracking on AWS's own metrics: visible messages divided by instances in service."""

    name = "metric-math"
    scale_in: ScaleIn | None = None

    def attach(self, site: Site) -> None:
        """One policy, one alarm, no function."""
        per_instance = quotient(visible_metric(site), site.deployed.workload.fleet.running_metric)
        track(SimulatedAws(site), per_instance, site.target_per_instance)
        wake_by_alarm(site)
