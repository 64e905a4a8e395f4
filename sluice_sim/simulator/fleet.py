"""A fleet that serves a simulated queue; several may serve the same one.

Handles instances from launch to termination; `queue_kernel` handles the messages in between. Times are
seconds since the start of the run.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from typing import NamedTuple

import numpy as np

from sluice.core.model import Bounds
from sluice_sim.simulator.downstream import Downstream
from sluice_sim.simulator.queue import SimulatedQueue
from sluice_sim.simulator.queue_kernel import Floats
from sluice_sim.simulator.warm_pool import WarmPool, WarmPoolSettings

RETRY_S = 10.0
"""How long after a launch failed for lack of capacity the next attempt is made."""
MAX_LIFETIME_H = 100_000.0
"""Longer than any run: a longer lifetime means that the instance is never interrupted."""
SPOT_NOTICE_S = 120.0
"""Documented: two minutes between the interruption notice and the end of a Spot instance."""


class ScaleIn(StrEnum):
    """What happens to the messages in flight on an instance that is scaled in."""

    DRAIN = "drain"
    """The instance finishes its messages and receives no more (lifecycle hook, stop timeout)."""
    KILL = "kill"
    """The instance terminates at once; its messages return when their visibility timeout ends."""
    PROTECT = "protect"
    """Only idle instances terminate; busy ones are protected from scale-in until they are idle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """The settings of the queue, the instances and the workers."""

    boot_s: Callable[[], float]
    """Returns the seconds from the next instance's launch until it receives messages."""
    concurrency: int = 1
    visibility_timeout_s: float = 300.0
    max_receives: int = 3
    delay_s: float = 0.0
    scale_in: ScaleIn = ScaleIn.DRAIN
    interruptions_per_instance_hour: float = 0.0
    refusal_ratio: float = 0.0
    """Share of launches that fail for lack of capacity, 0 to 1."""
    warm_pool: WarmPoolSettings | None = None
    downstream: Downstream | None = None
    """What every attempt calls; None for a downstream without a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Exact state of queue and fleet at one moment."""

    now_s: float
    visible: int
    in_flight: int
    delayed: int
    desired: int
    running: int
    idle: int
    """Running instances without a message."""
    launched_s: tuple[float, ...]
    """Launch time of each booting instance, oldest first. AWS shows these, but not when a boot will end."""
    oldest_age_s: float
    """ApproximateAgeOfOldestMessage as SQS reports it; 0 for an empty queue."""

    @property
    def backlog(self) -> int:
        """Every message not yet deleted."""
        return self.visible + self.in_flight + self.delayed


class FleetSize(NamedTuple):
    """The instances of the fleet at one moment."""

    desired: int
    running: int
    busy: int
    """Running instances with a message."""
    booting: int
    warm: int | None
    """Stopped instances of the warm pool; None without a pool."""
    ending: int
    """Instances that were stopped and finish what they have."""


@dataclass(slots=True, kw_only=True, eq=False)
class Instance:
    """One instance; `stopped_s` is infinite until it is stopped."""

    number: int
    block: int
    launched_s: float
    ready_s: float
    warm: bool = False
    """Whether it was started from the warm pool."""
    stopped_s: float = math.inf
    receives: bool = True
    """False once its workers know that they are to receive no more."""


