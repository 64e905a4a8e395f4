"""Target tracking on metric math: visible messages / instances in service, both from AWS's own metrics.

Source: AWS's documentation of target tracking with metric math, whose example is this quotient. It needs no
function, but the metric is two minutes old and omits messages in flight.

At 0 the quotient has no value and nothing starts, so the usual companion is included: an alarm on visible
messages starts one instance. Scale-in reaches 0 by itself, fifteen minutes after the queue is empty.
"""

from __future__ import annotations

from sluice_sim.simulator.cloudwatch import SimulatedAws
from sluice_sim.simulator.context import ScalingContext
from sluice_sim.simulator.fleet import ScaleIn
from sluice_sim.simulator.target_tracking import (
    bootstrap_by_alarm,
    quotient,
    track,
    visible_metric,
)


class Policy:
    """Target tracking on AWS's own metrics: visible messages divided by instances in service."""

    name = "metric-math"
    scale_in: ScaleIn | None = None

    def attach(self, context: ScalingContext) -> None:
        """Create one policy and one alarm."""
        per_instance = quotient(visible_metric(context), context.deployed.workload.fleet.running_metric)
        track(SimulatedAws(context), per_instance, context.target_per_instance)
        bootstrap_by_alarm(context)
