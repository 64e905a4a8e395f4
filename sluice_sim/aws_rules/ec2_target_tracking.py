"""Target tracking of EC2 Auto Scaling: the two alarms of a policy, and the capacity that each requests.

A policy is built from resolved `AWS::AutoScaling::ScalingPolicy` properties; other policy types and
predefined metrics are errors. The proportional scaling of both directions is pure. AWS documents little of
this: each number and rule that was only observed or inferred is named here and can be changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sluice_sim.aws_rules.alarm_properties import PropertyReader
from sluice_sim.aws_rules.alarms import Alarm
from sluice_sim.aws_rules.target_tracking_alarms import (
    DEFAULT_PERIOD_S,
    HIGH_PERIODS,
    LOW_PERIODS,
    PolicyError,
    above,
    below,
    checked_target,
    configuration,
    metric_of,
    proportional,
)

__all__ = [
    "DEFAULT_PERIOD_S",
    "HIGH_PERIODS",
    "LOW_PERIODS",
    "OBSERVED_RATIO",
    "LowRatio",
    "PolicyError",
    "TargetTracking",
    "scale_in",
    "scale_out",
]

_POLICY_PROPERTIES = {
    "AutoScalingGroupName",
    "PolicyType",
    "TargetTrackingConfiguration",
    "EstimatedInstanceWarmup",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LowRatio:
    """k: the threshold of AlarmLow is k times the target, depending on the group's desired capacity.

    The three ratios were observed (0.85 at 7 instances). The sizes are an assumption: for N instances, the
    greatest of the three ratios that does not exceed (N - 1) / N, hence 7 and 10.
    """

    small: float = 0.70
    mid: float = 0.85
    large: float = 0.90
    mid_from: int = 7
    large_from: int = 10

    def for_size(self, size: int) -> float:
        """The ratio for a group of `size` instances."""
        if size >= self.large_from:
            return self.large
        return self.mid if size >= self.mid_from else self.small


OBSERVED_RATIO = LowRatio()


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetTracking:
    """One target-tracking policy of an Auto Scaling group; `target` is in the metric's own unit."""

    group: str
    target: float
    metric: Mapping[str, Any]
    disable_scale_in: bool
    instance_warmup_s: int | None

    @classmethod
    def from_properties(cls, logical_id: str, properties: Mapping[str, Any]) -> "TargetTracking":
        """The policy of a resolved template; errors name `logical_id` and the property."""
        read = PropertyReader(logical_id, properties, PolicyError)
        read.only(_POLICY_PROPERTIES)
        tracking = configuration(read, "TargetTrackingConfiguration")
        policy = cls(
            group=read.name("AutoScalingGroupName"),
            target=tracking.positive("TargetValue"),
            metric=metric_of(tracking),
            disable_scale_in=tracking.flag("DisableScaleIn", default=False),
            instance_warmup_s=(
                None
                if properties.get("EstimatedInstanceWarmup") is None
                else read.integer("EstimatedInstanceWarmup", min_value=0)
            ),
        )
        policy.high_alarm()  # raises now what its alarms would raise later
        return policy

    def with_target(self, target: float) -> "TargetTracking":
        """The same policy with another target, as PutScalingPolicy leaves it."""
        return replace(self, target=checked_target(self.group, target))

    def high_alarm(self) -> Alarm:
        """AlarmHigh: strictly above the target in 3 of 3 periods."""
        return above(self.group, self.metric, self.target)

    def low_alarm(self, size: int, ratio: LowRatio = OBSERVED_RATIO) -> Alarm | None:
        """AlarmLow for a group of `size`: below k * target in 15 of 15; None with scale-in disabled."""
        if self.disable_scale_in:
            return None
        return below(self.group, self.metric, ratio.for_size(size) * self.target)


def scale_out(*, desired: int, warmed: int, metric: float, target: float, maximum: int) -> int:
    """The capacity AlarmHigh requests: ceil(W * metric / target) up to `maximum`, never below `desired`.

    W is the number of warmed-up instances, at least 1. A breach that repeats while others warm up therefore
    adds nothing, and a group at 0 counts as one instance (both assumptions).
    """
    return max(desired, min(maximum, proportional(max(warmed, 1), metric, target)))


def scale_in(*, desired: int, warming: int, metric: float, target: float, minimum: int) -> int:
    """The capacity AlarmLow requests: ceil(N * metric / target), at least `minimum`, never above `desired`.

    No scale-in while an instance warms up. A group at 0 stays at 0 (assumption: AWS documents nothing for
    it).
    """
    wanted = proportional(desired, metric, target)
    return desired if warming > 0 else min(desired, max(minimum, wanted))
