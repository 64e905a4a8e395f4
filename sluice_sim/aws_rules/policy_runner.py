"""AWS's own target tracking at work: each policy's alarms are judged every minute and move their fleet.

Owns the state between two judgements (alarm states, cooldowns); the laws are pure and stand in
`target_tracking` (EC2) and `service_tracking` (ECS). The policy is read back each minute, as a retune may
have replaced its target and a person may have deleted it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from sluice_sim.aws_rules.alarms import (
    Alarm,
    State,
)
from sluice_sim.aws_rules.ec2_target_tracking import (
    TargetTracking,
    scale_in,
    scale_out,
)
from sluice_sim.aws_rules.ecs_target_tracking import (
    Cooldowns,
    ServiceTracking,
    scale,
)

DEFAULT_WARMUP_S = 300

Points = Callable[[Alarm], list[float | None]]
"""An alarm's evaluation range now, newest last."""

AnyPolicy = TypeVar("AnyPolicy", TargetTracking, ServiceTracking)

ReadTarget = Callable[[], float | None]
"""The target that the policy holds now; None once it is deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A fleet at one moment, in instances or tasks."""

    desired: int
    running: int
    booting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingActivity:
    """What AWS's own target tracking did to a fleet, and why."""

    fleet: str
    before: int
    after: int
    reason: str


class ScalingTarget(Protocol):
    """A fleet as its policy sees it."""

    @property
    def name(self) -> str:
        """The group's name, or the service's resource id."""
        ...

    def size(self) -> Size:
        """What is asked for and what there is."""
        ...

    def bounds(self) -> tuple[int, int]:
        """The fleet's own min and max."""
        ...

    def warmed(self, warmup_s: float) -> int:
        """Running instances whose warm-up is over."""
        ...

    def deploying(self) -> bool:
        """Whether a deployment still replaces instances."""
        ...

    def suspended(self, what: str) -> bool:
        """Whether an operator suspended this process (EC2) or direction (ECS)."""
        ...

    def set_desired(self, desired: int) -> None:
        """Ask for this many."""
        ...


class PolicyRunner(Protocol):
    """One target-tracking policy at work."""

    @property
    def fleet_name(self) -> str:
        """Whose policy it is."""
        ...

    @property
    def target(self) -> float:
        """The target the policy holds now."""
        ...

    def refresh_target(self) -> bool:
        """Read the target back; a new one starts the alarms anew. False once the policy is deleted."""
        ...

    def alarms(self) -> list[Alarm]:
        """AlarmHigh, and AlarmLow unless scale-in is disabled."""
        ...

    def run(self, now: float, points: Points) -> ScalingActivity | None:
        """Judge the alarms and move the fleet; they act once a minute for as long as they ring."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evaluation:
    """Which of a policy's alarms ring, and the newest value of its metric."""

    high: bool
    low: bool
    metric: float | None


class _AlarmStates:
    """AlarmHigh and AlarmLow of one policy, with the states they are in."""

    def __init__(self) -> None:
        self._states = [State.INSUFFICIENT_DATA, State.INSUFFICIENT_DATA]

    def evaluate(self, alarms: list[Alarm], points: Points) -> _Evaluation:
        """Judge AlarmHigh and, where there is one, AlarmLow."""
        ranges = [points(alarm) for alarm in alarms]
        for index, (alarm, values) in enumerate(zip(alarms, ranges, strict=True)):
            self._states[index] = alarm.next_state(values, self._states[index])
        high, low = (state is State.ALARM for state in self._states)
        newest = next((value for value in reversed(ranges[0]) if value is not None), None)
        return _Evaluation(high=high, low=low, metric=newest)


