"""A whole worker on queues in memory: no message lost or doubled, and an orderly drain."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sluice_worker.core.model import Priority, Queue
from sluice_worker.message import Message
from sluice_worker.runtime import ack_batcher
from sluice_worker.runtime import pollers as pollers_module
from sluice_worker.runtime import worker as module
from sluice_worker.runtime.handler_runner import Handler
from sluice_worker.runtime.worker import Worker
from tests.support.builders import queue_url
from tests.worker.fakes import THROTTLED, Call, InMemorySqs
from tests.worker.runtime import parts
from tests.worker.runtime.parts import ORDERED, WORK
from tests.worker.waiting import eventually


@pytest.fixture(autouse=True)
def _soon(soon: pytest.MonkeyPatch) -> None:
    soon.setattr(ack_batcher, "FIRST_BACKOFF_S", 0.02)


class Running:
    """A worker in a thread, as its process's main thread would run it."""

    def __init__(self, sqs: InMemorySqs, handler: Handler, queues: tuple[Queue, ...], more: dict[str, Any]):
        self.worker = Worker(parts.settings(*queues, **more), handler, sqs)
        self.statuses: list[int] = []
        self.thread = threading.Thread(target=lambda: self.statuses.append(self.worker.run()), daemon=True)

    def start(self) -> None:
        self.thread.start()

    def drain(self, reason: str = "the test is over") -> int:
        self.worker.drain(reason)
        return self.status()

    def status(self) -> int:
        self.thread.join(30)
        assert not self.thread.is_alive(), "the worker did not end"
        return self.statuses[0]


Start = Callable[..., Running]


@pytest.fixture
def start(sqs: InMemorySqs, capsys: pytest.CaptureFixture[str]) -> Iterator[Start]:
    running: list[Running] = []

    def begin(handler: Handler, *queues: Queue, started: bool = True, **more: Any) -> Running:
        running.append(Running(sqs, handler, queues, more))
        if started:
            running[-1].start()
        return running[-1]

    yield begin
    sqs.healed()
    sqs.longest_wait_s = 0
    for one in running:
        if one.thread.ident is not None:
            one.drain()


class Record:
    """A handler that records its calls, and does not return while it is closed."""

    def __init__(self, *, opened: bool = True) -> None:
        self.started: list[str] = []
        self.ended: list[str] = []
        self.opened = threading.Event()
        if opened:
            self.opened.set()

    def __call__(self, message: Message) -> None:
        self.started.append(message.body)
        assert self.opened.wait(30)
        self.ended.append(message.body)


@pytest.fixture
def closed() -> Iterator[Record]:
    record = Record(opened=False)
    yield record
    record.opened.set()


def numbered(count: int) -> list[str]:
    return [str(number) for number in range(count)]


# ---- work --------------------------------------------------------------------------------------------------


def test_every_message_is_processed_once_and_deleted(sqs: InMemorySqs, start: Start) -> None:
    record = Record()
    sqs.send(WORK.url, *numbered(500))
    running = start(record, min_concurrency=4)
    eventually(lambda: sqs.bodies(WORK.url) == [], "the queue is worked off")
    assert running.drain() == 0
    assert sorted(record.ended, key=int) == numbered(500)
    assert running.worker.processed == 500
    assert not running.worker.busy


def test_while_sqs_takes_no_deletes_messages_stay_hidden_and_are_deleted_in_the_end(
    sqs: InMemorySqs, start: Start
) -> None:
    """For longer than their visibility timeout: the heartbeat keeps them hidden, and none is redelivered."""
    record = Record()
    sqs.failing("delete")
    sqs.send(WORK.url, *numbered(30))
    running = start(record, visibility_s=2)
    eventually(lambda: len(record.ended) == 30, "all are processed")
    began_at = time.monotonic()
    eventually(lambda: time.monotonic() - began_at > 2.5, "their first visibility is over")
    assert sqs.visible(WORK.url) == []
    sqs.healed()
    eventually(lambda: sqs.bodies(WORK.url) == [], "all are deleted")
    assert running.drain() == 0
    assert sorted(record.started, key=int) == numbered(30)


