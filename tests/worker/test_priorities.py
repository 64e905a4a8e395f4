"""How priorities share the slots: one worker's pollers, dispatcher and slots on a virtual clock, all queues
full."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from sluice_worker.core.model import Depth, Poll, Priority, Queue
from sluice_worker.core.pool_size import prefetch_limit
from sluice_worker.core.priority_buffer import MessageBuffer
from sluice_worker.core.queue_choice import PollScheduler
from sluice_worker.message import Message
from sluice_worker.runtime import dispatcher as module
from sluice_worker.runtime.dispatcher import Dispatcher
from tests.support.builders import queue_url
from tests.worker.runtime.parts import failed_heads, next_to_begin

SECONDS = 900.0
POLL_S = 0.02
AGAIN_S = 0.05


@dataclass(slots=True, kw_only=True)
class Worker:
    """`pollers` and `slots` around one dispatcher; every poll brings as many as it requested."""

    queues: Sequence[Queue]
    slots: int
    service_s: float
    pollers: int = 2
    now: float = 0.0
    busy: int = 0
    started: Counter[Priority] = field(default_factory=Counter)
    busy_s: float = 0.0
    polled_at: dict[str, float] = field(default_factory=dict)
    longest_gap_s: dict[str, float] = field(default_factory=dict)
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _random: random.Random = field(default_factory=lambda: random.Random(6))
    _dispatcher: Dispatcher = field(init=False)

    def run(self, seconds: float) -> None:
        self._dispatcher = Dispatcher(
            self.queues,
            PollScheduler(self.queues, 0.0),
            MessageBuffer(dict.fromkeys(Priority, 200)),
            lambda: prefetch_limit(
                self.slots - self.busy, self.slots, average_s=self.service_s, prefetch_s=1.0
            ),
            failed_heads(),
        )
        self._in(0.0, self._read)
        for _ in range(self.pollers):
            self._in(0.0, self._poll)
        for _ in range(self.slots):
            self._in(0.0, self._work)
        while self._events[0][0] < seconds:
            self.now, _, happen = heapq.heappop(self._events)
            happen()
        for queue in self.queues:
            self._polled(queue)

    def _in(self, seconds: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), happen))

    def _read(self) -> None:
        for queue in self.queues:
            self._dispatcher.record_depth(queue, Depth(visible=1000, in_flight=0))
        self._in(5.0, self._read)

    def _polled(self, queue: Queue) -> None:
        gap_s = self.now - self.polled_at.get(queue.url, 0.0)
        self.longest_gap_s[queue.name] = max(self.longest_gap_s.get(queue.name, 0.0), gap_s)
        self.polled_at[queue.url] = self.now

    def _poll(self) -> None:
        poll = self._dispatcher.next_poll(0.0)
        if poll is None:
            self._in(AGAIN_S, self._poll)
        else:
            self._polled(poll.queue)
            self._in(POLL_S, lambda: self._received(poll))

    def _received(self, poll: Poll) -> None:
        brought = [
            Message(
                queue=poll.queue,
                message_id="id",
                body="",
                sent_at=0.0,
                receipt_handle="",
                received_at=self.now,
                visible_at=self.now + 60,
            )
            for _ in range(poll.max_messages)
        ]
        self._dispatcher.poll_finished(poll, brought)
        self._poll()

    def _work(self) -> None:
        message = next_to_begin(self._dispatcher, 0.0)
        if message is None:
            self._in(AGAIN_S, self._work)
            return
        self.busy += 1
        self.started[message.priority] += 1
        took_s = self.service_s * self._random.uniform(0.5, 1.5)
        self.busy_s += took_s
        self._in(took_s, self._end)

    def _end(self) -> None:
        self.busy -= 1
        self._work()


@pytest.fixture
def flooded(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Worker]:
    def run(*priorities: Priority, slots: int, service_s: float) -> Worker:
        queues = [
            Queue(url=queue_url(f"{number}-{priority}"), priority=priority)
            for number, priority in enumerate(priorities)
        ]
        worker = Worker(queues=queues, slots=slots, service_s=service_s)
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: worker.now))
        worker.run(SECONDS)
        return worker

    return run


@pytest.mark.parametrize(("slots", "service_s", "batch"), [(10, 0.2, 10), (10, 2, 5), (10, 20, 1)])
def test_many_high_messages_keep_the_slots_however_long_a_message_takes(
    flooded: Callable[..., Worker], slots: int, service_s: float, batch: int
) -> None:
    worker = flooded(*Priority, slots=slots, service_s=service_s)
    # Once a minute what starves is served: of each of two queues what the slots can begin within a second.
    due = 2 * (1 + SECONDS / 60) * batch
    assert sum(worker.started.values()) - worker.started[Priority.HIGH] <= due
    assert worker.busy_s > 0.9 * slots * SECONDS


@pytest.mark.parametrize(("slots", "service_s"), [(10, 0.2), (10, 2), (10, 20)])
def test_a_queue_of_low_priority_is_still_polled(
    flooded: Callable[..., Worker], slots: int, service_s: float
) -> None:
    worker = flooded(Priority.HIGH, Priority.LOW, slots=slots, service_s=service_s)
    assert worker.longest_gap_s["1-low"] <= 60 + 2.5 * service_s
    assert worker.started[Priority.LOW] > 0
