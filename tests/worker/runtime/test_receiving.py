"""While nothing may be received no poll begins, and what was received is finished, not dropped."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from sluice_worker.core.model import Queue
from sluice_worker.message import Message
from sluice_worker.runtime.handler_runner import Handler
from sluice_worker.runtime.worker import Worker
from tests.worker.fakes import Call, InMemorySqs
from tests.worker.runtime import parts
from tests.worker.runtime.parts import ORDERED, WORK
from tests.worker.waiting import eventually

LONGER_THAN_A_POLLER_WAITS_S = 0.3
"""With the intervals of the fixture `soon` a poller looks for a poll every 0.02 s."""


@dataclass
class Gated:
    """A worker in a thread that receives while `receives` is set."""

    sqs: InMemorySqs
    handler: Handler
    queues: tuple[Queue, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.receives = threading.Event()
        self.receives.set()
        settings = parts.settings(*self.queues, **self.more)
        self.worker = Worker(settings, self.handler, self.sqs, is_receiving=self.receives.is_set)
        self.thread = threading.Thread(target=lambda: self.statuses.append(self.worker.run()), daemon=True)

    def close_between_polls(self) -> None:
        """Stop receiving, and wait for the polls that were under way."""
        self.receives.clear()
        eventually(lambda: self.worker._dispatcher.polls_in_progress == 0, "the polls return")

    def drain(self) -> int:
        self.worker.drain("the test is over")
        self.thread.join(30)
        assert not self.thread.is_alive(), "the worker did not end"
        return self.statuses[0]


Start = Callable[..., Gated]


@pytest.fixture
def start(sqs: InMemorySqs, soon: pytest.MonkeyPatch) -> Iterator[Start]:
    running: list[Gated] = []

    def begin(handler: Handler, *queues: Queue, closed: bool = False, **more: Any) -> Gated:
        one = Gated(sqs, handler, queues, more)
        if closed:
            one.receives.clear()
        running.append(one)
        one.thread.start()
        return one

    yield begin
    sqs.longest_wait_s = 0
    for one in running:
        one.drain()


class Record:
    """A handler that does not return before it is opened."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.ended: list[str] = []
        self.opened = threading.Event()

    def __call__(self, message: Message) -> None:
        self.started.append(message.body)
        assert self.opened.wait(30)
        self.ended.append(message.body)


@pytest.fixture
def record() -> Iterator[Record]:
    one = Record()
    yield one
    one.opened.set()


def stays(condition: Callable[[], bool]) -> bool:
    """Whether it holds for much longer than a poller waits between two looks."""
    until = time.monotonic() + LONGER_THAN_A_POLLER_WAITS_S
    while holds := condition():
        if time.monotonic() >= until:
            break
        time.sleep(0.01)
    return holds


def test_no_poll_begins_while_nothing_may_be_received_and_one_does_once_it_may(
    sqs: InMemorySqs, start: Start, record: Record
) -> None:
    record.opened.set()
    sqs.send(WORK.url, *map(str, range(30)))
    gated = start(record, closed=True, min_pollers=4)
    assert stays(lambda: sqs.made("receive") == [])
    gated.receives.set()
    eventually(lambda: len(record.ended) == 30, "all are processed")
    eventually(lambda: sqs.bodies(WORK.url) == [], "all are deleted")
    gated.close_between_polls()
    polls = len(sqs.made("receive"))
    sqs.send(WORK.url, "later")
    assert stays(lambda: len(sqs.made("receive")) == polls)
    gated.receives.set()
    eventually(lambda: "later" in record.ended, "it receives again")


def test_what_was_received_is_finished_and_deleted_while_nothing_is_received(
    sqs: InMemorySqs, start: Start, record: Record
) -> None:
    """The messages in the buffer too: none goes back, and all stay hidden for longer than their timeout."""
    quick = [f"quick {number}" for number in range(20)]
    sqs.send(WORK.url, *quick)

    def handle(message: Message) -> None:
        if message.body not in quick:
            record(message)

    gated = start(handle, max_concurrency=2, min_concurrency=2, visibility_s=2, prefetch_s=60)
    eventually(lambda: sqs.bodies(WORK.url) == [], "messages are known to be quick: some are prefetched")
    sqs.send(WORK.url, *map(str, range(30)))
    eventually(lambda: len(record.started) == 2 and gated.worker._in_flight.count > 2, "some are buffered")
    gated.close_between_polls()
    held, polls = gated.worker._in_flight.count, len(sqs.made("receive"))
    began_at = time.monotonic()
    eventually(lambda: time.monotonic() - began_at > 2.5, "their first visibility is over")
    record.opened.set()
    eventually(lambda: len(sqs.bodies(WORK.url)) == 30 - held, "what was held is deleted")
    assert len(record.ended) == held
    assert len(sqs.made("receive")) == polls
    assert gated.worker._in_flight.released == 0
    assert not gated.worker.busy


