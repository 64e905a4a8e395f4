"""How many messages a poll of each queue may ask for: bounded in messages and in bytes, for each priority.

The size of a message is not known before it is received, so each is taken to be as large as the largest that
its queue has brought lately. Never polls, and never chooses a queue: `PollScheduler` does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from sluice_worker.core.model import MAX_BATCH_SIZE, MAX_MESSAGE_BYTES, Poll, Priority, Queue
from sluice_worker.core.priority_buffer import (
    Buffered,
    M,
    MessageBuffer,
)

SIZE_DECAY = 0.9
"""The factor by which the remembered size falls with each poll that brought smaller messages."""

PrefetchLimit = Callable[[], int]
"""Returns the messages of one priority that may be held now (`pool_size.prefetch_limit`)."""


class Headroom:
    """Free capacity in the buffer, less what polls under way may bring."""

    def __init__(
        self, queues: Sequence[Queue], buffer: MessageBuffer[M], prefetch_limit: PrefetchLimit
    ) -> None:
        self._queues, self._buffer, self._prefetch_limit = queues, buffer, prefetch_limit
        self._priorities = {queue.priority for queue in queues}
        self._short_poll_messages = dict.fromkeys(Priority, 0)
        """Messages asked for by short polls under way, by priority."""
        self._long_poll_messages = {queue.url: 0 for queue in queues}
        """Messages asked for by long polls under way, by queue URL."""
        self._largest_bytes: dict[str, int] = {}
        """The largest message that each queue has brought lately."""

    def poll_started(self, poll: Poll) -> None:
        """Count a poll that starts."""
        self._count(poll, 1)

    def poll_finished(self, poll: Poll, messages: Collection[Buffered]) -> None:
        """Count a poll that returned with these messages, and remember their largest size."""
        self._count(poll, -1)
        if messages:
            largest = max(message.size_bytes for message in messages)
            remembered = int(self._largest_bytes.get(poll.queue.url, 0) * SIZE_DECAY)
            self._largest_bytes[poll.queue.url] = max(largest, remembered)

    def capacity(self, priority: Priority) -> int:
        """Messages of this priority that may be held, not counting bytes."""
        return min(self._buffer.limit(priority), self._prefetch_limit())

    def free_capacity(self) -> dict[str, int]:
        """Messages that a poll of each queue may ask for, by its URL."""
        return {queue.url: self._poll_capacity(queue) for queue in self._queues}

    def unclaimed(self, free_capacity: Mapping[str, int]) -> Mapping[str, int]:
        """The part of each queue's capacity that more urgent messages, ready or asked for, do not claim.

        More urgent messages begin first. Less urgent ones received beside them would find the slots taken,
        but then get the first one that becomes free, so that slow messages of all priorities would take
        turns.
        """
        if len(self._priorities) == 1:
            return free_capacity
        ahead, total = {}, 0
        for priority in Priority:
            ahead[priority] = total
            total += self._buffer.ready(priority) + self._short_poll_messages[priority]
        prefetch_limit = self._prefetch_limit()
        return {
            queue.url: min(
                free_capacity[queue.url],
                prefetch_limit
                - ahead[queue.priority]
                - self._buffer.held(queue.priority)
                - self._short_poll_messages[queue.priority],
            )
            for queue in self._queues
        }

    def stalled(self) -> set[str]:
        """Queues that bring nothing until messages begin: no poll is under way, and none has capacity."""
        unclaimed = self.unclaimed(self.free_capacity())
        return {
            queue.url
            for queue in self._queues
            if unclaimed[queue.url] <= 0
            and not self._short_poll_messages[queue.priority]
            and not self._long_poll_messages[queue.url]
        }

    def _poll_capacity(self, queue: Queue) -> int:
        size_bytes = self._largest_bytes.get(queue.url, MAX_MESSAGE_BYTES)
        held = self._buffer.held(queue.priority)
        # A long poll reserves capacity at an empty queue for up to 20 s. It counts for its own queue only, so
        # that it does not block the other queues of its priority.
        requested = self._short_poll_messages[queue.priority] + self._long_poll_messages[queue.url]
        fit = self._buffer.fit(queue.priority, size_bytes) - requested
        if not held and not requested:
            fit = max(fit, 1)  # one message may always be held, however large
        capacity = self.capacity(queue.priority)
        free = min(capacity - held - requested, fit, self._buffer.free_capacity(queue.priority))
        # Prefer one large poll over many small ones.
        max_messages_by_size = min(capacity, max(self._buffer.max_bytes // size_bytes, 1))
        return free if free >= min(MAX_BATCH_SIZE, -(-max_messages_by_size // 2)) else 0

    def _count(self, poll: Poll, sign: int) -> None:
        if poll.wait_s:
            self._long_poll_messages[poll.queue.url] += sign * poll.max_messages
        else:
            self._short_poll_messages[poll.queue.priority] += sign * poll.max_messages
