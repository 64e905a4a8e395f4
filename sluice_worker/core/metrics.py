"""A report as metrics: which series there are, and under which dimensions.

MsgProcessingDuration is published twice: the successes under exactly the fleet's dimensions, which
`retune_target` reads, and all messages with the dimension Outcome added, another metric to CloudWatch. Slow
messages that fail are thus seen without moving the target.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from sluice.core.model import MSG_PROCESSING_DURATION, MSG_WAIT_DURATION
from sluice_worker.core.counters import ReportInterval
from sluice_worker.core.gauges import Gauges
from sluice_worker.core.model import Outcome

OUTCOME = "Outcome"
PRIORITY = "Priority"
QUEUE_NAME = "QueueName"


class Unit(StrEnum):
    """The unit of a series' values, as CloudWatch names it."""

    SECONDS = "Seconds"
    COUNT = "Count"
    PERCENT = "Percent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One metric's values within a report, and how often each occurred."""

    name: str
    dimensions: Mapping[str, str]
    counts: Mapping[float, int]
    unit: Unit = Unit.SECONDS


def series(interval: ReportInterval, dimensions: Mapping[str, str], *, with_wait: bool) -> Iterator[Series]:
    """Every series that has values; those of the gauges only if the interval has gauges."""
    if interval.gauges is not None:
        yield from gauge_series(interval.gauges, dimensions)
    for outcome, counts in interval.durations_s.items():
        if outcome is Outcome.SUCCESS and counts:
            yield Series(name=MSG_PROCESSING_DURATION, dimensions=dimensions, counts=counts)
    for outcome, counts in interval.durations_s.items():
        if counts:
            named = {**dimensions, OUTCOME: outcome.value}
            yield Series(name=MSG_PROCESSING_DURATION, dimensions=named, counts=counts)
    if with_wait and interval.waits_s:
        yield Series(name=MSG_WAIT_DURATION, dimensions=dimensions, counts=interval.waits_s)


def gauge_series(gauges: Gauges, dimensions: Mapping[str, str]) -> Iterator[Series]:
    """One value of each gauge, under the fleet's dimensions; every process of a fleet publishes its own.

    Their number does not grow with the fleet: 6, one for each priority that has queues, and two for each
    queue whose depth is known.
    """

    def one(
        name: str, value: float, more: Mapping[str, str] | None = None, unit: Unit = Unit.COUNT
    ) -> Series:
        return Series(name=name, dimensions={**dimensions, **(more or {})}, counts={value: 1}, unit=unit)

    for priority, buffered in gauges.buffered.items():
        yield one("BufferedMessages", buffered, {PRIORITY: priority.value})
    yield one("BufferUtilization", round(100 * gauges.buffer_use, 1), unit=Unit.PERCENT)
    yield one("MessagesPushed", gauges.pushed)
    yield one("MessagesPopped", gauges.popped)
    yield one("Pollers", gauges.pollers)
    yield one("Slots", gauges.slots)
    yield one("BusySlots", gauges.busy)
    for name, depth in gauges.depths.items():
        if depth is not None:
            yield one("QueueMessagesVisible", depth.visible, {QUEUE_NAME: name})
            yield one("QueueMessagesInFlight", depth.in_flight, {QUEUE_NAME: name})
