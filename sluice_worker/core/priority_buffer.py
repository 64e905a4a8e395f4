"""Messages received and not started: a bounded queue for each priority, and the groups of FIFO queues.

Owns the order of service: high before medium before low, except that a message that has waited too long goes
first; a message of a FIFO group only after the one before it is settled. Every operation is O(1), except for
a group whose next message was received after others that may begin. Refuses messages beyond the limits.
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
    """The part of a message that the buffer reads."""

    @property
    def priority(self) -> Priority:
        """Its queue's priority."""
        ...

    @property
    def message_group(self) -> MessageGroup | None:
        """Its group in a FIFO queue, None if order does not matter."""
        ...

    @property
    def size_bytes(self) -> int:
        """The memory that it takes, in bytes."""
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
    """More messages than were reserved: the caller polled without reserving capacity first."""


class MessageBuffer(Generic[M]):
    """Messages that wait for a slot; `limits` and `max_bytes` hold for each priority.

    More messages than the limit are refused. Bytes are only counted: a poll asks for what `fit` allows.
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
        """How many messages of each group were taken out and have not ended: several if a batch holds
        them."""
        self._held = dict.fromkeys(Priority, 0)
        self._held_bytes = dict.fromkeys(Priority, 0)
        self._reserved = dict.fromkeys(Priority, 0)
        self.pushed = self.popped = 0
        """Messages that entered, and that left to begin, since the start."""

    def held(self, priority: Priority) -> int:
        """Messages of this priority, including those that wait behind their group."""
        return self._held[priority]

    def ready(self, priority: Priority) -> int:
        """Messages of this priority that may begin now."""
        return len(self._ready[priority])

    def holds_groups(self, url: str) -> bool:
        """Whether any group of this queue has a message that is held or not settled."""
        return any(message_group[0] == url for message_group in self._waiting)

    def limit(self, priority: Priority) -> int:
        """The maximum of messages of this priority."""
        return self._limits[priority]

    def free_capacity(self, priority: Priority) -> int:
        """Messages of this priority that may still be reserved."""
        return max(0, self._limits[priority] - self._held[priority] - self._reserved[priority])

    def held_bytes(self, priority: Priority) -> int:
        """Bytes of this priority, including messages that wait behind their group."""
        return self._held_bytes[priority]

    def fit(self, priority: Priority, size_bytes: int) -> int:
        """Messages of this size and priority that may still be held."""
        return max(0, self.max_bytes - self._held_bytes[priority]) // size_bytes

    def reserve(self, priority: Priority, count: int) -> None:
        """Reserve capacity for what a poll may bring."""
        if count > self.free_capacity(priority):
            raise BufferFullError(
                f"no room for {count} more of priority {priority}: {self.free_capacity(priority)} left"
            )
        self._reserved[priority] += count

    def fill(self, priority: Priority, reserved: int, messages: Iterable[M]) -> None:
        """End a reservation, and take in what the poll brought, in its order."""
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
        next_queue, oldest_at = None, now - self._aged_after_s
        for queue in self._ready.values():
            if queue and (next_queue is None or queue[0].received_at < oldest_at):
                next_queue = queue
                oldest_at = min(oldest_at, queue[0].received_at)
        if next_queue is None:
            return None
        message = next_queue.popleft()
        self._record_popped(message)
        return message

    def pop_batch(self, now: float, rule: BatchRule, stalled: Container[str] = ()) -> list[M]:
        """The next messages to begin together, all of one queue and in order; empty if no batch is due.

        Of a group they are its first ones; the group waits until `advance` or `drop` was called for each of
        them. A batch of a queue that can bring nothing more for now (`stalled`, by URL) is due at once.
        """
        if rule.size == 1:
            message = self.pop(now)
            return [] if message is None else [message]
        batch = self._due_batch(now, rule, stalled)
        for message in batch:
            ready = self._ready[message.priority]
            # Only the first message of a group is among the ready; the others of the batch wait behind it.
            (
                self._waiting[message.message_group] if message.message_group in self._running else ready
            ).remove(message)
            self._record_popped(message)
        return batch

    def due(self, now: float, rule: BatchRule, stalled: Container[str] = ()) -> bool:
        """Whether a batch may begin."""
        return any(self._ready.values()) if rule.size == 1 else bool(self._due_batch(now, rule, stalled))

    def due_at(self, rule: BatchRule) -> float:
        """When the oldest ready message has waited long enough for a batch; infinity if none is ready."""
        return (
            min((ready[0].received_at for ready in self._ready.values() if ready), default=math.inf)
            + rule.wait_s
        )

    def _due_batch(self, now: float, rule: BatchRule, stalled: Container[str]) -> list[M]:
        aged_at = now - self._aged_after_s
        queues = [ready for ready in self._ready.values() if ready]
        queues.sort(key=lambda ready: min(ready[0].received_at, aged_at))  # stable: else in order of urgency
        for ready in queues:
            batch = self._batch_from(ready, rule.size)
            first = ready[0]
            waited = first.received_at <= now - rule.wait_s
            if len(batch) == rule.size or waited or first.queue_url in stalled:
                return batch
        return []

    def _batch_from(self, ready: deque[M], size: int) -> list[M]:
        """The messages that may begin with the first ready one: of its queue, each with those behind it."""
        url, batch = ready[0].queue_url, list[M]()
        for message in ready:
            if len(batch) >= size:
                break
            if message.queue_url == url:
                batch.append(message)
                batch += self._waiting[message.message_group] if message.message_group is not None else ()
        return batch[:size]

    def _record_popped(self, message: M) -> None:
        self.popped += 1
        self._record_removed(message)
        if message.message_group is not None:
            self._running[message.message_group] = self._running.get(message.message_group, 0) + 1

    def _record_ended(self, message_group: MessageGroup) -> bool:
        """Count the end of one message of the group; returns whether it was the last of those taken out."""
        running = self._running.get(message_group, 0) - 1
        if running > 0:
            self._running[message_group] = running
        else:
            self._running.pop(message_group, None)
        return running <= 0

    def advance(self, message_group: MessageGroup) -> bool:
        """A message of the group is settled; if it was the last one taken out, the next one may begin.

        Returns whether there is a next one.
        """
        if not self._record_ended(message_group):
            return False
        waiting = self._waiting[message_group]
        if not waiting:
            del self._waiting[message_group]
            return False
        following = waiting.popleft()
        ready = self._ready[following.priority]
        # Usually it goes to the front, because it was received with the one before it. But the order of
        # receipt has to stay: `pop` looks for messages that waited too long at the front alone, and a newer
        # message there would hide an older one.
        if ready and ready[0].received_at < following.received_at:
            insort_left(ready, following, key=_received_at)
        else:
            ready.appendleft(following)
        return True

    def drop(self, message_group: MessageGroup) -> list[M]:
        """A message of the group goes back to its queue; returns those behind it, which must go back too.

        Others of the group that were taken out with it end by themselves, and block the group until then.
        """
        dropped = list(self._waiting.pop(message_group))
        if not self._record_ended(message_group):
            self._waiting[message_group] = deque()
        for message in dropped:
            self._record_removed(message)
        return dropped

    def empty(self) -> list[M]:
        """Take everything out in order of service; messages that wait behind their group come last."""
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

    def _record_removed(self, message: M) -> None:
        self._held[message.priority] -= 1
        self._held_bytes[message.priority] -= message.size_bytes
