"""Pollers: as many as the load needs, with backoff for failing queues, and few calls while all are empty."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from sluice.errors import ConfigError
from sluice_worker.core import queue_choice
from sluice_worker.core.model import Depth, Priority, Queue
from sluice_worker.core.pool_size import Range
from sluice_worker.message import Message
from sluice_worker.runtime import pollers as module
from sluice_worker.runtime.ack_batcher import AckBatcher
from sluice_worker.runtime.dispatcher import Dispatcher
from sluice_worker.runtime.in_flight import InFlightMessages
from sluice_worker.runtime.pollers import PollerPool
from tests.support.builders import queue_url
from tests.worker.fakes import DOWN, Call, InMemorySqs
from tests.worker.runtime import parts
from tests.worker.runtime.parts import WORK
from tests.worker.waiting import eventually

LONG_POLL_S = 0.1
INTERVAL_S = 0.02
URGENT = Queue(url=queue_url("urgent"), priority=Priority.HIGH)
MINOR = Queue(url=queue_url("minor"), priority=Priority.LOW)


@pytest.fixture
def sqs() -> InMemorySqs:
    fake = InMemorySqs(longest_wait_s=LONG_POLL_S)
    for name in ("work", "urgent", "minor"):
        fake.create(name)
    return fake


@pytest.fixture
def ack_batcher(sqs: InMemorySqs) -> Iterator[AckBatcher]:
    opened = AckBatcher(sqs, linger_s=0.0, senders=2)
    opened.start()
    yield opened
    opened.stop()


class Group:
    """A poller pool with the parts that it receives into."""

    def __init__(
        self, sqs: InMemorySqs, ack_batcher: AckBatcher, queues: list[Queue], pollers: Range
    ) -> None:
        self.dispatcher: Dispatcher = parts.make_dispatcher(
            queues, prefetch_limit=lambda: 100_000, limit=100_000
        )
        self.in_flight: InFlightMessages = parts.make_in_flight(sqs, ack_batcher, self.dispatcher)
        self.poller_pool = PollerPool(
            queues,
            sqs,
            self.dispatcher,
            self.in_flight,
            pollers=pollers,
            interval_s=INTERVAL_S,
            visibility_s=60,
        )

    def taken(self) -> list[str]:
        bodies = []
        while (message := parts.next_to_begin(self.dispatcher, 0.0)) is not None:
            bodies.append(message.body)
        return bodies

    def end(self) -> list[Message]:
        self.poller_pool.stop()
        return self.dispatcher.close()


@pytest.fixture
def group(
    sqs: InMemorySqs, ack_batcher: AckBatcher, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Group]]:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.02)
    groups: list[Group] = []

    def start(*queues: Queue, minimum: int = 1, maximum: int = 8) -> Group:
        groups.append(Group(sqs, ack_batcher, list(queues or (WORK,)), Range(min=minimum, max=maximum)))
        groups[-1].poller_pool.start()
        return groups[-1]

    yield start
    sqs.longest_wait_s = 0
    for one in groups:
        one.end()
        eventually(lambda one=one: one.poller_pool.alive == 0, "the pollers end")


def waits(sqs: InMemorySqs) -> list[int]:
    """The maximum wait of each poll."""
    return [call.seconds[0] for call in sqs.made("receive")]


# ---- beside receiving --------------------------------------------------------------------------------------


def test_a_poller_sends_acknowledgements_before_it_receives_more(sqs: InMemorySqs) -> None:
    with_no_courier = AckBatcher(sqs, linger_s=3600.0, senders=0)
    group = Group(sqs, with_no_courier, [WORK], Range(min=1, max=1))
    sqs.send(WORK.url, *map(str, range(10)))
    for message in parts.received(sqs):
        group.in_flight.succeeded(message)
    group.poller_pool.start()

    def the_pollers() -> list[str]:
        return [call.operation for call in list(sqs.calls) if call.operation != "depth"]

    eventually(lambda: len(the_pollers()) >= 3, "the poller does something, and more")
    group.end()
    assert the_pollers()[:3] == ["receive", "delete", "receive"]
    assert sqs.bodies(WORK.url) == []
    eventually(lambda: group.poller_pool.alive == 0, "the poller ends")


# ---- how many ----------------------------------------------------------------------------------------------


def test_pollers_grow_with_what_waits_and_shrink_once_it_is_gone(
    sqs: InMemorySqs, group: Callable[..., Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqs, "depth", lambda url: Depth(visible=1_000_000, in_flight=0))
    sqs.before["receive"] = lambda _: time.sleep(0.01)  # what SQS takes for an answer
    sqs.send(WORK.url, *map(str, range(3000)))
    started = group(maximum=6)
    eventually(lambda: started.poller_pool.alive == 6, "there are as many pollers as may be")
    monkeypatch.setattr(sqs, "depth", lambda url: Depth(visible=0, in_flight=0))
    eventually(lambda: started.poller_pool.alive == 1, "one poller is left")
    ended = time.monotonic()
    eventually(
        lambda: started.poller_pool.stalled_s(time.monotonic()) < time.monotonic() - ended,
        "those that ended do not count as stalled",
    )


def test_a_poller_that_waits_at_an_empty_queue_is_replaced_where_there_is_work(
    sqs: InMemorySqs, group: Callable[..., Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "desired_pollers", lambda *_, pollers, **__: pollers.min)
    sqs.longest_wait_s = 20
    started = group(URGENT, MINOR, minimum=2)
    eventually(lambda: started.dispatcher.long_polls_in_progress == 2, "both pollers wait at empty queues")
    under_way: list[Call] = []
    two = threading.Event()

    def hold(call: Call) -> None:
        if call.url == URGENT.url:
            under_way.append(call)
            if len(under_way) == 2:
                two.set()
            two.wait(20)
            under_way.remove(call)

    sqs.before["receive"] = hold
    sqs.send(URGENT.url, *map(str, range(300)))
    assert two.wait(10), (
        "two pollers receive at once, although a third one waits"
    )  # before its long poll ends
    eventually(lambda: sqs.visible(URGENT.url) == [], "everything is received")
    sqs.longest_wait_s = 0
    eventually(lambda: started.poller_pool.alive == 2, "there are as many as before")


def test_while_every_queue_is_empty_pollers_that_wait_count_among_those_wanted(
    sqs: InMemorySqs, group: Callable[..., Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    sqs.longest_wait_s = 20
    grown = threading.Event()
    grow = PollerPool._grow

    def watched(poller_pool: PollerPool) -> None:
        grow(poller_pool)
        if threading.current_thread().name == "depths":
            grown.set()

    def until_a_poller_waits(_: Call) -> None:
        eventually(lambda: started.dispatcher.long_polls_in_progress == 1, "the poller waits")

    monkeypatch.setattr(PollerPool, "_grow", watched)
    sqs.before["depth"] = until_a_poller_waits
    started = group()
    sqs.send(WORK.url, "work")  # depths are read only for a queue that had a message
    assert grown.wait(20)
    assert started.poller_pool.alive == 1


def test_pollers_that_wait_count_among_those_allowed(sqs: InMemorySqs, group: Callable[..., Group]) -> None:
    sqs.longest_wait_s = 20
    started = group(URGENT, MINOR, minimum=2, maximum=2)
    eventually(lambda: started.dispatcher.long_polls_in_progress == 2, "both pollers wait at empty queues")
    sqs.send(URGENT.url, *map(str, range(500)))
    maximum = 0

    def worked_off() -> bool:
        nonlocal maximum
        maximum = max(maximum, started.poller_pool.alive)
        return sqs.visible(URGENT.url) == []

    eventually(worked_off, "the other poller receives everything")
    assert maximum == 2


# ---- idleness ----------------------------------------------------------------------------------------------


def test_an_idle_poller_makes_one_call_for_each_long_poll_and_no_depth_is_read(
    sqs: InMemorySqs, group: Callable[..., Group]
) -> None:
    group()
    eventually(lambda: len(sqs.made("receive")) >= 6, "five long polls are made")
    assert set(waits(sqs)[1:]) == {20}  # the first one is short, unless the depth was read before it
    at = [call.at for call in sqs.made("receive")[1:]]
    assert all(later - sooner >= LONG_POLL_S for sooner, later in itertools.pairwise(at))
    # One at the start, and one that may have been under way when the first poll came back empty.
    assert len(sqs.made("depth")) <= 2


def test_depths_are_read_again_after_a_message_arrived(sqs: InMemorySqs, group: Callable[..., Group]) -> None:
    group()
    eventually(lambda: 20 in waits(sqs), "the queue is known to be empty")
    before = len(sqs.made("depth"))
    sqs.send(WORK.url, "work")
    eventually(lambda: len(sqs.made("depth")) > before, "the depth is read again")


def test_a_message_wakes_a_long_poll(sqs: InMemorySqs, group: Callable[..., Group]) -> None:
    sqs.longest_wait_s = 20
    started = group()
    eventually(lambda: started.dispatcher.long_polls_in_progress == 1, "the poller waits")
    sqs.send(WORK.url, "work")
    eventually(lambda: started.taken() == ["work"], "the message arrives")


# ---- failures ----------------------------------------------------------------------------------------------


def test_a_failing_queue_is_polled_with_backoff_and_soon_after_it_recovers(
    sqs: InMemorySqs, group: Callable[..., Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_choice, "FIRST_BACKOFF_S", 0.05)
    sqs.failing("receive")
    started = group(maximum=1)
    eventually(lambda: len(sqs.made("receive")) >= 5, "it is called five times")
    at = [call.at for call in sqs.made("receive")]
    pauses_s = [later - sooner for sooner, later in itertools.pairwise(at)]
    assert all(pause_s >= 0.05 * 2**attempt for attempt, pause_s in enumerate(pauses_s))
    sqs.healed()
    sqs.send(WORK.url, "work")
    eventually(lambda: started.taken() == ["work"], "the message arrives")


def test_pollers_that_fail_together_pause_no_longer_than_one(
    sqs: InMemorySqs, group: Callable[..., Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short outage that meets all pollers at once must not pause them for half a minute."""
    monkeypatch.setattr(queue_choice, "FIRST_BACKOFF_S", 0.05)
    failures = iter([DOWN] * 8)
    sqs.raising["receive"] = lambda _: next(failures, None)
    sqs.before["receive"] = lambda _: time.sleep(0.02)  # so that all are under way as the first fails
    started = group(minimum=8)
    sqs.send(WORK.url, "work")
    began_at = time.monotonic()
    eventually(lambda: started.taken() == ["work"], "the message arrives")
    # Eight failures one after the other would pause for 0.05 x (2^8 - 1) = 12.75 s.
    assert time.monotonic() - began_at < 5


