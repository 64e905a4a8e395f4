"""The dynamic target: acceptable latency x concurrency / processing time.

Owns the chain raw -> bounds -> deadband -> factor per retune. Refuses a processing time that is not a
positive finite number, and keeps the current target if there are too few samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

from sluice.core.deadline.promise import messages_in_time
from sluice.core.model import (
    Durations,
    DynamicTarget,
    Limit,
    Reason,
    TargetDecision,
    Trigger,
    Unknown,
    Workload,
)

SAME_TARGET = 1e-6
"""Relative difference within which the policy's target is still the template's: AWS may round it."""


def initial_target(workload: Workload) -> float:
    """The target that the workload's stack created the policy with, in messages per instance.

    With the deadline engine there is no policy: it is what an instance that is launched now starts in time.
    """
    target = workload.target
    if workload.deadline is not None:
        return messages_in_time(
            workload.deadline, workload.planned_processing_s, target.concurrency_per_instance
        )
    if isinstance(target, DynamicTarget):
        return target.fallback_messages_per_instance
    return target.messages_per_instance


def weighted(
    statistic: Mapping[datetime, float], sample_counts: Mapping[datetime, float], window_s: int
) -> Durations:
    """One statistic over a window from its per-period values, weighted by SampleCount.

    Exact for Average. For a percentile it is the sample-weighted mean of the periods' percentiles, an
    approximation: percentiles of periods do not combine into one of the window.
    """
    periods = [period for period in statistic if sample_counts.get(period, 0) > 0]
    samples = math.fsum(sample_counts[period] for period in periods)
    weight = math.fsum(statistic[period] * sample_counts[period] for period in periods)
    seconds = weight / samples if samples > 0 else math.nan
    return Durations(seconds=seconds, samples=samples, window_s=window_s)


def decide_target(
    workload: str,
    settings: DynamicTarget,
    durations: Durations | Unknown,
    current: float | None,
    trigger: Trigger,
) -> TargetDecision:
    """The target the policy should hold, in messages per instance.

    `current` is the policy's target, None if the mode has no policy. If a stack update has reset it to
    the template's initial value, it was not measured, so the factor per retune does not apply.
    """

    def keep(reason: Reason, detail: str = "") -> TargetDecision:
        return TargetDecision(
            workload=workload,
            trigger=trigger,
            reason=reason,
            durations=durations,
            current=current,
            detail=detail,
        )

    if isinstance(durations, Unknown):
        return keep(Reason.UNKNOWN_READING, durations.reason)
    if durations.samples < settings.min_samples:
        return keep(Reason.TOO_FEW_SAMPLES, f"{durations.samples:g} of {settings.min_samples} needed")
    if not (math.isfinite(durations.seconds) and durations.seconds > 0):
        return keep(Reason.DURATION_REFUSED, f"{durations.seconds:g} s over {durations.samples:g} samples")
    raw = settings.acceptable_latency_s * settings.concurrency_per_instance / durations.seconds
    wanted, limits = _bounded(raw, settings)
    if current is not None and _close(wanted, current, settings):
        return keep(Reason.WITHIN_DEADBAND, f"{wanted:.4g} against {current:.4g}")
    target = wanted
    if current is not None and not _was_reset(current, settings, trigger):
        factor = settings.max_factor_per_retune
        target, _ = _bounded(min(max(wanted, current / factor), current * factor), settings)
        limits += (Limit.MAX_FACTOR,) if target != wanted else ()
    return TargetDecision(
        workload=workload,
        trigger=trigger,
        reason=Reason.RETUNED,
        durations=durations,
        current=current,
        target=target,
        limits=limits,
        detail=f"{settings.acceptable_latency_s:g} s x {settings.concurrency_per_instance:g} "
        f"/ {durations.seconds:.4g} s = {raw:.4g}",
    )


def _was_reset(current: float, settings: DynamicTarget, trigger: Trigger) -> bool:
    """Whether a stack update put the template's target back; an update of other properties does not."""
    fallback = settings.fallback_messages_per_instance
    return trigger is Trigger.STACK and math.isclose(current, fallback, rel_tol=SAME_TARGET)


def _close(target: float, current: float, settings: DynamicTarget) -> bool:
    """Whether the target is within the deadband of a current target that is itself within the bounds."""
    allowed = settings.min_messages_per_instance <= current <= settings.max_messages_per_instance
    return allowed and abs(target - current) <= settings.deadband_ratio * current


def _bounded(target: float, settings: DynamicTarget) -> tuple[float, tuple[Limit, ...]]:
    if target < settings.min_messages_per_instance:
        return settings.min_messages_per_instance, (Limit.MIN_TARGET,)
    if target > settings.max_messages_per_instance:
        return settings.max_messages_per_instance, (Limit.MAX_TARGET,)
    return target, ()
