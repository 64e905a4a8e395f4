"""The fewest instances to launch now so that every waiting message starts in time.

A slot is one message that an instance works on at a time. A busy slot starts a message each mean processing
time. One that becomes ready, or is idle, starts its first message at once: within t seconds
max(1, t / processing time + 0.5), on average.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

FIRST_START = 0.5
"""Messages that an idle slot starts in advance of a busy one, on average."""
MIN_WORK_SHARE = 0.1
"""Messages that are late in any case are due this share of the promise after an instance launched now is
ready.

Otherwise the number of instances that could still save them would be unbounded.
"""
SPREAD_WEIGHT = 0.5
"""Standard deviations of the messages started that the plan keeps in reserve.

Slots that start n messages on average start n +- variation x sqrt(n) (renewal theory, for many messages).
"""
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Processing:
    """How long a message takes."""

    mean_s: float
    variation: float = 0.0
    """Coefficient of variation: standard deviation / mean."""


class Cohort(NamedTuple):
    """Messages that arrived between the same two readings; `due_s` is when the last of them must start."""

    since_s: float
    due_s: float
    messages: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """The slots that start messages: busy and idle ones now, and (moment, slots) of those that boot."""

    now_s: float
    busy_slots: float
    idle_slots: float
    booting: Sequence[tuple[float, float]]
    """Earliest first."""
    processing: Processing


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """The cohort that needs the most launches, the messages of it and before it that would start late."""

    instances: int
    cohort: Cohort
    messages: float


def fewest_launches(
    cohorts: Sequence[Cohort],
    supply: Supply,
    *,
    launch: Sequence[tuple[float, float]],
    warm_launch: Sequence[tuple[float, float]] = (),
    warm_instances: int = 0,
    min_work_s: float,
) -> Shortage | None:
    """The fewest instances to launch with which every cohort (oldest first) starts in time; None for none.

    `launch` are (moment, slots) at which an instance launched now is expected to be ready; its slots are
    spread over those moments. The first `warm_instances` are ready as `warm_launch` says instead. No cohort
    is due earlier than `min_work_s` after the mean of those moments: of the warm ones while these suffice.
    """
    total = sum([cohort.messages for cohort in cohorts])
    if not total:
        return None
    reserve = SPREAD_WEIGHT * supply.processing.variation
    cold = _Start(launch, supply, min_work_s)
    warm = _Start(warm_launch, supply, min_work_s) if warm_instances else cold
    if total + reserve * math.sqrt(total) <= warm.ready.starts_by(max(cohorts[0].due_s, warm.earliest_s)):
        return None  # all of them start before the first is due
    waiting, worst = 0.0, None
    for cohort in cohorts:
        waiting += cohort.messages
        needed = waiting + reserve * math.sqrt(waiting)  # how many starts it takes on average
        moment_s = max(cohort.due_s, warm.earliest_s)
        missing = needed - warm.ready.starts_by(moment_s)
        if missing <= ROUNDING:
            continue
        instances = math.ceil(missing / warm.each(moment_s) - ROUNDING)
        if 0 < warm_instances < instances:
            moment_s = max(cohort.due_s, cold.earliest_s)
            beyond = needed - cold.ready.starts_by(moment_s) - warm_instances * warm.each(moment_s)
            instances = warm_instances + max(0, math.ceil(beyond / cold.each(moment_s) - ROUNDING))
        if worst is None or instances > worst.instances:
            worst = Shortage(instances=instances, cohort=cohort, messages=missing)
    return worst


class _Start:
    """A kind of start: when its instances are ready, and what one of them starts by a moment."""

    def __init__(self, launch: Sequence[tuple[float, float]], supply: Supply, min_work_s: float) -> None:
        slots = sum([count for _, count in launch])
        self.earliest_s = sum([moment * count for moment, count in launch]) / slots + min_work_s
        """What is late in any case is due then: once an instance of this kind has worked for a while."""
        self._launch, self._mean_s = launch, supply.processing.mean_s
        self.ready = _ReadySlots(supply, self._mean_s)

    def each(self, moment_s: float) -> float:
        """Messages that an instance launched now starts by this moment."""
        return sum([count * starts(moment_s - ready_s, self._mean_s) for ready_s, count in self._launch])


def starts(time_s: float, processing_s: float) -> float:
    """Messages that a slot starts within this time of becoming ready, on average."""
    return 0.0 if time_s < 0 else max(1.0, time_s / processing_s + FIRST_START)


class _ReadySlots:
    """Sums what all slots start by one moment after another; moments never decrease."""

    def __init__(self, supply: Supply, processing_s: float) -> None:
        self._now_s, self._processing_s = supply.now_s, processing_s
        self._pending = [(supply.now_s, supply.idle_slots), *supply.booting]
        self._ready = self._settled = 0
        self._per_s = supply.busy_slots / processing_s
        """Messages that the slots start by time: busy ones, and ready ones after half a processing time."""
        self._first = 0.0
        """Messages by which the others are ahead of that."""

    def starts_by(self, moment_s: float) -> float:
        """Messages that can start by then.

        Ready slots count one message at first, and by time once half a processing time has passed.
        """
        if self._settled < len(self._pending):
            self._add_ready(moment_s)
        within_s = moment_s - self._now_s
        return self._first + self._per_s * within_s if within_s > 0 else self._first

    def _add_ready(self, moment_s: float) -> None:
        pending = self._pending
        while self._ready < len(pending) and pending[self._ready][0] <= moment_s:
            self._first += pending[self._ready][1]
            self._ready += 1
        settled_s = moment_s - self._processing_s * (1 - FIRST_START)
        while self._settled < self._ready and pending[self._settled][0] <= settled_s:
            ready_s, slots = pending[self._settled]
            per_s = slots / self._processing_s
            self._per_s += per_s
            # From now on, not since the epoch: the difference of two large numbers would lose its fraction.
            self._first -= slots * (1 - FIRST_START) + per_s * (ready_s - self._now_s)
            self._settled += 1
