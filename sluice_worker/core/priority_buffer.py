"""What was received and not begun: three bounded queues in strict order, and the groups of FIFO queues.

Owns the order of service: high before medium before low, but whoever waited too long goes first; a message of
a FIFO group only after the one before it is settled. All of it in O(1), but for a group whose next message
was received after others that may begin. Refuses more than the limits.
"""

from __future__ import annotations

import math
from bisect import insort_left
from collections import deque
from collections.abc import Container, Iterable, Mapping
from typing import Generic, Protocol, TypeVar

from sluice_worker.core.batch import BatchRule
from sluice_worker.core.model import Priority

MessageGroup = tuple[str, str]
"""(queue URL, message group)."""


class Buffered(Protocol):
    """What the buffer needs to know of a message."""

    @property
    def priority(self) -> Priority:
        """Its queue's priority."""
        ...

    @property
    def message_group(self) -> MessageGroup | None:
        """Its group in a FIFO queue, None where order does not matter."""
        ...

    @property
    def size_bytes(self) -> int:
        """The memory that it takes."""
        ...

    @property
    def queue_url(self) -> str:
        """Its queue."""
        ...

    @property
    def received_at(self) -> float:
        """When it was received, in seconds of the worker's clock."""
        ...


M = TypeVar("M", bound=Buffered)


def _received_at(message: Buffered) -> float:
    return message.received_at


class BufferFullError(ValueError):
    """More messages than the buffer has room for: whoever received them did not ask for the room first."""


