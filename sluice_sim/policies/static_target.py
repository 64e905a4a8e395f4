"""The widely copied Lambda function: publishes visible messages per instance while there are any.

Source: the scaling guide for SQS in AWS's EC2 Auto Scaling documentation and the functions modelled on it. A
scheduled function divides ApproximateNumberOfMessages by the running instances and publishes the quotient,
and target tracking holds it at a fixed target. The function returns early while the queue is empty, and while
no instance runs, because it cannot divide by 0.

At 0 it publishes nothing, so the usual companion is included: an alarm on visible messages starts one
instance. On an empty queue the metric has no data, AlarmLow never gets its fifteen low minutes, and the fleet
keeps its size.
"""

from __future__ import annotations

from datetime import datetime

from sluice.core.model import Metric
from sluice_sim.aws_rules.scheduler import (
    Schedule,
    Scheduler,
)
from sluice_sim.simulator.cloudwatch import SimulatedAws
from sluice_sim.simulator.context import ScalingContext
from sluice_sim.simulator.fleet import ScaleIn
from sluice_sim.simulator.metrics import (
    MINUTE_S,
    metric_id,
)
from sluice_sim.simulator.target_tracking import (
    bootstrap_by_alarm,
    track,
    tracked,
)


class Policy:
    """Target tracking on a fixed target whose publisher exits while the queue is empty or nothing runs."""

    name = "static-target"
    scale_in: ScaleIn | None = None

    def attach(self, context: ScalingContext) -> None:
        """Schedule the publisher every minute, and track its metric."""
        self._context = context
        dimensions = context.deployed.workload.fleet.dimensions
        self._metric = Metric(namespace="Custom", name="BacklogPerInstance", dimensions=dimensions)
        track(SimulatedAws(context), tracked(self._metric), context.target_per_instance)
        bootstrap_by_alarm(context)
        scheduler = Scheduler(context.clock, seed=context.seed)
        scheduler.start(self.name, Schedule.parse("rate(1 minute)"), self._publish)

    def _publish(self, scheduled: datetime) -> None:  # noqa: ARG002 - the datapoint has the time of writing
        snapshot = self._context.observe()
        if not snapshot.visible or not snapshot.running:
            return
        metric = metric_id(self._metric.namespace, self._metric.name, self._metric.dimensions)
        minute = int(self._context.clock.now // MINUTE_S) * MINUTE_S
        self._context.publish(metric, minute, snapshot.visible / snapshot.running)
