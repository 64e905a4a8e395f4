"""The promise: the processing of a message starts within so many seconds of its arrival.

Defines a workload's promise and when a run has kept it, for the demo and the simulator alike. The worker's
`--promise-s` means the same. A wait lasts from the sending of the message to the start of the processing that
succeeded, and does not include the processing itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sluice.core.model import DynamicTarget, Workload

KEPT_SHARE = 0.99
"""The promise is kept if at least this share of the messages starts in time."""


def promise_s(workload: Workload, processing_s: float, concurrency: float) -> float:
    """Seconds within which a message shall start, unless another promise is given.

    For the deadline engine it is the engine's, for a dynamic target the acceptable latency. For a static
    target it is the time in which one instance processes its target: target x processing time / concurrency.
    """
    if workload.deadline is not None:
        return workload.deadline.promise_s
    if isinstance(workload.target, DynamicTarget):
        return workload.target.acceptable_latency_s
    return workload.target.messages_per_instance * processing_s / concurrency


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long the messages of a run waited, in seconds, and how that compares with the promise."""

    promise_s: float
    attainment: float
    """Share of the messages that started within the promise, 0 to 1."""
    p50_s: float
    p99_s: float

    @property
    def kept(self) -> bool:
        """Whether the promise was kept."""
        return self.attainment >= KEPT_SHARE

    def as_json(self) -> dict[str, object]:
        """The JSON object, with the keys of `sluice simulate --json`."""
        return {
            "promise_s": self.promise_s,
            "promise_kept": self.kept,
            "attainment": self.attainment,
            "wait_p50_s": self.p50_s,
            "wait_p99_s": self.p99_s,
        }


def waits(started_s: Sequence[float], unprocessed_s: Sequence[float], promise_s: float) -> Waits | None:
    """Summarise the waits of processed messages, and of those that still wait at the end of a run.

    The latter count as late whatever the promise. Percentiles are over all messages, by nearest rank. None
    without messages.
    """
    together = sorted([*started_s, *unprocessed_s])
    if not together:
        return None
    return Waits(
        promise_s=promise_s,
        attainment=sum(waited_s <= promise_s for waited_s in started_s) / len(together),
        p50_s=together[math.ceil(0.5 * len(together)) - 1],
        p99_s=together[math.ceil(0.99 * len(together)) - 1],
    )
