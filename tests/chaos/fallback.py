"""The fallback of the deadline engine: the stack's target-tracking policy, which AWS runs.

The policy is the deployed one, and AWS's rules run it. What must hold for it is written independently: it
lowers no fleet, keeps the fleet's bounds, acts only while CloudWatch returns none of the workload's own
points of three minutes, and then does act if more work waits than the promise allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache

from sluice.core.minutes import MINUTE
from sluice.core.model import AutoScalingGroup, EcsService, Workload
from sluice.ports import SeriesQuery
from sluice.usecases.fifo_warning import VISIBLE
from sluice.usecases.offered_load import SENT
from sluice_sim.aws_rules.alarms import Alarm
from sluice_sim.aws_rules.ec2_target_tracking import TargetTracking
from sluice_sim.aws_rules.ecs_target_tracking import ServiceTracking
from sluice_sim.aws_rules.policy_runner import GroupPolicyRunner, PolicyRunner, ServicePolicyRunner, Size
from tests.chaos.cloud import Cloud
from tests.templates.stacks import workload

SILENT_MINUTES = 3
PROCESSING_S = 30
RAISED = {
    AutoScalingGroup: "a group raised by the fallback",
    EcsService: "a service raised by the fallback",
}
LEFT = "a fleet that the fallback should have raised"
Series = Mapping[int, float]
"""Minute (epoch seconds) -> value."""


@cache
def deployed_group(promise_s: int) -> TargetTracking:
    """The policy of a group's stack with this promise."""
    return TargetTracking.from_properties("fallback", _policy("asg", "AsgTargetTracking", promise_s))


@cache
def deployed_service(promise_s: int) -> ServiceTracking:
    """The policy of a service's stack with this promise, in a cluster with Container Insights."""
    return ServiceTracking.from_properties("fallback", _policy("ecs", "EcsTargetTracking", promise_s))


def _policy(fleet: str, logical_id: str, promise_s: int) -> Mapping[str, object]:
    stack = workload(
        fleet,
        Scaling="deadline",
        Fallback="true",
        AcceptableLatencySeconds=str(promise_s),
        ProcessingSeconds=str(PROCESSING_S),
    )
    return stack.resources[logical_id].properties


@dataclass(frozen=True)
class Target:
    """Implements `policy_runner.ScalingTarget` for the fleet of a workload."""

    cloud: Cloud
    served: Workload

    @property
    def name(self) -> str:
        return str(self.served.fleet)

    def size(self) -> Size:
        capacity = self.cloud.capacity(self.served)
        return Size(
            desired=capacity.desired,
            running=capacity.running,
            booting=max(capacity.desired - capacity.running, 0),
        )

    def bounds(self) -> tuple[int, int]:
        bounds = self.cloud.capacity(self.served).bounds
        assert bounds is not None
        return bounds.min, bounds.max

    def warmed(self, _: float) -> int:
        return self.cloud.capacity(self.served).running

    def deploying(self) -> bool:
        return self.cloud.capacity(self.served).deploying_since is not None

    def suspended(self, what: str) -> bool:
        capacity = self.cloud.capacity(self.served)
        return bool(capacity.scale_in_blocked_by if what == "In" else capacity.scale_out_blocked_by)

    def set_desired(self, desired: int, _: str) -> None:
        self.cloud.change(self.served, desired=desired)

    def not_scaled(self, *_: object) -> None:
        """Nobody reads the activities here."""


@dataclass
class Fallback:
    """The policies of the workloads that the deadline engine scales, each as its stack deploys it."""

    cloud: Cloud
    policies: dict[str, tuple[int, PolicyRunner]] = field(default_factory=dict)
    """Workload -> the promise of its policy, and what runs it."""
    raised: set[str] = field(default_factory=set)
    """The workloads whose policies have raised their fleets, until the engine scales them."""

    def evaluate(self, minute: datetime) -> Iterator[tuple[str, str | None]]:
        """Run the policies as this minute begins: (what was reached, the violation if it is one)."""
        for served in self.cloud.workloads:
            deadline = self.cloud.document(served).deadline
            is_deployed = served.policy_arn in self.cloud.account.policies.by_arn
            if deadline and is_deployed and self.cloud.capacity(served).bounds:
                yield from self._run(served, deadline.promise_s, minute)
            else:
                self.policies.pop(served.name, None)

    def _run(self, served: Workload, promise_s: int, minute: datetime) -> Iterator[tuple[str, str | None]]:
        before, needed = self.cloud.capacity(served), self._needed(served, promise_s, minute)
        own = self._series(served, "own", SILENT_MINUTES, minute)
        scaled = self._runner(served, promise_s).run(
            minute.timestamp(), lambda alarm: self._points(served, alarm, minute)
        )
        assert before.bounds is not None
        if scaled is not None:
            self.raised.add(served.name)
            allowed = not own and scaled.before < scaled.after <= before.bounds.max
            what = f"the fallback set {served.name} from {before} to {scaled.after} beside {own}"
            yield RAISED[type(served.fleet)], None if allowed else what
        elif before.desired < min(needed, before.bounds.max) and not before.scale_out_blocked_by:
            yield LEFT, f"the fallback left {served.name} at {before}, where {needed} are needed"

    def _runner(self, served: Workload, promise_s: int) -> PolicyRunner:
        if self.policies.get(served.name, (None,))[0] != promise_s:
            self.policies[served.name] = promise_s, _runner(Target(self.cloud, served), promise_s)
            self.policies[served.name][1].put_alarms(self.cloud.account.clock().timestamp())
        return self.policies[served.name][1]

    def _points(self, served: Workload, alarm: Alarm, minute: datetime) -> list[float | None]:
        back = len(alarm.evaluation_range(minute.timestamp()))
        series = {query.id: self._series(served, query.id, back, minute) for query in alarm.queries}
        return alarm.datapoints(series, minute.timestamp())

    def _series(self, served: Workload, query: str, minutes: int, end: datetime) -> Series:
        """What AWS reads of one of the policy's metrics in so many minutes before this one."""
        metric, statistic = {
            "own": (self.cloud.account.backlog_metric(served), "Average"),
            "visible": (served.queue_metric(VISIBLE), "Average"),
            "sent": (served.queue_metric(SENT), "Sum"),
            "in_service": (served.fleet.running_metric, "Average"),
        }[query]
        found = self.cloud.account.metrics.value_of(
            SeriesQuery(metric=metric, statistic=statistic, period_s=60), end - minutes * MINUTE, end
        )
        return {int(at.timestamp()): value for at, value in found.items() if value >= 0}  # AWS counts

    def _needed(self, served: Workload, promise_s: int, minute: datetime) -> int:
        """Instances for what waits, or 0 unless the policy alone has seen three minutes of too much."""
        own, visible, sent, running = (
            self._series(served, query, SILENT_MINUTES, minute)
            for query in ("own", "visible", "sent", "in_service")
        )
        known = [at for at in visible if at in sent and running.get(at, 0) > 0]
        short = [at for at in known if visible[at] * PROCESSING_S > promise_s * running[at]]
        if own or len(short) < SILENT_MINUTES:
            return 0
        return math.ceil(visible[max(short)] * PROCESSING_S / promise_s)


def _runner(target: Target, promise_s: int) -> PolicyRunner:
    if isinstance(target.served.fleet, EcsService):
        service = deployed_service(promise_s)
        return ServicePolicyRunner(service, target, lambda: service.target)
    group = deployed_group(promise_s)
    return GroupPolicyRunner(group, target, lambda: group.target)
