"""The deadline policy: launches the fewest instances with which every waiting message starts by its deadline.

Source: this project, which plans to deploy it next. Every 10 seconds:

   1. How old is the backlog? Arrivals between readings are estimated (`arrival_estimate`) and kept, newest to
   oldest, until they cover the waiting messages. They form cohorts, each due `promise` after the beginning of
   its tick. 2. How many messages can the running and booting instances start before each cohort is due? When
   a booting instance will be ready is estimated from its launch time and the boot times of others
   (`boot_times`). 3. If that is not enough: launch the fewest instances, ready one boot time from now, with
   which every cohort starts in time. 4. If no message waits and no instance boots: terminate instances beyond
   the busy ones and the arrival-rate floor at once (busy ones are protected). If the promise is hardly longer
   than the boot, no launch is in time for the next arrivals, and the floor is the last hour's peak instead.

Scale-out forecasts nothing. At 0 the first message launches one instance.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sluice_sim.simulator.arrival_estimate import (
    ArrivalEstimate,
    Arrivals,
    mean_service_s,
)
from sluice_sim.simulator.boot_times import (
    BootTimes,
    ExpectedCapacity,
)
from sluice_sim.simulator.context import (
    ScalingContext,
    every,
)
from sluice_sim.simulator.fleet import (
    ScaleIn,
    Snapshot,
)

TICK_S = 10.0
FLOOR_WINDOW_S = 300.0
"""Window of the arrival-rate floor for scale-in, in seconds."""
HOLD_S = 3600.0
"""Window of the floor if no launch can be in time for the next arrivals: their peak rate, in seconds."""
MIN_WORK_SHARE = 0.1
"""Messages that are late anyway are due this share of the promise after an instance launched now is ready.

Without this, the number of instances that could still save them would be unbounded.
"""
FIRST_START = 0.5
"""A slot that becomes ready starts one message at once, and then one per service time.

In whole messages that is half a start more than time / service time, on average.
"""
ROUNDING = 1e-9
OVERDUE_MEMORY_S = 600.0
"""Messages that have waited this much longer than the promise form one cohort."""
MAX_COHORTS = 100
"""Cohorts per promise; arrivals that are closer together form one, as old as its beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """Waiting messages that arrived in the same tick, and when the last of them must start."""

    due_s: float
    messages: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetCapacity:
    """The capacity of running and booting instances to start messages."""

    now_s: float
    running: int
    booting: Sequence[ExpectedCapacity] = ()
    concurrency: int
    service_s: float

    def starts_by(self, moment_s: float) -> float:
        """Messages that running and booting instances can start by `moment_s`."""
        running = self.running * self.concurrency * (moment_s - self.now_s) / self.service_s
        return running + self.starts_of(self.booting, moment_s)

    def starts_of(self, booting: Sequence[ExpectedCapacity], moment_s: float) -> float:
        """Messages that booting instances can start by `moment_s`, on average."""
        return sum(one.instances * self.starts_of_one(one.ready_s, moment_s) for one in booting)

    def starts_of_one(self, ready_s: float, moment_s: float) -> float:
        """Messages that an instance ready at `ready_s` can start by `moment_s`."""
        if moment_s < ready_s:
            return 0.0
        return self.concurrency * ((moment_s - ready_s) / self.service_s + FIRST_START)


def launches(
    cohorts: Sequence[Cohort], fleet: FleetCapacity, *, launch: Sequence[ExpectedCapacity], min_work_s: float
) -> int:
    """The fewest instances to launch now so that every cohort (oldest first) starts in time.

    `launch` is when an instance launched now is expected to be ready. No cohort is due earlier than
    `min_work_s` after that.
    """
    ready_s = sum(one.ready_s * one.instances for one in launch)
    before, needed = 0.0, 0
    for cohort in cohorts:
        before += cohort.messages
        moment_s = max(cohort.due_s, ready_s + min_work_s)
        missing = before - fleet.starts_by(moment_s)
        if missing > ROUNDING:
            each = fleet.starts_of(launch, moment_s)
            needed = max(needed, math.ceil(missing / each - ROUNDING))
    return needed


