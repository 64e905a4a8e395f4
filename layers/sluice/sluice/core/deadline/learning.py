"""What the deadline engine learns of a workload every hour: how long messages take, and the margin.

The margin is the part of the promise that the plan leaves unused. Counts are old, boots and processing times
vary, so some messages start late although the plan had them in time. How many is measured: the margin rises
while too many start late, and falls while hardly any do. Where nothing was measured, nothing changes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from sluice.core.deadline.plan import Processing
from sluice.core.model import Deadline, Durations, LearningDecision, Limit, Reason, Trigger, Unknown, Workload

MAX_RAISE_S = 10.0
"""The margin rises by what the slowest messages were late by, and by this at most in an hour."""
STEP_DOWN_S = 10.0
MIN_MARGIN_TICKS = -0.5
"""The plan takes messages to have arrived at the beginning of a tick: on average half a tick too early."""
MAX_MARGIN_SHARE = 0.5
"""The margin takes at most this share of the promise."""
LATE_ALLOWED = 0.5
"""The margin rises above this share of the late messages that the promise allows in an hour, half of it in a
day."""
HARDLY_ANY = 0.2
"""It falls below this share of what raises it."""
SIGNIFICANT = 2.0
"""Late messages count as too many if they are by this many standard deviations (their root)."""
MIN_MESSAGES = 5000
"""Messages since the last change that the margin needs to fall."""
MIN_SAMPLES = 30
MAX_FACTOR = 2.0
"""The processing time changes by this factor at most in an hour."""
MAX_VARIATION = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long messages waited from sending to start, as the workers measured it over some time."""

    messages: float
    late_share: float
    """Share of them that started after the promise, 0 to 1."""
    high_s: float
    """The 99.5th percentile, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What was learned of a workload by `at_s`, in seconds since the epoch."""

    at_s: float
    margin_s: float
    messages: float = 0.0
    """Messages whose waits were measured since the margin last changed."""
    processing: Processing | None = None
    """None until it was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the workers published of the last hour and of the last day."""

    mean: Durations | Unknown
    median: Durations | Unknown
    hour: Waits | Unknown | None
    """None if no message started."""
    day: Waits | Unknown | None


def learn(
    workload: Workload, deadline: Deadline, before: Learned | None, measured: Measured, now_s: float
) -> tuple[LearningDecision, Learned]:
    """The margin and the processing time from now on, and why.

    `before` is what was learned an hour ago, None if that is lost: then it begins with the document's margin.
    """
    known = before or Learned(at_s=now_s, margin_s=deadline.margin_s)
    processing, limits = _processing(measured, known.processing)
    margin_s, reason, detail = _margin(deadline, known, measured)
    waited = measured.hour.messages if isinstance(measured.hour, Waits) else 0.0
    learned = Learned(
        at_s=now_s,
        margin_s=margin_s,
        messages=0.0 if margin_s != known.margin_s else known.messages + waited,
        processing=processing,
    )
    decision = LearningDecision(
        workload=workload.name,
        trigger=Trigger.SCHEDULE,
        reason=reason,
        current_s=known.margin_s,
        margin_s=margin_s if margin_s != known.margin_s else None,
        processing_s=None if processing is None else processing.mean_s,
        variation=None if processing is None else processing.variation,
        limits=limits,
        detail=detail,
    )
    return decision, learned


def variation(mean_s: float, median_s: float) -> float:
    """The coefficient of variation of a log-normal distribution with this mean and median: at most 3.

    mean / median = exp(sigma^2 / 2), and variation^2 = exp(sigma^2) - 1: CloudWatch has no standard
    deviation.
    """
    return min(math.sqrt(max((mean_s / median_s) ** 2 - 1, 0.0)), MAX_VARIATION)


def _processing(measured: Measured, before: Processing | None) -> tuple[Processing | None, tuple[Limit, ...]]:
    """The measured processing time, moved by MAX_FACTOR at most; the earlier one if it was not measured."""
    mean_s, median_s = _seconds(measured.mean), _seconds(measured.median)
    if mean_s is None:
        return before, ()
    spread = variation(mean_s, median_s) if median_s is not None else 0.0
    if before is None:
        return Processing(mean_s=mean_s, variation=spread), ()
    moved_s = min(max(mean_s, before.mean_s / MAX_FACTOR), before.mean_s * MAX_FACTOR)
    limits = (Limit.MAX_FACTOR,) if moved_s != mean_s else ()
    if median_s is None:
        return replace(before, mean_s=moved_s), limits
    return Processing(mean_s=moved_s, variation=spread), limits


def _seconds(durations: Durations | Unknown) -> float | None:
    if isinstance(durations, Unknown) or durations.samples < MIN_SAMPLES:
        return None
    return durations.seconds if math.isfinite(durations.seconds) and durations.seconds > 0 else None


def _margin(deadline: Deadline, known: Learned, measured: Measured) -> tuple[float, Reason, str]:
    hour, day, margin_s = measured.hour, measured.day, known.margin_s
    for waits in (hour, day):
        if isinstance(waits, Unknown):
            return margin_s, Reason.UNKNOWN_READING, waits.reason
    if not isinstance(hour, Waits) or not isinstance(day, Waits):
        return margin_s, Reason.NO_WAITS, "no message started in the last hour"
    allowed = LATE_ALLOWED * (1 - deadline.promise_percent / 100)
    detail = (
        f"{hour.late_share:.2%} of {hour.messages:.0f} messages started late in the last hour, "
        f"{day.late_share:.2%} in the last day; above {allowed:.2%} is too many"
    )
    late = hour.late_share * hour.messages
    if late - SIGNIFICANT * math.sqrt(late) > allowed * hour.messages and day.late_share > allowed / 2:
        step_s = min(max(hour.high_s - deadline.promise_s, 0.0), MAX_RAISE_S)
        raised_s = max(margin_s, min(margin_s + step_s, MAX_MARGIN_SHARE * deadline.promise_s))
        return raised_s, Reason.TOO_MANY_LATE, detail
    enough = known.messages + hour.messages >= MIN_MESSAGES
    if hour.late_share < HARDLY_ANY * allowed and day.late_share < allowed / 2:
        if not enough:
            return margin_s, Reason.TOO_FEW_WAITS, f"{detail}; {MIN_MESSAGES} messages are needed to lower it"
        lowered_s = min(margin_s, max(margin_s - STEP_DOWN_S, MIN_MARGIN_TICKS * deadline.tick_s))
        return lowered_s, Reason.HARDLY_ANY_LATE, detail
    return margin_s, Reason.LATE_AS_ALLOWED, detail
