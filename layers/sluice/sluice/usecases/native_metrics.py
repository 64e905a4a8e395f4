"""Step: warn if AWS does not publish what a policy on AWS's own metrics reads.

Such a policy, with MetricSource=native or as the fallback of the deadline engine, divides by AWS's own count
of running instances, which AWS publishes only if that is turned on. Without it target tracking has no data,
and nothing else shows that. Nothing is acted on. Neither a failed read nor an instance that has just started
counts as a missing metric.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sluice.core.minutes import MINUTE
from sluice.core.model import (
    AutoScalingGroup,
    Capacity,
    Unknown,
    Workload,
)
from sluice.ports import Counter, LastKnown, Series, SeriesQuery
from sluice.usecases.isolation import each_isolated
from sluice.usecases.last_known import Quantity, last_known
from sluice.usecases.tick_context import TickContext, Workloads

WINDOW_MINUTES = 15
"""AWS's own metrics of a minute can be read only some minutes after its end, and a service's only while it
has tasks: for a fleet that has run for less time, missing points mean nothing."""
MAX_GAP = 5 * MINUTE
"""The longest gap between two ticks that see instances run; after a longer one they may be other
instances."""


def warn_missing_metrics(tick: TickContext) -> None:
    """Log each workload whose policy reads AWS's own metrics and whose running fleet has none."""
    running: dict[str, Workload] = {}

    def select(workload: Workload) -> None:
        if workload.tracks_native_metrics and _runs_long_enough(workload, tick):
            running[workload.name] = workload

    each_isolated(tick.workloads, Counter.OBSERVATION_FAILED, tick.report, select)
    published = last_known(PUBLISHED_MINUTES, running, tick)

    def warn(workload: Workload) -> None:
        capacity = tick.observed[workload.name].capacity
        if published[workload.name].value == 0 and isinstance(capacity, Capacity):
            tick.report.failed(workload.name, Counter.DOCUMENT_INVALID, _missing(workload, capacity.running))

    each_isolated(running, Counter.OBSERVATION_FAILED, tick.report, warn)


def _runs_long_enough(workload: Workload, tick: TickContext) -> bool:
    """Whether this process has seen instances run at each tick of the window."""
    memory, key = tick.ports.last_known, ("runs since", str(workload.fleet))
    capacity = tick.observed[workload.name].capacity
    if isinstance(capacity, Unknown) or capacity.running == 0:
        memory.pop(key, None)
        return False
    last = memory.get(key)
    if last is None or abs(tick.minute - last.attempted_at) > MAX_GAP:
        last = LastKnown(value=capacity.running, read_at=tick.minute, attempted_at=tick.minute)
    memory[key] = replace(last, attempted_at=tick.minute)
    return tick.minute - last.read_at >= MINUTE * WINDOW_MINUTES


def _missing(workload: Workload, running: int) -> str:
    metric = workload.fleet.running_metric
    way_out = (
        "turn the group's metrics on (enable-metrics-collection with granularity 1Minute)"
        if isinstance(workload.fleet, AutoScalingGroup)
        else "turn Container Insights on for its cluster"
    )
    consequence, without = (
        (
            "with MetricSource native target tracking has no data, and the fleet does not follow its queue",
            "MetricSource to published",
        )
        if workload.deadline is None
        else (
            "the fallback has no data, and nothing scales the fleet out while Sluice is silent",
            "Fallback to false",
        )
    )
    return (
        f"AWS has published no {metric.name} of {workload.fleet} for {WINDOW_MINUTES} minutes although "
        f"instances run ({running} now): {consequence}; {way_out}, or set {without}"
    )


def _series(workloads: Workloads, tick: TickContext) -> Mapping[str, Series | Unknown]:
    queries = {
        name: SeriesQuery(metric=workload.fleet.running_metric, statistic="SampleCount", period_s=60)
        for name, workload in workloads.items()
    }
    first = tick.minute - MINUTE * WINDOW_MINUTES
    return tick.ports.metrics.read(queries, first, tick.minute, tick.remaining_s)


PUBLISHED_MINUTES = Quantity(
    name="AWS's own metrics",
    source=lambda workload: str(workload.fleet),
    read=_series,
    value=lambda workload, series, tick: len(series),  # noqa: ARG005
    refresh_interval=5 * MINUTE,
    retry_interval=5 * MINUTE,
    max_age=4 * MINUTE,
)
"""Minutes of the window for which AWS has published the running instances; a read is billed as one metric."""
