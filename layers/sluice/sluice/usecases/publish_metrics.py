"""Step: publish one data point of each metric for every workload that was read in full.

Nothing is published for what could not be read. The plain BacklogPerInstance is published whatever goes wrong
with the arrivals, because the proof of emptiness and the alarms read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from sluice.core.backlog import backlog_per_instance, to_publish
from sluice.core.capacity_units import why_not_served
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
from sluice.ports import Counter, Report
from sluice.usecases.isolation import (
    EVERY_WORKLOAD,
    each_isolated,
    read_isolated,
)
from sluice.usecases.observe import report_unknown
from sluice.usecases.offered_load import demands
from sluice.usecases.published_backlog import published_metric
from sluice.usecases.tick_context import TickContext, Workloads


def publish_metrics(tick: TickContext) -> Mapping[str, str]:
    """Publish for each workload that was read in full; returns those CloudWatch refused, and why."""
    report = tick.report
    published: dict[str, Published] = {}

    def measure(workload: Workload) -> None:
        value = _backlog_per_instance(workload, tick.observed[workload.name], report)
        if value is not None:
            published[workload.name] = Published(backlog_per_instance=value)

    def add_arrivals(workload: Workload) -> None:
        name, capacity = workload.name, tick.observed[workload.name].consuming
        if isinstance(capacity, Capacity):
            plain = published[name].backlog_per_instance
            published[name] = to_publish(workload, plain, capacity, found[name])

    def log(workload: Workload) -> None:
        report.observed(workload, tick.observed[workload.name], published[workload.name])

    each_isolated(tick.workloads, Counter.OBSERVATION_FAILED, report, measure)
    served = {name: tick.workloads[name] for name in published}
    tracking = {name: workload for name, workload in served.items() if workload.publishes_effective}
    found = _demands(tracking, tick)
    each_isolated(tracking, Counter.OBSERVATION_FAILED, report, add_arrivals)
    each_isolated(served, Counter.OBSERVATION_FAILED, report, log)
    points = {name: _points(each, tick.workloads[name], tick) for name, each in published.items()}
    refused = tick.ports.metrics.publish(points)
    for name, reason in refused.items():
        report.failed(name, Counter.PUBLISH_FAILED, reason)
    report.event(Counter.WORKLOADS_SERVED, f"tick {tick.minute:%H:%M}", len(points) - len(refused))
    return refused


def _demands(tracking: Workloads, tick: TickContext) -> Mapping[str, Demand | Unknown]:
    """What keeps arriving at each; Unknown for all of them if a defect breaks the whole step."""
    if not tracking:
        return {}
    found = read_isolated(partial(demands, tracking, tick))
    if not isinstance(found, Unknown):
        return found
    report_unknown(EVERY_WORKLOAD, [found], tick.report)
    return dict.fromkeys(tracking, found)


def _points(published: Published, workload: Workload, tick: TickContext) -> list[DataPoint]:
    values = {
        BACKLOG_PER_INSTANCE: published.backlog_per_instance,
        EFFECTIVE_BACKLOG_PER_INSTANCE: published.effective_per_instance,
    }
    return [
        DataPoint(metric=published_metric(tick.ports, workload, name), at=tick.minute, value=value)
        for name, value in values.items()
        if value is not None
    ]


def _backlog_per_instance(workload: Workload, observation: Observation, report: Report) -> float | None:
    """The plain metric; None if a reading is missing, or AWS does not count the fleet in instances."""
    backlog, capacity = observation.backlog, observation.consuming
    if isinstance(backlog, Unknown) or isinstance(capacity, Unknown):
        unknowns = [reading for reading in (backlog, capacity) if isinstance(reading, Unknown)]
        report_unknown(workload.name, unknowns, report)
        return None
    if capacity.unsupported_units:
        report.failed(workload.name, Counter.DOCUMENT_INVALID, why_not_served(workload, capacity))
        return None
    return backlog_per_instance(backlog, capacity, count_in_flight=workload.count_in_flight)