def test_outages_of_all_calls_lose_and_repeat_no_message(sqs: InMemorySqs, start: Start) -> None:
    started: list[str] = []
    permits = threading.Semaphore(0)

    def handle(message: Message) -> None:
        started.append(message.body)
        assert permits.acquire(timeout=30)

    running = start(handle, min_concurrency=4)
    for outage in range(3):
        sqs.send(WORK.url, *(f"{outage}-{number}" for number in range(50)))
        eventually(lambda outage=outage: len(started) >= 50 * outage + 4, "every slot has a message")
        sqs.failing("receive", "delete", "hide", "depth")
        permits.release(50)
        failed = len(sqs.calls)
        eventually(lambda failed=failed: len(sqs.calls) > failed + 3, "calls fail")
        sqs.healed()
        eventually(lambda: sqs.bodies(WORK.url) == [], "the queue is worked off")
    assert running.drain() == 0
    assert max(Counter(started).values()) == 1
    assert len(started) == 150


def test_individually_refused_deletes_are_all_retried_until_done(sqs: InMemorySqs, start: Start) -> None:
    dice = random.Random(1)
    sqs.refusing["delete"] = lambda _: THROTTLED if dice.random() < 0.2 else None
    record = Record()
    sqs.send(WORK.url, *numbered(100))
    running = start(record)
    eventually(lambda: sqs.bodies(WORK.url) == [], "all are deleted")
    assert running.drain() == 0
    assert Counter(record.started) == Counter(numbered(100))


