"""Between pollers and slots: the buffer and the choice of queues, under one lock.

Pollers wait here for free capacity in the buffer, slots for a batch. Once it is closed, new messages are
returned to the poller.

Every method takes the lock, and none calls SQS or a handler while holding it. Which slot looks next is
decided by `SlotWakeups`; slots are woken in `_wake_slots` alone, pollers in `_wake_pollers` alone.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Container, Sequence

from sluice_worker.core.batch import BatchRule
from sluice_worker.core.failed_group_heads import FailedHeads
from sluice_worker.core.headroom import Headroom, PrefetchLimit
from sluice_worker.core.model import Depth, Poll, Priority, Queue
from sluice_worker.core.priority_buffer import MessageBuffer, MessageGroup
from sluice_worker.core.queue_choice import PollScheduler
from sluice_worker.core.slot_wakeups import SlotWakeups
from sluice_worker.message import Message

SPIN_WAIT_S = 0.02
"""Long enough for a few polls to bring messages, where messages flow."""
MIN_WAIT_S = 0.02
"""A batch begins at most this much later than it is due."""
ONE_AT_A_TIME = BatchRule()


class Dispatcher:
    """What was received and not started, and which queue to ask next."""

    def __init__(
        self,
        queues: Sequence[Queue],
        scheduler: PollScheduler,
        buffer: MessageBuffer[Message],
        prefetch_limit: PrefetchLimit,
        failed_heads: FailedHeads,
        batches: BatchRule = ONE_AT_A_TIME,
    ) -> None:
        self._scheduler, self._buffer, self._prefetch_limit = scheduler, buffer, prefetch_limit
        self._headroom = Headroom(queues, buffer, prefetch_limit)
        self._failed_heads, self._batches = failed_heads, batches
        self._priorities = {queue.priority for queue in queues}
        max_buffered = max(buffer.limit(priority) for priority in self._priorities)
        # With a FIFO queue a slot never spins: the next message of a group would wait for it to end.
        has_fifo = any(queue.is_fifo for queue in queues)
        self._wakeups = SlotWakeups(spin_from=math.inf if has_fifo else max_buffered)
        self._lock = threading.Lock()
        self._capacity_freed = threading.Condition(self._lock)
        self._batch_due = threading.Condition(self._lock)
        self._closed = False
        self._waiting_pollers = 0
        """Pollers that wait for capacity."""
        self.long_polls_in_progress = 0
        self._polls_in_progress = 0

    # ---- pollers -------------------------------------------------------------------------------------------

    def next_poll(self, timeout_s: float) -> Poll | None:
        """The next poll to make, its capacity reserved; None if there is none within `timeout_s`."""
        with self._lock:
            until = time.monotonic() + timeout_s
            while not self._closed:
                now = time.monotonic()
                free_capacity = self._headroom.free_capacity()
                poll = self._scheduler.next_poll(now, free_capacity, self._headroom.unclaimed(free_capacity))
                if poll is not None:
                    poll = self._limit_for_failed_heads(poll, now)
                    self._buffer.reserve(poll.queue.priority, poll.max_messages)
                    self._headroom.poll_started(poll)
                    self.long_polls_in_progress += poll.wait_s > 0
                    self._polls_in_progress += 1
                    return poll
                if now >= until:
                    return None
                self._waiting_pollers += 1
                self._capacity_freed.wait(until - now)
                self._waiting_pollers -= 1
            return None

    def poll_finished(self, poll: Poll, messages: Sequence[Message] | None) -> Sequence[Message]:
        """Take in what a poll brought, None if it failed; returns the messages that must be released."""
        with self._lock:
            self._polls_in_progress -= 1
            self._headroom.poll_finished(poll, messages or ())
            self.long_polls_in_progress -= poll.wait_s > 0
            count = None if messages is None else len(messages)
            self._scheduler.record_poll(poll, count, time.monotonic())
            accepted = [] if self._closed else list(messages or ())
            for message in accepted:
                if message.message_group is not None:
                    self._failed_heads.record_receipt(message.message_group)
            self._buffer.fill(poll.queue.priority, poll.max_messages, accepted)
            self._wake_slots()
            if len(accepted) < poll.max_messages:
                self._wake_pollers()  # the rest of the reservation is free again
            return (messages or ()) if self._closed else ()

    def record_depth(self, queue: Queue, depth: Depth | None) -> None:
        """Take in a queue's attributes; None if they could not be read."""
        with self._lock:
            self._scheduler.record_depth(queue, depth, time.monotonic())
            self._wake_pollers(wake_all=True)

    def recheck_capacity(self) -> None:
        """Let pollers look again: the prefetch limit may have changed."""
        with self._lock:
            self._wake_pollers(wake_all=True)

    # ---- slots ---------------------------------------------------------------------------------------------

    def take_batch(self, timeout_s: float) -> list[Message]:
        """The next messages to begin; empty if no batch is due within `timeout_s`, or once closed."""
        with self._lock:
            batch = self._pop()
            if batch or not timeout_s or self._closed:
                return self._looked(batch)
            # This slot is idle now, which raises the prefetch limit: a poller may have capacity again.
            self._wake_pollers()
            spins = self._wakeups.spins(self._prefetch_limit())
        if spins:
            # While messages flow, one timer costs less CPU than waking a thread for each batch.
            time.sleep(SPIN_WAIT_S)
        with self._lock:
            # What came between the two locks woke nobody if this slot was spinning.
            batch = self._pop()
            if not batch and not self._closed:
                self._wakeups.start_wait()
                self._batch_due.wait(self._wait_s(timeout_s))
                self._wakeups.end_wait()
                batch = self._pop()
            return self._looked(batch)

    def advance(self, message_group: MessageGroup) -> None:
        """A message of this group is deleted, so the next one may begin."""
        with self._lock:
            self._buffer.advance(message_group)
            self._wake_slots()

    def drop(self, message_group: MessageGroup) -> list[Message]:
        """A message of this group goes back; returns those received with it, which must go back too.

        The failed message comes first again. Until it does, its queue is polled for one message at a time.
        """
        with self._lock:
            self._failed_heads.record_failure(message_group, time.monotonic())
            return self._buffer.drop(message_group)

    def record_head_hidden(self, message_group: MessageGroup, until: float) -> None:
        """SQS hides the message of this group that went back until then."""
        with self._lock:
            self._failed_heads.record_hidden(message_group, until)

    def close(self) -> list[Message]:
        """Accept and begin nothing more; returns what was not started, in order."""
        with self._lock:
            self._closed = True
            self._wake_pollers(wake_all=True)
            self._wake_slots(wake_all=True)
            return self._buffer.empty()

    # ---- its state -----------------------------------------------------------------------------------------

    @property
    def all_queues_empty(self) -> bool:
        """Whether every queue was empty when it was last polled or read."""
        return self._scheduler.all_queues_empty

    @property
    def polls_in_progress(self) -> int:
        """Polls that may still bring messages, counted from the moment in which they were found allowed."""
        with self._lock:
            return self._polls_in_progress

    def depths(self) -> dict[str, Depth | None]:
        """Each queue's depth by its URL, None if unknown."""
        with self._lock:
            return self._scheduler.depths(time.monotonic())

    def buffered(self) -> dict[Priority, int]:
        """Messages not started, by the priorities that have queues."""
        with self._lock:
            return {
                priority: self._buffer.held(priority) for priority in Priority if priority in self._priorities
            }

    def pushed_and_popped(self) -> tuple[int, int]:
        """Messages that entered the buffer, and that left it to begin, since the start."""
        with self._lock:
            return self._buffer.pushed, self._buffer.popped

    def utilization(self, priority: Priority | None = None) -> float:
        """Share of what may be held now that is held, 0 to 1: of one priority, or of all that have queues."""
        with self._lock:
            counted = self._priorities if priority is None else {priority} & self._priorities
            held = sum(self._buffer.held(each) for each in counted)
            capacity = sum(self._headroom.capacity(each) for each in counted)
            held_bytes = sum(self._buffer.held_bytes(each) for each in counted)
            max_bytes = self._buffer.max_bytes * max(len(counted), 1)
            return min(max(held / max(capacity, 1), held_bytes / max_bytes), 1.0)

    # ---- under the lock ------------------------------------------------------------------------------------

    def _limit_for_failed_heads(self, poll: Poll, now: float) -> Poll:
        holds_groups = poll.wait_s > 0 and self._buffer.holds_groups(poll.queue.url)
        return self._failed_heads.limit_poll(poll, now, holds_groups=holds_groups)

    def _pop(self) -> list[Message]:
        batch = self._buffer.pop_batch(time.monotonic(), self._batches, self._stalled())
        if batch:
            self._wake_pollers()
        return batch

    def _looked(self, batch: list[Message]) -> list[Message]:
        """End a look. Without the wake-up, a second batch that came with this one would go unseen."""
        self._wakeups.looked()
        self._wake_slots()
        return batch

    def _wake_slots(self, *, wake_all: bool = False) -> None:
        """Wake a waiting slot if a due batch would go unseen otherwise; `wake_all` wakes every one."""
        if wake_all:
            self._batch_due.notify_all()
        # Whether a batch is due costs more than the rest, so it is looked up last.
        elif self._wakeups.needs_wake() and self._buffer.due(
            time.monotonic(), self._batches, self._stalled()
        ):
            self._wakeups.wake()
            self._batch_due.notify()

    def _wake_pollers(self, *, wake_all: bool = False) -> None:
        """Wake one waiting poller, or all: there may be capacity, or a queue to poll."""
        if wake_all:
            self._capacity_freed.notify_all()
        elif self._waiting_pollers:
            self._capacity_freed.notify()

    def _stalled(self) -> Container[str]:
        """URLs of queues whose batches cannot grow for now; irrelevant if messages begin one at a time."""
        return () if self._batches.size == 1 else self._headroom.stalled()

    def _wait_s(self, timeout_s: float) -> float:
        """How long a slot waits to be woken.

        A batch that becomes due because its oldest message has waited long enough wakes nobody, so a slot
        wakes itself by then. A message that arrives after this slot began to wait is due later than the wait
        ends.
        """
        if self._batches.size == 1:
            return timeout_s
        due_in_s = self._buffer.due_at(self._batches) - time.monotonic()
        return min(timeout_s, max(min(due_in_s, self._batches.wait_s), MIN_WAIT_S))