class MessageBuffer(Generic[M]):
    """Messages waiting for a slot; `limits` are messages of each priority, `max_bytes` is for each as well.

    Messages beyond their number are refused. Bytes are only counted: whoever polls asks for what `fit`s.
    """

    def __init__(
        self, limits: Mapping[Priority, int], *, aged_after_s: float = 60.0, max_bytes: int = 2**25
    ) -> None:
        self._limits = dict(limits)
        self.max_bytes = max_bytes
        self._aged_after_s = aged_after_s
        self._ready: dict[Priority, deque[M]] = {priority: deque() for priority in Priority}
        self._waiting: dict[MessageGroup, deque[M]] = {}
        self._running: dict[MessageGroup, int] = {}
        """Messages of a group that were taken out and have not ended; several where a batch holds them."""
        self._held = dict.fromkeys(Priority, 0)
        self._held_bytes = dict.fromkeys(Priority, 0)
        self._reserved = dict.fromkeys(Priority, 0)
        self.pushed = self.popped = 0
        """Messages that came in and were taken out to begin, since the start."""

    def held(self, priority: Priority) -> int:
        """Messages of this priority, those that wait behind their group included."""
        return self._held[priority]

    def ready(self, priority: Priority) -> int:
        """Messages of this priority that may begin now."""
        return len(self._ready[priority])

    def holds_groups(self, url: str) -> bool:
        """Whether a message of any group of this queue is held or not settled."""
        return any(message_group[0] == url for message_group in self._waiting)

    def limit(self, priority: Priority) -> int:
        """The most messages of this priority."""
        return self._limits[priority]

    def room(self, priority: Priority) -> int:
        """Messages of this priority that may still come, beyond those reserved for polls under way."""
        return max(0, self._limits[priority] - self._held[priority] - self._reserved[priority])

    def held_bytes(self, priority: Priority) -> int:
        """Bytes of this priority, those that wait behind their group included."""
        return self._held_bytes[priority]

    def fit(self, priority: Priority, size_bytes: int) -> int:
        """Messages of this size and priority that may still be held."""
        return max(0, self.max_bytes - self._held_bytes[priority]) // size_bytes

    def reserve(self, priority: Priority, count: int) -> None:
        """Keep room for what a poll may bring."""
        if count > self.room(priority):
            raise BufferFullError(
                f"no room for {count} more of priority {priority}: {self.room(priority)} left"
            )
        self._reserved[priority] += count

    def fill(self, priority: Priority, reserved: int, messages: Iterable[M]) -> None:
        """Give a reservation back, and take in what the poll brought, in its order."""
        messages = list(messages)
        if len(messages) > reserved:
            raise BufferFullError(f"{len(messages)} messages for a reservation of {reserved}")
        self._reserved[priority] -= reserved
        self.pushed += len(messages)
        self._held[priority] += len(messages)
        self._held_bytes[priority] += sum(message.size_bytes for message in messages)
        for message in messages:
            message_group = message.message_group
            if message_group is None:
                self._ready[priority].append(message)
            elif message_group in self._waiting:
                self._waiting[message_group].append(message)
            else:
                self._waiting[message_group] = deque()
                self._ready[priority].append(message)

    def pop(self, now: float) -> M | None:
        """The next message to begin, or None; its group waits until `advance` or `drop`."""
        foremost, oldest_at = None, now - self._aged_after_s
        for queue in self._ready.values():
            if queue and (foremost is None or queue[0].received_at < oldest_at):
                foremost = queue
                oldest_at = min(oldest_at, queue[0].received_at)
        if foremost is None:
            return None
        message = foremost.popleft()
        self._took(message)
        return message

    def pop_batch(self, now: float, rule: BatchRule, stalled: Container[str] = ()) -> list[M]:
        """The next messages to begin together, all of one queue and in order; empty where no batch is due.

        Of a group they are its first ones; it waits until each of them was told by `advance` or `drop`.
        A batch of a queue that brings nothing more for now (`stalled`, by URL) is due at once.
        """
        if rule.size == 1:
            message = self.pop(now)
            return [] if message is None else [message]
        batch = self._due_batch(now, rule, stalled)
        for message in batch:
            ready = self._ready[message.priority]
            # Those behind the first of their group are not among the ready.
            (
                self._waiting[message.message_group] if message.message_group in self._running else ready
            ).remove(message)
            self._took(message)
        return batch

    def due(self, now: float, rule: BatchRule, stalled: Container[str] = ()) -> bool:
        """Whether a batch may begin."""
        return any(self._ready.values()) if rule.size == 1 else bool(self._due_batch(now, rule, stalled))

    def due_at(self, rule: BatchRule) -> float:
        """When the oldest of the ready messages has waited long enough for others; infinity where none is."""
        return (
            min((ready[0].received_at for ready in self._ready.values() if ready), default=math.inf)
            + rule.wait_s
        )

    def _due_batch(self, now: float, rule: BatchRule, stalled: Container[str]) -> list[M]:
        aged_at = now - self._aged_after_s
        queues = [ready for ready in self._ready.values() if ready]
        queues.sort(key=lambda ready: min(ready[0].received_at, aged_at))  # stable: else in order of urgency
        for ready in queues:
            batch = self._together(ready, rule.size)
            first = ready[0]
            waited = first.received_at <= now - rule.wait_s
            if len(batch) == rule.size or waited or first.queue_url in stalled:
                return batch
        return []

    def _together(self, ready: deque[M], size: int) -> list[M]:
        """What may begin with the first of these: messages of its queue, each with those behind it."""
        url, batch = ready[0].queue_url, list[M]()
        for message in ready:
            if len(batch) >= size:
                break
            if message.queue_url == url:
                batch.append(message)
                batch += self._waiting[message.message_group] if message.message_group is not None else ()
        return batch[:size]

    def _took(self, message: M) -> None:
        self.popped += 1
        self._gone(message)
        if message.message_group is not None:
            self._running[message.message_group] = self._running.get(message.message_group, 0) + 1

    def _ended(self, message_group: MessageGroup) -> bool:
        """One of the group's messages has; says whether it was the last of those taken out."""
        running = self._running.get(message_group, 0) - 1
        if running > 0:
            self._running[message_group] = running
        else:
            self._running.pop(message_group, None)
        return running <= 0

    def advance(self, message_group: MessageGroup) -> bool:
        """A message of the group is settled: its next one may begin, if it was the last that was taken out.

        Says whether there is one.
        """
        if not self._ended(message_group):
            return False
        waiting = self._waiting[message_group]
        if not waiting:
            del self._waiting[message_group]
            return False
        following = waiting.popleft()
        ready = self._ready[following.priority]
        # Nearly always to the front: a group's batch is worked off in one go. But the order of receipt stays,
        # or else the message in front would hide one that is too old.
        if ready and ready[0].received_at < following.received_at:
            insort_left(ready, following, key=_received_at)
        else:
            ready.appendleft(following)
        return True

    def drop(self, message_group: MessageGroup) -> list[M]:
        """A message of the group goes back to its queue, and with it those behind it, which are returned.

        Others of the group that were taken out with it end by themselves, and keep the group until they have.
        """
        dropped = list(self._waiting.pop(message_group))
        if not self._ended(message_group):
            self._waiting[message_group] = deque()
        for message in dropped:
            self._gone(message)
        return dropped

    def empty(self) -> list[M]:
        """Take everything out, in order of service; messages behind a group come after those ready."""
        ready = [message for queue in self._ready.values() for message in queue]
        waiting = [message for message_group in self._waiting.values() for message in message_group]
        for queue in (*self._ready.values(), *self._waiting.values()):
            queue.clear()
        for message_group in {
            message.message_group for message in ready if message.message_group is not None
        }:
            self._waiting.pop(message_group, None)
        self._held = dict.fromkeys(Priority, 0)
        self._held_bytes = dict.fromkeys(Priority, 0)
        return ready + waiting

    def _gone(self, message: M) -> None:
        self._held[message.priority] -= 1
        self._held_bytes[message.priority] -= message.size_bytes
