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
    GroupTracker,
    Scaled,
    ServiceTracker,
    Size,
)
from sluice_sim.simulator.context import (
    Site,
    Told,
)
from sluice_sim.simulator.fleet import Look
from sluice_sim.simulator.metrics import metric_id

VISIBLE = "ApproximateNumberOfMessagesVisible"
SENT = "NumberOfMessagesSent"
IDLE_UNTIL_SILENT_S = 6 * 3600
WAKING_DELAY_S = 15 * 60


@dataclass(slots=True)
class SimulatedAws:
    """The account's monitoring of one run; a policy sets up what it needs of it."""

    site: Site
    on_alarm: Callable[[str, AlarmChange], None] = lambda *_: None
    target: float | None = None
    """What the policy's target is now; None without one."""
    monitoring: Monitoring = field(init=False)
    _active_s: float = 0.0
    _arrived: int = 0
    _awake_since_s: float = 0.0

    def __post_init__(self) -> None:
        self.monitoring = Monitoring(
            self.site.clock,
            self,
            on_action=lambda action, change: self.on_alarm(action, change),
            on_scaled=self._scaled,
        )
        self.monitoring.sample(self._native)

    # ---- What a stack brings

    def watch_alarms(self) -> None:
        """The alarms of the workload's stack."""
        for logical_id, resource in self.site.deployed.stack.resources.items():
            if resource.type == "AWS::CloudWatch::Alarm":
                self.monitoring.watch(Alarm.from_properties(logical_id, resource.properties))

    def track_policy(self) -> None:
        """The target-tracking policy of the workload's stack."""
        for logical_id, resource in self.site.deployed.stack.resources.items():
            if resource.type == "AWS::AutoScaling::ScalingPolicy":
                self.track_group(TargetTracking.from_properties(logical_id, resource.properties))
            elif resource.type == "AWS::ApplicationAutoScaling::ScalingPolicy":
                self.track_service(ServiceTracking.from_properties(logical_id, resource.properties))

    def track_group(self, policy: TargetTracking) -> None:
        """One target-tracking policy of an Auto Scaling group."""
        self.target = policy.target
        self.monitoring.track(GroupTracker(policy, SteeredPlant(self.site), lambda: self.target))

    def track_service(self, policy: ServiceTracking) -> None:
        """One target-tracking policy of an ECS service."""
        self.target = policy.target
        self.monitoring.track(ServiceTracker(policy, SteeredPlant(self.site), lambda: self.target))

    # ---- monitoring.MetricData

    def put(self, minute: float, values: Values) -> None:
        """Keep values; those of a queue that has just woken come later."""
        for metric, value in values:
            delay_s = self._waking_delay_s(minute) if metric.namespace == "AWS/SQS" else 0.0
            if delay_s:
                self.site.clock.at(self.site.clock.now + delay_s, partial(self._keep, metric, minute, value))
            else:
                self._keep(metric, minute, value)

    def read(self, queries: set[MetricQuery], start: float, end: float) -> Mapping[MetricQuery, Series]:
        """Every metric here has one value a minute, which is each of its statistics."""
        return {query: self.site.metrics.read(_id(query), int(start), int(end)) for query in queries}

    def _keep(self, metric: MetricQuery, minute: float, value: float) -> None:
        self.site.metrics.put(_id(metric), int(minute), value)

    def _waking_delay_s(self, minute: float) -> float:
        woke_s = self._awake_since_s
        since_s = minute - (self.site.clock.now - self.site.plant.now_s) - woke_s
        return max(0.0, WAKING_DELAY_S - since_s) if woke_s else 0.0

    # ---- What AWS publishes by itself

    def _native(self) -> Iterable[tuple[MetricQuery, float]]:
        look, arrived = self.site.plant.look(), self.site.plant.arrived
        sent, self._arrived = arrived - self._arrived, arrived
        if look.backlog or sent:
            if look.now_s - self._active_s > IDLE_UNTIL_SILENT_S:
                self._awake_since_s = look.now_s
            self._active_s = look.now_s
        if look.now_s - self._active_s <= IDLE_UNTIL_SILENT_S:
            yield from self._queue_metrics(look, sent)
        fleet = self.site.deployed.workload.fleet
        names = (
            ("GroupDesiredCapacity", "GroupInServiceInstances")
            if isinstance(fleet, AutoScalingGroup)
            else ("DesiredTaskCount", "RunningTaskCount")
        )
        namespace = fleet.running_metric.namespace
        for name, value in zip(names, (look.desired, look.running), strict=True):
            yield _query(namespace, name, fleet.dimensions), float(value)

    def _queue_metrics(self, look: Look, sent: int) -> Iterable[tuple[MetricQuery, float]]:
        workload = self.site.deployed.workload
        for name, value in (
            (VISIBLE, look.visible),
            (SENT, sent),
            ("ApproximateNumberOfMessagesNotVisible", look.in_flight),
            ("ApproximateNumberOfMessagesDelayed", look.delayed),
            ("ApproximateAgeOfOldestMessage", look.oldest_age_s),
        ):
            if not value and name not in (VISIBLE, SENT):  # reported only while such messages exist
                continue
            metric = workload.queue_metric(name)
            yield _query(metric.namespace, metric.name, metric.dimensions), float(value)

    def _scaled(self, scaled: Scaled) -> None:
        text = f"{scaled.before} -> {scaled.after}: target tracking, {scaled.why}"
        self.site.told.append(Told(at_s=self.site.plant.now_s, who="AWS", text=text))


@dataclass(frozen=True, slots=True)
class SteeredPlant:
    """Keeps `steering.SteeredFleet`: the fleet as AWS's own policies move it."""

    site: Site

    @property
    def name(self) -> str:
        """The workload's name stands for the fleet's."""
        return self.site.deployed.workload.name

    def size(self) -> Size:
        """What is asked for and what there is."""
        running, booting = self.site.plant.size()
        return Size(desired=self.site.plant.desired, running=running, booting=booting)

    def bounds(self) -> tuple[int, int]:
        """The fleet's own, which are the document's here."""
        return self.site.minimum, self.site.maximum

    def warmed(self, warmup_s: float) -> int:
        """Running instances whose warm-up is over."""
        return self.site.plant.warmed(warmup_s)

    def rolling(self) -> bool:
        """No deployment happens in a simulation."""
        return False

    def suspended(self, what: str) -> bool:  # noqa: ARG002 - nobody suspends anything here
        """Nobody suspends anything in a simulation."""
        return False

    def set_desired(self, desired: int) -> None:
        """What target tracking asks for, within the bounds it knows; told with its reason by `_scaled`."""
        self.site.plant.set_desired(desired)


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
