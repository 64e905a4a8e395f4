"""What target tracking of EC2 and of ECS share: configuration, metric, both alarms, proportional count.

Pure. Other policy types and predefined metrics are errors. Which instances count, and when a count may
change, differs: see `ec2_target_tracking` and `ecs_target_tracking`.
"""

import math
import uuid
from collections.abc import Mapping
from typing import Any

from sluice_sim.aws_rules.alarm_properties import PropertyReader
from sluice_sim.aws_rules.alarms import Alarm

HIGH_PERIODS = 3
"""AlarmHigh: 3 of 3 periods above the target (observed)."""
LOW_PERIODS = 15
"""AlarmLow: 15 of 15 periods below a share of the target (observed)."""
DEFAULT_PERIOD_S = 60

_CONFIGURATION = {"CustomizedMetricSpecification", "TargetValue", "DisableScaleIn"}
_SPECIFICATION = {"MetricName", "Namespace", "Dimensions", "Statistic", "Period", "Metrics"}


class PolicyError(ValueError):
    """A scaling policy that is not simulated, or an invalid target or metric value."""


def configuration(read: PropertyReader, key: str, more: frozenset[str] = frozenset()) -> PropertyReader:
    """The target-tracking configuration under `key`; `more` names further properties that it may have."""
    if read.properties.get("PolicyType") != "TargetTrackingScaling":
        raise read.error("PolicyType", "only TargetTrackingScaling is simulated")
    tracking = read.inner(key)
    tracking.only(_CONFIGURATION | more)
    return tracking


def metric_of(tracking: PropertyReader) -> dict[str, Any]:
    """The tracked metric as alarm properties; adds the period, which only a policy may omit."""
    read = tracking.inner("CustomizedMetricSpecification")
    read.only(_SPECIFICATION)
    if "Metrics" not in read.properties:
        return {"Period": DEFAULT_PERIOD_S, **read.properties}
    return {
        **read.properties,
        "Metrics": [
            {**entry, "MetricStat": {"Period": DEFAULT_PERIOD_S, **entry["MetricStat"]}}
            if isinstance(entry, dict) and isinstance(entry.get("MetricStat"), dict)
            else entry
            for entry in read.properties["Metrics"]
        ],
    }


def checked_target(where: str, target: float) -> float:
    """The target, if it is positive and finite; PolicyError otherwise."""
    return PropertyReader(where, {"TargetValue": target}, PolicyError).positive("TargetValue")


def above(what: str, metric: Mapping[str, Any], threshold: float) -> Alarm:
    """AlarmHigh of the policy for `what`: strictly above the threshold in 3 of 3 periods."""
    return _alarm(_name(what, "AlarmHigh"), metric, "GreaterThanThreshold", threshold, HIGH_PERIODS)


def below(what: str, metric: Mapping[str, Any], threshold: float) -> Alarm:
    """AlarmLow of the policy for `what`: strictly below the threshold in 15 of 15 periods."""
    return _alarm(_name(what, "AlarmLow"), metric, "LessThanThreshold", threshold, LOW_PERIODS)


def proportional(count: int, metric: float, target: float) -> int:
    """ceil(count * metric / target), rounded first so that 3 * 0.1 / 0.3 gives 1 and not 2."""
    if not (math.isfinite(target) and target > 0):
        raise PolicyError(f"the target is {target}; give a positive finite number")
    if not (math.isfinite(metric) and metric >= 0):
        raise PolicyError(f"the metric is {metric}; give a finite number from 0 on")
    return math.ceil(round(count * metric / target, 9))


def _name(what: str, side: str) -> str:
    """AWS's name, with a unique part that is the same in every run."""
    return f"TargetTracking-{what}-{side}-{uuid.uuid5(uuid.NAMESPACE_URL, f'{what}/{side}')}"


def _alarm(name: str, metric: Mapping[str, Any], comparison: str, threshold: float, periods: int) -> Alarm:
    return Alarm.from_properties(
        name,
        {
            **metric,
            "ComparisonOperator": comparison,
            "Threshold": threshold,
            "EvaluationPeriods": periods,
            "DatapointsToAlarm": periods,
            "TreatMissingData": "missing",
        },
    )
