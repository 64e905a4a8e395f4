"""Target tracking for policies that track another metric than the workload's own stack.

What these policies share: the stack's target-tracking policy with another metric and target, the metrics of
queue and fleet, and the alarm that starts a fleet from 0. Warm-up and cooldowns stay as in the stack.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sluice.core.model import Metric
from sluice_sim.aws_rules.ec2_target_tracking import TargetTracking
from sluice_sim.aws_rules.ecs_target_tracking import ServiceTracking
from sluice_sim.aws_rules.monitoring import (
    EVALUATION_OFFSET_S,
    NATIVE_METRIC_DELAY_S,
)
from sluice_sim.simulator.cloudwatch import SimulatedAws
from sluice_sim.simulator.context import (
    ScalingContext,
    every,
)
from sluice_sim.simulator.metrics import (
    MINUTE_S,
    metric_id,
)
from sluice_sim.template.deployment import SettingError

Tracked = Mapping[str, Any]
"""A CustomizedMetricSpecification, periods included."""


def track(aws: SimulatedAws, metric: Tracked, target: float) -> None:
    """Track `metric` at `target` on the workload's fleet; SettingError if its stack has no policy."""
    deployed = aws.context.deployed
    # The fallback of the deadline engine is no such policy: it only scales out.
    resources = deployed.stack.resources if deployed.workload.deadline is None else {}
    for logical_id, resource in resources.items():
        if resource.type == "AWS::AutoScaling::ScalingPolicy":
            of_group = TargetTracking.from_properties(logical_id, resource.properties)
            aws.track_group(replace(of_group, metric=metric, target=target))
            return
        if resource.type == "AWS::ApplicationAutoScaling::ScalingPolicy":
            of_service = ServiceTracking.from_properties(logical_id, resource.properties)
            aws.track_service(replace(of_service, metric=metric, target=target))
            return
    raise SettingError(f"workload {deployed.workload.name}: its stack has no target-tracking policy")


def tracked(metric: Metric) -> Tracked:
    """One metric, averaged per minute."""
    return {**_named(metric), "Statistic": "Average", "Period": MINUTE_S}


def quotient(numerator: Metric, denominator: Metric) -> Tracked:
    """Metric math: one metric divided by another; no data point where the denominator is 0."""
    return {
        "Metrics": [
            {"Id": "quotient", "Expression": "numerator / denominator", "ReturnData": True},
            _operand("numerator", numerator),
            _operand("denominator", denominator),
        ]
    }


def visible_metric(context: ScalingContext) -> Metric:
    """ApproximateNumberOfMessagesVisible of the workload's queue."""
    return context.deployed.workload.queue_metric("ApproximateNumberOfMessagesVisible")


def newest_minutes(context: ScalingContext, metric: Metric, minutes: int) -> list[float]:
    """The latest values of an AWS metric that are readable now, oldest first."""
    end = int((context.clock.now - NATIVE_METRIC_DELAY_S) // MINUTE_S) * MINUTE_S
    known = metric_id(metric.namespace, metric.name, metric.dimensions)
    return list(context.metrics.read(known, end - minutes * MINUTE_S, end).values())


def every_evaluation(context: ScalingContext, action: Callable[[], object]) -> None:
    """Run an action whenever CloudWatch evaluates alarms, once a minute."""
    into_minute_s = context.clock.now % MINUTE_S
    every(context, MINUTE_S, action, after_s=MINUTE_S - into_minute_s + EVALUATION_OFFSET_S)


def bootstrap_by_alarm(context: ScalingContext) -> None:
    """The usual companion alarm: one instance when messages are visible and the desired capacity is 0."""

    def evaluate() -> None:
        newest = newest_minutes(context, visible_metric(context), 1)
        if newest and newest[-1] > 0 and context.fleet.desired == 0:
            context.set_desired(1, "messages wait and nothing runs", source="alarm")

    every_evaluation(context, evaluate)


def _named(metric: Metric) -> dict[str, Any]:
    return {
        "Namespace": metric.namespace,
        "MetricName": metric.name,
        "Dimensions": [{"Name": name, "Value": value} for name, value in metric.dimensions.items()],
    }


def _operand(query_id: str, metric: Metric) -> dict[str, Any]:
    stat = {"Metric": _named(metric), "Stat": "Average", "Period": MINUTE_S}
    return {"Id": query_id, "MetricStat": stat, "ReturnData": False}
