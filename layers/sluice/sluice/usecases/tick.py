"""The tick: observe every workload, publish its metrics, repair what an alarm missed.

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

from sluice.core.emptiness import minute_of
from sluice.core.model import Workload
from sluice.core.shards import slices
from sluice.errors import ConfigError, TransientError
from sluice.events import Shard, parse_shard, shard_message, size_in_shard_bytes
from sluice.ports import Counter, RemainingS, Report, Shards, World
from sluice.usecases.fifo_warning import tell_idle_instances
from sluice.usecases.isolation import (
    EVERY_WORKLOAD,
    failed_visibly,
    isolated,
)
from sluice.usecases.launch_failures import report_no_capacity
from sluice.usecases.missed_alarms import (
    NO_TIME_LEFT,
    repair,
)
from sluice.usecases.native_metrics import tell_missing_metrics
from sluice.usecases.observe import (
    observe,
    registered,
)
from sluice.usecases.publish_metrics import publish_metrics

STALE_AFTER = timedelta(seconds=110)
"""A tick may start 59 s after its minute, and a cold start follows.

Ticks that overlap do no harm: a data point carries its scheduled minute, and two of one minute are averaged.
"""
MOST_IN_ONE_INVOCATION = 1000
"""Workloads. Each takes 1.5 ms or so of a core, and the function's memory buys 0.29 of one: 5 s together."""
WORKLOADS_PER_SHARD = 250
BYTES_PER_SHARD = 256_000
"""A message of SQS holds 262,144 bytes (a million since August 2025): what is left is for its envelope."""


def publish_backlog(scheduled: datetime, world: World, report: Report, remaining_s: RemainingS) -> None:
    """One tick for the minute that `scheduled` lies in; a tick that is stale by then does nothing.

    Raises TransientError where the tick as a whole failed: the registry was never read, CloudWatch refused
    data points, or a shard could not be sent. One workload's failure is reported and counted, and its own
    silence alarm rings.
    """
    if _is_stale(scheduled, world, report):
        return
    registry = registered(world, report, remaining_s)
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
    workloads = registered(world, report, remaining_s).workloads
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
    refused: dict[str, str] = {}
    with failed_visibly(report):
        seen = observe(world, served, remaining_s)
        look = workloads, seen, world, report

        def publish() -> None:
            refused.update(publish_metrics(minute, *look, remaining_s))

        # A defect in one step, beyond that of one workload, must not keep the next from its work.
        isolated(EVERY_WORKLOAD, Counter.PUBLISH_FAILED, report, publish)
        isolated(EVERY_WORKLOAD, Counter.ACTION_FAILED, report, partial(repair, minute, *look, remaining_s))
        if remaining_s() > 0:
            warn = partial(tell_idle_instances, minute, *look, remaining_s)
            isolated(EVERY_WORKLOAD, Counter.OBSERVATION_FAILED, report, warn)
        miss = partial(tell_missing_metrics, minute, *look, remaining_s)
        isolated(EVERY_WORKLOAD, Counter.OBSERVATION_FAILED, report, miss)
        explain = partial(report_no_capacity, *look, remaining_s)
        isolated(EVERY_WORKLOAD, Counter.OBSERVATION_FAILED, report, explain)
    if refused:
        raise TransientError(f"CloudWatch refused the data points of {len(refused)} workloads")
