"""AWS over the plant: native metrics with their delay, the stack's alarms, target tracking.

Owns what steers the plant where a policy runs on AWS's own machinery: the very implementation that the
embedded AWS uses, on metrics in memory. Assumption: a queue idle for six hours is silent, and the metrics of
its first messages come fifteen minutes late (documented as "up to").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sluice.core.model import AutoScalingGroup
from sluice_sim.aws_rules.alarms import (
    Alarm,
    MetricQuery,
)
from sluice_sim.aws_rules.ec2_target_tracking import TargetTracking
from sluice_sim.aws_rules.ecs_target_tracking import ServiceTracking
from sluice_sim.aws_rules.metric_math import Series
from sluice_sim.aws_rules.monitoring import (
    AlarmChange,
    Monitoring,
    Values,
)
from sluice_sim.aws_rules.policy_runner import (
    GroupPolicyRunner,
    ScalingActivity,
    ServicePolicyRunner,
    Size,
)
from sluice_sim.simulator.context import (
    LogEntry,
    ScalingContext,
)
from sluice_sim.simulator.fleet import Snapshot
from sluice_sim.simulator.metrics import metric_id

VISIBLE = "ApproximateNumberOfMessagesVisible"
SENT = "NumberOfMessagesSent"
IDLE_UNTIL_SILENT_S = 6 * 3600
REACTIVATION_DELAY_S = 15 * 60


@dataclass(slots=True)
class SimulatedAws:
    """The account's monitoring of one run; a policy sets up what it needs of it."""

    context: ScalingContext
    on_alarm: Callable[[str, AlarmChange], None] = lambda *_: None
    target: float | None = None
    """What the policy's target is now; None without one."""
    monitoring: Monitoring = field(init=False)
    _active_s: float = 0.0
    _arrived: int = 0
    _active_again_since_s: float = 0.0

    def __post_init__(self) -> None:
        self.monitoring = Monitoring(
            self.context.clock,
            self,
            on_action=lambda action, change: self.on_alarm(action, change),
            on_scaled=self._scaled,
        )
        self.monitoring.add_source(self._native_metrics)

    # ---- What a stack brings

    def create_alarms(self) -> None:
        """The alarms of the workload's stack."""
        for logical_id, resource in self.context.deployed.stack.resources.items():
            if resource.type == "AWS::CloudWatch::Alarm":
                self.monitoring.add_alarm(Alarm.from_properties(logical_id, resource.properties))

    def create_policy(self) -> None:
        """The target-tracking policy of the workload's stack."""
        for logical_id, resource in self.context.deployed.stack.resources.items():
            if resource.type == "AWS::AutoScaling::ScalingPolicy":
                self.track_group(TargetTracking.from_properties(logical_id, resource.properties))
            elif resource.type == "AWS::ApplicationAutoScaling::ScalingPolicy":
                self.track_service(ServiceTracking.from_properties(logical_id, resource.properties))

    def track_group(self, policy: TargetTracking) -> None:
        """One target-tracking policy of an Auto Scaling group."""
        self.target = policy.target
        self.monitoring.add_policy(
            GroupPolicyRunner(policy, SimulatedScalingTarget(self.context), lambda: self.target)
        )

    def track_service(self, policy: ServiceTracking) -> None:
        """One target-tracking policy of an ECS service."""
        self.target = policy.target
        self.monitoring.add_policy(
            ServicePolicyRunner(policy, SimulatedScalingTarget(self.context), lambda: self.target)
        )

    # ---- monitoring.MetricData

    def put(self, minute: float, values: Values) -> None:
        """Keep values; those of a queue that has just woken come later."""
        for metric, value in values:
            delay_s = self._reactivation_delay_s(minute) if metric.namespace == "AWS/SQS" else 0.0
            if delay_s:
                self.context.clock.at(
                    self.context.clock.now + delay_s, partial(self._store_value, metric, minute, value)
                )
            else:
                self._store_value(metric, minute, value)

    def read(self, queries: set[MetricQuery], start: float, end: float) -> Mapping[MetricQuery, Series]:
        """Every metric here has one value a minute, which is each of its statistics."""
        return {query: self.context.metrics.read(_id(query), int(start), int(end)) for query in queries}

    def _store_value(self, metric: MetricQuery, minute: float, value: float) -> None:
        self.context.metrics.put(_id(metric), int(minute), value)

    def _reactivation_delay_s(self, minute: float) -> float:
        woke_s = self._active_again_since_s
        since_s = minute - (self.context.clock.now - self.context.fleet.now_s) - woke_s
        return max(0.0, REACTIVATION_DELAY_S - since_s) if woke_s else 0.0

    # ---- What AWS publishes by itself

    def _native_metrics(self) -> Iterable[tuple[MetricQuery, float]]:
        snapshot, arrived = self.context.fleet.snapshot(), self.context.fleet.arrived
        sent, self._arrived = arrived - self._arrived, arrived
        if snapshot.backlog or sent:
            if snapshot.now_s - self._active_s > IDLE_UNTIL_SILENT_S:
                self._active_again_since_s = snapshot.now_s
            self._active_s = snapshot.now_s
        if snapshot.now_s - self._active_s <= IDLE_UNTIL_SILENT_S:
            yield from self._queue_metrics(snapshot, sent)
        fleet = self.context.deployed.workload.fleet
        names = (
            ("GroupDesiredCapacity", "GroupInServiceInstances")
            if isinstance(fleet, AutoScalingGroup)
            else ("DesiredTaskCount", "RunningTaskCount")
        )
        namespace = fleet.running_metric.namespace
        for name, value in zip(names, (snapshot.desired, snapshot.running), strict=True):
            yield _query(namespace, name, fleet.dimensions), float(value)

    def _queue_metrics(self, snapshot: Snapshot, sent: int) -> Iterable[tuple[MetricQuery, float]]:
        workload = self.context.deployed.workload
        for name, value in (
            (VISIBLE, snapshot.visible),
            (SENT, sent),
            ("ApproximateNumberOfMessagesNotVisible", snapshot.in_flight),
            ("ApproximateNumberOfMessagesDelayed", snapshot.delayed),
            ("ApproximateAgeOfOldestMessage", snapshot.oldest_age_s),
        ):
            if not value and name not in (VISIBLE, SENT):  # reported only while such messages exist
                continue
            metric = workload.queue_metric(name)
            yield _query(metric.namespace, metric.name, metric.dimensions), float(value)

    def _scaled(self, scaled: ScalingActivity) -> None:
        text = f"{scaled.before} -> {scaled.after}: target tracking, {scaled.reason}"
        self.context.log.append(LogEntry(at_s=self.context.fleet.now_s, source="AWS", text=text))


