"""AWS's own target tracking at work: each policy's alarms are judged every minute and move their fleet.

Owns who steers what; the laws are pure and stand in `target_tracking` (EC2) and `service_tracking` (ECS). The
policy is read back each minute, as a retune may have replaced its target and a person may have deleted it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sluice_sim.alarms import Alarm, State
from sluice_sim.embedded.groups import Groups
from sluice_sim.embedded.services import Services
from sluice_sim.service_tracking import Cooldowns, ServiceTracking, scale
from sluice_sim.target_tracking import TargetTracking, scale_in, scale_out

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling import ApplicationAutoScalingClient
    from mypy_boto3_autoscaling import AutoScalingClient

DEFAULT_WARMUP_S = 300

Points = Callable[[Alarm], list[float | None]]
"""An alarm's evaluation range now, newest last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """What AWS's own target tracking did to a fleet, and why."""

    fleet: str
    before: int
    after: int
    why: str


class Tracker(Protocol):
    """One target-tracking policy."""

    fleet: str

    @property
    def target(self) -> float:
        """The target the policy holds now."""
        ...

    def follow_policy(self) -> bool:
        """Read the target back; a new one starts the alarms anew. False once the policy is deleted."""
        ...

    def alarms(self) -> list[Alarm]:
        """AlarmHigh, and AlarmLow unless scale-in is disabled."""
        ...

    def steer(self, now: float, points: Points) -> Scaled | None:
        """Judge the alarms and move the fleet; they act once a minute for as long as they ring."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """Which of a policy's alarms ring, and the newest value of its metric."""

    high: bool
    low: bool
    metric: float | None


class _Bells:
    """AlarmHigh and AlarmLow of one policy, with the states they are in."""

    def __init__(self) -> None:
        self._states = [State.INSUFFICIENT_DATA, State.INSUFFICIENT_DATA]

    def judge(self, alarms: list[Alarm], points: Points) -> _Judged:
        """Judge AlarmHigh and, where there is one, AlarmLow."""
        ranges = [points(alarm) for alarm in alarms]
        for index, (alarm, values) in enumerate(zip(alarms, ranges, strict=True)):
            self._states[index] = alarm.next_state(values, self._states[index])
        high, low = (state is State.ALARM for state in self._states)
        newest = next((value for value in reversed(ranges[0]) if value is not None), None)
        return _Judged(high=high, low=low, metric=newest)


class GroupTracker:
    """Keeps `Tracker` for an Auto Scaling group."""

    def __init__(
        self, policy: TargetTracking, policy_name: str, groups: Groups, client: AutoScalingClient
    ) -> None:
        self.fleet = policy.group
        self._policy, self._name, self._groups, self._client = policy, policy_name, groups, client
        self._bells = _Bells()

    @property
    def target(self) -> float:
        """The target the policy holds now."""
        return self._policy.target

    def follow_policy(self) -> bool:
        """AWS rewrites the policy's alarms when its target changes."""
        answer = self._client.describe_policies(AutoScalingGroupName=self.fleet, PolicyNames=[self._name])
        if not answer["ScalingPolicies"]:
            return False
        target = answer["ScalingPolicies"][0]["TargetTrackingConfiguration"]["TargetValue"]
        if target != self._policy.target:
            self._policy, self._bells = self._policy.with_target(target), _Bells()
        return True

    def alarms(self) -> list[Alarm]:
        """AlarmLow's threshold follows the group's size."""
        low = self._policy.low_alarm(self._groups.fleet(self.fleet).size().desired)
        return [self._policy.high_alarm(), *([low] if low else [])]

    def steer(self, now: float, points: Points) -> Scaled | None:  # noqa: ARG002 - instances know their age
        """Scale out counts warmed instances alone; scale-in waits while any warms up."""
        policy, fleet = self._policy, self._groups.fleet(self.fleet)
        size, (minimum, maximum) = fleet.size(), self._groups.bounds(self.fleet)
        warmed = fleet.warmed(
            DEFAULT_WARMUP_S if policy.instance_warmup_s is None else policy.instance_warmup_s
        )
        judged = self._bells.judge(self.alarms(), points)
        metric = judged.metric
        if metric is None or self._groups.suspended(self.fleet, "AlarmNotification"):
            return None
        wanted = size.desired
        if judged.high:
            wanted = scale_out(
                desired=size.desired, warmed=warmed, metric=metric, target=policy.target, maximum=maximum
            )
        elif judged.low:
            wanted = scale_in(
                desired=size.desired,
                warming=size.running + size.booting - warmed,
                metric=metric,
                target=policy.target,
                minimum=minimum,
            )
        if wanted == size.desired:
            return None
        self._groups.set_desired(self.fleet, wanted)
        why = f"{metric:.3g} per instance against a target of {policy.target:.3g}"
        return Scaled(fleet=self.fleet, before=size.desired, after=wanted, why=why)


class ServiceTracker:
    """Keeps `Tracker` for an ECS service."""

    def __init__(
        self,
        policy: ServiceTracking,
        policy_name: str,
        resource_id: str,
        services: Services,
        client: ApplicationAutoScalingClient,
    ) -> None:
        self.fleet = resource_id
        self._policy, self._name, self._services, self._client = policy, policy_name, services, client
        self._bells = _Bells()
        self._cooldowns = Cooldowns.none()

    @property
    def target(self) -> float:
        """The target the policy holds now."""
        return self._policy.target

    def follow_policy(self) -> bool:
        """AWS makes new alarms when the target changes."""
        answer = self._client.describe_scaling_policies(
            ServiceNamespace="ecs", ResourceId=self.fleet, PolicyNames=[self._name]
        )
        # moto answers with the policies of "service" too where it is asked for those of "service-2".
        own = [policy for policy in answer["ScalingPolicies"] if policy["ResourceId"] == self.fleet]
        if not own:
            return False
        target = own[0]["TargetTrackingScalingPolicyConfiguration"]["TargetValue"]
        if target != self._policy.target:
            self._policy, self._bells = self._policy.with_target(target), _Bells()
        return True

    def alarms(self) -> list[Alarm]:
        """AlarmLow stands at 0.9 times the target."""
        low = self._policy.low_alarm()
        return [self._policy.high_alarm(), *([low] if low else [])]

    def steer(self, now: float, points: Points) -> Scaled | None:
        """Cooldowns, deployments and suspensions hold what they hold at AWS."""
        fleet = self._services.fleet(self.fleet)
        size, (minimum, maximum) = fleet.size(), self._services.bounds(self.fleet)
        judged = self._bells.judge(self.alarms(), points)
        metric = judged.metric
        if metric is None:
            return None
        scaling = scale(
            self._policy,
            now=now,
            running=size.running,
            desired=size.desired,
            minimum=minimum,
            maximum=maximum,
            metric=metric,
            high_rings=judged.high,
            low_rings=judged.low,
            deploying=fleet.rolling,
            out_suspended=self._services.suspended(self.fleet, "Out"),
            in_suspended=self._services.suspended(self.fleet, "In"),
            cooldowns=self._cooldowns,
        )
        self._cooldowns = scaling.cooldowns
        if scaling.desired == size.desired:
            return None
        self._services.set_desired(self.fleet, scaling.desired)
        why = f"{metric:.3g} per instance against a target of {self._policy.target:.3g}"
        return Scaled(fleet=self.fleet, before=size.desired, after=scaling.desired, why=why)
