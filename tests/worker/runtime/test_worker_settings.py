"""Settings reach the parts of a worker that act on them; it is not started, and its clock stands still."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from sluice_worker.core.model import Depth, Priority, Queue
from sluice_worker.runtime import dispatcher as dispatcher_module
from sluice_worker.runtime import worker as worker_module
from sluice_worker.runtime.dispatcher import Dispatcher
from sluice_worker.runtime.handler_pool import HandlerPool
from sluice_worker.runtime.worker import Worker
from tests.support.builders import queue_url
from tests.worker.fakes import InMemorySqs
from tests.worker.runtime import parts

URGENT = Queue(url=queue_url("urgent"), priority=Priority.HIGH)
SOMEDAY = Queue(url=queue_url("someday"), priority=Priority.LOW)

NOTHING = Depth(visible=0, in_flight=0)
FLOOD = Depth(visible=1_000_000, in_flight=0)


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (worker_module, dispatcher_module):
        still = SimpleNamespace(monotonic=lambda: clock.now, time=lambda: clock.now)
        monkeypatch.setattr(module, "time", still)
    return clock


ConfiguredDispatcher = Callable[..., Dispatcher]


@pytest.fixture
def configured_dispatcher(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> ConfiguredDispatcher:
    """The dispatcher of a worker with these settings, none of whose threads run."""
    monkeypatch.setattr(HandlerPool, "prefetch_limit", lambda _: 100)

    def build(**more: Any) -> Dispatcher:
        return Worker(parts.settings(URGENT, SOMEDAY, **more), print, InMemorySqs())._dispatcher

    return build


def polled(dispatcher: Dispatcher) -> Queue:
    poll = dispatcher.next_poll(0)
    assert poll is not None
    return poll.queue


def brought(dispatcher: Dispatcher, queue: Queue, *bodies: str, at: float) -> None:
    """A poll of this queue, which has to be the next, brings these."""
    poll = dispatcher.next_poll(0)
    assert poll is not None
    assert poll.queue == queue
    dispatcher.poll_finished(poll, [parts.message(queue, body=body, received_at=at) for body in bodies])


def started(dispatcher: Dispatcher) -> str:
    message = parts.next_to_begin(dispatcher, 0)
    assert message is not None
    return message.body


def test_a_queue_starves_after_the_configured_time_without_a_poll(
    clock: Clock, configured_dispatcher: ConfiguredDispatcher
) -> None:
    dispatcher = configured_dispatcher(starving_after_s=7)
    dispatcher.record_depth(URGENT, FLOOD)
    clock.now = 6.9
    assert polled(dispatcher) == URGENT
    clock.now = 7
    assert polled(dispatcher) == SOMEDAY


def test_a_message_held_longer_than_the_setting_goes_first(
    clock: Clock, configured_dispatcher: ConfiguredDispatcher
) -> None:
    dispatcher = configured_dispatcher(starving_after_s=7)
    dispatcher.record_depth(URGENT, NOTHING)
    brought(dispatcher, SOMEDAY, "aged", at=0)
    clock.now = 1
    dispatcher.record_depth(URGENT, FLOOD)
    brought(dispatcher, URGENT, "urgent", "urgent too", at=1)
    clock.now = 7
    assert started(dispatcher) == "urgent"
    clock.now = 7.1
    assert started(dispatcher) == "aged"


def test_a_reading_is_dropped_once_it_is_three_intervals_old(
    clock: Clock, configured_dispatcher: ConfiguredDispatcher
) -> None:
    dispatcher = configured_dispatcher(interval_s=2)
    dispatcher.record_depth(SOMEDAY, FLOOD)
    clock.now = 5.9
    assert polled(dispatcher) == SOMEDAY
    clock.now = 6
    assert polled(dispatcher) == URGENT  # as of both one message is assumed
    assert dispatcher.depths()[SOMEDAY.url] == FLOOD
    clock.now = 6.1
    assert dispatcher.depths()[SOMEDAY.url] is None
