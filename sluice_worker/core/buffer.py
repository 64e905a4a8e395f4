"""What was received and not begun: three bounded queues in strict order, and the groups of FIFO queues.

Owns the order of service: high before medium before low, but whoever waited too long goes first; a message of
a FIFO group only after the one before it is settled. All of it in O(1), but for a group whose next message
was received after others that may begin. Refuses more than the limits.
"""

from __future__ import annotations

from bisect import insort_left
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Generic, Protocol, TypeVar

from sluice_worker.core.model import Priority

Lane = tuple[str, str]
"""(queue URL, message group)."""


class Buffered(Protocol):
    """What the buffer needs to know of a message."""

    @property
    def priority(self) -> Priority:
        """Its queue's priority."""
        ...

    @property
    def lane(self) -> Lane | None:
        """Its group in a FIFO queue, None where order does not matter."""
        ...

    @property
    def size_bytes(self) -> int:
        """The memory that it takes."""
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
        self._waiting: dict[Lane, deque[M]] = {}
        self._held = dict.fromkeys(Priority, 0)
        self._held_bytes = dict.fromkeys(Priority, 0)
        self._reserved = dict.fromkeys(Priority, 0)

    def held(self, priority: Priority) -> int:
        """Messages of this priority, those that wait behind their group included."""
        return self._held[priority]

    def ready(self, priority: Priority) -> int:
        """Messages of this priority that may begin now."""
        return len(self._ready[priority])

    def holds_groups(self, url: str) -> bool:
        """Whether a message of any group of this queue is held or not settled."""
        return any(lane[0] == url for lane in self._waiting)

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
        self._held[priority] += len(messages)
        self._held_bytes[priority] += sum(message.size_bytes for message in messages)
        for message in messages:
            lane = message.lane
            if lane is None:
                self._ready[priority].append(message)
            elif lane in self._waiting:
                self._waiting[lane].append(message)
            else:
                self._waiting[lane] = deque()
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
        self._gone(message)
        return message

    def advance(self, lane: Lane) -> bool:
        """The group's message is settled: its next one may begin. Says whether there is one."""
        waiting = self._waiting[lane]
        if not waiting:
            del self._waiting[lane]
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

    def drop(self, lane: Lane) -> list[M]:
        """The group's message goes back to its queue, and with it those behind it, which are returned."""
        dropped = list(self._waiting.pop(lane))
        for message in dropped:
            self._gone(message)
        return dropped

    def empty(self) -> list[M]:
        """Take everything out, in order of service; messages behind a group come after those ready."""
        ready = [message for queue in self._ready.values() for message in queue]
        waiting = [message for lane in self._waiting.values() for message in lane]
        for queue in (*self._ready.values(), *self._waiting.values()):
            queue.clear()
        for lane in {message.lane for message in ready if message.lane is not None}:
            self._waiting.pop(lane, None)
        self._held = dict.fromkeys(Priority, 0)
        self._held_bytes = dict.fromkeys(Priority, 0)
        return ready + waiting

    def _gone(self, message: M) -> None:
        self._held[message.priority] -= 1
        self._held_bytes[message.priority] -= message.size_bytes
