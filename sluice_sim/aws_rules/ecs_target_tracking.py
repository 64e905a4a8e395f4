"""Target tracking of ECS services by Application Auto Scaling: the policy, and when it changes the count.

A policy is built from resolved `AWS::ApplicationAutoScaling::ScalingPolicy` properties. Other scalable
dimensions, and periods other than 60 s, are errors. The rules that change the desired count are pure.

Documented by AWS: the running count is the baseline; a scale-out cooldown lets only a larger scale-out
through; a scale-out does not wait for the scale-in cooldown and ends it; no scale-in during a deployment; a
desired count outside the bounds returns to them on the alarm of that direction, and stays on the other one.
Assumptions: a cooldown starts as soon as the desired count is set; scale-in waits for the scale-out cooldown
too (AWS says that it gives a scale-out time to take effect, and names only scale-outs as blocked); scale-in
goes to the proportional count in one step, and only if that is below the running count, so that tasks that
still start are left alone; the minimum by which a service at 0 scales out (documented) is one task or the
minimum capacity.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sluice_sim.aws_rules.alarm_properties import PropertyReader
from sluice_sim.aws_rules.alarms import Alarm
from sluice_sim.aws_rules.target_tracking_alarms import (
    DEFAULT_PERIOD_S,
    PolicyError,
    above,
    below,
    checked_target,
    configuration,
    metric_of,
    proportional,
)

LOW_RATIO = 0.9
"""Threshold of AlarmLow as a share of the target, whatever the service's size (observed)."""
DEFAULT_COOLDOWN_S = 300
"""Default of both cooldowns of an ECS service (documented)."""

