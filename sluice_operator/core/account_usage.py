"""What a control plane, a workload, its workers and its fleet have deployed, and used in a window of time.

Pure. A value that could not be read is Unknown, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sluice.core.model import Unknown, Workload
from sluice_operator.core.prices import HOURS_A_MONTH

HOUR_S = 3600.0
MINUTES_A_MONTH = HOURS_A_MONTH * 60
GAP_H, GAP_SHARE = 0.5, 0.5
"""Missing hours of a fleet's size that are no delay of CloudWatch any more; in short windows, the share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The time whose usage was read, from a stack's creation on if that is later."""

    start: datetime
    end: datetime

    @property
    def hours(self) -> float:
        """Its length."""
        return (self.end - self.start).total_seconds() / HOUR_S

    @property
    def clock_hours(self) -> int:
        """The hours of the clock that it touches: a custom metric is billed by these."""
        return math.ceil(self.end.timestamp() / HOUR_S) - math.floor(self.start.timestamp() / HOUR_S)

    def per_month(self, amount: float | Unknown) -> float | Unknown:
        """What was used in the window, as of a month of 730 hours."""
        return amount if isinstance(amount, Unknown) else amount * HOURS_A_MONTH / self.hours


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionUsage:
    """One function of the control plane, in the window."""

    name: str
    invocations: float | Unknown
    duration_ms: float | Unknown
    """Of all invocations together."""
    memory_mb: int | Unknown
    architecture: str = "arm64"


Amounts = Mapping[str, float | Unknown]
"""By the name of the resource; what could not be read is Unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneUsage:
    """What one control plane has deployed, and has used in the window."""

    window: Window
    alarms: Sequence[Mapping[str, Any]] | Unknown
    """As CloudWatch or a template describes them."""
    deleted_alarms: int = 0
    """Those of its stack that do not exist any more."""
    dashboards: int | Unknown
    schedules: Amounts | Unknown
    """Invocations a month by each schedule."""
    functions: Sequence[FunctionUsage] | Unknown
    logged_bytes: Amounts | Unknown
    metric_hours: Amounts | Unknown
    """Hours with values of each custom metric that it publishes about itself."""
    queue_requests: Amounts | Unknown
    read_units: float | Unknown
    write_units: float | Unknown
    points_a_minute: int
    """Data points that its ticks publish: one or two for each workload."""
    workloads: int
    sends_events: bool | Unknown
    """Whether it puts events on a bus, of which AWS publishes no count by sender."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadUsage:
    """What one workload's stack has deployed, and what it and its workers have used in the window."""

    workload: Workload
    window: Window
    alarms: Sequence[Mapping[str, Any]] | Unknown
    """Those of its stack, and those of AWS for its target-tracking policy."""
    dashboards: int | Unknown
    metric_hours: Amounts | Unknown
    """Hours with values of each metric that the control plane publishes for it."""
    worker_metric_hours: Amounts | Unknown
    """The same, of its workers."""
    fleet: FleetHours | Unknown


# ---- The fleet


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetHours:
    """The instance-hours of the hours of which the fleet's size is known."""

    instance_hours: float
    known_h: float
    window_h: float

    @property
    def missing_h(self) -> float:
        """Hours without a value: nothing is assumed of them."""
        return max(0.0, self.window_h - self.known_h)

    @property
    def has_gap(self) -> bool:
        """Whether more is missing than the minutes that CloudWatch takes to show a value."""
        return self.missing_h >= min(GAP_H, self.window_h * GAP_SHARE)

    @property
    def per_month(self) -> float | Unknown:
        """Instance-hours of a month of 730 hours, at the rate of the known hours; Unknown without any."""
        if not self.known_h:
            return Unknown(reason="the fleet's size is known of no hour")
        return self.instance_hours * HOURS_A_MONTH / self.known_h


def fleet_hours(
    sizes: Mapping[datetime, float], samples: Mapping[datetime, float], window: Window
) -> FleetHours:
    """From the mean size and the number of one-minute values of each hour of the window."""
    known = {at: min(samples.get(at, 0.0) / 60, 1.0) for at in sizes}
    return FleetHours(
        instance_hours=math.fsum(size * known[at] for at, size in sizes.items()),
        known_h=math.fsum(known.values()),
        window_h=window.hours,
    )


# ---- Schedules


def invocations_a_month(expression: str) -> float | Unknown:
    """Invocations by a schedule's expression: a rate, or a cron of every minute, hour or day."""
    kind, _, rest = expression.strip().rstrip(")").partition("(")
    fields = rest.split()
    units = {"minute": 1.0, "hour": 60.0, "day": 1440.0}
    if kind == "rate" and len(fields) == 2 and fields[0].isdecimal() and int(fields[0]):
        minutes = units.get(fields[1].rstrip("s"))
        if minutes is not None:
            return MINUTES_A_MONTH / (int(fields[0]) * minutes)
    if kind == "cron" and len(fields) == 6 and set(fields[2:]) <= {"*", "?"}:
        counts = [_times(field, most) for field, most in zip(fields[:2], (60, 24), strict=True)]
        if all(counts):
            return math.prod(counts) * HOURS_A_MONTH / 24
    return Unknown(reason=f"the schedule's expression {expression} is none that is counted here")


def _times(field: str, most: int) -> int:
    """How many values of a cron's minutes or hours match; 0 if the field is not understood."""
    if field == "*":
        return most
    start, _, step = field.partition("/")
    if step.isdecimal() and int(step) and (start in ("*", "0")):
        return math.ceil(most / int(step))
    return len(field.split(",")) if all(part.isdecimal() for part in field.split(",")) else 0
