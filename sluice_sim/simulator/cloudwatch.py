"""The AWS side of a simulated run: native metrics with their delay, the stack's alarms, target tracking.

For policies that use AWS's own scaling. The rules are the ones that the embedded AWS uses (`aws_rules`), over
metrics in memory. Assumption: a queue that was idle for six hours publishes no metrics, and those of its
first messages are fifteen minutes late (AWS documents "up to").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial

from sluice.core.model import AutoScalingGroup, EcsService, Fleet
from sluice.core.pause import (
    ALARM_NOTIFICATION,
    DISABLE_SCALE_IN,
    ENABLED,
    IN_SUSPENDED,
    OUT_SUSPENDED,
)
from sluice_sim.aws_rules.alarm_states import AlarmChange
from sluice_sim.aws_rules.alarms import (
    Alarm,
    MetricQuery,
)
from sluice_sim.aws_rules.ec2_target_tracking import TargetTracking
from sluice_sim.aws_rules.ecs_target_tracking import NotScaled, ServiceTracking
from sluice_sim.aws_rules.metric_math import Series
from sluice_sim.aws_rules.monitoring import (
    Monitoring,
    Values,
)
from sluice_sim.aws_rules.policy_runner import (
    SCALE_IN,
    GroupPolicyRunner,
    ScalingActivity,
    ServicePolicyRunner,
    Size,
)
from sluice_sim.simulator.context import (
    LogEntry,
    ScalingContext,
)
from sluice_sim.simulator.fleet import SimulatedFleet, Snapshot
from sluice_sim.simulator.metrics import MetricId, metric_id
from sluice_sim.template.deployment import BOOTSTRAP, SHUTDOWN

VISIBLE = "ApproximateNumberOfMessagesVisible"
SENT = "NumberOfMessagesSent"
GROUP_FIELDS, SERVICE_FIELDS = (
    (ALARM_NOTIFICATION, ENABLED, DISABLE_SCALE_IN),
    (OUT_SUSPENDED, IN_SUSPENDED),
)
SUSPENDED_BY = {"AlarmNotification": ALARM_NOTIFICATION, "Out": OUT_SUSPENDED, "In": IN_SUSPENDED}
"""What a policy asks for -> the field that suspends it."""
IDLE_UNTIL_SILENT_S = 6 * 3600
REACTIVATION_DELAY_S = 15 * 60


@dataclass(slots=True)
class SimulatedAws:
    """CloudWatch and target tracking of one run; a policy creates the alarms and policies it needs."""

    context: ScalingContext
    on_alarm: Callable[[str, AlarmChange], str | None] = lambda *_: None
    targets: dict[Fleet, float] = field(default_factory=dict)
    """The current target of each fleet's scaling policy."""
    monitoring: Monitoring = field(init=False)
    _queries: dict[tuple[str, ...], MetricQuery] = field(default_factory=dict)
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

    @property
    def target(self) -> float | None:
        """The current target of the fleet that is scaled; None without a policy."""
        return self.targets.get(self.context.deployed.workload.fleet)

    @property
    def held(self) -> dict[str, bool]:
        """AWS's fields that hold the policy of the fleet that is scaled; none without a policy."""
        return self.context.fleet.held

    # ---- Resources of the stack

    def create_alarms(self) -> None:
        """Create the alarms of the workload's stack that start a function: the others only notify."""
        for logical_id, resource in self.context.deployed.stack.resources.items():
            if resource.type == "AWS::CloudWatch::Alarm":
                alarm = Alarm.from_properties(logical_id, resource.properties)
                if {BOOTSTRAP, SHUTDOWN} & set(alarm.alarm_actions):
                    self.monitoring.add_alarm(alarm)

    def create_policy(self) -> None:
        """Create the target-tracking policies of the workload's stack, one for each fleet."""
        for logical_id, resource in self.context.deployed.stack.resources.items():
            if resource.type == "AWS::AutoScaling::ScalingPolicy":
                self.track_group(TargetTracking.from_properties(logical_id, resource.properties))
            elif resource.type == "AWS::ApplicationAutoScaling::ScalingPolicy":
                self.track_service(ServiceTracking.from_properties(logical_id, resource.properties))

    def track_group(self, policy: TargetTracking) -> None:
        """Run a target-tracking policy of an Auto Scaling group."""
        fleet = AutoScalingGroup(name=policy.group)
        self.targets[fleet] = policy.target
        self.context.fleets[fleet].held = dict.fromkeys(GROUP_FIELDS, False) | {ENABLED: True}
        self.monitoring.add_policy(
            GroupPolicyRunner(policy, self._scaling_target(fleet), lambda: self.targets.get(fleet))
        )

    def track_service(self, policy: ServiceTracking) -> None:
        """Run a target-tracking policy of an ECS service."""
        _, cluster, service = policy.resource_id.split("/")
        fleet = EcsService(cluster=cluster, service=service)
        self.targets[fleet] = policy.target
        self.context.fleets[fleet].held = dict.fromkeys(SERVICE_FIELDS, False)
        self.monitoring.add_policy(
            ServicePolicyRunner(policy, self._scaling_target(fleet), lambda: self.targets.get(fleet))
        )

    def _scaling_target(self, fleet: Fleet) -> SimulatedScalingTarget:
        return SimulatedScalingTarget(str(fleet), self.context.fleets[fleet])

    # ---- monitoring.MetricData

    def put(self, minute: float, values: Values) -> None:
        """Store values; those of a queue that has just become active again arrive later."""
        for metric, value in values:
            delay_s = self._reactivation_delay_s(minute) if metric.namespace == "AWS/SQS" else 0.0
            if delay_s:
                self.context.clock.at(
                    self.context.clock.now + delay_s, partial(self._store_value, metric, minute, value)
                )
            else:
                self._store_value(metric, minute, value)

    def earliest_change(self) -> float:
        """The earliest minute of which a value was stored since the previous call."""
        return self.context.metrics.earliest_change()

    def read(self, queries: set[MetricQuery], start: float, end: float) -> Mapping[MetricQuery, Series]:
        """Read each metric; it has one value per minute, so every statistic is that value."""
        return {query: self.context.metrics.read(_id(query), int(start), int(end)) for query in queries}

    def _store_value(self, metric: MetricQuery, minute: float, value: float) -> None:
        self.context.metrics.put(_id(metric), int(minute), value)

    def _reactivation_delay_s(self, minute: float) -> float:
        woke_s = self._active_again_since_s
        since_s = minute - (self.context.clock.now - self.context.fleet.now_s) - woke_s
        return max(0.0, REACTIVATION_DELAY_S - since_s) if woke_s else 0.0

    # ---- Native metrics

    def _native_metrics(self) -> Iterable[tuple[MetricQuery, float]]:
        snapshot, arrived = self.context.fleet.snapshot(), self.context.queue.arrived
        sent, self._arrived = arrived - self._arrived, arrived
        if snapshot.backlog or sent:
            if snapshot.now_s - self._active_s > IDLE_UNTIL_SILENT_S:
                self._active_again_since_s = snapshot.now_s
            self._active_s = snapshot.now_s
        if snapshot.now_s - self._active_s <= IDLE_UNTIL_SILENT_S:
            yield from self._queue_metrics(snapshot, sent)
        yield from self._dead_letter_metrics()
        for fleet, simulated in self.context.fleets.items():
            names = (
                ("GroupDesiredCapacity", "GroupInServiceInstances")
                if isinstance(fleet, AutoScalingGroup)
                else ("DesiredTaskCount", "RunningTaskCount")
            )
            namespace, size = fleet.running_metric.namespace, simulated.size()
            for name, value in zip(names, (size.desired, size.running), strict=True):
                yield self._query(namespace, name, fleet.dimensions), float(value)

    def _queue_metrics(self, snapshot: Snapshot, sent: int) -> Iterable[tuple[MetricQuery, float]]:
        queue = {"QueueName": self.context.deployed.workload.queue_name}
        for name, value in (
            (VISIBLE, snapshot.visible),
            (SENT, sent),
            ("ApproximateNumberOfMessagesNotVisible", snapshot.in_flight),
            ("ApproximateNumberOfMessagesDelayed", snapshot.delayed),
            ("ApproximateAgeOfOldestMessage", snapshot.oldest_age_s),
        ):
            if not value and name not in (VISIBLE, SENT):  # SQS reports these only while such messages exist
                continue
            yield self._query("AWS/SQS", name, queue), float(value)

    def _dead_letter_metrics(self) -> Iterable[tuple[MetricQuery, float]]:
        """The depth of the dead-letter queue, if the workload names one."""
        guard = self.context.deployed.workload.guard
        if guard is not None and guard.dead_letter_queue is not None:
            query = self._query("AWS/SQS", VISIBLE, {"QueueName": guard.dead_letter_queue})
            yield query, float(self.context.queue.dead_letters)

    def _query(self, namespace: str, name: str, dimensions: Mapping[str, str]) -> MetricQuery:
        """A metric of a queue or of a fleet."""
        known = (name, *dimensions.values())
        if known not in self._queries:
            self._queries[known] = MetricQuery(
                id=name,
                namespace=namespace,
                name=name,
                dimensions=tuple(sorted(dimensions.items())),
                stat="Average",
                period_s=60,
            )
        return self._queries[known]

    def _scaled(self, scaled: ScalingActivity) -> None:
        text = f"{scaled.before} -> {scaled.after}: target tracking, {scaled.reason}"
        self.context.log.append(LogEntry(at_s=self.context.fleet.now_s, source="AWS", text=text))


