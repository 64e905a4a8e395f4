"""A step of the tick: one data point of each metric for every workload that was read in full.

Owns what a workload's points are. Refuses to publish a value for anything that could not be read, and to let
whatever goes wrong with the arrivals keep the plain BacklogPerInstance back.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial

from sluice.core.capacity_units import why_not_served
from sluice.core.effective_backlog import to_publish
from sluice.core.emptiness import backlog_per_instance
from sluice.core.model import (
    BACKLOG_PER_INSTANCE,
    EFFECTIVE_BACKLOG_PER_INSTANCE,
    Capacity,
    DataPoint,
    Demand,
    Observation,
    Published,
    Unknown,
    Workload,
)
from sluice.ports import Counter, RemainingS, Report, World
from sluice.usecases.isolation import (
    EVERY_WORKLOAD,
    each_isolated,
    read_isolated,
)
from sluice.usecases.observe import report_unknown
from sluice.usecases.offered_load import demands
from sluice.usecases.wake import published_metric


def publish_metrics(
    minute: datetime,
    workloads: Mapping[str, Workload],
    seen: Mapping[str, Observation],
    world: World,
    report: Report,
    remaining_s: RemainingS,
) -> Mapping[str, str]:
    """Publish for each workload that was read in full; the answer names those CloudWatch refused."""
    published: dict[str, Published] = {}

    def measure(workload: Workload) -> None:
        value = _backlog_per_instance(workload, seen[workload.name], report)
        if value is not None:
            published[workload.name] = Published(backlog_per_instance=value)

    def count_arrivals(workload: Workload) -> None:
        name, capacity = workload.name, seen[workload.name].capacity
        if isinstance(capacity, Capacity):
            plain = published[name].backlog_per_instance
            published[name] = to_publish(workload, plain, capacity, found[name])

    def tell(workload: Workload) -> None:
        report.observed(workload, seen[workload.name], published[workload.name])

    each_isolated(workloads, Counter.OBSERVATION_FAILED, report, measure)
    served = {name: workloads[name] for name in published}
    tracking = {name: workload for name, workload in served.items() if workload.publishes_effective}
    found = _demands(minute, tracking, world, report, remaining_s)
    each_isolated(tracking, Counter.OBSERVATION_FAILED, report, count_arrivals)
    each_isolated(served, Counter.OBSERVATION_FAILED, report, tell)
    points = {name: _points(each, workloads[name], minute, world) for name, each in published.items()}
    refused = world.metrics.publish(points)
    for name, why in refused.items():
        report.failed(name, Counter.PUBLISH_FAILED, why)
    report.noted(Counter.WORKLOADS_SERVED, f"tick {minute:%H:%M}", len(points) - len(refused))
    return refused


def _demands(
    minute: datetime,
    tracking: Mapping[str, Workload],
    world: World,
    report: Report,
    remaining_s: RemainingS,
) -> Mapping[str, Demand | Unknown]:
    """What keeps arriving at each; Unknown for all of them where a defect keeps it from being told."""
    found = read_isolated(partial(demands, minute, tracking, world, report, remaining_s))
    if not isinstance(found, Unknown):
        return found
    report_unknown(EVERY_WORKLOAD, [found], report)
    return dict.fromkeys(tracking, found)


def _points(published: Published, workload: Workload, minute: datetime, world: World) -> list[DataPoint]:
    values = {
        BACKLOG_PER_INSTANCE: published.backlog_per_instance,
        EFFECTIVE_BACKLOG_PER_INSTANCE: published.effective_per_instance,
    }
    return [
        DataPoint(metric=published_metric(world, workload, name), at=minute, value=value)
        for name, value in values.items()
        if value is not None
    ]


def _backlog_per_instance(workload: Workload, saw: Observation, report: Report) -> float | None:
    """The plain metric; None where the workload was not read in full, or may not be served."""
    backlog, capacity = saw.backlog, saw.capacity
    if isinstance(backlog, Unknown) or isinstance(capacity, Unknown):
        unknowns = [reading for reading in (backlog, capacity) if isinstance(reading, Unknown)]
        report_unknown(workload.name, unknowns, report)
        return None
    if capacity.counted_by:
        report.failed(workload.name, Counter.DOCUMENT_INVALID, why_not_served(workload, capacity))
        return None
    return backlog_per_instance(backlog, capacity, count_in_flight=workload.count_in_flight)
