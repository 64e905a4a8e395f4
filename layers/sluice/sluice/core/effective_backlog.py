"""EffectiveBacklogPerInstance: the backlog, and the load that keeps arriving.

Target tracking holds backlog / running at T messages per instance, as many as one instance begins within the
promise. By the backlog alone a fleet has no capacity before a backlog has built up, and loses it once the
backlog is gone, although messages keep arriving. By Little's law a fleet that keeps up with arrivals of
`lambda` per second, each processed for `s` seconds, has

    rho = lambda x s / concurrency

busy instances on average: the offered load. What arrives spreads around its mean (by sqrt(rho), where
arrivals are Poisson), so a margin of beta x sqrt(rho) instances keeps the queue short: square-root staffing
(Halfin and Whitt, 1981). Target tracking moves a fleet to running x metric / T instances, so

    effective = (backlog + T x (rho + beta x sqrt(rho))) / running

asks for rho + beta x sqrt(rho) instances where the queue is empty, and for backlog / T more where it is not.
As T = promise x concurrency / s, T x rho = promise x lambda: the messages that arrive within the promise.

Owns the arithmetic. Refuses to lower the plain BacklogPerInstance, whatever is known of the arrivals.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from datetime import datetime

from sluice.core.backlog import MINUTE
from sluice.core.model import Demand, OfferedLoad, Published, Unknown, Workload

WINDOW_MINUTES = 10
"""Minutes over whose median arrivals count as sustained: a dump of fewer than five is backlog alone."""
MIN_KNOWN_MINUTES = 5
"""Of the window: before it woke a queue was silent, and its first minutes say nothing of later ones."""
MAX_LATE_MINUTES = 3
"""The newest minute may be as many behind; beyond that CloudWatch is late, and late is not zero."""
READ_MINUTES = WINDOW_MINUTES + MAX_LATE_MINUTES
MAX_SENT_PER_MINUTE = 1e9
"""More than any queue takes: such a count is no reading."""


def sustained_arrivals_per_s(sent: Mapping[datetime, float], minute: datetime) -> float | Unknown:
    """The median of the last ten full minutes before `minute`, in messages per second.

    `sent` holds messages per minute, by the minute's start. Unknown where the newest is older than
    `MAX_LATE_MINUTES`, or fewer than `MIN_KNOWN_MINUTES` of the ten are known.
    """
    known = {
        at: count for at, count in sent.items() if at < minute and 0 <= count <= MAX_SENT_PER_MINUTE
    }  # no comparison holds for NaN
    newest = max(known, default=None)
    if newest is None:
        return Unknown(why=f"no NumberOfMessagesSent of the last {READ_MINUTES} minutes")
    if newest < minute - MINUTE * (MAX_LATE_MINUTES + 1):
        return Unknown(why=f"the newest NumberOfMessagesSent is that of {newest:%H:%M}")
    window = [at for at in known if at > newest - MINUTE * WINDOW_MINUTES]
    if len(window) < MIN_KNOWN_MINUTES:
        return Unknown(
            why=f"NumberOfMessagesSent of {len(window)} minutes, and {MIN_KNOWN_MINUTES} are needed"
        )
    return statistics.median(known[at] for at in window) / MINUTE.total_seconds()


def effective_backlog_per_instance(
    backlog_per_instance: float,
    running: int,
    *,
    load: OfferedLoad,
    target: float,
    margin: float,
) -> float:
    """Messages per instance that target tracking compares with `target`, also in messages per instance.

    `backlog_per_instance` is the plain metric, over max(running, 1) instances; `margin` is beta. The answer
    is never below it, and never infinite: where the load is too large for a number, it is the plain one.
    """
    needed = load.instances + margin * math.sqrt(load.instances)
    effective = backlog_per_instance + target * needed / max(running, 1)
    return effective if math.isfinite(effective) else backlog_per_instance


def to_publish(
    workload: Workload, backlog_per_instance: float, running: int, demand: Demand | Unknown
) -> Published:
    """Both metrics of a workload whose policy counts arrivals; without a demand both are the plain one."""
    effective = backlog_per_instance
    if isinstance(demand, Demand):
        effective = effective_backlog_per_instance(
            backlog_per_instance,
            running,
            load=demand.load,
            target=demand.target_per_instance,
            margin=workload.tracking.arrival_margin,
        )
    return Published(
        backlog_per_instance=backlog_per_instance, effective_per_instance=effective, demand=demand
    )
