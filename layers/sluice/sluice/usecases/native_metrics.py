"""The tick looks whether AWS publishes what a policy with MetricSource=native reads.

Such a policy divides by AWS's own count of running instances, which AWS publishes where it was asked to:
without it target tracking has no data, and nothing else says so. Owns that look. Refuses to act, and to take
a failed read, or an instance that has just started, for a metric that is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from sluice.core.emptiness import MINUTE
from sluice.core.model import (
    AutoScalingGroup,
    Capacity,
    MetricSource,
    Mode,
    Observation,
    Unknown,
    Workload,
)
from sluice.ports import Counter, LastKnown, RemainingS, Report, Series, SeriesQuery, World
from sluice.usecases.isolation import each_isolated
from sluice.usecases.last_known import (
    Quantity,
    Tick,
    Workloads,
    last_known,
)

WINDOW_MINUTES = 15
"""AWS's own metrics of a minute can be read some minutes after its end, and a service's only while it has
tasks: instances that run for less say nothing."""
MAX_GAP = 5 * MINUTE
"""Between two ticks that saw instances run: beyond, they may have been others."""


def tell_missing_metrics(
    minute: datetime,
    workloads: Mapping[str, Workload],
    seen: Mapping[str, Observation],
    world: World,
    report: Report,
    remaining_s: RemainingS,
) -> None:
    """Tell each workload whose policy reads AWS's own metrics and whose fleet has none, while it runs."""
    asked: dict[str, Workload] = {}

    def look(workload: Workload) -> None:
        tracks_native = workload.tracking.source is MetricSource.NATIVE and workload.mode is Mode.ACTIVE
        if tracks_native and _runs_long_enough(workload, seen[workload.name], minute, world):
            asked[workload.name] = workload

    each_isolated(workloads, Counter.OBSERVATION_FAILED, report, look)
    tick = Tick(minute=minute, world=world, report=report, remaining_s=remaining_s)
    published = last_known(PUBLISHED_MINUTES, asked, tick)

    def judge(workload: Workload) -> None:
        capacity = seen[workload.name].capacity
        if published[workload.name].value == 0 and isinstance(capacity, Capacity):
            report.failed(workload.name, Counter.DOCUMENT_INVALID, _missing(workload, capacity.running))

    each_isolated(asked, Counter.OBSERVATION_FAILED, report, judge)


def _runs_long_enough(workload: Workload, saw: Observation, minute: datetime, world: World) -> bool:
    """Whether this process has seen instances run at each tick of the window."""
    memory, key = world.last_known, ("runs since", str(workload.fleet))
    if isinstance(saw.capacity, Unknown) or saw.capacity.running == 0:
        memory.pop(key, None)
        return False
    last = memory.get(key)
    if last is None or abs(minute - last.asked_at) > MAX_GAP:
        last = LastKnown(value=saw.capacity.running, read_at=minute, asked_at=minute)
    memory[key] = replace(last, asked_at=minute)
    return minute - last.read_at >= MINUTE * WINDOW_MINUTES


def _missing(workload: Workload, running: int) -> str:
    metric = workload.fleet.running_metric
    way_out = (
        "turn the group's metrics on (enable-metrics-collection with granularity 1Minute)"
        if isinstance(workload.fleet, AutoScalingGroup)
        else "turn Container Insights on for its cluster"
    )
    return (
        f"AWS has published no {metric.name} of {workload.fleet} for {WINDOW_MINUTES} minutes although "
        f"instances run ({running} now): with MetricSource native target tracking has no data, and the fleet "
        f"does not follow its queue; {way_out}, or set MetricSource to published"
    )


def _series(workloads: Workloads, tick: Tick) -> Mapping[str, Series | Unknown]:
    queries = {
        name: SeriesQuery(metric=workload.fleet.running_metric, statistic="SampleCount", period_s=60)
        for name, workload in workloads.items()
    }
    first = tick.minute - MINUTE * WINDOW_MINUTES
    return tick.world.metrics.read(queries, first, tick.minute, tick.remaining_s)


PUBLISHED_MINUTES = Quantity(
    name="AWS's own metrics",
    source=lambda workload: str(workload.fleet),
    read=_series,
    value=lambda workload, series, tick: len(series),  # noqa: ARG005
    every=5 * MINUTE,
    retry=5 * MINUTE,
    kept=4 * MINUTE,
)
"""Minutes of the window of which AWS tells how many instances ran; one metric a read."""
