"""How many messages a poll of each queue may ask for: bounded in messages and in bytes, for each priority.

What a poll will bring is not known before: each message is taken to be as large as the largest that its queue
has brought lately. Never polls, and never says which queue is next: the schedule does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from sluice_worker.core.model import BATCH, MAX_MESSAGE_BYTES, Poll, Priority, Queue
from sluice_worker.core.priority_buffer import (
    Buffered,
    M,
    MessageBuffer,
)

REMEMBERED = 0.9
"""Of the largest size, with each poll that brought smaller messages."""

Reach = Callable[[], int]
"""Messages of one priority that may be held now (`sizing.reach`)."""


class Headroom:
    """Room in the buffer, less what polls under way may bring."""

    def __init__(self, queues: Sequence[Queue], buffer: MessageBuffer[M], reach: Reach) -> None:
        self._queues, self._buffer, self._reach = queues, buffer, reach
        self._priorities = {queue.priority for queue in queues}
        self._short = dict.fromkeys(Priority, 0)
        """Messages that short polls under way have asked for."""
        self._long = {queue.url: 0 for queue in queues}
        """Messages that long polls under way have asked for."""
        self._largest_bytes: dict[str, int] = {}
        """The largest message that each queue has brought lately."""

    def asked(self, poll: Poll) -> None:
        """A poll is made."""
        self._count(poll, 1)

    def answered(self, poll: Poll, messages: Collection[Buffered]) -> None:
        """A poll has come back and brought these."""
        self._count(poll, -1)
        if messages:
            largest = max(message.size_bytes for message in messages)
            remembered = int(self._largest_bytes.get(poll.queue.url, 0) * REMEMBERED)
            self._largest_bytes[poll.queue.url] = max(largest, remembered)

    def capacity(self, priority: Priority) -> int:
        """Messages of this priority that may be held, where they are small."""
        return min(self._buffer.limit(priority), self._reach())

    def rooms(self) -> dict[str, int]:
        """Messages that a poll of each queue may ask for, by its URL."""
        return {queue.url: self._room(queue) for queue in self._queues}

    def spare(self, rooms: Mapping[str, int]) -> Mapping[str, int]:
        """What is left of a queue's room behind more urgent messages that are ready, or asked for.

        They begin first: what is received meanwhile would find the slots taken, and then the first one free,
        so that slow messages of all priorities would take turns.
        """
        if len(self._priorities) == 1:
            return rooms
        ahead, total = {}, 0
        for priority in Priority:
            ahead[priority] = total
            total += self._buffer.ready(priority) + self._short[priority]
        reach = self._reach()
        return {
            queue.url: min(
                rooms[queue.url],
                reach
                - ahead[queue.priority]
                - self._buffer.held(queue.priority)
                - self._short[queue.priority],
            )
            for queue in self._queues
        }

    def stalled(self) -> set[str]:
        """Queues that bring nothing until messages are taken out: no poll is under way, nor has one room."""
        spare = self.spare(self.rooms())
        return {
            queue.url
            for queue in self._queues
            if spare[queue.url] <= 0 and not self._short[queue.priority] and not self._long[queue.url]
        }

    def _room(self, queue: Queue) -> int:
        size_bytes = self._largest_bytes.get(queue.url, MAX_MESSAGE_BYTES)
        held = self._buffer.held(queue.priority)
        # A long poll keeps room at an empty queue: that must not keep others of its priority waiting.
        asked = self._short[queue.priority] + self._long[queue.url]
        fit = self._buffer.fit(queue.priority, size_bytes) - asked
        if not held and not asked:
            fit = max(fit, 1)  # one message may always be held, however large
        capacity = self.capacity(queue.priority)
        room = min(capacity - held - asked, fit, self._buffer.room(queue.priority))
        # Rather one poll for many than many polls for one each.
        most = min(capacity, max(self._buffer.max_bytes // size_bytes, 1))
        return room if room >= min(BATCH, -(-most // 2)) else 0

    def _count(self, poll: Poll, sign: int) -> None:
        if poll.wait_s:
            self._long[poll.queue.url] += sign * poll.max_messages
        else:
            self._short[poll.queue.priority] += sign * poll.max_messages