class _TargetTrackingRunner(ABC, Generic[AnyPolicy]):
    """What the policies of both kinds of fleet share: a target that is followed, and alarms that are kept."""

    def __init__(self, policy: AnyPolicy, fleet: ScalingTarget, read_target: ReadTarget) -> None:
        self._policy: AnyPolicy = policy
        self._fleet, self._read_target = fleet, read_target
        self._alarm_states = _AlarmStates()
        self._alarms: dict[int, list[Alarm]] = {}

    @property
    def fleet_name(self) -> str:
        """The group's name, or the service's resource id."""
        return self._fleet.name

    @property
    def target(self) -> float:
        """The target the policy holds now."""
        return self._policy.target

    def refresh_target(self) -> bool:
        """AWS makes new alarms when the target changes."""
        target = self._read_target()
        if target is not None and target != self._policy.target:
            self._policy, self._alarm_states = self._policy.with_target(target), _AlarmStates()
            self._alarms = {}
        return target is not None

    def alarms(self) -> list[Alarm]:
        """AlarmHigh, and AlarmLow unless scale-in is disabled, at the fleet's present size."""
        size = self._fleet.size().desired
        if size not in self._alarms:
            both = (self._policy.high_alarm(), self._low_alarm(size))
            self._alarms[size] = [alarm for alarm in both if alarm]
        return self._alarms[size]

    @abstractmethod
    def _low_alarm(self, size: int) -> Alarm | None:
        """AlarmLow of a fleet of this many instances asked for."""


class GroupPolicyRunner(_TargetTrackingRunner[TargetTracking]):
    """Keeps `Tracker` for an Auto Scaling group."""

    def _low_alarm(self, size: int) -> Alarm | None:
        """Its threshold follows the group's size."""
        return self._policy.low_alarm(size)

    def run(self, now: float, points: Points) -> ScalingActivity | None:  # noqa: ARG002 - instances know their age
        """Scale out counts warmed instances alone; scale-in waits while any warms up."""
        policy, fleet = self._policy, self._fleet
        size, (minimum, maximum) = fleet.size(), fleet.bounds()
        warmed = fleet.warmed(
            DEFAULT_WARMUP_S if policy.instance_warmup_s is None else policy.instance_warmup_s
        )
        evaluation = self._alarm_states.evaluate(self.alarms(), points)
        metric = evaluation.metric
        if metric is None or fleet.suspended("AlarmNotification"):
            return None
        wanted = size.desired
        if evaluation.high:
            wanted = scale_out(
                desired=size.desired, warmed=warmed, metric=metric, target=policy.target, maximum=maximum
            )
        elif evaluation.low:
            wanted = scale_in(
                desired=size.desired,
                warming=size.running + size.booting - warmed,
                metric=metric,
                target=policy.target,
                minimum=minimum,
            )
        return _apply(fleet, size, wanted, metric, policy.target)


class ServicePolicyRunner(_TargetTrackingRunner[ServiceTracking]):
    """Keeps `Tracker` for an ECS service."""

    def __init__(self, policy: ServiceTracking, fleet: ScalingTarget, read_target: ReadTarget) -> None:
        super().__init__(policy, fleet, read_target)
        self._cooldowns = Cooldowns.none()

    def _low_alarm(self, size: int) -> Alarm | None:  # noqa: ARG002 - a service's is the same at every size
        """It stands at 0.9 times the target."""
        return self._policy.low_alarm()

    def run(self, now: float, points: Points) -> ScalingActivity | None:
        """Cooldowns, deployments and suspensions hold what they hold at AWS."""
        fleet = self._fleet
        size, (minimum, maximum) = fleet.size(), fleet.bounds()
        evaluation = self._alarm_states.evaluate(self.alarms(), points)
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
        return _apply(fleet, size, scaling.desired, metric, self._policy.target)


def _apply(
    fleet: ScalingTarget, size: Size, wanted: int, metric: float, target: float
) -> ScalingActivity | None:
    if wanted == size.desired:
        return None
    fleet.set_desired(wanted)
    reason = f"{metric:.3g} per instance against a target of {target:.3g}"
    return ScalingActivity(fleet=fleet.name, before=size.desired, after=wanted, reason=reason)
