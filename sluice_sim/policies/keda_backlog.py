"""KEDA's CloudWatch scaler on BacklogPerInstance, as if Sluice counted the pods: one node, or task, for each.

Source: the documentation of KEDA's aws-cloudwatch trigger. The metric is published once a minute, readable
with CloudWatch's delay, and only once its minute is over. As a mean per instance it needs the autoscaler's
Value: ceil(running instances x metric / target), where the metric is one to two minutes older than the count.

From 0 a poll that finds a value above 0 starts one instance; without one for the cooldown, it scales to the
minimum. A missing value changes nothing (ignoreNullValues false).
"""

from __future__ import annotations

import math

from sluice.core.model import BACKLOG_PER_INSTANCE
from sluice_sim.policies.keda import COOLDOWN_S, POLL_S
from sluice_sim.simulator.context import (
    ScalingContext,
    every,
)
from sluice_sim.simulator.fleet import ScaleIn
from sluice_sim.simulator.metrics import MINUTE_S, metric_id
from sluice_sim.simulator.pod_autoscaler import SYNC_S, PodAutoscaler, for_value

COLLECTED_MINUTES = 5
"""metricCollectionTime: of how many minutes the newest value counts."""


class Policy:
    """KEDA on the published BacklogPerInstance: poll 30 s, sync 15 s, a metric one to two minutes old."""

    name = "keda-backlog"
    scale_in: ScaleIn | None = None

    def attach(self, context: ScalingContext) -> None:
        """Schedule the publisher, KEDA's poll, and the autoscaler's loop."""
        self._context = context
        workload = context.deployed.workload
        self._metric = metric_id("Sluice", BACKLOG_PER_INSTANCE, workload.fleet.dimensions)
        self._active_s = -math.inf
        self._autoscaler = PodAutoscaler()
        every(context, MINUTE_S, self._publish)
        every(context, POLL_S, self._poll)
        every(context, SYNC_S, self._sync)

    def _publish(self) -> None:
        snapshot = self._context.observe()
        minute = int(self._context.clock.now // MINUTE_S) * MINUTE_S
        backlog = snapshot.visible + snapshot.in_flight
        self._context.publish(self._metric, minute, backlog / max(snapshot.running, 1))

    def _value(self) -> float | None:
        """The newest value of the minutes that are over."""
        end = int(self._context.clock.now // MINUTE_S) * MINUTE_S
        values = self._context.metrics.read(self._metric, end - COLLECTED_MINUTES * MINUTE_S, end)
        return values[max(values)] if values else None

    def _poll(self) -> None:
        value, fleet = self._value(), self._context.fleet
        if value is None:
            return
        if value > 0:
            self._active_s = fleet.now_s
            if fleet.desired == 0:
                self._autoscaler.forget()
                self._context.set_desired(1, f"{value:g} messages per instance and nothing runs")
        elif fleet.desired and fleet.now_s - self._active_s >= COOLDOWN_S:
            self._context.set_desired(self._context.minimum, f"no message for {COOLDOWN_S:g} s")

    def _sync(self) -> None:
        value, fleet = self._value(), self._context.fleet
        if value is None or not fleet.desired:
            return
        running = fleet.snapshot().running
        recommended = for_value(value, self._context.target_per_instance, fleet.desired, running)
        wanted = self._autoscaler.desired(recommended, fleet.desired, fleet.now_s)
        self._context.set_desired(wanted, f"{value:g} messages per instance, {recommended} wished for")