def test_no_more_than_the_in_flight_limit_is_received_while_sqs_refuses_deletes(
    sqs: InMemorySqs, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_UNACKNOWLEDGED", 50)
    record = Record()
    sqs.failing("delete")
    sqs.send(WORK.url, *numbered(1000))
    running = start(
        record,
        buffer_high=10,
        buffer_medium=10,
        buffer_low=10,
        max_concurrency=4,
        max_pollers=2,
    )
    maximum = 10 + 10 + 10 + 4 + 50 + 2 * 10  # what the pollers had requested already comes on top
    eventually(lambda: len(record.ended) >= 84, "as many as may be held are processed")
    polls = len(sqs.made("receive"))
    before = len(sqs.made("delete"))
    eventually(lambda: len(sqs.made("delete")) > before + 10, "deletes are tried again and again")
    assert len(record.ended) <= maximum
    assert len(sqs.made("receive")) <= polls + 2
    sqs.healed()
    eventually(lambda: sqs.bodies(WORK.url) == [], "the rest is worked off")
    assert running.drain() == 0
    assert Counter(record.started) == Counter(numbered(1000))


def test_large_messages_are_received_ahead_by_their_bytes(
    sqs: InMemorySqs, start: Start, closed: Record
) -> None:
    """211 messages of 1 MiB would be held at once, were they only counted."""
    large, quick = "x" * 2**20, []

    def handle(message: Message) -> None:
        if len(quick) < 20:  # so short that the worker prefetches
            quick.append(message.message_id)
        else:
            closed(message)

    sqs.send(WORK.url, *[large] * 300)
    running = start(handle, max_concurrency=2)
    eventually(lambda: len(closed.started) == 2, "both slots are taken")
    held = running.worker._dispatcher.buffered
    eventually(lambda: held()[Priority.MEDIUM] >= 20, "it reaches ahead all the same")
    polls = len(sqs.made("receive"))
    wait_until = time.monotonic() + 0.3
    eventually(lambda: time.monotonic() > wait_until, "there was time to receive more")
    assert len(sqs.made("receive")) <= polls + 1
    assert held()[Priority.MEDIUM] <= 32


def test_a_poison_message_ends_in_the_dead_letter_queue(sqs: InMemorySqs, start: Start) -> None:
    def fail(message: Message) -> None:
        raise ValueError(f"no {message.receive_count}")

    sqs.send(WORK.url, "poison")
    start(fail, max_attempts=3, dead_letter_queue=queue_url("dead"), backoff_s=0)
    eventually(lambda: sqs.bodies(WORK.url) == [], "it leaves its queue")
    (dead,) = sqs.all(queue_url("dead"))
    assert dead.attributes["SluiceWorkerFailure"] == "ValueError: no 3"


def test_a_queues_redrive_policy_takes_poison_if_the_worker_has_no_dead_letter_queue(
    sqs: InMemorySqs, start: Start
) -> None:
    def fail(_: Message) -> None:
        raise ValueError("no")

    redriven = Queue(url=sqs.create("redriven", dead_letters=queue_url("dead"), max_receipts=3))
    sqs.send(redriven.url, "poison")
    start(fail, redriven, backoff_s=0)
    eventually(lambda: sqs.bodies(queue_url("dead")) == ["poison"], "it is among the dead letters")
    assert sqs.bodies(redriven.url) == []


# ---- order -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_each_group_keeps_its_order_whatever_fails(sqs: InMemorySqs, start: Start, seed: int) -> None:
    dice = random.Random(seed)
    running_now: Counter[str] = Counter()
    overlaps: list[str] = []
    succeeded: defaultdict[str, list[int]] = defaultdict(list)

    def handle(message: Message) -> None:
        group, number = message.body.split("-")
        running_now[group] += 1
        if running_now[group] > 1 or int(number) > len(succeeded[group]):
            overlaps.append(message.body)
        fails = dice.random() < 0.2
        if not fails:
            succeeded[group].append(int(number))
        running_now[group] -= 1
        if fails:
            raise ValueError("no")

    def refuse(_: Message) -> Any:
        return THROTTLED if dice.random() < 0.1 else None

    sqs.refusing["delete"] = sqs.refusing["hide"] = refuse
    for number in range(12):
        for group in "abcde":
            sqs.send(ORDERED.url, f"{group}-{number}", group=group)
    running = start(handle, ORDERED, min_concurrency=4, backoff_s=0, max_pollers=3)
    eventually(lambda: sqs.bodies(ORDERED.url) == [], "the queue is worked off")
    assert running.drain() == 0
    assert overlaps == []
    assert dict(succeeded) == {group: list(range(12)) for group in "abcde"}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_message_does_not_dead_letter_those_behind_it(
    sqs: InMemorySqs, start: Start, workers: int
) -> None:
    """A receive counts an attempt for every message that it returns; each worker may do so once."""
    ordered = Queue(url=sqs.create("redriven.fifo", dead_letters=queue_url("dead"), max_receipts=5))
    sqs.send(ordered.url, "poison", *(f"good-{number}" for number in range(9)), group="g")
    started: dict[str, int] = {}
    numbers = itertools.count()

    def handle(message: Message) -> None:
        started[message.body] = message.receive_count
        if message.body == "poison":
            raise ValueError("no")

    for _ in range(workers):
        start(handle, ordered, min_concurrency=4, backoff_s=1, max_backoff_s=1)

    def settled() -> bool:
        others = next(numbers)  # keep the workers busy, so that they ask for many at once
        sqs.send(ordered.url, f"other-{others}", group=f"other-{others % 5}")
        return not {"poison", "good-8"} & set(sqs.bodies(ordered.url))

    eventually(settled, "the group is worked off")
    assert sqs.bodies(queue_url("dead")) == ["poison"]
    charged = [started[f"good-{number}"] - 1 for number in range(9)]
    assert max(charged) <= workers


def test_groups_run_side_by_side(sqs: InMemorySqs, start: Start) -> None:
    together = threading.Barrier(3)
    for group in "abc":
        sqs.send(ORDERED.url, group, group=group)
    start(lambda _: together.wait(20) and None, ORDERED, min_concurrency=3)
    eventually(lambda: sqs.bodies(ORDERED.url) == [], "three run at once")


# ---- handlers that hang ------------------------------------------------------------------------------------


def test_a_worker_survives_a_hanging_handler(sqs: InMemorySqs, start: Start, closed: Record) -> None:
    done: list[str] = []

    def handle(message: Message) -> None:
        if message.body == "hangs":
            closed(message)
        done.append(message.body)

    sqs.send(WORK.url, "hangs")
    running = start(handle, max_processing_s=0.05, backoff_s=600)
    eventually(lambda: closed.started, "it hangs")
    sqs.send(WORK.url, *numbered(20))
    eventually(lambda: sqs.bodies(WORK.url) == ["hangs"], "everything else is done")
    assert sorted(done, key=int) == numbered(20)
    assert running.drain() == 0


def test_too_many_handlers_that_hang_end_the_worker_with_1(
    sqs: InMemorySqs, start: Start, closed: Record
) -> None:
    sqs.send(WORK.url, "a", "b")
    running = start(closed, max_processing_s=0.05, max_concurrency=2, backoff_s=600)
    assert running.status() == 1
    assert sqs.bodies(WORK.url) == ["a", "b"]


def test_coroutines_of_all_slots_share_one_loop(sqs: InMemorySqs, start: Start) -> None:
    loops: set[int] = set()

    async def handle(_: Message) -> None:
        loops.add(id(asyncio.get_running_loop()))
        await asyncio.sleep(0.001)

    sqs.send(WORK.url, *numbered(50))
    start(handle, min_concurrency=4)
    eventually(lambda: sqs.bodies(WORK.url) == [], "the queue is worked off")
    assert len(loops) == 1


# ---- the drain ---------------------------------------------------------------------------------------------


def test_a_drain_releases_what_was_not_begun_and_finishes_what_runs(
    sqs: InMemorySqs, start: Start, closed: Record
) -> None:
    quick: list[str] = []

    def handle(message: Message) -> None:
        if len(quick) < 4:  # so short that the worker prefetches
            quick.append(message.body)
        else:
            closed(message)

    sqs.send(WORK.url, *numbered(30))
    running = start(handle, max_concurrency=2)
    eventually(
        lambda: len(closed.started) == 2 and sqs.visible(WORK.url) == [], "two run and the rest waits here"
    )
    running.worker.drain("SIGTERM")
    eventually(lambda: len(sqs.visible(WORK.url)) == 24, "what was not started is visible again")
    assert running.thread.is_alive()
    closed.opened.set()
    assert running.status() == 0
    assert len(closed.ended) == 2
    assert sorted(sqs.visible(WORK.url) + closed.ended + quick, key=int) == numbered(30)


def test_a_drain_flushes_deletes_that_linger(sqs: InMemorySqs, start: Start) -> None:
    record = Record()
    sqs.send(WORK.url, *numbered(3))
    running = start(record, delete_linger_s=10, grace_s=2)
    eventually(lambda: len(record.ended) == 3, "all are processed")
    assert sqs.made("delete") == []
    assert running.drain() == 0
    assert sqs.bodies(WORK.url) == []


def test_messages_still_running_at_the_end_of_the_grace_period_are_released(
    sqs: InMemorySqs, start: Start, closed: Record
) -> None:
    sqs.send(WORK.url, "long")
    running = start(closed, grace_s=0.4)
    eventually(lambda: closed.started, "it runs")
    assert running.drain() == 0
    assert sqs.visible(WORK.url) == ["long"]


def test_without_a_grace_everything_is_released_at_once(
    sqs: InMemorySqs, start: Start, closed: Record
) -> None:
    sqs.send(WORK.url, *numbered(5))
    running = start(closed, grace_s=0.0)
    eventually(lambda: closed.started, "one runs")
    assert running.drain() == 0
    assert len(sqs.visible(WORK.url)) == 5


def test_a_message_that_a_long_poll_brings_after_the_drain_began_is_released(
    sqs: InMemorySqs, start: Start
) -> None:
    record = Record()
    sqs.longest_wait_s = 20
    running = start(record)
    eventually(lambda: any(call.seconds == (20,) for call in sqs.made("receive")), "a poll waits")
    running.worker.drain("SIGTERM")
    eventually(lambda: running.worker._dispatcher._closed, "the drain has started")
    sqs.send(WORK.url, "too late")
    eventually(lambda: sqs.made("hide"), "it is received all the same")
    assert running.status() == 0
    assert record.started == []
    assert sqs.visible(WORK.url) == ["too late"]


def test_an_idle_worker_that_drains_logs_at_once_what_it_waits_for_and_for_how_long(
    sqs: InMemorySqs, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """SQS may answer a receive after its caller ended: the message is hidden, and its receipt counts."""
    caplog.set_level(logging.INFO, logger=module.__name__)
    sqs.longest_wait_s = 20
    running = start(Record(), visibility_s=77)
    eventually(lambda: any(call.seconds == (20,) for call in sqs.made("receive")), "a poll waits")
    running.worker.drain("SIGINT")
    eventually(lambda: "waiting for up to" in caplog.text, "it is logged")
    assert running.thread.is_alive()
    [seconds] = re.findall(r"waiting for up to (\d+) s: .* Ctrl-C again, .* hidden for 77 s", caplog.text)
    assert 0 < int(seconds) <= 20
    sqs.longest_wait_s = 0
    assert running.status() == 0


def test_a_worker_without_a_receive_in_progress_does_not_mention_one(
    sqs: InMemorySqs, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=module.__name__)
    sqs.failing("receive")
    running = start(Record())
    eventually(lambda: sqs.made("receive"), "a poll fails")
    assert running.drain() == 0
    assert "draining within" in caplog.text
    assert "waiting for up to" not in caplog.text


def test_messages_behind_a_group_are_also_released_in_order(
    sqs: InMemorySqs, start: Start, closed: Record
) -> None:
    sqs.send(ORDERED.url, *numbered(5), group="g")
    running = start(closed, ORDERED, min_concurrency=5)
    eventually(lambda: closed.started == ["0"], "the first runs")
    running.worker.drain("SIGTERM")
    eventually(lambda: sqs.visible(ORDERED.url) == ["1", "2", "3", "4"], "the others are handed back")
    closed.opened.set()
    assert running.status() == 0
    assert closed.started == ["0"]
    assert sqs.bodies(ORDERED.url) == ["1", "2", "3", "4"]


def test_a_second_drain_request_changes_nothing(sqs: InMemorySqs, start: Start, closed: Record) -> None:
    sqs.send(WORK.url, "work")
    running = start(closed)
    eventually(lambda: closed.started, "it runs")
    running.worker.drain("SIGTERM")
    running.worker.drain("a Spot notice")
    closed.opened.set()
    assert running.drain("once more") == 0
    assert sqs.bodies(WORK.url) == []


def test_a_drain_before_the_start_begins_no_message(
    sqs: InMemorySqs, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Record()
    pollers: list[str] = []
    monkeypatch.setattr(pollers_module, "start_loop", lambda name, step: pollers.append(name))
    sqs.send(WORK.url, "work")
    running = start(record, started=False)
    running.worker.drain("SIGTERM")
    running.start()
    assert running.status() == 0
    assert record.started == []
    assert pollers == []
    assert sqs.visible(WORK.url) == ["work"]


def test_a_drain_while_sqs_is_down_ends_with_the_grace_period(sqs: InMemorySqs, start: Start) -> None:
    record = Record()
    sqs.send(WORK.url, *numbered(3))
    running = start(record, grace_s=0.5)
    eventually(lambda: len(record.ended) == 3, "all are processed")
    sqs.failing("receive", "delete", "hide", "depth")
    assert running.drain() == 0


def test_a_drain_waits_for_a_delete_under_way(sqs: InMemorySqs, start: Start) -> None:
    put_started, go_on = threading.Event(), threading.Event()

    def hold(_: Call) -> None:
        put_started.set()
        assert go_on.wait(20)

    sqs.before["delete"] = hold
    sqs.send(WORK.url, "work")
    running = start(Record())
    assert put_started.wait(20)
    running.worker.drain("SIGTERM")
    assert running.worker.busy
    go_on.set()
    assert running.status() == 0
    assert sqs.bodies(WORK.url) == []


# ---- what it publishes of itself ---------------------------------------------------------------------------


def test_the_gauges_of_a_report_cover_the_time_since_the_previous_one(sqs: InMemorySqs) -> None:
    """A queue that is idle, or whose attributes cannot be read, has no depth."""
    one = Running(sqs, lambda _: None, (WORK,), {})
    before = one.worker._gauges()
    assert (before.pushed, before.popped, before.depths) == (0, 0, {"work": None})
    sqs.send(WORK.url, *map(str, range(30)))
    one.start()
    try:
        eventually(lambda: not sqs.all(WORK.url), "all are deleted")
        after, again = one.worker._gauges(), one.worker._gauges()
    finally:
        assert one.drain("the test is over") == 0
    assert (after.pushed, after.popped) == (30, 30)
    assert after.buffered.keys() == {WORK.priority}
    assert after.pollers >= 1
    assert after.slots >= 1
    assert (again.pushed, again.popped) == (0, 0)
