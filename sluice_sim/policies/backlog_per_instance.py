"""Sluice with TrackedMetric=backlog: target tracking on the backlog alone, as in AWS's guide to SQS.

Source: "Scaling based on Amazon SQS" in the documentation of EC2 Auto Scaling. The baseline for the effect of
counting arrivals: tick, alarms, retune and AWS's target tracking are those of the policy `sluice`.
"""

from __future__ import annotations

from sluice_sim.policies import sluice
from sluice_sim.simulator.context import ScalingContext
from sluice_sim.simulator.fleet import ScaleIn


class Policy:
    """Sluice with TrackedMetric=backlog: the deployed control plane, which tracks the backlog alone."""

    name = "backlog-per-instance"
    scale_in: ScaleIn | None = None
    tick_s: float = sluice.MINUTE_S
    """Whole minutes: EventBridge Scheduler has no finer resolution."""

    def attach(self, context: ScalingContext) -> None:
        """Attach the control plane to the same workload, deployed with that parameter."""
        context.deployed = context.deployed.changed(TrackedMetric="backlog")
        plane = sluice.Policy()
        plane.tick_s = self.tick_s
        plane.attach(context)
