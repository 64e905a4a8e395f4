"""The first step of every use case: which workloads there are, and what they look like this moment."""

from __future__ import annotations

from collections.abc import Collection

from sluice.core.model import Observation, Workload
from sluice.ports import Counter, Registered, RemainingS, Report, World


def registered(world: World, report: Report, *, fresh: bool = False) -> Registered:
    """Every workload that may be served; what is wrong with the others is told and counted."""
    registry = world.registry.all(fresh=fresh)
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
    for_fleets_s = remaining_s() / 2
    backlogs = world.queues.read(queue_urls, lambda: remaining_s() - for_fleets_s)
    capacities = world.fleets.read(fleets, remaining_s)
    return {
        workload.name: Observation(backlog=backlogs[workload.queue_url], capacity=capacities[workload.fleet])
        for workload in workloads
    }
