"""The interface between a scaling policy and the simulated queue and fleet.

Defines what a policy can observe at a tick, with the lag of real readings, and logs every change of the
desired capacity.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from sluice.core.model import Bounds, Fleet
from sluice_sim.aws_rules.monitoring import CUSTOM_METRIC_DELAY_S
from sluice_sim.clock import VirtualClock
from sluice_sim.simulator.fleet import (
    ScaleIn,
    SimulatedFleet,
    Snapshot,
)
from sluice_sim.simulator.metrics import (
    MetricId,
    MetricStore,
)
from sluice_sim.simulator.queue import QueueCounts, SimulatedQueue
from sluice_sim.simulator.switches import PlayedSwitch
from sluice_sim.simulator.targets import CurrentTarget
from sluice_sim.template.deployment import Deployed

HOUR_MINUTES = 60
COUNT_SAMPLE_INTERVAL_S = 1.0
"""Resolution of lagging counts: they are as old as requested, or at most this much older."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTimes:
    """Service times of the messages finished in the last full hour, in seconds; NaN without any."""

    mean_s: float
    deviation_s: float
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One decision as a sentence, with its time in seconds of the run and its source."""

    at_s: float
    source: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundsSet:
    """The fleet's own bounds from a time on, in seconds of the run."""

    at_s: float
    bounds: Bounds


@dataclass(slots=True, kw_only=True)
class ScalingContext:
    """One run as a policy observes and changes it."""

    clock: VirtualClock
    fleets: Mapping[Fleet, SimulatedFleet]
    """Every fleet of the workload: one, or two colors."""
    deployed: Deployed
    """The workload as it is now; a switch changes which color is active."""
    promise_s: float
    """Seconds within which a message shall start after its arrival."""
    mean_service_s: float
    """Mean service time that the operator measured beforehand."""
    boot_s: float
    """Mean boot time that the operator measured beforehand."""
    peak_rate_per_s: float
    """Arrival rate of the busiest ten minutes, which sizes a static fleet."""
    seed: int = 0
    """Seed of everything outside queue and fleet: how late each schedule starts."""
    metrics: MetricStore = field(default_factory=MetricStore)
    count_lag_s: float = 0.0
    """Age of the message counts that SQS returns, in seconds."""
    log: list[LogEntry] = field(default_factory=list)
    switch_at_s: float | None = None
    """When a switch between the colors begins, in seconds of the run; None for none."""
    switches: list[PlayedSwitch] = field(default_factory=list)
    """The switches so far."""
    scheduled: list[BoundsSet] = field(default_factory=list)
    """What schedules have set so far."""
    target: Callable[[], CurrentTarget | None] = lambda: None
    """Returns the policy's current target and its explanation; called at the end of the run."""
    _count_history: deque[QueueCounts] = field(default_factory=deque)

    def __post_init__(self) -> None:
        if self.count_lag_s:
            self.clock.every(COUNT_SAMPLE_INTERVAL_S, self._sample, first=self.clock.now, priority=-2)

    @property
    def fleet(self) -> SimulatedFleet:
        """The fleet that is scaled: the only one, or that of the active color."""
        return self.fleets[self.deployed.workload.fleet]

    @property
    def queue(self) -> SimulatedQueue:
        """The queue that every fleet serves."""
        return self.fleet.queue

    @property
    def is_switching(self) -> bool:
        """Whether a switch between the colors is still to be finished or undone."""
        return any(one.restored_s is None for one in self.switches)

    @property
    def minimum(self) -> int:
        """Minimum of the fleet now."""
        return self.fleet.bounds.min

    @property
    def maximum(self) -> int:
        """Maximum of the fleet now."""
        return self.fleet.bounds.max

    @property
    def concurrency(self) -> int:
        """Messages that one instance processes concurrently."""
        return self.fleet.conditions.concurrency

    @property
    def target_per_instance(self) -> float:
        """Messages per instance within the promise: promise x concurrency / mean service time."""
        return self.promise_s * self.concurrency / self.mean_service_s

    def counts(self) -> QueueCounts:
        """The queue's counts as SQS would return them now."""
        if not self.count_lag_s:
            return self.queue.counts()
        self._drop_old_counts()
        return self._count_history[0]

    def observe(self) -> Snapshot:
        """The queue's counts as SQS would return them now, and the fleet as it is."""
        now = self.fleet.snapshot()
        if not self.count_lag_s:
            return now
        shown = self.counts()
        return replace(now, visible=shown.visible, in_flight=shown.in_flight, delayed=shown.delayed)

    def _sample(self) -> None:
        self._count_history.append(self.queue.counts())
        self._drop_old_counts()

    def _drop_old_counts(self) -> None:
        """Drop counts older than the ones that `observe` returns now."""
        while (
            len(self._count_history) > 1
            and self._count_history[1].at_s <= self.fleet.now_s - self.count_lag_s
        ):
            self._count_history.popleft()

    def service_times(self) -> ServiceTimes:
        """Mean and standard deviation over the last full hour of the run."""
        minute = int(self.fleet.now_s // 3600) * HOUR_MINUTES
        sums, squares, counts = self.queue.durations(minute - HOUR_MINUTES, minute)
        messages = int(counts.sum())
        if not messages:
            return ServiceTimes(mean_s=math.nan, deviation_s=math.nan, messages=0)
        mean = float(sums.sum()) / messages
        variance = max(0.0, float(squares.sum()) / messages - mean * mean)
        return ServiceTimes(mean_s=mean, deviation_s=math.sqrt(variance), messages=messages)

    def publish(self, metric: MetricId, minute: int, value: float) -> None:
        """PutMetricData: one value, readable CUSTOM_METRIC_DELAY_S later."""
        put = partial(self.metrics.put, metric, minute, value)
        self.clock.at(self.clock.now + CUSTOM_METRIC_DELAY_S, put)

    def set_bounds(self, bounds: Bounds) -> None:
        """Set the fleet's own bounds, as a scheduled action does; the desired capacity moves into them."""
        self.fleet.bounds = bounds
        self.scheduled.append(BoundsSet(at_s=self.fleet.now_s, bounds=bounds))
        reason = f"a schedule sets {bounds.min} to {bounds.max} instances"
        self.set_desired(self.fleet.desired, reason, source="AWS")

    def set_desired(self, desired: int, reason: str, *, source: str = "policy") -> None:
        """Set the desired capacity, clamped to the bounds; log it if it changes anything."""
        wanted = min(max(desired, self.minimum), self.maximum)
        if wanted != self.fleet.desired:
            self.log.append(
                LogEntry(
                    at_s=self.fleet.now_s, source=source, text=f"{self.fleet.desired} -> {wanted}: {reason}"
                )
            )
            self.fleet.set_desired(wanted)


class Policy(Protocol):
    """A scaling policy."""

    name: str
    scale_in: ScaleIn | None
    """The scale-in behaviour that the policy requires; None if it works with any."""

    def attach(self, context: ScalingContext) -> None:
        """Schedule the policy's actions on the clock of the run."""
        ...


def every(
    context: ScalingContext, period_s: float, action: Callable[[], object], *, after_s: float = 0.0
) -> None:
    """Run an action every `period_s`, for the first time `after_s` from now."""
    context.clock.every(period_s, action, first=context.clock.now + after_s)