@dataclass(frozen=True, slots=True)
class SimulatedScalingTarget:
    """Keeps `steering.SteeredFleet`: the fleet as AWS's own policies move it."""

    context: ScalingContext

    @property
    def name(self) -> str:
        """The workload's name stands for the fleet's."""
        return self.context.deployed.workload.name

    def size(self) -> Size:
        """What is asked for and what there is."""
        running, booting = self.context.fleet.size()
        return Size(desired=self.context.fleet.desired, running=running, booting=booting)

    def bounds(self) -> tuple[int, int]:
        """The fleet's own, which are the document's here."""
        return self.context.minimum, self.context.maximum

    def warmed(self, warmup_s: float) -> int:
        """Running instances whose warm-up is over."""
        return self.context.fleet.warmed(warmup_s)

    def deploying(self) -> bool:
        """No deployment happens in a simulation."""
        return False

    def suspended(self, what: str) -> bool:  # noqa: ARG002 - nobody suspends anything here
        """Nobody suspends anything in a simulation."""
        return False

    def set_desired(self, desired: int) -> None:
        """What target tracking asks for, within the bounds it knows; told with its reason by `_scaled`."""
        self.context.fleet.set_desired(desired)


def _query(namespace: str, name: str, dimensions: Mapping[str, str]) -> MetricQuery:
    return MetricQuery(
        id=name,
        namespace=namespace,
        name=name,
        dimensions=tuple(sorted(dimensions.items())),
        stat="Average",
        period_s=60,
    )


def _id(query: MetricQuery) -> Any:
    return metric_id(query.namespace, query.name, dict(query.dimensions))
