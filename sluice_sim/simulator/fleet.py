"""One simulated queue and the fleet that serves it.

Handles instances from launch to termination; `queue_kernel` handles the messages in between. Time advances
only when a caller takes a snapshot, reads counts or sets the desired capacity: each of these first processes
every event that is due. Times are seconds since the start of the run.

Longer than 300 lines because the instances' lifecycle and the arrays that hold their slots change together.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np

from sluice_sim.aws_rules.monitoring import POISON_PILL_RECEIVES
from sluice_sim.clock import VirtualClock
from sluice_sim.simulator import (
    conservation,
    queue_kernel,
)
from sluice_sim.simulator.downstream import Downstream, Failures, failures
from sluice_sim.simulator.queue_kernel import (
    Floats,
    Int32s,
    Ints,
    KernelState,
    Messages,
)
from sluice_sim.simulator.warm_pool import WarmPool, WarmPoolSettings

RETRY_S = 10.0
"""How long after a launch failed for lack of capacity the next attempt is made."""
NO_MAX_RECEIVES = 2**16
"""More than the kernel counts: a message of a FIFO queue always counts as the oldest."""
MAX_INITIAL_BLOCKS = 1000
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


class QueueCounts(NamedTuple):
    """Exact message counts of the queue at one moment."""

    at_s: float
    visible: int
    in_flight: int
    delayed: int


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


@dataclass(slots=True)
class SimulatedFleet:
    """The queue and the fleet of one run."""

    messages: Messages
    conditions: Conditions
    clock: VirtualClock
    random: np.random.Generator
    maximum: int
    """The fleet's maximum, which sizes the first arrays (up to MAX_INITIAL_BLOCKS); they grow on demand."""
    first_of_groups: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    desired: int = 0
    instances: list[Instance] = field(default_factory=list)
    launches_refused: int = 0
    interruptions: int = 0
    redelivered: int = 0
    _booting: list[Instance] = field(default_factory=list)
    _running: list[Instance] = field(default_factory=list)
    """Both without those that were stopped, in the order of their launches."""
    _pool: WarmPool | None = None
    _returning: list[Instance] = field(default_factory=list)
    """Scaled in, and to enter the warm pool when they have no message left."""
    _kernel: KernelState = field(init=False)
    _began_s: float = field(init=False)
    _failures: Failures = field(init=False)
    _retrying: bool = False
    _oldest: int = 0
    """Index of the first message that may still count as the queue's oldest."""

    def __post_init__(self) -> None:
        blocks = 4 * min(self.maximum, MAX_INITIAL_BLOCKS) + 16
        heads = self.first_of_groups.size
        self._kernel = _new_kernel_state(
            blocks, self.conditions.concurrency, room=2 * heads + 1024, messages=self.messages.state.size
        )
        self._began_s = self.clock.now
        self._failures = failures(self.conditions.downstream, self.conditions.visibility_timeout_s)
        if self.conditions.warm_pool is not None:
            self._pool = WarmPool(self.conditions.warm_pool, self.conditions.boot_s)
        if heads:
            queue_kernel.open_groups(
                self.messages, self.first_of_groups, self.conditions.delay_s, self._kernel
            )

    @property
    def now_s(self) -> float:
        """The current time, in seconds since the start of the run."""
        return self.clock.now - self._began_s

    def counts(self) -> QueueCounts:
        """Process every event that is due, and count the messages."""
        self._advance()
        now, kernel, delay_s = self.now_s, self._kernel, self.conditions.delay_s
        arrived = self.arrived
        delayed = (
            arrived - int(self.messages.arrival_s.searchsorted(now - delay_s, "right")) if delay_s else 0
        )
        in_flight = int(kernel.counts[queue_kernel.BUSY])
        if self.redelivered or self.failed_attempts:
            in_flight += queue_kernel.invisible(now, self.messages, kernel)
        out = int(kernel.counts[queue_kernel.COMPLETED]) + int(kernel.counts[queue_kernel.DEAD_LETTERED])
        return QueueCounts(
            at_s=now, visible=arrived - delayed - in_flight - out, in_flight=in_flight, delayed=delayed
        )

    def size(self) -> FleetSize:
        """Process every event that is due, and count the instances."""
        self._advance()
        self._update_running()
        return FleetSize(
            desired=self.desired,
            running=len(self._running),
            busy=int(self._kernel.counts[queue_kernel.OCCUPIED]),
            booting=len(self._booting),
            warm=None if self._pool is None else self._pool.stopped(self.now_s),
        )

    def warm_pool_cost_s(self) -> float:
        """What the warm pool has cost by now, in seconds of a running instance."""
        return 0.0 if self._pool is None else self._pool.cost_s(self.now_s)

    def snapshot(self) -> Snapshot:
        """Process every event that is due, and count messages and instances."""
        counts, size, now = self.counts(), self.size(), self.now_s
        return Snapshot(
            now_s=now,
            visible=counts.visible,
            in_flight=counts.in_flight,
            delayed=counts.delayed,
            desired=size.desired,
            running=size.running,
            idle=size.running - size.busy,
            launched_s=tuple(one.launched_s for one in self._booting),
            oldest_age_s=self._oldest_age_s(now, self.arrived),
        )

    def _oldest_age_s(self, now: float, arrived: int) -> float:
        """Age of the oldest message that SQS counts.

        A message that was deleted, or received too often, never counts again. The scan therefore starts where
        the last one ended, and looks at each message once per run.
        """
        messages = self.messages
        ordered = messages.next_in_group.size > 0
        self._oldest = queue_kernel.oldest_counted(
            messages.state,
            messages.receives,
            self._oldest,
            arrived,
            NO_MAX_RECEIVES if ordered else POISON_PILL_RECEIVES,
        )
        return now - float(messages.arrival_s[self._oldest]) if self._oldest < arrived else 0.0

    def warmed(self, warmup_s: float) -> int:
        """Number of running instances that have been ready for at least `warmup_s`."""
        self._update_running()
        ready_s = self.now_s - warmup_s
        return sum(one.ready_s <= ready_s for one in self._running)

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
        self._advance()
        self._reconcile()

    def durations(self, first_minute: int, last_minute: int) -> tuple[Floats, Floats, Ints]:
        """Sum of service times (s), sum of their squares (s2) and count, by minute of completion."""
        kernel, minutes = self._kernel, slice(max(first_minute, 0), max(last_minute, 0))
        return (
            kernel.duration_sum_s[minutes],
            kernel.duration_square_s2[minutes],
            kernel.duration_count[minutes],
        )

    def finished_service_s(self, first_minute: int, last_minute: int) -> Floats:
        """Service times (s) of the messages that finished in first_minute <= minute < last_minute."""
        service_s: Floats = self.messages.service_s[self._finished(first_minute, last_minute)]
        return service_s

    def finished_waits_s(self, first_minute: int, last_minute: int) -> Floats:
        """How long (s) the messages that finished in first_minute <= minute < last_minute had waited."""
        finished, messages = self._finished(first_minute, last_minute), self.messages
        waits_s: Floats = messages.started_s[finished] - messages.arrival_s[finished]
        return waits_s

    def _finished(self, first_minute: int, last_minute: int) -> Int32s:
        kernel = self._kernel
        first, last = max(first_minute, 0), max(last_minute, 0)
        skipped = int(kernel.duration_count[:first].sum())
        return kernel.completed[skipped : skipped + int(kernel.duration_count[first:last].sum())]

    @property
    def arrived(self) -> int:
        """Messages that have arrived so far."""
        return self._arrived_by(self.now_s)

    def _arrived_by(self, at_s: float) -> int:
        return int(self.messages.arrival_s.searchsorted(at_s, "right"))

    @property
    def processed(self) -> int:
        """Messages processed so far."""
        return int(self._kernel.counts[queue_kernel.COMPLETED])

    @property
    def dead_letters(self) -> int:
        """Messages moved to the dead-letter queue so far."""
        return int(self._kernel.counts[queue_kernel.DEAD_LETTERED])

    @property
    def failed_attempts(self) -> int:
        """Attempts that the downstream has failed so far."""
        return int(self._kernel.counts[queue_kernel.FAILED])

    @property
    def failed_s(self) -> float:
        """Seconds that slots have spent on failed attempts so far."""
        return float(self._kernel.failed_s[0])

    def failed_by_minute(self, first_minute: int, last_minute: int) -> Ints:
        """The attempts that failed, by minute of their end."""
        return self._kernel.failed_count[max(first_minute, 0) : max(last_minute, 0)]

    def lost(self) -> int:
        """Number of messages that are neither processed nor dead-lettered, nor in the queue or a slot."""
        return conservation.lost(self.messages, self._kernel)

    def terminated_s(self) -> Floats:
        """Termination time of every instance ever launched; NaN while it is alive."""
        return self._kernel.terminated_s[: len(self.instances)]

    def _advance(self) -> None:
        if self.now_s == self._kernel.now_s[0]:
            return  # the kernel processes events before this moment, and it already has
        minutes = int(self.now_s // queue_kernel.MINUTE_S) + 2
        if minutes > self._kernel.duration_count.size:
            more = max(minutes, 2 * self._kernel.duration_count.size)
            self._kernel = self._kernel._replace(
                duration_sum_s=_grown(self._kernel.duration_sum_s, more, 0),
                duration_square_s2=_grown(self._kernel.duration_square_s2, more, 0),
                duration_count=_grown(self._kernel.duration_count, more, 0),
                failed_count=_grown(self._kernel.failed_count, more, 0),
            )
        conditions = self.conditions
        if conditions.downstream is not None:
            # What is in a slot or arrives until now may fail and return. What returns already has room, as
            # has each message group, of which one message is received at a time.
            counts, grouped = self._kernel.counts, self.first_of_groups.size > 0
            fresh = 0 if grouped else max(0, self.arrived - int(counts[queue_kernel.NEXT_NEW]))
            self._make_room(int(counts[queue_kernel.BUSY]) + fresh + 1)
        queue_kernel.advance(
            self.now_s,
            conditions.delay_s,
            conditions.max_receives,
            self._failures,
            self.messages,
            self._kernel,
        )

    def _make_room(self, more: int) -> None:
        """Let the heap of returning messages grow by so many."""
        kernel = self._kernel
        room = int(kernel.counts[queue_kernel.RETURNING]) + more
        if room > kernel.visible_s.size:
            self._kernel = kernel._replace(
                visible_s=_grown(kernel.visible_s, 2 * room, 0),
                visible_message=_grown(kernel.visible_message, 2 * room, 0),
            )

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
        terminated_s = self._kernel.terminated_s
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
        self._grow_arrays()
        kernel = self._kernel
        kernel.counts[queue_kernel.FREE_BLOCKS] -= 1
        pool = self._pool
        is_warm = pool is not None and pool.take(now)
        boot_s = pool.settings.boot_s() if pool is not None and is_warm else self.conditions.boot_s()
        one = Instance(
            number=len(self.instances),
            block=int(kernel.free_blocks[kernel.counts[queue_kernel.FREE_BLOCKS]]),
            launched_s=now,
            ready_s=now + boot_s,
            warm=is_warm,
        )
        self.instances.append(one)
        self._booting.append(one)
        queue_kernel.launch(one.block, one.number, one.ready_s, kernel, self.conditions.concurrency)
        if rate := self.conditions.interruptions_per_instance_hour:
            lives = self.random.exponential() / rate  # hours
            if lives < MAX_LIFETIME_H:
                self.clock.at(self._began_s + one.ready_s + 3600 * lives, lambda: self._interrupt(one))

    def _scale_in(self, count: int, now: float) -> None:
        """Stop `count` instances: booting ones first, newest first; then running ones, oldest first.

        Under PROTECT idle ones go before busy ones, and a busy one is tried again later.
        """
        busy = self._kernel.busy
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
        queue_kernel.stop(one.block, now, one.ready_s > now, self._kernel, self.conditions.concurrency)

    def _mark_stopped(self, one: Instance, now: float) -> None:
        one.stopped_s = now
        (self._booting if one in self._booting else self._running).remove(one)

    def _kill(self, one: Instance, now: float) -> None:
        if one.stopped_s > now:
            self._mark_stopped(one, now)
        self._make_room(2 * self.conditions.concurrency + 1)
        conditions, kernel = self.conditions, self._kernel
        timeout_s = conditions.visibility_timeout_s
        self.redelivered += queue_kernel.kill(
            one.block, now, timeout_s, self.messages, kernel, conditions.concurrency
        )

    def _interrupt(self, one: Instance) -> None:
        """A Spot interruption: the instance drains from the notice on and is gone two minutes later."""
        self._advance()
        if self._kernel.terminated_s[one.number] <= self.now_s:
            return
        self.interruptions += 1
        if one.stopped_s > self.now_s:
            self._stop(one, self.now_s)
        self._reconcile()
        self.clock.at(self.clock.now + SPOT_NOTICE_S, lambda: self._end(one))

    def _end(self, one: Instance) -> None:
        self._advance()
        if math.isnan(self._kernel.terminated_s[one.number]):
            self._kill(one, self.now_s)

    def _schedule_retry(self) -> None:
        if self._retrying:
            return
        self._retrying = True
        self.clock.at(self.clock.now + RETRY_S, self._retry)

    def _retry(self) -> None:
        self._retrying = False
        self._advance()
        self._reconcile()

    def _grow_arrays(self) -> None:
        kernel = self._kernel
        if kernel.counts[queue_kernel.FREE_BLOCKS] == 0:
            self._kernel = kernel = _with_more_blocks(kernel, self.conditions.concurrency)
        if len(self.instances) == kernel.terminated_s.size:
            more = 2 * len(self.instances)
            self._kernel = kernel._replace(
                stopping=_grown(kernel.stopping, more, 0),
                busy=_grown(kernel.busy, more, 0),
                serving_slots=_grown(kernel.serving_slots, more, 0),
                terminated_s=_grown(kernel.terminated_s, more, math.nan),
            )


def _new_kernel_state(blocks: int, concurrency: int, *, room: int, messages: int) -> KernelState:
    slots = blocks * concurrency
    counts = np.zeros(queue_kernel.COUNTS, np.int64)
    counts[queue_kernel.FREE_BLOCKS] = blocks
    return KernelState(
        counts=counts,
        now_s=np.zeros(1),
        failed_s=np.zeros(1),
        message=np.full(slots, queue_kernel.NO_MESSAGE, np.int64),
        abandoned=np.zeros(slots, np.uint8),
        failing=np.zeros(slots, np.uint8),
        instance=np.zeros(blocks, np.int64),
        pending_slots=np.zeros(blocks, np.int64),
        due_s=np.zeros(slots + 1),
        due_slot=np.zeros(slots + 1, np.int64),
        idle=np.zeros(slots + 1, np.int64),
        free_blocks=np.arange(blocks, dtype=np.int64)[::-1].copy(),
        visible_s=np.zeros(room),
        visible_message=np.zeros(room, np.int64),
        stopping=np.zeros(1024, np.uint8),
        busy=np.zeros(1024, np.int64),
        serving_slots=np.zeros(1024, np.int64),
        terminated_s=np.full(1024, math.nan),
        completed=np.zeros(messages, np.int32),
        duration_sum_s=np.zeros(1440),
        duration_square_s2=np.zeros(1440),
        duration_count=np.zeros(1440, np.int64),
        failed_count=np.zeros(1440, np.int64),
    )


def _with_more_blocks(kernel: KernelState, concurrency: int) -> KernelState:
    """Double the slot blocks.

    The idle ring is copied from its head to the start of the new one: a ring that wraps around cannot grow in
    place.
    """
    blocks = kernel.instance.size
    slots = 2 * blocks * concurrency
    head, idle = kernel.counts[queue_kernel.IDLE_HEAD], kernel.counts[queue_kernel.IDLE]
    ring = np.zeros(slots + 1, np.int64)
    ring[:idle] = np.take(kernel.idle, range(head, head + idle), mode="wrap")
    kernel.counts[queue_kernel.IDLE_HEAD] = 0
    kernel.counts[queue_kernel.FREE_BLOCKS] = blocks
    free = np.zeros(2 * blocks, np.int64)
    free[:blocks] = np.arange(2 * blocks - 1, blocks - 1, -1)
    return kernel._replace(
        message=_grown(kernel.message, slots, queue_kernel.NO_MESSAGE),
        abandoned=_grown(kernel.abandoned, slots, 0),
        failing=_grown(kernel.failing, slots, 0),
        instance=_grown(kernel.instance, 2 * blocks, 0),
        pending_slots=_grown(kernel.pending_slots, 2 * blocks, 0),
        due_s=_grown(kernel.due_s, slots + 1, 0),
        due_slot=_grown(kernel.due_slot, slots + 1, 0),
        idle=ring,
        free_blocks=free,
    )


def _number(one: Instance) -> int:
    return one.number


def _grown(array: Any, size: int, fill: float) -> Any:
    """The array extended to `size` with `fill`."""
    grown = np.full(size, fill, array.dtype)
    grown[: array.size] = array
    return grown
