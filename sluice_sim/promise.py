"""The promise: the processing of a message starts within so many seconds of its arrival.

Owns what a workload promises and when a run has kept it, for the demo and the simulator alike. The worker's
`--promise-s` means the same. A wait runs from the message's sending to the start of the processing that
succeeded: the processing itself is no part of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sluice.core.model import DynamicTarget, Workload

KEPT_SHARE = 0.99
"""The promise is kept where at least this share of the messages starts in time."""


def promise_s(workload: Workload, processing_s: float, concurrency: float) -> float:
    """Seconds within which a message shall start, unless somebody promised otherwise.

    The acceptable latency; of a static target, which names none, what it amounts to: the time in which one
    instance works off its target, target x processing time / concurrency.
    """
    if isinstance(workload.target, DynamicTarget):
        return workload.target.acceptable_latency_s
    return workload.target.messages_per_instance * processing_s / concurrency


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long the messages of a run waited, against its promise; seconds."""

    promise_s: float
    attainment: float
    """Share of the messages that started in time, 0 to 1."""
    p50_s: float
    p99_s: float

    @property
    def kept(self) -> bool:
        """Whether the promise was kept."""
        return self.attainment >= KEPT_SHARE

    def as_json(self) -> dict[str, object]:
        """Under the keys of `sluice simulate --json`."""
        return {
            "promise_s": self.promise_s,
            "promise_kept": self.kept,
            "attainment": self.attainment,
            "wait_p50_s": self.p50_s,
            "wait_p99_s": self.p99_s,
        }


def waits(started_s: Sequence[float], unprocessed_s: Sequence[float], promise_s: float) -> Waits | None:
    """What a run's waits come to: of messages that were processed, and of those that still wait at its end.

    The latter are late whatever the promise. Percentiles are of all together, by nearest rank. None where
    there is no message.
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
