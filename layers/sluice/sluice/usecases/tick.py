"""Entry point: the tick of a minute over every registered workload.

Alarms act on transitions only; a tick looks at levels, so it makes up within a minute for whatever an
alarm missed. If there are more workloads than one invocation can serve, it sends them on in shards. Before
that it queues the ticks below a minute of the workloads that the deadline engine scales.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial

from sluice.core.minutes import minute_of
from sluice.errors import TransientError
from sluice.ports import Counter, Ports, RemainingS, Report, first_half
from sluice.usecases.isolation import isolated, raise_for_defects
from sluice.usecases.observe import registered
from sluice.usecases.queue_ticks import queue_ticks
from sluice.usecases.serve_workloads import is_stale, serve_workloads
from sluice.usecases.shards import needs_shards, send_shards

TICKS_BELOW_A_MINUTE = "ticks below a minute"
"""Stands in for a workload's name in the log if they could not be queued."""


def publish_backlog(scheduled: datetime, ports: Ports, report: Report, remaining_s: RemainingS) -> None:
    """One tick for the minute that `scheduled` lies in; a stale tick does nothing.

    Raises TransientError if the tick as a whole failed: the registry was never read, CloudWatch refused
    data points, a shard could not be sent, or a tick below a minute could not be queued. The failure of a
    single workload is logged and counted, and its own silence alarm fires.
    """
    if is_stale(scheduled, ports, report):
        return
    registry = registered(ports, report, remaining_s)
    with raise_for_defects(report):
        # First, so that slow reads delay no tick; the minute is served even if this fails.
        queue = partial(queue_ticks, scheduled, registry, ports, report, first_half(remaining_s))
        queued = isolated(TICKS_BELOW_A_MINUTE, Counter.TICK_FAILED, report, queue)
        if needs_shards(registry):
            send_shards(scheduled, registry.documents, ports, report, remaining_s)
        else:
            serve_workloads(minute_of(scheduled), registry.workloads, ports, report, remaining_s)
    if not queued:
        raise TransientError("ticks below a minute could not be queued; the log says why")
