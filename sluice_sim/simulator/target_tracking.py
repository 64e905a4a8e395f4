"""AWS's own scaling on the run's fleet, for policies that track another metric than the stack's policy does.

Owns what several ways of scaling share: the stack's target tracking with another metric and target, queue and
fleet metrics as policies name them, and the alarm that people put beside a policy that cannot start from 0.
Warm-up and cooldowns stay as the stack has them. Refuses a workload whose stack tracks nothing.
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
"""A CustomizedMetricSpecification, with its periods."""


def track(aws: SimulatedAws, metric: Tracked, target: float) -> None:
    """Target tracking of this metric, on a group or a service as the workload has it."""
    for logical_id, resource in aws.context.deployed.stack.resources.items():
        if resource.type == "AWS::AutoScaling::ScalingPolicy":
            of_group = TargetTracking.from_properties(logical_id, resource.properties)
            aws.track_group(replace(of_group, metric=metric, target=target))
            return
        if resource.type == "AWS::ApplicationAutoScaling::ScalingPolicy":
            of_service = ServiceTracking.from_properties(logical_id, resource.properties)
            aws.track_service(replace(of_service, metric=metric, target=target))
            return
    raise SettingError(
        f"workload {aws.context.deployed.workload.name}: its stack has no target-tracking policy"
    )


def tracked(metric: Metric) -> Tracked:
    """One metric, averaged by the minute."""
    return {**_named(metric), "Statistic": "Average", "Period": MINUTE_S}


def quotient(numerator: Metric, denominator: Metric) -> Tracked:
    """Metric math: one metric divided by another; where the denominator is 0 there is no point."""
    return {
        "Metrics": [
            {"Id": "quotient", "Expression": "numerator / denominator", "ReturnData": True},
            _operand("numerator", numerator),
            _operand("denominator", denominator),
        ]
    }


def visible_metric(context: ScalingContext) -> Metric:
    """The visible messages, as SQS publishes them."""
    return context.deployed.workload.queue_metric("ApproximateNumberOfMessagesVisible")


def newest_minutes(context: ScalingContext, metric: Metric, minutes: int) -> list[float]:
    """An AWS metric's newest values that an evaluation now may count on, oldest first."""
    end = int((context.clock.now - NATIVE_METRIC_DELAY_S) // MINUTE_S) * MINUTE_S
    known = metric_id(metric.namespace, metric.name, metric.dimensions)
    return list(context.metrics.read(known, end - minutes * MINUTE_S, end).values())


def every_evaluation(context: ScalingContext, action: Callable[[], object]) -> None:
    """Run an action whenever CloudWatch evaluates alarms: once a minute."""
    into_minute_s = context.clock.now % MINUTE_S
    every(context, MINUTE_S, action, after_s=MINUTE_S - into_minute_s + EVALUATION_OFFSET_S)


def bootstrap_by_alarm(context: ScalingContext) -> None:
    """The usual companion: an alarm on visible messages above 0 asks for one instance where none is."""

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
