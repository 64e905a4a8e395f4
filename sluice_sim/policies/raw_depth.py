"""Target tracking on the number of visible messages itself.

Source: the obvious first attempt, and what AWS's documentation advises against. The metric does not fall in
proportion when instances are added, so proportional scaling multiplies the fleet for as long as the queue is
deeper than the target.

From 0 a queue deeper than the target starts instances (a group at 0 counts as one instance, see
`ec2_target_tracking`; a service at 0 scales out to one task). A shallower queue never would, so the usual
companion is included: an alarm on visible messages starts one instance. Scale-in reaches 0 fifteen minutes
after the queue is empty.
"""

from __future__ import annotations

from sluice_sim.simulator.cloudwatch import SimulatedAws
from sluice_sim.simulator.context import ScalingContext
from sluice_sim.simulator.fleet import ScaleIn
from sluice_sim.simulator.target_tracking import (
    bootstrap_by_alarm,
    track,
    tracked,
    visible_metric,
)


class Policy:
    """Target tracking on visible messages, however many instances share them."""

    name = "raw-depth"
    scale_in: ScaleIn | None = None

    def attach(self, context: ScalingContext) -> None:
        """Create one policy, with the target of a single instance, and one alarm."""
        track(SimulatedAws(context), tracked(visible_metric(context)), context.target_per_instance)
        bootstrap_by_alarm(context)