@dataclass(slots=True)
class SimulatedFleet:
    """One fleet of a run, and the queue that it serves."""

    queue: SimulatedQueue
    conditions: Conditions
    random: np.random.Generator
    bounds: Bounds
    """Its own minimum and maximum now: the workload's, unless a schedule or a switch has set others."""
    place: int = 0
    """Its place among the fleets of the queue."""
    held: dict[str, bool] = field(default_factory=dict)
    """AWS's fields that hold its scaling policy, by AWS's names; an absent one holds nothing."""
    desired: int = 0
    instances: list[Instance] = field(default_factory=list)
    launches_refused: int = 0
    interruptions: int = 0
    _booting: list[Instance] = field(default_factory=list)
    _running: list[Instance] = field(default_factory=list)
    """Both without those that were stopped, in the order of their launches."""
    receives: bool = True
    """Whether its workers are told to receive messages."""
    _pool: WarmPool | None = None
    _ending: list[Instance] = field(default_factory=list)
    """Stopped, and not gone yet when that was last looked at."""
    _returning: list[Instance] = field(default_factory=list)
    """Scaled in, and to enter the warm pool when they have no message left."""
    _retrying: bool = False

    def __post_init__(self) -> None:
        if self.conditions.warm_pool is not None:
            self._pool = WarmPool(self.conditions.warm_pool, self.conditions.boot_s)

    @property
    def now_s(self) -> float:
        """The current time, in seconds since the start of the run."""
        return self.queue.now_s

    def size(self) -> FleetSize:
        """Process every event that is due, and count the instances."""
        self.queue.advance()
        self._update_running()
        self._forget_ended()
        return FleetSize(
            desired=self.desired,
            running=len(self._running),
            busy=int(self.queue.kernel.occupied[self.place]),
            booting=len(self._booting),
            warm=None if self._pool is None else self._pool.stopped(self.now_s),
            ending=len(self._ending),
        )

    def warm_pool_cost_s(self) -> float:
        """What the warm pool has cost by now, in seconds of a running instance."""
        return 0.0 if self._pool is None else self._pool.cost_s(self.now_s)

    def snapshot(self) -> Snapshot:
        """Process every event that is due, and count messages and instances."""
        counts, size = self.queue.counts(), self.size()
        return Snapshot(
            now_s=self.now_s,
            visible=counts.visible,
            in_flight=counts.in_flight,
            delayed=counts.delayed,
            desired=size.desired,
            running=size.running,
            idle=size.running - size.busy,
            launched_s=tuple(one.launched_s for one in self._booting),
            oldest_age_s=self.queue.oldest_age_s(),
        )

    def warmed(self, warmup_s: float) -> int:
        """Number of running instances that have been ready for at least `warmup_s`."""
        self._update_running()
        ready_s = self.now_s - warmup_s
        return sum(one.ready_s <= ready_s for one in self._running)

    def _forget_ended(self) -> None:
        if self._ending:
            terminated_s = self.queue.kernel.terminated_s
            self._ending = [one for one in self._ending if math.isnan(terminated_s[one.number])]

    def _update_running(self) -> None:
        """Count instances as running from the moment at which they are ready."""
        if not self._booting:
            return
        now = self.now_s
        for one in [one for one in self._booting if one.ready_s <= now]:
            self._booting.remove(one)
            insort(self._running, one, key=_number)

    def set_desired(self, desired: int) -> None:
        """Set the desired capacity, and launch or stop instances accordingly."""
        self.desired = desired
        self.queue.advance()
        self._reconcile()

    def set_receiving(self, receives: bool, learns_after_s: Callable[[], float]) -> None:
        """Tell the workers whether they may receive; each learns of it so many seconds from now.

        An instance that starts later knows.
        """
        if receives is self.receives:
            return
        self.size()
        self.receives = receives
        for one in self._booting:
            self._let_receive(one)
        for one in self._running:
            self.queue.clock.at(self.queue.clock.now + learns_after_s(), partial(self._learn, one))

    def _learn(self, one: Instance) -> None:
        self.queue.advance()
        self._let_receive(one)

    def _let_receive(self, one: Instance) -> None:
        """Bring an instance that was not stopped to what its workers are told."""
        if one.stopped_s <= self.now_s or one.receives is self.receives:
            return
        one.receives = self.receives
        if one.receives:
            self.queue.resume(one.block, booting=one.ready_s >= self.now_s)
        else:
            self.queue.pause(one.block)

    def terminated_s(self) -> Floats:
        """Termination time of every instance ever launched; NaN while it is alive."""
        ended_s: Floats = self.queue.kernel.terminated_s[[one.number for one in self.instances]]
        return ended_s

    def _reconcile(self) -> None:
        """Launch missing instances, or stop surplus ones."""
        self._update_running()
        now = self.now_s
        self._return_to_pool()
        missing = self.desired - len(self._running) - len(self._booting)
        for _ in range(missing):
            self._launch(now)
        if missing < 0:
            self._scale_in(-missing, now)
        self._return_to_pool()
        if self._pool is not None:
            self._pool.resize(self.desired + len(self._returning), now)

    def _return_to_pool(self) -> None:
        """Move the scaled-in instances that have no message left into the warm pool."""
        terminated_s = self.queue.kernel.terminated_s
        for one in [one for one in self._returning if not math.isnan(terminated_s[one.number])]:
            self._returning.remove(one)
            if self._pool is not None:
                self._pool.give_back(float(terminated_s[one.number]))

    def _launch(self, now: float) -> None:
        ratio = self.conditions.refusal_ratio
        if ratio and self.random.random() < ratio:
            self.launches_refused += 1
            self._schedule_retry()
            return
        pool = self._pool
        is_warm = pool is not None and pool.take(now)
        boot_s = pool.settings.boot_s() if pool is not None and is_warm else self.conditions.boot_s()
        number, block = self.queue.launch(self.place, now + boot_s)
        one = Instance(
            number=number,
            block=block,
            launched_s=now,
            ready_s=now + boot_s,
            warm=is_warm,
        )
        self.instances.append(one)
        self._booting.append(one)
        self._let_receive(one)
        if rate := self.conditions.interruptions_per_instance_hour:
            lives = self.random.exponential() / rate  # hours
            if lives < MAX_LIFETIME_H:
                self.queue.clock.at(
                    self.queue.began_s + one.ready_s + 3600 * lives, lambda: self._interrupt(one)
                )

    def _scale_in(self, count: int, now: float) -> None:
        """Stop `count` instances: booting ones first, newest first; then running ones, oldest first.

        Under PROTECT idle ones go before busy ones, and a busy one is tried again later.
        """
        busy = self.queue.kernel.busy
        booting = sorted(self._booting, key=lambda one: -one.launched_s)
        running = list(self._running)
        if self.conditions.scale_in is ScaleIn.PROTECT:
            running.sort(key=lambda one: busy[one.number] > 0)
        for one in (booting + running)[:count]:
            if one.ready_s <= now and busy[one.number] and self.conditions.scale_in is ScaleIn.PROTECT:
                self._schedule_retry()  # protected while busy
                return
            if one.ready_s <= now and self.conditions.scale_in is ScaleIn.KILL:
                self._kill(one, now)
            else:
                self._stop(one, now)
            if one.ready_s <= now and self._pool is not None and self._pool.settings.reuse:
                self._returning.append(one)

    def _stop(self, one: Instance, now: float) -> None:
        self._mark_stopped(one, now)
        self.queue.stop(one.block, booting=one.ready_s > now)

    def _mark_stopped(self, one: Instance, now: float) -> None:
        if not one.receives:  # its slots go back to where the kernel finds those that it stops
            one.receives = True
            self.queue.resume(one.block, booting=one.ready_s >= now)
        one.stopped_s = now
        self._ending.append(one)
        (self._booting if one in self._booting else self._running).remove(one)

    def _kill(self, one: Instance, now: float) -> None:
        if one.stopped_s > now:
            self._mark_stopped(one, now)
        self.queue.kill(one.block)

    def _interrupt(self, one: Instance) -> None:
        """A Spot interruption: the instance drains from the notice on and is gone two minutes later."""
        self.queue.advance()
        if self.queue.kernel.terminated_s[one.number] <= self.now_s:
            return
        self.interruptions += 1
        if one.stopped_s > self.now_s:
            self._stop(one, self.now_s)
        self._reconcile()
        self.queue.clock.at(self.queue.clock.now + SPOT_NOTICE_S, lambda: self._end(one))

    def _end(self, one: Instance) -> None:
        self.queue.advance()
        if math.isnan(self.queue.kernel.terminated_s[one.number]):
            self._kill(one, self.now_s)

    def _schedule_retry(self) -> None:
        if self._retrying:
            return
        self._retrying = True
        self.queue.clock.at(self.queue.clock.now + RETRY_S, self._retry)

    def _retry(self) -> None:
        self._retrying = False
        self.queue.advance()
        self._reconcile()


def together(first: SimulatedFleet, *others: SimulatedFleet) -> Snapshot:
    """The queue and all fleets that serve it, counted together."""
    own, rest = first.snapshot(), [one.snapshot() for one in others]
    return replace(
        own,
        desired=own.desired + sum(one.desired for one in rest),
        running=own.running + sum(one.running for one in rest),
        idle=own.idle + sum(one.idle for one in rest),
        launched_s=tuple(sorted((*own.launched_s, *(at_s for one in rest for at_s in one.launched_s)))),
    )


def _number(one: Instance) -> int:
    return one.number
