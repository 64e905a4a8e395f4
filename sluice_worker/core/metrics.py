"""A minute as metrics: which series there are, and under which dimensions.

Owns names and dimensions. MsgProcessingDuration is published twice: the successes under exactly the fleet's
dimensions, which `retune_target` reads, and all messages with the dimension Outcome added, another metric to
CloudWatch. Slow messages that fail are thus seen without moving the target.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sluice.core.model import MSG_PROCESSING_DURATION
from sluice_worker.core.minute import Minute
from sluice_worker.core.model import Outcome

MSG_WAIT_DURATION = "MsgWaitDuration"
OUTCOME = "Outcome"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One metric's values within a minute, in seconds, and how often each occurred."""

    name: str
    dimensions: Mapping[str, str]
    counts: Mapping[float, int]


def series(minute: Minute, dimensions: Mapping[str, str], *, with_wait: bool) -> Iterator[Series]:
    """Every series that holds anything."""
    for outcome, counts in minute.durations_s.items():
        if outcome is Outcome.SUCCESS and counts:
            yield Series(name=MSG_PROCESSING_DURATION, dimensions=dimensions, counts=counts)
    for outcome, counts in minute.durations_s.items():
        if counts:
            named = {**dimensions, OUTCOME: outcome.value}
            yield Series(name=MSG_PROCESSING_DURATION, dimensions=named, counts=counts)
    if with_wait and minute.waits_s:
        yield Series(name=MSG_WAIT_DURATION, dimensions=dimensions, counts=minute.waits_s)