@dataclass(slots=True)
class AgeProfile:
    """The arrival times of the waiting messages, reconstructed from arrivals between readings."""

    memory_s: float
    """Messages that have waited longer are late in any case, so their ages no longer matter: one cohort."""
    min_s: float = 0.0
    """Arrivals closer together than this form one cohort, seconds."""
    _arrivals: deque[Arrivals] = field(default_factory=deque)

    def update(self, arrivals: Arrivals, waiting: float) -> Sequence[Arrivals]:
        """Add arrivals, and return those that still wait, oldest first.

        Earlier arrivals have started and are dropped, because the queue is served oldest first. If the kept
        arrivals are fewer than the waiting messages, they were estimated too low: the rest counts as the
        oldest.
        """
        self._arrivals.append(arrivals)
        while (
            len(self._arrivals) > 1
            and self._arrivals[-1].elapsed_s + self._arrivals[-2].elapsed_s <= self.min_s
        ):
            self._arrivals.append(_merged(self._arrivals.pop(), self._arrivals.pop()))
        while len(self._arrivals) > 1 and self._arrivals[1].until_s <= arrivals.until_s - self.memory_s:
            self._arrivals.appendleft(_merged(self._arrivals.popleft(), self._arrivals.popleft()))
        uncovered, kept = waiting, 0
        while uncovered > 0 and kept < len(self._arrivals):
            kept += 1
            uncovered -= self._arrivals[-kept].messages
        while len(self._arrivals) > kept:
            self._arrivals.popleft()
        if not self._arrivals:
            return ()
        oldest = self._arrivals[0]
        # uncovered < 0: part of the oldest cohort has started; > 0: it is larger than estimated
        self._arrivals[0] = replace(oldest, messages=oldest.messages + uncovered)
        return self._arrivals


def _merged(one: Arrivals, other: Arrivals) -> Arrivals:
    """Merge two consecutive intervals into one that begins with the older."""
    older, newer = sorted((one, other), key=lambda arrivals: arrivals.until_s)
    return Arrivals(
        until_s=newer.until_s,
        elapsed_s=newer.until_s - older.until_s + older.elapsed_s,
        messages=older.messages + newer.messages,
    )


class Policy:
    """Launches the fewest instances that start every waiting message in time; drops idle ones at once."""

    name = "deadline"
    scale_in: ScaleIn | None = ScaleIn.PROTECT
    tick_s = TICK_S

    def attach(self, context: ScalingContext) -> None:
        """Observe and decide every tick."""
        self._context = context
        self._arrivals = ArrivalEstimate(memory_s=HOLD_S)
        self._ages = AgeProfile(
            memory_s=context.promise_s + OVERDUE_MEMORY_S, min_s=context.promise_s / MAX_COHORTS
        )
        self._boots = BootTimes(prior_s=context.boot_s)
        every(context, self.tick_s, self._tick)

    def _tick(self) -> None:
        snapshot, service_s = self._context.observe(), mean_service_s(self._context)
        self._boots.update(snapshot)
        arrivals = self._arrivals.update(snapshot, service_s)
        if arrivals is None:
            return
        waiting = snapshot.visible + snapshot.delayed
        ages = self._ages.update(arrivals, waiting)
        if waiting:
            self._scale_out(snapshot, ages, service_s)
        else:
            self._scale_in(snapshot, service_s)

    def _scale_out(self, snapshot: Snapshot, ages: Sequence[Arrivals], service_s: float) -> None:
        context, launched = self._context, snapshot.running + len(snapshot.launched_s)
        if launched >= context.maximum:
            return
        fleet = FleetCapacity(
            now_s=snapshot.now_s,
            running=snapshot.running,
            booting=self._boots.expected_of_booting(snapshot),
            concurrency=context.concurrency,
            service_s=service_s,
        )
        # Due from the beginning of their tick: they may all have arrived then.
        cohorts = [
            Cohort(due_s=one.until_s - one.elapsed_s + context.promise_s, messages=one.messages)
            for one in ages
        ]
        needed = launches(
            cohorts,
            fleet,
            launch=self._boots.expected_of_launch(snapshot.now_s),
            min_work_s=MIN_WORK_SHARE * context.promise_s,
        )
        wait_s = snapshot.now_s - ages[0].until_s + ages[0].elapsed_s
        context.set_desired(
            launched + needed,
            f"{snapshot.visible + snapshot.delayed} wait, the oldest {wait_s:.0f} s; {needed} more needed",
        )

    def _scale_in(self, snapshot: Snapshot, service_s: float) -> None:
        """No message waits: keep the busy instances, and at least the floor."""
        if snapshot.launched_s:
            return
        context = self._context
        slots = self._floor_rate_per_s() * service_s
        floor = math.ceil(slots / context.concurrency)
        occupied = math.ceil(snapshot.in_flight / context.concurrency)
        keep = min(snapshot.running, max(floor, occupied))
        context.set_desired(keep, f"nothing waits, {occupied} occupied; arrivals keep {slots:.3g} slots busy")

    def _floor_rate_per_s(self) -> float:
        """The current arrival rate; the peak rate of the last hour if no launch would be in time."""
        promise_s = self._context.promise_s
        if promise_s - self.tick_s >= self._boots.mean_s + MIN_WORK_SHARE * promise_s:
            return self._arrivals.rate_per_s(FLOOR_WINDOW_S)
        return self._arrivals.peak_rate_per_s(promise_s)
