"""What a policy finds and what it may do: the one interface between policies and what they steer.

Owns what a policy may see at a tick, with the lag at which it sees it, and the record of what it asked for.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from sluice_sim.aws_rules.monitoring import CUSTOM_METRIC_DELAY_S
from sluice_sim.clock import VirtualClock
from sluice_sim.simulator.fleet import (
    QueueCounts,
    ScaleIn,
    SimulatedFleet,
    Snapshot,
)
from sluice_sim.simulator.metrics import (
    MetricId,
    MetricStore,
)
from sluice_sim.simulator.targets import CurrentTarget
from sluice_sim.template.deployment import Deployed

HOUR_MINUTES = 60
COUNT_SAMPLE_INTERVAL_S = 1.0
"""Counts that lag are those of a full second: as old as asked for, or at most so much older."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTimes:
    """Service times of the messages finished in the last hour, in seconds; NaN where none was."""

    mean_s: float
    deviation_s: float
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """Something decided, at a second of the run, in a sentence."""

    at_s: float
    source: str
    text: str


@dataclass(slots=True, kw_only=True)
class ScalingContext:
    """One run as a policy sees it."""

    clock: VirtualClock
    fleet: SimulatedFleet
    deployed: Deployed
    promise_s: float
    """Acceptable seconds from a message's arrival to its start."""
    mean_service_s: float
    """What the operator would have measured beforehand."""
    boot_s: float
    """What the operator would have measured beforehand."""
    peak_rate_per_s: float
    """Arrivals of the busiest ten minutes: what a fleet fixed at its peak is sized by."""
    seed: int = 0
    """Of what happens beside the plant: how late each schedule starts."""
    metrics: MetricStore = field(default_factory=MetricStore)
    count_lag_s: float = 0.0
    """How old the counts are that SQS answers with."""
    log: list[LogEntry] = field(default_factory=list)
    target: Callable[[], CurrentTarget | None] = lambda: None
    """What the policy holds of the workload's target; told at the end of the run."""
    _count_history: deque[QueueCounts] = field(default_factory=deque)

    def __post_init__(self) -> None:
        if self.count_lag_s:
            self.clock.every(COUNT_SAMPLE_INTERVAL_S, self._sample, first=self.clock.now, priority=-2)

    @property
    def minimum(self) -> int:
        """Fewest instances."""
        return self.deployed.workload.bounds.min

    @property
    def maximum(self) -> int:
        """Most instances."""
        return self.deployed.workload.bounds.max

    @property
    def concurrency(self) -> int:
        """Messages that one instance works on at a time."""
        return self.fleet.conditions.concurrency

    @property
    def target_per_instance(self) -> float:
        """Messages per instance that keep the promise: promise x concurrency / service time."""
        return self.promise_s * self.concurrency / self.mean_service_s

    def observe(self) -> Snapshot:
        """The queue's counts as SQS would answer now, and the fleet as it is."""
        now = self.fleet.snapshot()
        if not self.count_lag_s:
            return now
        self._drop_old_counts()
        old = self._count_history[0]
        return replace(now, visible=old.visible, in_flight=old.in_flight, delayed=old.delayed)

    def _sample(self) -> None:
        self._count_history.append(self.fleet.counts())
        self._drop_old_counts()

    def _drop_old_counts(self) -> None:
        """What is older than the counts that are answered with now."""
        while (
            len(self._count_history) > 1
            and self._count_history[1].at_s <= self.fleet.now_s - self.count_lag_s
        ):
            self._count_history.popleft()

    def service_times(self) -> ServiceTimes:
        """Mean and spread over the hour before the last full one began to be counted anew."""
        minute = int(self.fleet.now_s // 3600) * HOUR_MINUTES
        sums, squares, counts = self.fleet.durations(minute - HOUR_MINUTES, minute)
        messages = int(counts.sum())
        if not messages:
            return ServiceTimes(mean_s=math.nan, deviation_s=math.nan, messages=0)
        mean = float(sums.sum()) / messages
        variance = max(0.0, float(squares.sum()) / messages - mean * mean)
        return ServiceTimes(mean_s=mean, deviation_s=math.sqrt(variance), messages=messages)

    def publish(self, metric: MetricId, minute: int, value: float) -> None:
        """PutMetricData: one value, which can be read some seconds later."""
        put = partial(self.metrics.put, metric, minute, value)
        self.clock.at(self.clock.now + CUSTOM_METRIC_DELAY_S, put)

    def set_desired(self, desired: int, reason: str, *, source: str = "policy") -> None:
        """Ask for this many instances, within the bounds; told where it changes anything."""
        wanted = min(max(desired, self.minimum), self.maximum)
        if wanted != self.fleet.desired:
            self.log.append(
                LogEntry(
                    at_s=self.fleet.now_s, source=source, text=f"{self.fleet.desired} -> {wanted}: {reason}"
                )
            )
            self.fleet.set_desired(wanted)


class Policy(Protocol):
    """One way of scaling."""

    name: str
    scale_in: ScaleIn | None
    """What its scale-in needs of the fleet, None where it takes the fleet as it is."""

    def attach(self, context: ScalingContext) -> None:
        """Schedule on the site's clock whatever it does."""
        ...


def every(
    context: ScalingContext, period_s: float, action: Callable[[], object], *, after_s: float = 0.0
) -> None:
    """Run an action each period, the first time `after_s` from now."""
    context.clock.every(period_s, action, first=context.clock.now + after_s)
