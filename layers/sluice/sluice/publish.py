"""The tick: observe every workload, publish BacklogPerInstance, repair what an alarm missed.

Alarms act on transitions only; the tick looks at levels, so whatever an alarm missed is put right within a
minute. Owns the tick. Refuses to publish a value for anything it could not read, and to stop at the first bad
workload.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial

from sluice.core.backlog import backlog_per_instance, minute_of
from sluice.core.model import DataPoint, Mode, Observation, Reason, Trigger, Unknown, Workload
from sluice.core.wake import decide_bootstrap, decide_shutdown, reads_empty_above_min
from sluice.errors import TransientError
from sluice.isolation import isolated
from sluice.message_groups import tell_idle_instances
from sluice.observe import observe, registered
from sluice.ports import Counter, Outcome, RemainingS, Report, World
from sluice.wake import (
    backlog_metric,
    initial_target,
    published_backlog,
    repair_idling,
    repair_sleeping,
)

STALE_AFTER = timedelta(seconds=60)
NO_TIME_LEFT = "no time left in this tick; the next one looks again"


def publish_backlog(scheduled: datetime, world: World, report: Report, remaining_s: RemainingS) -> None:
    """One tick for the minute that `scheduled` lies in; a tick more than a minute off does nothing.

    Raises TransientError where the tick as a whole failed: the registry was never read, or CloudWatch refused
    data points. One workload's failure is reported and counted, and its own silence alarm rings.
    """
    age = world.now() - scheduled
    if abs(age) > STALE_AFTER:
        report.noted(
            Counter.STALE_TICK,
            f"scheduled {age.total_seconds():.0f} s ago, more than {STALE_AFTER.seconds} s off: "
            "the tick of this minute has the work",
        )
        return
    workloads = registered(world, report)
    seen = observe(world, list(workloads.values()), remaining_s)
    refused = _publish(minute_of(scheduled), workloads, seen, world, report)
    _repair(workloads, seen, world, report, remaining_s)
    if remaining_s() > 0:
        tell_idle_instances(workloads, seen, world, report)
    if refused:
        raise TransientError(f"CloudWatch refused the data points of {len(refused)} workloads")


def _publish(
    minute: datetime,
    workloads: Mapping[str, Workload],
    seen: Mapping[str, Observation],
    world: World,
    report: Report,
) -> Mapping[str, str]:
    """Publish one point per workload that was read in full; the answer names those CloudWatch refused."""
    points: dict[str, DataPoint] = {}
    for name, workload in workloads.items():
        backlog, capacity = seen[name].backlog, seen[name].capacity
        if isinstance(backlog, Unknown) or isinstance(capacity, Unknown):
            whys = [reading.why for reading in (backlog, capacity) if isinstance(reading, Unknown)]
            report.failed(name, Counter.OBSERVATION_FAILED, "; ".join(whys))
            continue
        value = backlog_per_instance(backlog, capacity, count_in_flight=workload.count_in_flight)
        points[name] = DataPoint(metric=backlog_metric(world, workload), at=minute, value=value)
        report.observed(workload, backlog, capacity, value)
    refused = world.metrics.publish(points)
    for name, why in refused.items():
        report.failed(name, Counter.PUBLISH_FAILED, why)
    report.noted(Counter.WORKLOADS_SERVED, f"tick {minute:%H:%M}", len(points) - len(refused))
    return refused


def _repair(
    workloads: Mapping[str, Workload],
    seen: Mapping[str, Observation],
    world: World,
    report: Report,
    remaining_s: RemainingS,
) -> None:
    """Do what an alarm should have done; each workload is on its own."""
    served = {name: workload for name, workload in workloads.items() if workload.mode is not Mode.PAUSED}
    repairs = [(name, repair_sleeping) for name in _asleep_with_work(served, seen, report)]
    repairs += [(name, repair_idling) for name in _proven_empty(served, seen, world, report, remaining_s)]
    for name, repair in repairs:
        if remaining_s() <= 0:
            report.failed(name, Counter.ACTION_FAILED, NO_TIME_LEFT)
            continue
        isolated(name, Counter.ACTION_FAILED, report, partial(repair, name, world, report, remaining_s))


def _asleep_with_work(
    workloads: Mapping[str, Workload], seen: Mapping[str, Observation], report: Report
) -> list[str]:
    """Whom to wake; what keeps a fleet asleep while work waits is told every minute."""
    asleep = []
    for name, workload in workloads.items():
        decision = decide_bootstrap(
            workload, seen[name], Trigger.TICK, target_per_instance=initial_target(workload)
        )
        if decision.desired is not None:
            asleep.append(name)
        elif decision.reason in (Reason.HELD, Reason.BOUNDS_DISJOINT, Reason.NO_ROOM):
            report.decided(decision, Outcome.HELD)
    return asleep


def _proven_empty(
    workloads: Mapping[str, Workload],
    seen: Mapping[str, Observation],
    world: World,
    report: Report,
    remaining_s: RemainingS,
) -> list[str]:
    """Who may be shut down; the proof is asked for only where the live reads alone would allow it."""
    now = world.now()
    idle = {
        name: workload for name, workload in workloads.items() if reads_empty_above_min(workload, seen[name])
    }
    if remaining_s() <= 0:
        for name in idle:
            report.failed(name, Counter.ACTION_FAILED, NO_TIME_LEFT)
        return []
    published = published_backlog(world, idle, now)
    proven = []
    for name, workload in idle.items():
        decision = decide_shutdown(workload, seen[name], published[name], Trigger.TICK, now=now)
        if decision.desired is not None:
            proven.append(name)
            continue
        report.decided(decision, Outcome.HELD)
        if decision.reason is Reason.UNKNOWN_READING:
            report.failed(name, Counter.OBSERVATION_FAILED, decision.detail)
    return proven
