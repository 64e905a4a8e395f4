"""BacklogPerInstance, and EffectiveBacklogPerInstance: the backlog and the load that keeps arriving.

Target tracking holds backlog / running at T messages per instance: as many as one instance starts within
the acceptable latency. A fleet that tracks the backlog alone has no capacity until a backlog has built up,
and loses it once the backlog is gone, although messages keep arriving. By Little's law, a fleet that keeps up
with `lambda` arrivals per second, each processed for `s` seconds, has

    rho = lambda x s / concurrency

busy instances on average: the offered load. Arrivals vary around their mean (by sqrt(rho) if they are
Poisson), so a margin of beta x sqrt(rho) instances keeps the queue short: square-root staffing (Halfin and
Whitt, 1981). Target tracking moves a fleet to running x metric / T instances, so

    effective = (backlog + T x (rho + beta x sqrt(rho))) / running

yields rho + beta x sqrt(rho) instances for an empty queue, and backlog / T more for a backlog. Because
T = latency x concurrency / s, T x rho = latency x lambda: the messages that arrive within the latency.

Owns the arithmetic, and which values are plausible. Refuses to publish less than the plain
BacklogPerInstance, whatever is known of the arrivals.
"""

from __future__ import annotations

import math

from sluice.core.model import Backlog, Capacity, Demand, Durations, OfferedLoad, Published, Unknown, Workload

MAX_PROCESSING_S = 43_200
"""A visibility timeout is at most twelve hours: a longer mean is implausible."""
MAX_MESSAGES = 1e12
"""A load of more messages within the acceptable latency is implausible. CloudWatch accepts values up to
2**360 only: one larger value makes it refuse the data points of every workload in the call."""


def backlog_per_instance(backlog: Backlog, capacity: Capacity, *, count_in_flight: bool) -> float:
    """Messages per running instance: (visible, plus in flight by setting) / max(running, 1).

    With nothing running it is the whole backlog, so that the metric still shows how much work waits.
    """
    counted = backlog.visible + (backlog.in_flight if count_in_flight else 0)
    return counted / max(capacity.running, 1)


def measured_processing_s(measured: Durations, min_samples: int) -> float | Unknown:
    """The mean seconds a message takes; Unknown if there are too few samples or the mean is implausible."""
    if not measured.samples >= min_samples:
        return Unknown(
            reason=f"{measured.samples:g} MsgProcessingDuration in the last day, and {min_samples} are "
            "needed; set ProcessingSeconds"
        )
    if not 0 < measured.seconds <= MAX_PROCESSING_S:
        return Unknown(reason=f"a mean MsgProcessingDuration of {measured.seconds:g} s is implausible")
    return measured.seconds


def demanded_capacity(
    load: OfferedLoad, target_per_instance: float, not_renewed: tuple[str, ...]
) -> Demand | Unknown:
    """The load in the unit of the policy's target; Unknown if it is implausibly large."""
    if not target_per_instance * load.instances <= MAX_MESSAGES:
        messages = f"{load.instances:.4g} busy instances at {target_per_instance:.4g} messages"
        return Unknown(reason=f"{messages} are implausible")
    return Demand(load=load, target_per_instance=target_per_instance, not_renewed=not_renewed)


def effective_backlog_per_instance(
    backlog_per_instance: float, running: int, demand: Demand, *, margin: float
) -> float:
    """Messages per instance that target tracking compares with its target.

    `backlog_per_instance` is the plain metric, over max(running, 1) instances; `margin` is beta.
    """
    busy = demand.load.instances
    needed = busy + margin * math.sqrt(busy)
    return backlog_per_instance + demand.target_per_instance * needed / max(running, 1)


def to_publish(
    workload: Workload, backlog_per_instance: float, capacity: Capacity, demand: Demand | Unknown
) -> Published:
    """Both metrics of a workload whose policy counts arrivals; without a known demand both are the plain one.

    Both are also the plain one for a fleet at zero, which a bootstrap starts once a message is visible.
    Arrivals count as sustained for some minutes after the last message; they would make target tracking
    launch again the instances that a shutdown has just terminated.
    """
    effective = backlog_per_instance
    if not capacity.desired and not capacity.running:
        demand = Unknown(reason="the fleet is at zero; the next visible message starts it")
    if isinstance(demand, Demand):
        effective = effective_backlog_per_instance(
            backlog_per_instance, capacity.running, demand, margin=workload.tracking.arrival_margin
        )
    return Published(
        backlog_per_instance=backlog_per_instance, effective_per_instance=effective, demand=demand
    )