def test_messages_that_a_poll_under_way_brings_are_processed(
    sqs: InMemorySqs, start: Start, record: Record
) -> None:
    sqs.longest_wait_s = 20
    record.opened.set()
    gated = start(record)
    eventually(lambda: gated.worker._dispatcher.long_polls_in_progress == 1, "a long poll waits")
    gated.receives.clear()
    sqs.send(WORK.url, "in the last moment")
    eventually(lambda: sqs.bodies(WORK.url) == [], "it is processed and deleted")
    assert record.ended == ["in the last moment"]
    eventually(lambda: gated.worker.is_drained, "nothing else comes")


def test_it_is_drained_once_no_message_is_held_and_no_poll_can_bring_one(
    sqs: InMemorySqs, start: Start, record: Record
) -> None:
    receiving, answered = threading.Event(), threading.Event()

    def hold(_: Call) -> None:
        receiving.set()
        answered.wait(30)

    sqs.after["receive"] = hold
    sqs.send(WORK.url, "one")
    gated = start(record)
    assert receiving.wait(30)
    assert not gated.worker.is_drained
    gated.receives.clear()
    assert stays(lambda: not gated.worker.is_drained)  # the poll has a message, and has not returned
    answered.set()
    eventually(lambda: record.started == ["one"], "it begins")
    assert stays(lambda: not gated.worker.is_drained)
    record.opened.set()
    eventually(lambda: gated.worker.is_drained, "its delete is confirmed")
    assert sqs.bodies(WORK.url) == []
    gated.receives.set()
    assert not gated.worker.is_drained


def test_a_message_that_sqs_has_not_confirmed_as_deleted_is_still_held(
    sqs: InMemorySqs, start: Start, record: Record
) -> None:
    record.opened.set()
    sqs.failing("delete")
    sqs.send(WORK.url, "one")
    gated = start(record)
    eventually(lambda: record.ended == ["one"], "it is processed")
    gated.close_between_polls()
    assert stays(lambda: not gated.worker.is_drained)
    sqs.healed()
    eventually(lambda: gated.worker.is_drained, "the delete is confirmed")


def test_a_worker_that_receives_is_never_drained_however_idle(sqs: InMemorySqs, start: Start) -> None:
    gated = start(lambda message: None)
    eventually(lambda: len(sqs.made("receive")) > 2, "it polls")
    assert stays(lambda: not gated.worker.is_drained)


def test_a_batch_does_not_wait_for_messages_that_nobody_receives(sqs: InMemorySqs, start: Start) -> None:
    batches: list[list[str]] = []
    sqs.send(WORK.url, "a", "b")

    def handle(messages: list[Message]) -> None:
        batches.append([message.body for message in messages])

    gated = start(handle, batch=10, batch_wait_s=60)
    eventually(lambda: gated.worker._in_flight.count == 2, "both wait for the batch to fill")
    assert batches == []
    gated.close_between_polls()
    eventually(lambda: batches == [["a", "b"]], "they begin")


def test_a_failed_message_of_a_group_goes_back_for_others_with_what_follows_it(
    sqs: InMemorySqs, start: Start
) -> None:
    began, failed = threading.Event(), threading.Event()

    def fail(message: Message) -> None:
        began.set()
        assert failed.wait(30)
        raise RuntimeError("not here")

    sqs.send(ORDERED.url, "first", "second", group="g")
    gated = start(fail, ORDERED, backoff_s=0)
    assert began.wait(30)
    gated.close_between_polls()
    failed.set()
    eventually(lambda: gated.worker.is_drained, "both are back")
    assert sqs.visible(ORDERED.url) == ["first", "second"]


def test_sigterm_while_nothing_is_received_finishes_what_runs_and_ends(
    sqs: InMemorySqs, start: Start, record: Record
) -> None:
    sqs.send(WORK.url, "runs")
    gated = start(record)
    eventually(lambda: record.started == ["runs"], "it runs")
    gated.close_between_polls()
    sqs.send(WORK.url, "stays")
    gated.worker.drain("SIGTERM")
    record.opened.set()
    assert gated.drain() == 0
    assert record.ended == ["runs"]
    assert sqs.visible(WORK.url) == ["stays"]


@pytest.mark.parametrize("closed", [True, False])
def test_the_report_says_whether_messages_are_received(
    start: Start, capsys: pytest.CaptureFixture[str], closed: bool
) -> None:
    start(lambda message: None, closed=closed).drain()
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line)["receiving"] is not closed
