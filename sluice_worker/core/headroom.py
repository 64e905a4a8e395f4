"""How many messages a poll of each queue may ask for: bounded in messages and in bytes, for each priority.

What a poll will bring is not known before: each message is taken to be as large as the largest that its queue
has brought lately. Never polls, and never says which queue is next: the schedule does.
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
"""Of the largest size, with each poll that brought smaller messages."""

PrefetchLimit = Callable[[], int]
"""Messages of one priority that may be held now (`sizing.reach`)."""


class Headroom:
    """Room in the buffer, less what polls under way may bring."""

    def __init__(
        self, queues: Sequence[Queue], buffer: MessageBuffer[M], prefetch_limit: PrefetchLimit
    ) -> None:
        self._queues, self._buffer, self._prefetch_limit = queues, buffer, prefetch_limit
        self._priorities = {queue.priority for queue in queues}
        self._short_poll_messages = dict.fromkeys(Priority, 0)
        """Messages that short polls under way have asked for."""
        self._long_poll_messages = {queue.url: 0 for queue in queues}
        """Messages that long polls under way have asked for."""
        self._largest_bytes: dict[str, int] = {}
        """The largest message that each queue has brought lately."""

    def poll_started(self, poll: Poll) -> None:
        """A poll is made."""
        self._count(poll, 1)

    def poll_finished(self, poll: Poll, messages: Collection[Buffered]) -> None:
        """A poll has come back and brought these."""
        self._count(poll, -1)
        if messages:
            largest = max(message.size_bytes for message in messages)
            remembered = int(self._largest_bytes.get(poll.queue.url, 0) * SIZE_DECAY)
            self._largest_bytes[poll.queue.url] = max(largest, remembered)

    def capacity(self, priority: Priority) -> int:
        """Messages of this priority that may be held, where they are small."""
        return min(self._buffer.limit(priority), self._prefetch_limit())

    def free_capacity(self) -> dict[str, int]:
        """Messages that a poll of each queue may ask for, by its URL."""
        return {queue.url: self._room(queue) for queue in self._queues}

    def unclaimed(self, free_capacity: Mapping[str, int]) -> Mapping[str, int]:
        """What is left of a queue's room behind more urgent messages that are ready, or asked for.

        They begin first: what is received meanwhile would find the slots taken, and then the first one free,
        so that slow messages of all priorities would take turns.
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
        """Queues that bring nothing until messages are taken out: no poll is under way, nor has one room."""
        unclaimed = self.unclaimed(self.free_capacity())
        return {
            queue.url
            for queue in self._queues
            if unclaimed[queue.url] <= 0
            and not self._short_poll_messages[queue.priority]
            and not self._long_poll_messages[queue.url]
        }

    def _room(self, queue: Queue) -> int:
        size_bytes = self._largest_bytes.get(queue.url, MAX_MESSAGE_BYTES)
        held = self._buffer.held(queue.priority)
        # A long poll keeps room at an empty queue: that must not keep others of its priority waiting.
        poll_started = self._short_poll_messages[queue.priority] + self._long_poll_messages[queue.url]
        fit = self._buffer.fit(queue.priority, size_bytes) - poll_started
        if not held and not poll_started:
            fit = max(fit, 1)  # one message may always be held, however large
        capacity = self.capacity(queue.priority)
        room = min(capacity - held - poll_started, fit, self._buffer.room(queue.priority))
        # Rather one poll for many than many polls for one each.
        most = min(capacity, max(self._buffer.max_bytes // size_bytes, 1))
        return room if room >= min(MAX_BATCH_SIZE, -(-most // 2)) else 0

    def _count(self, poll: Poll, sign: int) -> None:
        if poll.wait_s:
            self._long_poll_messages[poll.queue.url] += sign * poll.max_messages
        else:
            self._short_poll_messages[poll.queue.priority] += sign * poll.max_messages
