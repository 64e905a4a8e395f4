"""Step: BacklogPerInstance as the ticks published it, read back as the proof of emptiness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sluice.core.emptiness import minutes_to_prove
from sluice.core.minutes import MINUTE
from sluice.core.model import BACKLOG_PER_INSTANCE, Metric, Unknown, Workload
from sluice.ports import Ports, RemainingS, Series, SeriesQuery


def published_metric(ports: Ports, workload: Workload, name: str) -> Metric:
    """The metric of that name that a tick publishes for this workload."""
    return Metric(namespace=ports.namespace, name=name, dimensions=workload.fleet.dimensions)


def published_backlog(
    ports: Ports,
    workloads: Mapping[str, Workload],
    proof_end_minutes: Sequence[datetime],
    remaining_s: RemainingS,
) -> Mapping[str, Series | Unknown]:
    """BacklogPerInstance by scheduled minute, as far back as the longest proof of emptiness needs.

    `proof_end_minutes` are the minutes with which a proof may end, newest first.
    """
    if not workloads:
        return {}
    # Maximum: if a minute has two points, the higher one counts.
    queries = {
        name: SeriesQuery(
            metric=published_metric(ports, workload, BACKLOG_PER_INSTANCE), statistic="Maximum", period_s=60
        )
        for name, workload in workloads.items()
    }
    longest = max(workload.idle_minutes for workload in workloads.values())
    first = minutes_to_prove(proof_end_minutes[-1], longest)[0]
    return ports.metrics.read(queries, first, proof_end_minutes[0] + MINUTE, remaining_s)
