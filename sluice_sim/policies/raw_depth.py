"""Target tracking on the number of visible messages itself.

Source: the first thing that a person tries, and what AWS's documentation advises against: the metric does not
fall in proportion when instances are added, so the proportional law multiplies the fleet for as long as the
queue is deeper than the target, however many work on it.

At 0 a queue deeper than the target starts it (a group at 0 counts as one instance, see `target_tracking`; a
service at 0 scales out to one task), and a shallower one never would; the usual companion is included: an
alarm on visible messages asks for one instance. Scale-in reaches 0 fifteen minutes after the queue emptied.
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
        """The target is what one instance may have waiting; one alarm beside it."""
        track(SimulatedAws(context), tracked(visible_metric(context)), context.target_per_instance)
        bootstrap_by_alarm(context)
