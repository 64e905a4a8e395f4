"""Explains the target at the end of a run: how it came about, and which parameters limit it.

A dynamic target is explained by its last retune: the arithmetic, the bounds, the deadband and the samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from sluice.core.model import Durations, DynamicTarget, Reason, StaticTarget, TargetDecision

SAME = 1e-3
"""Relative difference below which two targets count as equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentTarget:
    """The target of target tracking in messages per instance, and how it came about."""

    messages_per_instance: float
    because: str
    limits: tuple[str, ...] = ()
    """Parameters of workload.yaml that keep it from the value the promise allows, strongest first."""


def explain(
    settings: StaticTarget | DynamicTarget, current: float, last: TargetDecision | None
) -> CurrentTarget:
    """Explain the `current` target; `last` is the last retune of the run, None if there was none."""
    if isinstance(settings, StaticTarget):
        return CurrentTarget(messages_per_instance=current, because="static: MessagesPerInstance")
    if last is None:
        return CurrentTarget(
            messages_per_instance=current,
            because="MessagesPerInstance: no retune came within the run",
            limits=("MessagesPerInstance",),
        )
    durations = last.durations
    if last.reason is Reason.TOO_FEW_SAMPLES:
        return CurrentTarget(
            messages_per_instance=current,
            because=f"left alone by the last retune: {last.detail}",
            limits=("MinSamples",),
        )
    if not isinstance(durations, Durations) or not durations.seconds > 0:
        return CurrentTarget(
            messages_per_instance=current, because=f"left alone by the last retune: {last.detail}"
        )
    return _measured(settings, current, last.reason, durations.seconds)


def _measured(settings: DynamicTarget, current: float, reason: Reason, processing_s: float) -> CurrentTarget:
    latency_s, concurrency = settings.acceptable_latency_s, settings.concurrency_per_instance
    allowed = latency_s * concurrency / processing_s
    lowest, highest = settings.min_messages_per_instance, settings.max_messages_per_instance
    limits = []
    if allowed > highest:
        limits.append("MaxMessagesPerInstance")
    if allowed < lowest:
        limits.append("MinMessagesPerInstance")
    if not math.isclose(current, min(max(allowed, lowest), highest), rel_tol=SAME):
        limits.append("DeadbandRatio" if reason is Reason.WITHIN_DEADBAND else "MaxFactorPerRetune")
    arithmetic = f"{latency_s:g} s x {concurrency:g} / {processing_s:.4g} s = {allowed:.4g}"
    because = f"{arithmetic}, limited by {' and '.join(limits)}" if limits else arithmetic
    return CurrentTarget(messages_per_instance=current, because=because, limits=tuple(limits))
