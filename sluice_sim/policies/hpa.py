"""Kubernetes' HorizontalPodAutoscaler on an external metric from CloudWatch, without KEDA.

The metric is visible messages + messages in flight as SQS reports them to CloudWatch, summed by the adapter:
minutes old, where KEDA asks SQS itself. An exporter reads it once a minute. The autoscaler asks for
ceil(messages / target) and never goes below one instance, which would need the feature gate HPAScaleToZero.
"""

from __future__ import annotations

from sluice_sim.simulator.cloudwatch import SimulatedAws
from sluice_sim.simulator.context import (
    ScalingContext,
    every,
)
from sluice_sim.simulator.fleet import ScaleIn
from sluice_sim.simulator.pod_autoscaler import SYNC_S, PodAutoscaler, for_average_value
from sluice_sim.simulator.target_tracking import newest_minutes

EXPORTED_EVERY_S = 60.0
"""The exporter's scraping interval as the example sets it; its default is 300 s."""
LOOK_BACK_MINUTES = 5
MIN_FLEET = 1


class Policy:
    """The HorizontalPodAutoscaler on CloudWatch's messages: read once a minute, at least one instance."""

    name = "hpa"
    scale_in: ScaleIn | None = None

    def attach(self, context: ScalingContext) -> None:
        """Schedule the exporter and the autoscaler's loop."""
        self._context = context
        SimulatedAws(context)
        self._messages: float | None = None
        self._autoscaler = PodAutoscaler()
        context.set_desired(max(context.fleet.desired, MIN_FLEET), "one instance is kept")
        every(context, EXPORTED_EVERY_S, self._export)
        every(context, SYNC_S, self._sync)

    def _export(self) -> None:
        """Take the newest value of each metric; none where one of them has none."""
        workload = self._context.deployed.workload
        read = [
            newest_minutes(self._context, workload.queue_metric(name), LOOK_BACK_MINUTES)
            for name in ("ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible")
        ]
        self._messages = sum(values[-1] for values in read) if all(read) else None

    def _sync(self) -> None:
        fleet, target = self._context.fleet, self._context.target_per_instance
        if self._messages is None:
            return
        recommended = for_average_value(self._messages, target, fleet.desired)
        wanted = self._autoscaler.desired(recommended, fleet.desired, fleet.now_s)
        self._context.set_desired(wanted, f"{self._messages:g} messages, {recommended} wished for")
