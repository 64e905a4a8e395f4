"""Pollers, the schedule, the buffer and a consumer on a virtual clock, for hours.

Owns the world around the two: queues whose messages arrive evenly, polls that take their time, slots that do,
and readings of depth. Refuses to choose anything itself.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sluice_worker.core.model import Depth, Poll, Priority, Queue
from sluice_worker.core.priority_buffer import MessageBuffer
from sluice_worker.core.queue_choice import PollScheduler
from tests.worker.core.builders import Item

READ_EVERY_S = 5.0
TIMEOUT_S = 0.5
FLOOD = 10**9


@dataclass(slots=True, kw_only=True)
class Load:
    """One queue and what comes into it; a flood never ends."""

    queue: Queue
    at_first: int = 0
    per_s: float = 0.0
    fails: bool = False
    """Whether every poll of it fails."""
    taken: int = 0
    polled_at: float = 0.0

    def visible(self, now: float) -> int:
        return self.at_first + math.floor(self.per_s * now) - self.taken

    @property
    def next_at(self) -> float:
        """When the oldest message that was not received arrived."""
        if self.taken < self.at_first:
            return 0.0
        return (self.taken + 1 - self.at_first) / self.per_s if self.per_s else math.inf

    def gap_s(self, now: float) -> float:
        """How long it has held messages without being polled."""
        return max(now - max(self.polled_at, self.next_at), 0.0)


@dataclass(slots=True, kw_only=True)
class Simulation:
    """`run` lets some seconds pass; the rest says what came of it."""

    loads: Sequence[Load]
    pollers: int = 1
    poll_s: float = 1.0
    slots: int = 1
    service_s: float = 0.05
    limit: int = 50
    starving_after_s: float = 60.0
    polls: Counter[str] = field(default_factory=Counter)
    started: Counter[Priority] = field(default_factory=Counter)
    longest_gap_s: float = 0.0
    longest_wait_s: float = 0.0
    _events: list[tuple[float, int, Callable[[float], None]]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _idle: int = 0
    _by_queue: dict[str, Load] = field(default_factory=dict)
    _scheduler: PollScheduler = field(init=False)
    _buffer: MessageBuffer[Item] = field(init=False)

    @property
    def drain_s(self) -> float:
        """How long the slots take for a full buffer."""
        return len(Priority) * self.limit * self.service_s / self.slots

    def run(self, seconds: float) -> None:
        self._scheduler = PollScheduler(
            [load.queue for load in self.loads], 0.0, starving_after_s=self.starving_after_s
        )
        self._buffer = MessageBuffer(dict.fromkeys(Priority, self.limit), aged_after_s=self.starving_after_s)
        self._at(0.0, self._read)
        for _ in range(self.pollers):
            self._at(0.0, self._poll)
        self._idle = self.slots
        self._by_queue = {load.queue.url: load for load in self.loads}
        while self._events and self._events[0][0] <= seconds:
            now, _, happen = heapq.heappop(self._events)
            happen(now)
        for item in self._buffer.empty():
            self._waited(seconds - item.received_at)
        for load in self.loads:
            self._unpolled(load.gap_s(seconds))

    def _at(self, when: float, happen: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), happen))

    def _waited(self, seconds: float) -> None:
        self.longest_wait_s = max(self.longest_wait_s, seconds)

    def _unpolled(self, seconds: float) -> None:
        self.longest_gap_s = max(self.longest_gap_s, seconds)

    def _read(self, now: float) -> None:
        for load in self.loads:
            self._scheduler.record_depth(load.queue, Depth(visible=load.visible(now), in_flight=0), now)
        self._at(now + READ_EVERY_S, self._read)

    def _poll(self, now: float) -> None:
        free_capacity = {
            load.queue.url: self._buffer.free_capacity(load.queue.priority) for load in self.loads
        }
        poll = self._scheduler.next_poll(now, free_capacity)
        if poll is None:
            self._at(now + TIMEOUT_S, self._poll)
            return
        load = self._by_queue[poll.queue.url]
        self._unpolled(load.gap_s(now))
        load.polled_at = now
        self.polls[load.queue.name] += 1
        self._buffer.reserve(poll.queue.priority, poll.max_messages)
        waits_s = min(max(load.next_at - now, 0.0), poll.wait_s)
        self._at(now + waits_s + self.poll_s, lambda then: self._received(then, load, poll))

    def _received(self, now: float, load: Load, poll: Poll) -> None:
        count = 0 if load.fails else min(poll.max_messages, load.visible(now))
        load.taken += count
        self._scheduler.record_poll(poll, None if load.fails else count, now)
        items = [Item(priority=poll.queue.priority, received_at=now) for _ in range(count)]
        self._buffer.fill(poll.queue.priority, poll.max_messages, items)
        woken, self._idle = self._idle, 0
        for _ in range(woken):
            self._work(now)
        self._poll(now)

    def _work(self, now: float) -> None:
        item = self._buffer.pop(now)
        if item is None:
            self._idle += 1
            return
        self._waited(now - item.received_at)
        self.started[item.priority] += 1
        self._at(now + self.service_s, self._work)
