"""Between pollers and slots: the buffer and the schedule of queues under one lock.

Owns who waits for what: pollers for room, slots for messages. Refuses new messages once closed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Container, Sequence

from sluice_worker.core.batch import BatchRule
from sluice_worker.core.failed_heads import FailedHeads
from sluice_worker.core.headroom import Headroom, PrefetchLimit
from sluice_worker.core.model import Depth, Poll, Priority, Queue
from sluice_worker.core.priority_buffer import (
    MessageBuffer,
    MessageGroup,
)
from sluice_worker.core.queue_choice import PollScheduler
from sluice_worker.message import Message

SPIN_WAIT_S = 0.02
"""A few polls bring messages within it, where messages flow."""
MIN_WAIT_S = 0.02
"""A batch begins at most so much later than it is due."""
ONE_AT_A_TIME = BatchRule()


class Dispatcher:
    """What was received and not begun, and which queue to ask next."""

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
        self._ordered = any(queue.is_fifo for queue in queues)
        self._max_limit = max(buffer.limit(priority) for priority in self._priorities)
        self._lock = threading.Lock()
        self._capacity_freed = threading.Condition(self._lock)
        self._batch_due = threading.Condition(self._lock)
        self._closed = False
        self._pollers_waiting = 0
        """Pollers that wait for room."""
        self._idle = 0
        """Slots that wait for a message."""
        self._waking = False
        """Whether a slot was woken, or naps, and has not looked yet."""
        self.long_polls_in_progress = 0
        """Long polls under way."""

    # ---- pollers -------------------------------------------------------------------------------------------

    def next_poll(self, timeout_s: float) -> Poll | None:
        """The next poll to make, its room reserved; None where there is none within `patience_s`."""
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
                    return poll
                if now >= until:
                    return None
                self._pollers_waiting += 1
                self._capacity_freed.wait(until - now)
                self._pollers_waiting -= 1
            return None

    def poll_finished(self, poll: Poll, messages: Sequence[Message] | None) -> Sequence[Message]:
        """What a poll brought, None where it failed; answers with what has to be handed back."""
        with self._lock:
            self._headroom.poll_finished(poll, messages or ())
            self.long_polls_in_progress -= poll.wait_s > 0
            count = None if messages is None else len(messages)
            self._scheduler.record_poll(poll, count, time.monotonic())
            kept = [] if self._closed else list(messages or ())
            for message in kept:
                if message.message_group is not None:
                    self._failed_heads.record_receipt(message.message_group)
            self._buffer.fill(poll.queue.priority, poll.max_messages, kept)
            self._wake_a_slot()
            if len(kept) < poll.max_messages:
                self._wake_a_poller()
            return (messages or ()) if self._closed else ()

    def record_depth(self, queue: Queue, depth: Depth | None) -> None:
        """A queue's attributes were read."""
        with self._lock:
            self._scheduler.record_depth(queue, depth, time.monotonic())
            self._capacity_freed.notify_all()

    def recheck_capacity(self) -> None:
        """There may be more room: what `reach` says has changed."""
        with self._lock:
            self._capacity_freed.notify_all()

    # ---- slots ---------------------------------------------------------------------------------------------

    def take_batch(self, timeout_s: float) -> list[Message]:
        """The next messages to begin, or none where no batch is due within `patience_s`, or none any more."""
        with self._lock:
            batch = self._pop()
            if batch or not timeout_s or self._closed:
                self._hand_on_wake_up()
                return batch
            self._wake_a_poller()  # an idle slot reaches further
            spins = self._waking = self._may_spin()
        if spins:
            # While messages flow, a timer costs less than a wake for each batch.
            time.sleep(SPIN_WAIT_S)
        with self._lock:
            batch = self._pop()
            if not batch and not self._closed:
                self._waking = False
                self._idle += 1
                self._batch_due.wait(self._wait_s(timeout_s))
                self._idle -= 1
                batch = self._pop()
            self._hand_on_wake_up()
            return batch

    def advance(self, message_group: MessageGroup) -> None:
        """A message of this group is deleted: the next one may begin."""
        with self._lock:
            self._buffer.advance(message_group)
            self._wake_a_slot()

    def drop(self, message_group: MessageGroup) -> list[Message]:
        """A message of this group goes back; so must those that came with it, which are returned.

        It comes first again: until it does, its queue is asked for one message at a time.
        """
        with self._lock:
            self._failed_heads.record_failure(message_group, time.monotonic())
            return self._buffer.drop(message_group)

    def record_head_hidden(self, message_group: MessageGroup, until: float) -> None:
        """SQS hides the message of this group that went back until then."""
        with self._lock:
            self._failed_heads.record_hidden(message_group, until)

    def close(self) -> list[Message]:
        """Take nothing more and begin nothing more; answers with what was not begun, in order."""
        with self._lock:
            self._closed = True
            self._capacity_freed.notify_all()
            self._batch_due.notify_all()
            return self._buffer.empty()

    # ---- what it looks like --------------------------------------------------------------------------------

    @property
    def all_queues_empty(self) -> bool:
        """Whether every queue was empty when last heard of."""
        return self._scheduler.all_queues_empty

    def depths(self) -> dict[str, Depth | None]:
        """Each queue by its URL, None where unknown."""
        with self._lock:
            return self._scheduler.depths(time.monotonic())

    def buffered(self) -> dict[Priority, int]:
        """Messages not begun, by the priorities that have queues."""
        with self._lock:
            return {
                priority: self._buffer.held(priority) for priority in Priority if priority in self._priorities
            }

    def pushed_and_popped(self) -> tuple[int, int]:
        """Messages that came into the buffer, and were taken out of it to begin, since the start."""
        with self._lock:
            return self._buffer.pushed, self._buffer.popped

    def utilization(self, priority: Priority | None = None) -> float:
        """Share of what may be held now that is held, 0 to 1: of one priority, or of all that have queues."""
        with self._lock:
            asked = self._priorities if priority is None else {priority} & self._priorities
            held = sum(self._buffer.held(each) for each in asked)
            capacity = sum(self._headroom.capacity(each) for each in asked)
            held_bytes = sum(self._buffer.held_bytes(each) for each in asked)
            max_bytes = self._buffer.max_bytes * max(len(asked), 1)
            return min(max(held / max(capacity, 1), held_bytes / max_bytes), 1.0)

    def _limit_for_failed_heads(self, poll: Poll, now: float) -> Poll:
        holds_groups = poll.wait_s > 0 and self._buffer.holds_groups(poll.queue.url)
        return self._failed_heads.limit_poll(poll, now, holds_groups=holds_groups)

    def _may_spin(self) -> bool:
        """Whether nobody waits for a slot that naps.

        Handlers are so quick that the buffer bounds what may be held, not the slots: polls go on meanwhile.
        And no group waits for its next message to begin.
        """
        return not self._ordered and self._prefetch_limit() >= self._max_limit

    def _hand_on_wake_up(self) -> None:
        """By a slot that has looked."""
        self._waking = False
        self._wake_a_slot()

    def _wake_a_slot(self) -> None:
        """One at a time, and each that takes a message wakes the next.

        Where handlers are done sooner than a thread wakes, one slot works off the whole batch, and nobody is
        woken for nothing.
        """
        if (
            self._idle
            and not self._waking
            and self._buffer.due(time.monotonic(), self._batches, self._stalled())
        ):
            self._waking = True
            self._batch_due.notify()

    def _pop(self) -> list[Message]:
        batch = self._buffer.pop_batch(time.monotonic(), self._batches, self._stalled())
        if batch:
            self._wake_a_poller()
        return batch

    def _stalled(self) -> Container[str]:
        """Queues whose batches can grow no further for now; of no account where messages begin singly."""
        return () if self._batches.size == 1 else self._headroom.stalled()

    def _wait_s(self, timeout_s: float) -> float:
        """How long a slot waits to be woken: nobody wakes it for a batch that becomes due by its wait.

        One that comes later is seen at the latest after that wait.
        """
        if self._batches.size == 1:
            return timeout_s
        due_in_s = self._buffer.due_at(self._batches) - time.monotonic()
        return min(timeout_s, max(min(due_in_s, self._batches.wait_s), MIN_WAIT_S))

    def _wake_a_poller(self) -> None:
        if self._pollers_waiting:
            self._capacity_freed.notify()
