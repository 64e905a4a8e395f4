"""The first step of every use case: which workloads there are, and a live reading of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sluice.core.minutes import minutes_since_epoch
from sluice.core.model import Backlog, Capacity, Fleet, Observation, Unknown, Workload
from sluice.core.rotation import rotated
from sluice.core.schedules import InForce, in_force_on
from sluice.ports import Counter, Ports, Registered, RemainingS, Report, first_half


def registered(ports: Ports, report: Report, remaining_s: RemainingS, *, fresh: bool = False) -> Registered:
    """Every workload that may be served; what is wrong with the others is logged and counted."""
    registry = ports.registry.all(remaining_s, fresh=fresh)
    if registry.stale:
        report.event(Counter.REGISTRY_STALE, f"serving the last good copy of the registry: {registry.stale}")
    for name, reason in registry.refused.items():
        report.failed(name, Counter.DOCUMENT_INVALID, reason, defect=registry.defects.get(name))
    return registry


def observe(ports: Ports, workloads: Collection[Workload], remaining_s: RemainingS) -> dict[str, Observation]:
    """One live observation per workload name; whatever could not be read in time is Unknown."""
    # Rotated: if the time is too short for all, the same workloads must not miss out every minute.
    by_name = {workload.name: workload for workload in workloads}
    order = [by_name[name] for name in rotated(by_name, minutes_since_epoch(ports.now()))]
    queue_urls = list(dict.fromkeys(workload.queue_url for workload in order))
    fleets = list(dict.fromkeys(fleet for workload in order for fleet in workload.fleets))
    # Queues first: each needs a call of its own, and one slow fleet call delays a hundred fleets. Slow queues
    # may use up half of the time; the other half is left for the fleets.
    backlogs = ports.queues.read(queue_urls, first_half(remaining_s))
    capacities = ports.fleets.read(fleets, remaining_s)
    return {
        workload.name: _observation(workload, backlogs[workload.queue_url], capacities)
        for workload in workloads
    }


def _observation(
    workload: Workload, backlog: Backlog | Unknown, capacities: Mapping[Fleet, Capacity | Unknown]
) -> Observation:
    capacity = capacities[workload.fleet]
    if workload.idle is None:
        return Observation(backlog=backlog, capacity=capacity)
    drains = workload.draining is workload.idle.color
    if drains and isinstance(capacity, Capacity):
        # Its share of the backlog still falls, as the other color finishes what it has.
        blocks = (*capacity.scale_in_blocked_by, f"{workload.idle.color} drains")
        capacity = replace(capacity, scale_in_blocked_by=blocks)
    return Observation(
        backlog=backlog, capacity=capacity, idle=capacities[workload.idle.fleet], idle_drains=drains
    )


def schedule_in_force(workload: Workload, observation: Observation, now: datetime) -> InForce | None:
    """The schedule that has set the fleet's own bounds, as far as these were read."""
    capacity = observation.capacity
    return None if isinstance(capacity, Unknown) else in_force_on(workload, capacity.bounds, now)


def report_unknown(workload: str, readings: Sequence[Unknown], report: Report) -> None:
    """Log why a workload could not be observed as one failure; a defect with its stack trace."""
    defects = [reading.defect for reading in readings if reading.defect]
    defect = ExceptionGroup("several reads broke", defects) if len(defects) > 1 else next(iter(defects), None)
    reason = "; ".join(reading.reason for reading in readings)
    report.failed(workload, Counter.OBSERVATION_FAILED, reason, defect=defect)
