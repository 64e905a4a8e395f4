"""The dynamic target: acceptable latency x concurrency / processing time.

Owns the chain raw -> bounds -> deadband -> factor per retune. Refuses a processing time that is not a
positive finite number, and leaves the present target alone where too little is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

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
"""Relative difference within which the policy's target is the template's, after its way through AWS."""


def initial_target(workload: Workload) -> float:
    """The target that its stack started the policy with, in messages per instance."""
    target = workload.target
    if isinstance(target, DynamicTarget):
        return target.fallback_messages_per_instance
    return target.messages_per_instance


def weighted(
    statistic: Mapping[datetime, float], sample_counts: Mapping[datetime, float], window_s: int
) -> Durations:
    """One statistic over a window from its per-period values, weighted by SampleCount.

    Exact for Average. For a percentile it is the sample-weighted mean of the periods' percentiles, which is
    an approximation: percentiles do not add up.
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

    `present` is the policy's target now, None where the mode has no policy. Where a stack event has reset it
    to the template's initial value nothing was measured, so the factor per retune does not apply.
    """

    def leave(reason: Reason, detail: str = "") -> TargetDecision:
        return TargetDecision(
            workload=workload,
            trigger=trigger,
            reason=reason,
            durations=durations,
            current=current,
            detail=detail,
        )

    if isinstance(durations, Unknown):
        return leave(Reason.UNKNOWN_READING, durations.reason)
    if durations.samples < settings.min_samples:
        return leave(Reason.TOO_FEW_SAMPLES, f"{durations.samples:g} of {settings.min_samples} needed")
    if not (math.isfinite(durations.seconds) and durations.seconds > 0):
        return leave(Reason.DURATION_REFUSED, f"{durations.seconds:g} s over {durations.samples:g} samples")
    raw = settings.acceptable_latency_s * settings.concurrency_per_instance / durations.seconds
    wanted, limits = _bounded(raw, settings)
    if current is not None and _close(wanted, current, settings):
        return leave(Reason.WITHIN_DEADBAND, f"{wanted:.4g} against {current:.4g}")
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
    """Whether the stack put its own target back; an update of anything else leaves the retuned one."""
    fallback = settings.fallback_messages_per_instance
    return trigger is Trigger.STACK and math.isclose(current, fallback, rel_tol=SAME_TARGET)


def _close(target: float, current: float, settings: DynamicTarget) -> bool:
    """Within the deadband of a present target that is itself within the bounds."""
    allowed = settings.min_messages_per_instance <= current <= settings.max_messages_per_instance
    return allowed and abs(target - current) <= settings.deadband_ratio * current


def _bounded(target: float, settings: DynamicTarget) -> tuple[float, tuple[Limit, ...]]:
    if target < settings.min_messages_per_instance:
        return settings.min_messages_per_instance, (Limit.MIN_TARGET,)
    if target > settings.max_messages_per_instance:
        return settings.max_messages_per_instance, (Limit.MAX_TARGET,)
    return target, ()
