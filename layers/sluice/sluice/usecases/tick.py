"""Entry point: the tick of a minute over every registered workload.

Alarms act on transitions only; a tick looks at levels, so it makes up within a minute for whatever an
alarm missed. If there are more workloads than one invocation can serve, it sends them on in shards.
"""

from __future__ import annotations

from datetime import datetime

from sluice.ports import Ports, RemainingS, Report
from sluice.usecases.observe import registered
from sluice.usecases.serve_workloads import is_stale, serve_minute
from sluice.usecases.shards import needs_shards, send_shards


def publish_backlog(scheduled: datetime, ports: Ports, report: Report, remaining_s: RemainingS) -> None:
    """One tick for the minute that `scheduled` lies in; a stale tick does nothing.

    Raises TransientError if the tick as a whole failed: the registry was never read, CloudWatch refused
    data points, a shard could not be sent, or a tick below a minute could not be queued. The failure of a
    single workload is logged and counted, and its own silence alarm fires.
    """
    if is_stale(scheduled, ports, report):
        return
    registry = registered(ports, report, remaining_s)
    if needs_shards(registry):
        send_shards(scheduled, registry.documents, ports, report, remaining_s)
    else:
        serve_minute(scheduled, registry, ports, report, remaining_s)
