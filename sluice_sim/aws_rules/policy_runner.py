"""Runs AWS's target-tracking policies: evaluates each policy's alarms every minute and scales its fleet.

Keeps the state between two evaluations (alarm states, cooldowns); the rules are pure functions in
`ec2_target_tracking` and `ecs_target_tracking`. The target is read back every minute, because a retune may
have replaced it and an operator may have deleted the policy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar
from uuid import NAMESPACE_URL, uuid5

from sluice_sim.aws_rules.alarm_states import AlarmStatus
from sluice_sim.aws_rules.alarms import Alarm
from sluice_sim.aws_rules.ec2_target_tracking import (
    TargetTracking,
    scale_in,
    scale_out,
)
from sluice_sim.aws_rules.ecs_target_tracking import (
    Cooldowns,
    NotScaled,
    ServiceTracking,
    scale,
)

DEFAULT_WARMUP_S = 300
SCALE_IN = "scale-in"
"""What `DisableScaleIn` suspends, beside the processes of a group."""

Points = Callable[[Alarm], list[float | None]]
"""Returns an alarm's current evaluation range, newest last."""

AnyPolicy = TypeVar("AnyPolicy", TargetTracking, ServiceTracking)

ReadTarget = Callable[[], float | None]
"""Returns the policy's current target; None once the policy is deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The size of a fleet at one moment, in instances or tasks."""

    desired: int
    running: int
    booting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingActivity:
    """One change of a fleet's desired count by target tracking, and its reason."""

    fleet: str
    before: int
    after: int
    reason: str


class ScalingTarget(Protocol):
    """The fleet that a policy scales."""

    @property
    def name(self) -> str:
        """The group's name, or the service's resource id."""
        ...

    def size(self) -> Size:
        """Desired, running and booting counts."""
        ...

    def bounds(self) -> tuple[int, int]:
        """Minimum and maximum of the group or the scalable target."""
        ...

    def warmed(self, warmup_s: float) -> int:
        """Number of running instances whose warm-up is over."""
        ...

    def deploying(self) -> bool:
        """Whether a deployment is in progress."""
        ...

    def suspended(self, what: str) -> bool:
        """Whether this process (EC2) or scaling direction (ECS) is suspended."""
        ...

    def set_desired(self, desired: int, cause: str) -> None:
        """Set the desired count; `cause` names the alarm and the policy, as AWS's activities do."""
        ...

    def not_scaled(self, reason: NotScaled, cause: str) -> None:
        """Note that an alarm of the policy changed nothing, and why."""
        ...


class PolicyRunner(Protocol):
    """Runs one target-tracking policy."""

    @property
    def fleet_name(self) -> str:
        """The name of the fleet that the policy scales."""
        ...

    @property
    def policy_arn(self) -> str:
        """The policy's ARN; empty outside an account."""
        ...

    @property
    def target(self) -> float:
        """The policy's current target."""
        ...

    def put_alarms(self, now: float) -> None:
        """Create the policy's alarms, as putting the policy does."""
        ...

    def refresh_target(self, now: float) -> bool:
        """Read the target back; a new one resets the alarms. False once the policy is deleted."""
        ...

    def alarms(self) -> list[AlarmStatus]:
        """AlarmHigh, and AlarmLow unless scale-in is disabled; none that was deleted by hand."""
        ...

    def delete_alarm(self, alarm_name: str) -> None:
        """Delete one of the alarms by hand; the policy then ignores that side until it is put again."""
        ...

    def run(self, now: float, points: Points) -> ScalingActivity | None:
        """Evaluate the alarms and scale the fleet, once a minute for as long as one is in ALARM."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evaluation:
    """Which of a policy's alarms are in ALARM, and the latest value of its metric."""

    high: bool
    low: bool
    metric: float | None