_TARGET = {"ScalingTargetId", "ServiceNamespace", "ScalableDimension", "ResourceId"}
_CONFIGURATION_KEY = "TargetTrackingScalingPolicyConfiguration"
_COOLDOWNS = frozenset({"ScaleOutCooldown", "ScaleInCooldown"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTracking:
    """One target-tracking policy of an ECS service; `target` is in the metric's own unit.

    `scaling_target_id` is the scalable target's Ref if the policy names its service by it, else None.
    """

    policy_name: str
    resource_id: str
    scaling_target_id: str | None
    target: float
    metric: Mapping[str, Any]
    scale_out_cooldown_s: int
    scale_in_cooldown_s: int
    disable_scale_in: bool

    @classmethod
    def from_properties(cls, logical_id: str, properties: Mapping[str, Any]) -> "ServiceTracking":
        """The policy of a resolved template; errors name `logical_id` and the property."""
        read = PropertyReader(logical_id, properties, PolicyError)
        read.only({"PolicyName", "PolicyType", _CONFIGURATION_KEY} | _TARGET)
        resource_id, scaling_target_id = _scalable_target(read)
        tracking = configuration(read, _CONFIGURATION_KEY, _COOLDOWNS)
        policy = cls(
            policy_name=read.name("PolicyName"),
            resource_id=resource_id,
            scaling_target_id=scaling_target_id,
            target=tracking.positive("TargetValue"),
            metric=metric_of(tracking),
            scale_out_cooldown_s=tracking.integer("ScaleOutCooldown", DEFAULT_COOLDOWN_S, min_value=0),
            scale_in_cooldown_s=tracking.integer("ScaleInCooldown", DEFAULT_COOLDOWN_S, min_value=0),
            disable_scale_in=tracking.flag("DisableScaleIn", default=False),
        )
        period_s = policy.high_alarm().period_s  # raises now what the alarms would raise later
        if period_s != DEFAULT_PERIOD_S:
            raise PolicyError(
                f"{tracking.where}.CustomizedMetricSpecification: Period = {period_s}: "
                f"Application Auto Scaling reads {DEFAULT_PERIOD_S} s metrics only; leave the Period out"
            )
        return policy

    def with_target(self, target: float) -> "ServiceTracking":
        """The same policy with another target, as PutScalingPolicy leaves it."""
        return replace(self, target=checked_target(self.resource_id, target))

    def high_alarm(self) -> Alarm:
        """AlarmHigh: strictly above the target in 3 of 3 periods."""
        return above(self.resource_id, self.metric, self.target)

    def low_alarm(self) -> Alarm | None:
        """AlarmLow: below 0.9 * target in 15 of 15 periods; None with scale-in disabled."""
        if self.disable_scale_in:
            return None
        return below(self.resource_id, self.metric, LOW_RATIO * self.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cooldowns:
    """When a policy's cooldowns end (epoch seconds), and the count of the last scale-out."""

    out_until: float
    out_to: int
    in_until: float

    @classmethod
    def none(cls) -> "Cooldowns":
        """No cooldown: nothing was scaled yet."""
        return cls(out_until=-math.inf, out_to=0, in_until=-math.inf)


class NotScaled(StrEnum):
    """AWS's codes for an alarm that changes nothing; it has none for a cooldown or a suspension."""

    AT_MAXIMUM = "AlreadyAtMaxCapacity"
    AT_MINIMUM = "AlreadyAtMinCapacity"
    AT_DESIRED = "AlreadyAtDesiredCapacity"
    DEPLOYING = "TargetServicePutResourceAsUnscalable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """The new desired count, the cooldowns from now on, and the reason; `not_scaled` if AWS has a code."""

    desired: int
    cooldowns: Cooldowns
    reason: str
    not_scaled: NotScaled | None = None


def scale(
    policy: ServiceTracking,
    *,
    now: float,
    running: int,
    desired: int,
    minimum: int,
    maximum: int,
    metric: float | None,
    high_in_alarm: bool,
    low_in_alarm: bool,
    deploying: bool,
    out_suspended: bool,
    in_suspended: bool,
    cooldowns: Cooldowns,
) -> Scaling:
    """The desired count after one evaluation; `now` in epoch seconds, `metric` is its latest value.

    Proportional to the running count: ceil(running * metric / target), within the bounds. AlarmHigh takes
    precedence.
    """
    unchanged = Scaling(desired=desired, cooldowns=cooldowns, reason="the metric has no data")
    if metric is None:
        return unchanged
    count = proportional(running, metric, policy.target)
    if high_in_alarm:
        if running == 0 and metric > policy.target:
            # There is nothing to multiply by. If tasks are starting, 1 is not above the desired count.
            count = 1
        wanted = max(minimum, min(maximum, count))
        blocked_by = _scale_out_blocked_by(now, desired, wanted, cooldowns, suspended=out_suspended)
        after = Cooldowns(out_until=now + policy.scale_out_cooldown_s, out_to=wanted, in_until=-math.inf)
    elif low_in_alarm:
        wanted = max(minimum, min(maximum, count if count < running else desired))
        suspended = in_suspended or policy.disable_scale_in
        blocked_by = _scale_in_blocked_by(
            now, desired, wanted, cooldowns, suspended=suspended, deploying=deploying
        )
        after = replace(cooldowns, in_until=now + policy.scale_in_cooldown_s)
    else:
        return replace(unchanged, reason="neither alarm is in ALARM")
    observed = f"{metric:g} per task against a target of {policy.target:g}, {running} running"
    if blocked_by:
        code = _not_scaled(desired, wanted, minimum, maximum, high=high_in_alarm, deploying=deploying)
        return replace(unchanged, reason=f"{observed}: {blocked_by}", not_scaled=code)
    return Scaling(desired=wanted, cooldowns=after, reason=f"{observed}: {desired} -> {wanted}")


def _scale_out_blocked_by(
    now: float, desired: int, wanted: int, cooldowns: Cooldowns, *, suspended: bool
) -> str | None:
    """Why AlarmHigh does not change the count; None if it does."""
    if wanted <= desired:
        return f"{desired} desired are enough"
    if suspended:
        return "scale-out is suspended"
    if now < cooldowns.out_until and wanted <= cooldowns.out_to:
        return f"the scale-out cooldown of {cooldowns.out_to} tasks runs {cooldowns.out_until - now:g} s more"
    return None


def _scale_in_blocked_by(
    now: float, desired: int, wanted: int, cooldowns: Cooldowns, *, suspended: bool, deploying: bool
) -> str | None:
    """Why AlarmLow does not change the count; None if it does."""
    if wanted >= desired:
        return f"{desired} desired are not too many"
    if suspended:
        return "scale-in is suspended or disabled"
    if deploying:
        return "scale-in is off during a deployment"
    if now < cooldowns.in_until:
        return f"the scale-in cooldown runs {cooldowns.in_until - now:g} s more"
    if now < cooldowns.out_until:
        return f"the scale-out cooldown runs {cooldowns.out_until - now:g} s more"
    return None


def _not_scaled(
    desired: int, wanted: int, minimum: int, maximum: int, *, high: bool, deploying: bool
) -> NotScaled | None:
    """AWS's code for an alarm that changes nothing."""
    if high and wanted <= desired:
        return NotScaled.AT_MAXIMUM if desired >= maximum else NotScaled.AT_DESIRED
    if not high and wanted >= desired:
        return NotScaled.AT_MINIMUM if desired <= minimum else NotScaled.AT_DESIRED
    return NotScaled.DEPLOYING if deploying and not high else None


def _scalable_target(read: PropertyReader) -> tuple[str, str | None]:
    """The resource id and, if the policy names its target by it, the scalable target's Ref.

    CloudFormation forms the Ref as `resource id|scalable dimension|service namespace`.
    """
    given = _TARGET & read.properties.keys()
    if "ScalingTargetId" in given:
        if others := sorted(given - {"ScalingTargetId"}):
            raise read.error(others[0], "cannot stand beside ScalingTargetId; leave one of them out")
        scaling_target_id = read.name("ScalingTargetId")
        return scaling_target_id.split("|")[0], scaling_target_id
    read.one_of("ServiceNamespace", ["ecs"])
    read.one_of("ScalableDimension", ["ecs:service:DesiredCount"])
    resource_id = read.name("ResourceId")
    kind, *names = resource_id.split("/")
    if kind != "service" or len(names) != 2 or not all(names):
        raise read.error("ResourceId", "must be service/<cluster>/<service>")
    return resource_id, None
