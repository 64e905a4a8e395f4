"""EC2 Auto Scaling target tracking: the two alarms behind a policy, and what each asks for.

Owns: a policy as resolved `AWS::AutoScaling::ScalingPolicy` properties define it, its AlarmHigh and
AlarmLow, and the proportional arithmetic of both directions, pure. Refuses other policy types and
predefined metrics. AWS documents little of this: each number and rule that was only observed or inferred is
named here and can be changed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sluice_sim.alarms import Alarm

HIGH_PERIODS = 3
"""AlarmHigh: all of 3 periods above the target (observed)."""
LOW_PERIODS = 15
"""AlarmLow: all of 15 periods below k times the target (observed)."""
DEFAULT_PERIOD_S = 60

_POLICY_PROPERTIES = {
    "AutoScalingGroupName",
    "PolicyType",
    "TargetTrackingConfiguration",
    "EstimatedInstanceWarmup",
}
_CONFIGURATION = {"CustomizedMetricSpecification", "TargetValue", "DisableScaleIn"}
_SPECIFICATION = {"MetricName", "Namespace", "Dimensions", "Statistic", "Period", "Metrics"}


class PolicyError(ValueError):
    """A scaling policy that is not simulated, or numbers no policy can work with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LowRatio:
    """k: AlarmLow stands at k times the target, by the group's size (desired instances).

    The three ratios were observed (0.85 at 7 instances); the sizes are an assumption: the greatest of the
    three ratios that one instance fewer out of N, (N - 1) / N, still reaches, hence 7 and 10.
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
        _only(logical_id, properties, _POLICY_PROPERTIES)
        if properties.get("PolicyType") != "TargetTrackingScaling":
            kind = properties.get("PolicyType")
            raise PolicyError(f"{logical_id}.PolicyType = {kind!r}: only TargetTrackingScaling is simulated")
        where = f"{logical_id}.TargetTrackingConfiguration"
        configuration = _mapping(logical_id, properties, "TargetTrackingConfiguration")
        _only(where, configuration, _CONFIGURATION)
        specification = _mapping(where, configuration, "CustomizedMetricSpecification")
        _only(f"{where}.CustomizedMetricSpecification", specification, _SPECIFICATION)
        warmup = properties.get("EstimatedInstanceWarmup")
        group = properties.get("AutoScalingGroupName")
        if not isinstance(group, str) or not group:
            raise PolicyError(f"{logical_id}.AutoScalingGroupName = {group!r}: give the name of the group")
        policy = cls(
            group=group,
            target=_number(where, "TargetValue", configuration.get("TargetValue")),
            metric=_with_periods(specification),
            disable_scale_in=_flag(where, "DisableScaleIn", configuration.get("DisableScaleIn", False)),
            instance_warmup_s=(
                None
                if warmup is None
                else int(_number(logical_id, "EstimatedInstanceWarmup", warmup, least=0))
            ),
        )
        policy.high_alarm()  # refuses now what its alarms could not read later
        return policy

    def with_target(self, target: float) -> "TargetTracking":
        """The same policy at another target, as PutScalingPolicy leaves it."""
        return replace(self, target=_number(self.group, "TargetValue", target))

    def high_alarm(self) -> Alarm:
        """AlarmHigh: strictly above the target in 3 of 3 periods."""
        return self._alarm("AlarmHigh", "GreaterThanThreshold", self.target, HIGH_PERIODS)

    def low_alarm(self, size: int, ratio: LowRatio = OBSERVED_RATIO) -> Alarm | None:
        """AlarmLow for a group of `size`: below k * target in 15 of 15; None with scale-in disabled."""
        if self.disable_scale_in:
            return None
        return self._alarm("AlarmLow", "LessThanThreshold", ratio.for_size(size) * self.target, LOW_PERIODS)

    def _alarm(self, kind: str, comparison: str, threshold: float, periods: int) -> Alarm:
        name = f"TargetTracking-{self.group}-{kind}"
        return Alarm.from_properties(
            name,
            {
                **self.metric,
                "ComparisonOperator": comparison,
                "Threshold": threshold,
                "EvaluationPeriods": periods,
                "DatapointsToAlarm": periods,
                "TreatMissingData": "missing",
            },
        )


def scale_out(*, desired: int, warmed: int, metric: float, target: float, maximum: int) -> int:
    """The desired capacity AlarmHigh asks for: ceil(W * metric / T) up to `maximum`, never below `desired`.

    W is the number of instances past their warm-up, at least 1, so that a breach repeated while others warm
    up adds nothing, and a group at 0 is counted as one instance (both assumptions).
    """
    return max(desired, min(maximum, _proportional(max(warmed, 1), metric, target)))


def scale_in(*, desired: int, warming: int, metric: float, target: float, minimum: int) -> int:
    """The desired capacity AlarmLow asks for: ceil(N * metric / T) from `minimum` on, never above `desired`.

    Held while an instance warms up. A group at 0 stays there (assumption: AWS documents nothing for N = 0).
    """
    wanted = _proportional(desired, metric, target)
    return desired if warming > 0 else min(desired, max(minimum, wanted))


def _proportional(instances: int, metric: float, target: float) -> int:
    if not (math.isfinite(target) and target > 0):
        raise PolicyError(f"the target is {target}; give a positive finite number")
    if not (math.isfinite(metric) and metric >= 0):
        raise PolicyError(f"the metric is {metric}; give a finite number from 0 on")
    return math.ceil(round(instances * metric / target, 9))  # 3 * 0.1 / 0.3 asks for 1, not for 2


def _with_periods(specification: Mapping[str, Any]) -> dict[str, Any]:
    """The specification as an alarm's properties: a policy may leave the period out, an alarm may not."""
    if "Metrics" not in specification:
        return {"Period": DEFAULT_PERIOD_S, **specification}
    return {
        **specification,
        "Metrics": [
            {**entry, "MetricStat": {"Period": DEFAULT_PERIOD_S, **entry["MetricStat"]}}
            if isinstance(entry, dict) and isinstance(entry.get("MetricStat"), dict)
            else entry
            for entry in specification["Metrics"]
        ],
    }


def _mapping(where: str, properties: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = properties.get(key)
    if not isinstance(value, dict):
        raise PolicyError(f"{where}.{key} = {value!r}: a mapping is needed here")
    return value


def _only(where: str, properties: Mapping[str, Any], known: set[str]) -> None:
    for key in sorted(properties.keys() - known):
        names = ", ".join(sorted(known))
        raise PolicyError(f"{where}.{key} = {properties[key]!r}: is not simulated; known here are {names}")


def _flag(where: str, key: str, value: object) -> bool:
    if str(value).lower() not in ("true", "false"):
        raise PolicyError(f"{where}.{key} = {value!r}: must be true or false")
    return str(value).lower() == "true"


def _number(where: str, key: str, value: object, *, least: float | None = None) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or (number <= 0 if least is None else number < least):
        bound = "positive" if least is None else f"at least {least}"
        raise PolicyError(f"{where}.{key} = {value!r}: must be a finite number, {bound}")
    return number