class _TargetTrackingRunner(ABC, Generic[AnyPolicy]):
    """What the runners of both kinds of fleet share: the current target and the alarms."""

    def __init__(
        self, policy: AnyPolicy, fleet: ScalingTarget, read_target: ReadTarget, policy_arn: str = ""
    ) -> None:
        self._policy: AnyPolicy = policy
        self._fleet, self._read_target, self.policy_arn = fleet, read_target, policy_arn
        self._high: AlarmStatus | None = None
        self._low: AlarmStatus | None = None
        self._by_size: dict[int, Alarm | None] = {}
        """AlarmLow by the fleet's desired count."""

    @property
    def fleet_name(self) -> str:
        """The group's name, or the service's resource id."""
        return self._fleet.name

    @property
    def target(self) -> float:
        """The policy's current target."""
        return self._policy.target

    def put_alarms(self, now: float) -> None:
        """Create AlarmHigh, and AlarmLow unless scale-in is disabled."""
        self._by_size = {}
        self._high = AlarmStatus(alarm=self._managed(self._policy.high_alarm()), created_at=now)
        low = self._sized_low_alarm()
        self._low = AlarmStatus(alarm=low, created_at=now) if low else None

    def refresh_target(self, now: float) -> bool:
        """Read the target back; AWS creates new alarms when it changes."""
        target = self._read_target()
        if target is not None and target != self._policy.target:
            self._policy = self._policy.with_target(target)
            self.put_alarms(now)
        return target is not None

    def alarms(self) -> list[AlarmStatus]:
        """Both alarms, AlarmLow with the threshold for the fleet's current size."""
        if self._low and (low := self._sized_low_alarm()):
            self._low.alarm = low
        return [status for status in (self._high, self._low) if status]

    def delete_alarm(self, alarm_name: str) -> None:
        """Delete one of the alarms by hand."""
        self._high, self._low = (
            None if status is None or status.alarm.name == alarm_name else status
            for status in (self._high, self._low)
        )

    def _evaluate(self, points: Points, now: float) -> _Evaluation:
        alarms = self.alarms()
        ranges = [points(status.alarm) for status in alarms]
        for status, values in zip(alarms, ranges, strict=True):
            status.evaluate(values, now)
        metric = next((value for value in reversed(ranges[0]) if value is not None), None) if ranges else None
        return _Evaluation(
            high=bool(self._high and self._high.triggers),
            low=bool(self._low and self._low.triggers),
            metric=metric,
        )

    def _sized_low_alarm(self) -> Alarm | None:
        size = self._fleet.size().desired
        if size not in self._by_size:
            low = self._low_alarm(size)
            self._by_size[size] = self._managed(low) if low else None
        return self._by_size[size]

    def _managed(self, alarm: Alarm) -> Alarm:
        """The alarm with what AWS writes into one that belongs to a policy."""
        text = f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {self.policy_arn}."
        return replace(alarm, description=text, alarm_actions=(self._action(),))

    def _action(self) -> str:
        """What its alarms start: the policy."""
        return self.policy_arn

    def _cause(self, status: AlarmStatus | None) -> str:
        """The alarm that acts, in the words of AWS's activities."""
        alarm, policy = status.alarm.name if status else "", self.policy_arn.split("policyName/")[-1]
        return f"monitor alarm {alarm} in state ALARM triggered policy {policy}"

    @abstractmethod
    def _low_alarm(self, size: int) -> Alarm | None:
        """AlarmLow of a fleet with this desired count; None with scale-in disabled."""


class GroupPolicyRunner(_TargetTrackingRunner[TargetTracking]):
    """Implements `PolicyRunner` for an Auto Scaling group."""

    def _low_alarm(self, size: int) -> Alarm | None:
        """AlarmLow, whose threshold depends on the group's size."""
        return self._policy.low_alarm(size)

    def run(self, now: float, points: Points) -> ScalingActivity | None:
        """Scale out from the warmed-up instances only; scale in only while none is warming up."""
        policy, fleet = self._policy, self._fleet
        size, (minimum, maximum) = fleet.size(), fleet.bounds()
        warmed = fleet.warmed(
            DEFAULT_WARMUP_S if policy.instance_warmup_s is None else policy.instance_warmup_s
        )
        evaluation = self._evaluate(points, now)
        metric = evaluation.metric
        if metric is None or fleet.suspended("AlarmNotification"):
            return None
        wanted = size.desired
        if evaluation.high:
            wanted = scale_out(
                desired=size.desired, warmed=warmed, metric=metric, target=policy.target, maximum=maximum
            )
        elif evaluation.low and not fleet.suspended(SCALE_IN):
            wanted = scale_in(
                desired=size.desired,
                warming=size.running + size.booting - warmed,
                metric=metric,
                target=policy.target,
                minimum=minimum,
            )
        cause = self._cause(self._high if evaluation.high else self._low)
        return _apply(fleet, size, wanted, metric, policy.target, f"a {cause}")


class ServicePolicyRunner(_TargetTrackingRunner[ServiceTracking]):
    """Implements `PolicyRunner` for an ECS service."""

    def __init__(
        self, policy: ServiceTracking, fleet: ScalingTarget, read_target: ReadTarget, policy_arn: str = ""
    ) -> None:
        super().__init__(policy, fleet, read_target, policy_arn)
        self._cooldowns = Cooldowns.none()

    def _action(self) -> str:
        """The policy's ARN with what Application Auto Scaling appends to it; the UUID stays the same."""
        if not self.policy_arn:
            return ""
        return f"{self.policy_arn}:createdBy/{uuid5(NAMESPACE_URL, self.policy_arn)}"

    def _low_alarm(self, size: int) -> Alarm | None:  # noqa: ARG002 - the same at every size
        """AlarmLow at 0.9 times the target."""
        return self._policy.low_alarm()

    def run(self, now: float, points: Points) -> ScalingActivity | None:
        """Scale the service unless a cooldown, a deployment or a suspension prevents it."""
        fleet = self._fleet
        size, (minimum, maximum) = fleet.size(), fleet.bounds()
        evaluation = self._evaluate(points, now)
        metric = evaluation.metric
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
            high_in_alarm=evaluation.high,
            low_in_alarm=evaluation.low,
            deploying=fleet.deploying(),
            out_suspended=fleet.suspended("Out"),
            in_suspended=fleet.suspended("In"),
            cooldowns=self._cooldowns,
        )
        self._cooldowns = scaling.cooldowns
        cause = self._cause(self._high if evaluation.high else self._low)
        if scaling.not_scaled:
            fleet.not_scaled(scaling.not_scaled, cause)
        return _apply(fleet, size, scaling.desired, metric, self._policy.target, cause)


def _apply(
    fleet: ScalingTarget, size: Size, wanted: int, metric: float, target: float, cause: str
) -> ScalingActivity | None:
    if wanted == size.desired:
        return None
    fleet.set_desired(wanted, cause)
    reason = f"{metric:.3g} per instance against a target of {target:.3g}"
    return ScalingActivity(fleet=fleet.name, before=size.desired, after=wanted, reason=reason)
