"""The tick: observe every workload, publish BacklogPerInstance, repair what an alarm missed.

Alarms act on transitions only; the tick looks at levels, so whatever an alarm missed is put right within a
minute. More workloads than one invocation can serve are handed on in shards, slices of the registry for the
same minute. Owns the tick and its shards. Refuses to publish a value for anything it could not read, and to
stop at the first bad workload or shard.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from sluice.core.backlog import backlog_per_instance, minute_of
from sluice.core.model import DataPoint, Mode, Observation, Reason, Trigger, Unknown, Workload
from sluice.core.shards import slices
from sluice.core.wake import decide_bootstrap, decide_shutdown, reads_empty_above_min
from sluice.errors import ConfigError, TransientError
from sluice.events import Shard, parse_shard, shard_message, size_in_shard_bytes
from sluice.isolation import isolated
from sluice.message_groups import tell_idle_instances
from sluice.observe import observe, registered
from sluice.ports import Counter, Outcome, RemainingS, Report, Shards, World
from sluice.wake import (
    backlog_metric,
    initial_target,
    published_backlog,
    repair_idling,
    repair_sleeping,
)

STALE_AFTER = timedelta(seconds=60)
MOST_IN_ONE_INVOCATION = 1000
"""Workloads. Each takes 1.5 ms or so of a core, and the function's memory buys 0.29 of one: 5 s together."""
WORKLOADS_PER_SHARD = 250
BYTES_PER_SHARD = 256_000
"""A message of SQS holds 262,144 bytes (a million since August 2025): what is left is for its envelope."""
NO_TIME_LEFT = "no time left in this tick; the next one looks again"


def publish_backlog(scheduled: datetime, world: World, report: Report, remaining_s: RemainingS) -> None:
    """One tick for the minute that `scheduled` lies in; a tick more than a minute off does nothing.

    Raises TransientError where the tick as a whole failed: the registry was never read, CloudWatch refused
    data points, or a shard could not be sent. One workload's failure is reported and counted, and its own
    silence alarm rings.
    """
    if _is_stale(scheduled, world, report):
        return
    registry = registered(world, report)
    if len(registry.workloads) > MOST_IN_ONE_INVOCATION:
        _send_shards(scheduled, registry.documents, world, report, remaining_s)
    else:
        _serve(minute_of(scheduled), registry.workloads, world, report, remaining_s)


def publish_shards(
    bodies: Mapping[str, str], world: World, report: Report, remaining_s: RemainingS
) -> list[str]:
    """Serve each shard that the queue delivered, by message id; the answer names those that failed.

    Raises TransientError where all of them did, so that the invocation is seen to have failed.
    """
    share_s = remaining_s() / max(len(bodies), 1)
    failed = []
    for waiting, (message_id, body) in zip(reversed(range(len(bodies))), bodies.items(), strict=True):
        # A shard whose reads are slow uses up its own share of the time, not that of the next.
        in_share_s = partial(_less, remaining_s, share_s * waiting)
        try:
            shard = parse_shard(body)
        except ConfigError as bad:
            report.failed(f"message {message_id}", Counter.SHARD_FAILED, str(bad))
            failed.append(message_id)
            continue
        step = partial(_publish_shard, shard, world, report, in_share_s)
        if not isolated(shard.name, Counter.SHARD_FAILED, report, step):
            failed.append(message_id)
    if failed and len(failed) == len(bodies):
        raise TransientError(f"all {len(failed)} shards of this batch failed; the log line of each says why")
    return failed


def _publish_shard(shard: Shard, world: World, report: Report, remaining_s: RemainingS) -> None:
    """A tick over the shard's workloads, at the tick's minute."""
    if _is_stale(shard.scheduled, world, report):
        return
    if remaining_s() <= 0:
        raise TransientError(NO_TIME_LEFT)
    world = replace(world, registry=_shards(world).registry(shard.documents))
    workloads = registered(world, report).workloads
    _serve(minute_of(shard.scheduled), workloads, world, report, remaining_s)


def _send_shards(
    scheduled: datetime, documents: Mapping[str, str], world: World, report: Report, remaining_s: RemainingS
) -> None:
    """Hand the workloads on in slices, each with the documents that this tick read."""
    sizes = {name: size_in_shard_bytes(name, text) for name, text in documents.items()}
    parts = slices(sizes, most_names=WORKLOADS_PER_SHARD, most_bytes=BYTES_PER_SHARD)
    shards = [
        Shard(scheduled=scheduled, documents={name: documents[name] for name in part}) for part in parts
    ]
    unsent = _shards(world).send({shard.name: shard_message(shard) for shard in shards}, remaining_s)
    for name, why in unsent.items():
        report.failed(name, Counter.SHARD_FAILED, why)
    report.noted(
        Counter.SHARDS_SENT,
        f"tick {scheduled:%H:%M} of {len(documents)} workloads",
        len(shards) - len(unsent),
    )
    if unsent:
        raise TransientError(f"{len(unsent)} of {len(shards)} shards could not be sent")


def _shards(world: World) -> Shards:
    if world.shards is None:
        raise ConfigError(
            f"more than {MOST_IN_ONE_INVOCATION} workloads are served in shards, and this function knows no "
            "queue for them: template.yaml sets SLUICE_SHARD_QUEUE_URL for publish_backlog"
        )
    return world.shards


def _less(remaining_s: RemainingS, kept_s: float) -> float:
    return remaining_s() - kept_s


def _is_stale(scheduled: datetime, world: World, report: Report) -> bool:
    age = world.now() - scheduled
    if abs(age) <= STALE_AFTER:
        return False
    report.noted(
        Counter.STALE_TICK,
        f"scheduled {age.total_seconds():.0f} s ago, more than {STALE_AFTER.seconds} s off: "
        "the tick of this minute has the work",
    )
    return True


def _serve(
    minute: datetime,
    served: Collection[Workload],
    world: World,
    report: Report,
    remaining_s: RemainingS,
) -> None:
    """Observe, publish, repair; what a tick and each of its shards do for their workloads."""
    workloads = {workload.name: workload for workload in served}
    seen = observe(world, served, remaining_s)
    refused = _publish(minute, workloads, seen, world, report)
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