def test_a_failing_queue_takes_no_poller_from_the_others(
    sqs: InMemorySqs, group: Callable[..., Group]
) -> None:
    """Whatever its priority: each queue has its own backoff."""
    urgent_fails(sqs)
    started = group(URGENT, MINOR, minimum=2, maximum=2)
    sqs.send(MINOR.url, *map(str, range(500)))
    received: list[str] = []

    def all_received() -> bool:
        received.extend(started.taken())
        return len(received) == 500

    eventually(all_received, "the other queue is worked off")
    assert len([call for call in sqs.made("receive") if call.url == URGENT.url]) < 10


def urgent_fails(sqs: InMemorySqs) -> None:
    def fail(call: Call) -> ConfigError | None:
        return ConfigError("AWS answered AccessDenied") if call.url == URGENT.url else None

    sqs.raising["receive"] = fail


def test_a_defect_in_a_poll_ends_no_poller_and_frees_its_capacity(
    sqs: InMemorySqs, group: Callable[..., Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sluice_worker.runtime.loops.AFTER_DEFECT_S", 0.01)
    monkeypatch.setattr(queue_choice, "FIRST_BACKOFF_S", 0.01)
    broken = [True, True]

    def break_down(_: Call) -> None:
        if broken:
            broken.pop()
            raise RuntimeError("a defect")

    sqs.before["receive"] = break_down
    sqs.send(WORK.url, "work")
    started = group(maximum=1)
    eventually(lambda: started.taken() == ["work"], "the message arrives")
    assert started.poller_pool.alive == 1


def test_refused_attributes_are_logged_once_and_not_requested_again(
    sqs: InMemorySqs, group: Callable[..., Group], caplog: pytest.LogCaptureFixture
) -> None:
    sqs.failing("depth", error=ConfigError("no permission to read attributes"))
    with caplog.at_level(logging.WARNING):
        started = group()
        received: list[str] = []

        def goes_on() -> bool:
            sqs.send(WORK.url, "work")
            received.extend(started.taken())
            return len(sqs.made("depth")) >= 4 and len(received) >= 4

        eventually(goes_on, "messages arrive without depths")
    assert [r.message for r in caplog.records if "attributes" in r.message] == [
        "no permission to read attributes; its depth counts as unknown"
    ]
    assert set(started.dispatcher.depths().values()) == {None}


# ---- the end -----------------------------------------------------------------------------------------------


def test_a_message_that_a_long_poll_brings_after_the_end_is_released(
    sqs: InMemorySqs, ack_batcher: AckBatcher, group: Callable[..., Group]
) -> None:
    sqs.longest_wait_s = 20
    started = group()
    eventually(lambda: started.dispatcher.long_polls_in_progress == 1, "the poller waits")
    assert started.end() == []
    sqs.send(WORK.url, "too late")
    eventually(lambda: started.poller_pool.alive == 0, "the poller ends")
    assert ack_batcher.wait_empty(time.monotonic() + 20)
    assert sqs.visible(WORK.url) == ["too late"]
    assert started.in_flight.count == 0


def test_pollers_that_wait_out_a_failure_end_at_once(sqs: InMemorySqs, group: Callable[..., Group]) -> None:
    sqs.failing("receive")
    started = group(minimum=3)
    eventually(lambda: sqs.made("receive"), "a poll fails")
    started.end()
    eventually(lambda: started.poller_pool.alive == 0, "all pollers end")
