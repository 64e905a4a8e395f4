"""The first step of every use case: which workloads there are, and what they look like this moment."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sluice.core.model import Observation, Unknown, Workload
from sluice.ports import Counter, Registered, RemainingS, Report, World, first_half


def registered(world: World, report: Report, remaining_s: RemainingS, *, fresh: bool = False) -> Registered:
    """Every workload that may be served; what is wrong with the others is told and counted."""
    registry = world.registry.all(remaining_s, fresh=fresh)
    if registry.stale:
        report.noted(Counter.REGISTRY_STALE, f"serving the last good copy of the registry: {registry.stale}")
    for name, why in registry.refused.items():
        report.failed(name, Counter.DOCUMENT_INVALID, why)
    return registry


def observe(world: World, workloads: Collection[Workload], remaining_s: RemainingS) -> dict[str, Observation]:
    """One live observation per workload name; whatever could not be read in time is Unknown."""
    queue_urls = {workload.queue_url for workload in workloads}
    fleets = {workload.fleet for workload in workloads}
    # Queues first: each is read by a call of its own, while a slow fleet API holds up a hundred fleets. Slow
    # queues may use up half of the time; the other half is the fleets'.
    backlogs = world.queues.read(queue_urls, first_half(remaining_s))
    capacities = world.fleets.read(fleets, remaining_s)
    return {
        workload.name: Observation(backlog=backlogs[workload.queue_url], capacity=capacities[workload.fleet])
        for workload in workloads
    }


def report_unknown(workload: str, readings: Sequence[Unknown], report: Report) -> None:
    """Why a workload could not be observed, as one failure; a defect of ours with its stack trace."""
    defect = next((reading.defect for reading in readings if reading.defect), None)
    why = "; ".join(reading.why for reading in readings)
    report.failed(workload, Counter.OBSERVATION_FAILED, why, defect=defect)
