"""One simulated queue, and the slots of every instance that reads it.

`queue_kernel` handles the messages; here time advances. It does so only when a caller counts messages, or a
fleet launches or stops instances: each of these first processes every event that is due. Times are seconds
since the start of the run.

Slightly longer than 300 lines because the arrays that hold the slots grow here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
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

NO_MAX_RECEIVES = 2**16
"""More than the kernel counts: a message of a FIFO queue always counts as the oldest."""
MAX_INITIAL_BLOCKS = 1000
INITIAL_INSTANCES = 1024


class QueueCounts(NamedTuple):
    """Exact message counts of the queue at one moment."""

    at_s: float
    visible: int
    in_flight: int
    delayed: int

    @property
    def backlog(self) -> int:
        """Every message not yet deleted."""
        return self.visible + self.in_flight + self.delayed


@dataclass(slots=True, kw_only=True)
class SimulatedQueue:
    """The queue of one run."""

    messages: Messages
    clock: VirtualClock
    concurrency: int
    """Slots of an instance."""
    maximum: int
    """Instances of all fleets at most; it sizes the first arrays, up to MAX_INITIAL_BLOCKS."""
    fleets: int = 1
    """Number of fleets that read the queue."""
    first_of_groups: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    visibility_timeout_s: float = 300.0
    max_receives: int = 3
    delay_s: float = 0.0
    downstream: Downstream | None = None
    redelivered: int = 0
    """Messages whose instance ended while it worked on them, so far."""
    launched: int = 0
    """Instances launched so far, which numbers them."""
    _kernel: KernelState = field(init=False)
    began_s: float = field(init=False)
    """Epoch seconds of the start of the run."""
    _failures: Failures = field(init=False)
    _oldest: int = 0
    """Index of the first message that may still count as the queue's oldest."""

    def __post_init__(self) -> None:
        blocks = 4 * min(self.maximum, MAX_INITIAL_BLOCKS) + 16
        heads = self.first_of_groups.size
        self._kernel = _new_kernel_state(
            blocks,
            self.concurrency,
            room=2 * heads + 1024,
            messages=self.messages.state.size,
            fleets=self.fleets,
        )
        self.began_s = self.clock.now
        self._failures = failures(self.downstream, self.visibility_timeout_s)
        if heads:
            queue_kernel.open_groups(self.messages, self.first_of_groups, self.delay_s, self._kernel)

    @property
    def now_s(self) -> float:
        """The current time, in seconds since the start of the run."""
        return self.clock.now - self.began_s

    @property
    def kernel(self) -> KernelState:
        """The state of the queue and of the slots, as of the last event processed; it is replaced to grow."""
        return self._kernel

    def counts(self) -> QueueCounts:
        """Process every event that is due, and count the messages."""
        self.advance()
        now, kernel, delay_s = self.now_s, self._kernel, self.delay_s
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

    def oldest_age_s(self) -> float:
        """Age of the oldest message that SQS counts.

        A message that was deleted, or received too often, never counts again. The scan therefore starts where
        the last one ended, and looks at each message once per run.
        """
        messages, arrived = self.messages, self.arrived
        ordered = messages.next_in_group.size > 0
        self._oldest = queue_kernel.oldest_counted(
            messages.state,
            messages.receives,
            self._oldest,
            arrived,
            NO_MAX_RECEIVES if ordered else POISON_PILL_RECEIVES,
        )
        return self.now_s - float(messages.arrival_s[self._oldest]) if self._oldest < arrived else 0.0

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

    # ---- What the fleets do

    def launch(self, fleet: int, ready_s: float) -> tuple[int, int]:
        """Launch an instance of the fleet at this place; returns its number and its block of slots."""
        self._grow_arrays()
        kernel, number = self._kernel, self.launched
        self.launched += 1
        kernel.counts[queue_kernel.FREE_BLOCKS] -= 1
        block = int(kernel.free_blocks[kernel.counts[queue_kernel.FREE_BLOCKS]])
        queue_kernel.launch(block, number, fleet, ready_s, kernel, self.concurrency)
        return number, block

    def stop(self, block: int, *, booting: bool) -> None:
        """Let an instance receive nothing new, and be gone once its last message is finished."""
        queue_kernel.stop(block, self.now_s, booting, self._kernel, self.concurrency)

    def kill(self, block: int) -> None:
        """End an instance at once; its messages become visible when their visibility timeout ends."""
        self._make_room(2 * self.concurrency + 1)
        self.redelivered += queue_kernel.kill(
            block, self.now_s, self.visibility_timeout_s, self.messages, self._kernel, self.concurrency
        )

    def pause(self, block: int) -> None:
        """Let an instance receive no more until `resume`."""
        queue_kernel.pause(block, self._kernel, self.concurrency)

    def resume(self, block: int, *, booting: bool) -> None:
        """Let an instance receive again."""
        queue_kernel.resume(block, booting, self._kernel, self.concurrency)

    def advance(self) -> None:
        """Process every event that is due."""
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
        if self.downstream is not None:
            # What is in a slot or arrives until now may fail and return. What returns already has room, as
            # has each message group, of which one message is received at a time.
            counts, grouped = self._kernel.counts, self.first_of_groups.size > 0
            fresh = 0 if grouped else max(0, self.arrived - int(counts[queue_kernel.NEXT_NEW]))
            self._make_room(int(counts[queue_kernel.BUSY]) + fresh + 1)
        queue_kernel.advance(
            self.now_s,
            self.delay_s,
            self.max_receives,
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

    def _grow_arrays(self) -> None:
        kernel = self._kernel
        if kernel.counts[queue_kernel.FREE_BLOCKS] == 0:
            self._kernel = kernel = _with_more_blocks(kernel, self.concurrency)
        if self.launched == kernel.terminated_s.size:
            more = 2 * self.launched
            self._kernel = kernel._replace(
                stopping=_grown(kernel.stopping, more, 0),
                busy=_grown(kernel.busy, more, 0),
                serving_slots=_grown(kernel.serving_slots, more, 0),
                terminated_s=_grown(kernel.terminated_s, more, math.nan),
                fleet=_grown(kernel.fleet, more, 0),
                paused=_grown(kernel.paused, more, 0),
            )


def _new_kernel_state(blocks: int, concurrency: int, *, room: int, messages: int, fleets: int) -> KernelState:
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
        stopping=np.zeros(INITIAL_INSTANCES, np.uint8),
        busy=np.zeros(INITIAL_INSTANCES, np.int64),
        serving_slots=np.zeros(INITIAL_INSTANCES, np.int64),
        terminated_s=np.full(INITIAL_INSTANCES, math.nan),
        fleet=np.zeros(INITIAL_INSTANCES, np.int64),
        paused=np.zeros(INITIAL_INSTANCES, np.uint8),
        occupied=np.zeros(fleets, np.int64),
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


def _grown(array: Any, size: int, fill: float) -> Any:
    """The array extended to `size` with `fill`."""
    grown = np.full(size, fill, array.dtype)
    grown[: array.size] = array
    return grown
