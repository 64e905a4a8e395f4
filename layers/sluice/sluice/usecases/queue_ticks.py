"""Step of the minute's tick, or of each of its shards: queue the ticks below a minute that workloads ask for.

EventBridge Scheduler is no finer than a minute. So the minute's tick sends each later tick as a message that
SQS delivers at its moment, far enough ahead that two minutes in a row may fail or start late. A tick that is
queued twice, as by two processes that serve the same shard in turn, is served once, by the condition on the
engine's state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta

from sluice.core.minutes import minute_of
from sluice.core.model import Mode
from sluice.core.shard_slices import slices
from sluice.errors import ConfigError, TransientError
from sluice.events import Shard, shard_message, size_in_shard_bytes
from sluice.ports import Counter, DelayedMessage, Ports, Registered, RemainingS, Report

AHEAD = timedelta(minutes=4)
"""The next tick but two may start 59 s late: until then every moment is queued."""
WORKLOADS_PER_TICK = 60
BYTES_PER_TICK = 63_000
"""SQS bills a message by the 64 KiB; the rest is left for its envelope."""


def queue_ticks(
    scheduled: datetime, registry: Registered, ports: Ports, report: Report, remaining_s: RemainingS
) -> None:
    """Queue the ticks of the next minutes that this process has not queued yet.

    Raises TransientError if any could not be sent.
    """
    messages: dict[str, DelayedMessage] = {}
    until = minute_of(scheduled) + AHEAD
    now = ports.now()
    sliced = _slices(registry)
    for key, (documents, tick) in sliced.items():
        first = ports.queued_ticks.get(key, now)
        for moment in _moments(max(first, now), until, tick):
            shard = Shard(scheduled=moment, documents=documents)
            messages[shard.name] = DelayedMessage(
                body=shard_message(shard), delay_s=round((moment - now).total_seconds())
            )
    if not messages:
        return
    if ports.tick_queue is None:
        raise ConfigError(
            "this function knows no queue for ticks below a minute: template.yaml sets SLUICE_TICK_QUEUE_URL "
            "for publish_backlog"
        )
    unsent = ports.tick_queue.send(messages, remaining_s)
    report.event(
        Counter.TICKS_QUEUED, f"ticks below a minute, up to {until:%H:%M}", len(messages) - len(unsent)
    )
    if unsent:
        for key in sliced:
            ports.queued_ticks.pop(key, None)
        name, reason = next(iter(unsent.items()))
        raise TransientError(
            f"{len(unsent)} of {len(messages)} ticks could not be queued, the first for {name}: {reason}"
        )
    # A minute's tick that starts after its successor queues nothing, and leaves what that one queued.
    for key in sliced:
        ports.queued_ticks[key] = max(until, ports.queued_ticks.get(key, until))
    for key in [key for key, queued_until in ports.queued_ticks.items() if queued_until <= now]:
        del ports.queued_ticks[key]


def _slices(registry: Registered) -> dict[str, tuple[Mapping[str, str], int]]:
    """The documents of the workloads with the deadline engine, in slices that share the seconds of a tick.

    The keys stand for all of a slice: with any document changed it is another slice.
    """
    by_tick: dict[int, dict[str, int]] = defaultdict(dict)
    for workload in registry.workloads:
        if workload.deadline is not None and workload.mode is not Mode.PAUSED:
            text = registry.documents[workload.name]
            by_tick[workload.deadline.tick_s][workload.name] = size_in_shard_bytes(workload.name, text)
    sliced = [
        ({name: registry.documents[name] for name in names}, tick)
        for tick, sizes in sorted(by_tick.items())
        for names in slices(sizes, max_names=WORKLOADS_PER_TICK, max_bytes=BYTES_PER_TICK)
    ]
    return {f"{tick} {hash(tuple(documents.items()))}": (documents, tick) for documents, tick in sliced}


def _moments(first: datetime, until: datetime, tick: int) -> list[datetime]:
    """The moments of a tick's grid, which begins at each full minute, in first <= moment < until."""
    step = timedelta(seconds=tick)
    minute = minute_of(first)
    skipped = -(-(first - minute) // step)
    moment, moments = minute + step * skipped, []
    while moment < until:
        moments.append(moment)
        moment += step
    return moments
