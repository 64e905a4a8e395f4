"""The first step of every use case: what the queues and fleets look like this moment."""

from __future__ import annotations

from collections.abc import Sequence

from sluice.core.model import Observation, Workload
from sluice.ports import RemainingS, World


def observe(world: World, workloads: Sequence[Workload], remaining_s: RemainingS) -> dict[str, Observation]:
    """One live observation per workload name; whatever could not be read in time is Unknown."""
    queue_urls = {workload.queue_url for workload in workloads}
    fleets = {workload.fleet for workload in workloads}
    capacities = world.fleets.read(fleets, remaining_s)
    backlogs = world.queues.read(queue_urls, remaining_s)
    return {
        workload.name: Observation(backlog=backlogs[workload.queue_url], capacity=capacities[workload.fleet])
        for workload in workloads
    }