@dataclass(frozen=True, slots=True)
class SimulatedScalingTarget:
    """Implements `policy_runner.ScalingTarget` over the simulated fleet."""

    name: str
    """The fleet in words."""
    fleet: SimulatedFleet

    def size(self) -> Size:
        """Desired, running and booting instances."""
        size = self.fleet.size()
        return Size(desired=size.desired, running=size.running, booting=size.booting)

    def bounds(self) -> tuple[int, int]:
        """The fleet's own minimum and maximum now."""
        return self.fleet.bounds.min, self.fleet.bounds.max

    def warmed(self, warmup_s: float) -> int:
        """Number of running instances whose warm-up is over."""
        return self.fleet.warmed(warmup_s)

    def deploying(self) -> bool:
        """Always False: a simulation has no deployments."""
        return False

    def suspended(self, what: str) -> bool:
        """Whether a hold stops scale-in, or all of the policy, as a group's `Enabled` does."""
        held = self.fleet.held
        if what == SCALE_IN:
            return held.get(DISABLE_SCALE_IN, False)
        return not held.get(ENABLED, True) or held.get(SUSPENDED_BY[what], False)

    def set_desired(self, desired: int, cause: str) -> None:  # noqa: ARG002 - part of the protocol
        """Set the desired capacity; `SimulatedAws._scaled` logs it with its reason."""
        self.fleet.set_desired(desired)

    def not_scaled(self, reason: NotScaled, cause: str) -> None:
        """A simulation keeps no activities."""


@cache
def _id(query: MetricQuery) -> MetricId:
    return metric_id(query.namespace, query.name, dict(query.dimensions))
