"""A handler of batches: what it may answer, and that nothing it answers is taken for success by mistake."""

from __future__ import annotations

import asyncio
import copy
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from sluice_worker import (
    Failed,
    Message,
    Reject,
)
from sluice_worker.core.batch import BatchRule
from sluice_worker.core.counters import Counters
from sluice_worker.core.model import Outcome, Queue
from sluice_worker.core.pool_size import Range
from sluice_worker.runtime import handler_pool
from sluice_worker.runtime.ack_batcher import AckBatcher
from sluice_worker.runtime.batches import BatchCaller
from sluice_worker.runtime.handler_pool import HandlerPool
from sluice_worker.runtime.handler_runner import DeadlineError
from sluice_worker.runtime.in_flight import InFlightMessages
from tests.support.builders import queue_url
from tests.worker.fakes import InMemorySqs
from tests.worker.runtime import parts
from tests.worker.runtime.parts import ORDERED, WORK
from tests.worker.runtime.test_worker import Running
from tests.worker.waiting import eventually

DEAD, ORDERED_DEAD = queue_url("dead"), queue_url("dead.fifo")


def batch(count: int = 3, *, due_in_s: float = 20) -> list[Message]:
    deadline_at = time.monotonic() + due_in_s
    return [
        parts.message(body=str(number), receipt_handle=f"receipt-{number}", deadline_at=deadline_at)
        for number in range(count)
    ]


def words(results: list[BaseException | None]) -> list[str | None]:
    return [None if raised is None else str(raised) for raised in results]


# ---- what it may answer ------------------------------------------------------------------------------------


def test_returning_none_is_success_for_every_message() -> None:
    for answer in (None, [], (), iter([])):
        assert BatchCaller(lambda _, answer=answer: answer).call(batch()) == [None] * 3


@pytest.mark.parametrize("kind", [list, tuple, iter, set])
def test_the_returned_messages_have_failed_and_the_others_succeeded(kind: Callable[[Any], Any]) -> None:
    error = ValueError("no number")
    results = BatchCaller(
        lambda messages: kind([Failed(messages[2], error), Failed(messages[0], "empty")])
    ).call(batch())
    assert words(results) == ["empty", None, "no number"]
    assert results[2] is error


def test_a_rejection_applies_to_one_message() -> None:
    results = BatchCaller(lambda messages: [Failed(messages[1], Reject("never"))]).call(batch())
    assert [isinstance(raised, Reject) for raised in results] == [False, True, False]


def test_a_handler_may_yield_the_failed_messages() -> None:
    def handle(messages: list[Message]) -> Iterator[Failed]:
        for message in messages:
            if message.body == "1":
                yield Failed(message, "odd")

    assert words(BatchCaller(handle).call(batch())) == [None, "odd", None]


def test_a_coroutine_returns_results_like_a_function() -> None:
    async def handle(messages: list[Message]) -> list[Failed]:
        await asyncio.sleep(0)
        return [Failed(messages[0], "first")]

    assert words(BatchCaller(handle).call(batch())) == ["first", None, None]


def test_a_copy_of_a_message_is_the_same_message() -> None:
    results = BatchCaller(lambda messages: [Failed(copy.copy(messages[1]), "copied")]).call(batch())
    assert words(results) == [None, "copied", None]


def test_what_the_handler_does_to_its_list_changes_nothing() -> None:
    assert BatchCaller(lambda messages: messages.clear()).call(batch()) == [None] * 3


# ---- what fails all ----------------------------------------------------------------------------------------


def breaking_off(messages: list[Message]) -> Iterator[Failed]:
    yield Failed(messages[0])
    raise ValueError("broke off")


async def never_run(messages: list[Message]) -> Any:
    yield Failed(messages[0])


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (lambda _: 1 / 0, "division by zero"),
        (lambda _: True, "returned True; return None, or an iterable of Failed"),
        (lambda _: 3, "returned 3;"),
        (lambda _: "0", "returned '0';"),
        (lambda _: {"batchItemFailures": []}, "returned {'batchItemFailures': []};"),
        (lambda messages: messages, "the batch handler's answer holds Message("),
        (lambda _: ["id-1"], "holds 'id-1'; return None"),
        (lambda _: [None], "holds None; return None"),
        (lambda _: [Failed("id-1")], "holds Failed("),  # type: ignore[arg-type]
        (lambda _: [Failed(parts.message())], "which it was not called with; return None"),
        (breaking_off, "broke off"),
        (never_run, "whose code has not run"),
    ],
)
def test_an_exception_or_an_answer_that_cannot_be_read_fails_all(handler: Any, expected: str) -> None:
    results = BatchCaller(handler).call(batch())
    assert all(raised is not None and expected in str(raised) for raised in results), words(results)


def test_a_rejection_raised_for_the_whole_batch_rejects_none_of_it() -> None:
    def reject(_: list[Message]) -> None:
        raise Reject("one of them is poison")

    results = BatchCaller(reject).call(batch())
    assert all("rejects none of its messages: one of them is poison" in str(raised) for raised in results)
    assert not any(isinstance(raised, Reject) for raised in results)


def test_a_coroutine_past_the_deadline_is_cancelled_and_fails_all() -> None:
    async def hang(_: list[Message]) -> None:
        await asyncio.sleep(60)

    results = BatchCaller(hang).call(batch(due_in_s=0.02))
    assert all(isinstance(raised, DeadlineError) for raised in results)


# ---- in a worker -------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _soon(soon: pytest.MonkeyPatch) -> None:
    soon.setattr(handler_pool, "TIMEOUT_S", 0.1)


@pytest.fixture
def run(sqs: InMemorySqs) -> Iterator[Callable[..., Running]]:
    workers: list[Running] = []

    def start(handler: Any, *queues: Queue, **more: Any) -> Running:
        more = {"batch": 10, "batch_wait_s": 0.05, **more}
        workers.append(Running(sqs, handler, queues or (WORK,), more))
        workers[-1].start()
        return workers[-1]

    yield start
    for one in workers:
        if one.thread.is_alive():
            one.drain("the test is over")


class Rows:
    """A batch handler that records its batches, and fails the given messages."""

    def __init__(self, *failing: str, reason: str | BaseException = "failed") -> None:
        self.batches: list[list[str]] = []
        self.failing, self.reason = set(failing), reason

    def __call__(self, messages: list[Message]) -> list[Failed]:
        self.batches.append([message.body for message in messages])
        return [Failed(message, self.reason) for message in messages if message.body in self.failing]

    @property
    def processed(self) -> Counter[str]:
        return Counter(body for messages in self.batches for body in messages)


def bodies(count: int) -> list[str]:
    return [f"{number:03}" for number in range(count)]


def test_messages_come_in_batches_and_each_is_deleted(
    sqs: InMemorySqs, run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if polls bring fewer than they request: a batch fills without its wait."""
    sqs.send(WORK.url, *bodies(100))
    receive = sqs.receive
    monkeypatch.setattr(
        sqs,
        "receive",
        lambda poll, *rest: receive(replace(poll, max_messages=min(poll.max_messages, 8)), *rest),
    )
    rows = Rows()
    run(rows, batch=25, batch_wait_s=5.0, max_concurrency=1)
    eventually(lambda: not sqs.all(WORK.url), "all are deleted")
    assert rows.processed == dict.fromkeys(bodies(100), 1)
    assert [len(messages) for messages in rows.batches] == [25] * 4


def test_a_partial_batch_starts_after_the_wait(sqs: InMemorySqs, run: Callable[..., Running]) -> None:
    sqs.send(WORK.url, *bodies(3))
    rows = Rows()
    run(rows, batch_wait_s=0.3)
    eventually(lambda: not sqs.all(WORK.url), "all are deleted")
    assert rows.batches == [bodies(3)]


@pytest.mark.parametrize(
    ("queues", "body_bytes", "more"),
    [(4, 10, {}), (1, 20_000, {"buffer_mib": 1})],
    ids=["queues share the room", "the buffer is full of bytes"],
)
def test_a_batch_that_cannot_fill_starts_without_waiting(
    sqs: InMemorySqs,
    run: Callable[..., Running],
    queues: int,
    body_bytes: int,
    more: dict[str, Any],
) -> None:
    """While the buffer has no capacity nothing more is received, so a partial batch would wait in vain."""
    names = [f"work-{number}" for number in range(queues)]
    for name in names:
        sqs.send(sqs.create(name), *["x" * body_bytes] * (400 // queues))
    rows = Rows()
    run(
        rows,
        *(Queue(url=queue_url(name)) for name in names),
        batch=100,
        batch_wait_s=60,
        max_concurrency=1,
        **more,
    )
    # Once the queues hold no more, the last ones may wait for others: no more than the buffer's 200.
    eventually(lambda: sum(map(len, rows.batches)) >= 400 - 200, "all but the last have started")


def test_a_failed_message_is_redelivered_alone_and_finally_dead_lettered(
    sqs: InMemorySqs, run: Callable[..., Running]
) -> None:
    sqs.send(WORK.url, *bodies(10))
    rows = Rows("003", reason="no such column")
    run(rows, backoff_s=0, max_attempts=3, dead_letter_queue=DEAD)
    eventually(lambda: not sqs.all(WORK.url), "all have ended")
    assert sqs.bodies(DEAD) == ["003"]
    assert "no such column" in str(sqs.all(DEAD)[0].attributes["SluiceWorkerFailure"])
    assert rows.processed == {**dict.fromkeys(bodies(10), 1), "003": 3}


def test_a_rejected_message_alone_goes_to_the_dead_letters_at_once(
    sqs: InMemorySqs, run: Callable[..., Running]
) -> None:
    sqs.send(WORK.url, *bodies(10))
    rows = Rows("000", reason=Reject("an empty body"))
    run(rows, dead_letter_queue=DEAD)
    eventually(lambda: not sqs.all(WORK.url), "all have ended")
    assert sqs.bodies(DEAD) == ["000"]
    assert rows.processed == dict.fromkeys(bodies(10), 1)


def test_a_batch_that_fails_as_a_whole_costs_each_of_its_messages_an_attempt(
    sqs: InMemorySqs, run: Callable[..., Running]
) -> None:
    sqs.send(WORK.url, *bodies(4))
    rows = Rows()

    def handle(messages: list[Message]) -> Any:
        rows(messages)
        return True if len(rows.batches) == 1 else None

    run(handle, backoff_s=0)
    eventually(lambda: not sqs.all(WORK.url), "all are deleted")
    assert rows.processed == dict.fromkeys(bodies(4), 2)


# ---- order -------------------------------------------------------------------------------------------------


def test_a_batch_of_a_fifo_queue_holds_its_groups_in_order(
    sqs: InMemorySqs, run: Callable[..., Running]
) -> None:
    for number in range(12):
        sqs.send(ORDERED.url, f"{number:03}", group="ab"[number % 2])
    rows = Rows()
    run(rows, ORDERED, batch=6)
    eventually(lambda: not sqs.all(ORDERED.url), "all are deleted")
    for group in range(2):
        assert [body for messages in rows.batches for body in messages if int(body) % 2 == group] == bodies(
            12
        )[group::2]
    assert max(map(len, rows.batches)) > 1


def test_after_a_failure_its_group_counts_as_not_done_and_other_groups_continue(
    sqs: InMemorySqs, run: Callable[..., Running]
) -> None:
    for number in range(6):
        sqs.send(ORDERED.url, f"a{number}", group="a")
        sqs.send(ORDERED.url, f"b{number}", group="b")
    failed: list[str] = []
    order: list[str] = []

    def handle(messages: list[Message]) -> Iterator[Failed]:
        for message in messages:
            if message.body == "a2" and not failed:
                failed.append(message.body)
                yield Failed(message, "once")
            else:
                order.append(message.body)

    run(handle, ORDERED, batch=20, batch_wait_s=0.2, backoff_s=0.1)
    eventually(lambda: not sqs.all(ORDERED.url), "all are deleted")
    in_a = [body for body in order if body.startswith("a")]
    assert in_a[:2] == ["a0", "a1"]
    assert [body for body in order if body.startswith("b")] == [f"b{number}" for number in range(6)]
    # Whatever ran ahead in the broken batch runs once more, in order, after the failed one.
    assert in_a[-4:] == ["a2", "a3", "a4", "a5"]


def test_no_group_permanently_passes_a_failed_message(sqs: InMemorySqs, run: Callable[..., Running]) -> None:
    """Every third message fails the first time: the last runs of each group's messages are in their order."""
    for number in range(60):
        sqs.send(ORDERED.url, f"{number:03}", group=str(number % 3))
    last: dict[str, int] = {}
    calls: Counter[str] = Counter()
    clock = iter(range(1_000_000))

    def handle(messages: list[Message]) -> Iterator[Failed]:
        for message in messages:
            calls[message.body] += 1
            last[message.body] = next(clock)
            if int(message.body) % 9 == 0 and calls[message.body] == 1:
                yield Failed(message, "the first time")

    run(handle, ORDERED, batch=7, batch_wait_s=0.02, backoff_s=0.02, max_concurrency=3)
    eventually(lambda: not sqs.all(ORDERED.url), "all are deleted")
    for group in range(3):
        own_group = [body for body in bodies(60) if int(body) % 3 == group]
        assert sorted(own_group, key=last.__getitem__) == own_group


def test_a_rejected_message_of_a_group_is_dead_lettered_and_those_behind_it_come_again_in_order(
    sqs: InMemorySqs, run: Callable[..., Running]
) -> None:
    sqs.send(ORDERED.url, *bodies(5), group="a")
    rows = Rows("001", reason=Reject("never"))
    run(rows, ORDERED, batch=5, dead_letter_queue=ORDERED_DEAD)
    eventually(lambda: not sqs.all(ORDERED.url), "all have ended")
    assert sqs.bodies(ORDERED_DEAD) == ["001"]
    assert [body for messages in rows.batches for body in messages] == [*bodies(5), *bodies(5)[2:]]


def test_a_defect_in_settling_one_message_does_not_affect_the_rest_of_its_batch(
    sqs: InMemorySqs, run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message itself comes back once its visibility runs out; its group does not wait for it here."""
    sqs.send(ORDERED.url, *bodies(3), group="a")
    succeeded = InFlightMessages.succeeded
    met = threading.Event()

    def break_once(held: InFlightMessages, message: Message) -> None:
        if message.body == "001" and not met.is_set():
            met.set()
            raise RuntimeError("a defect")
        succeeded(held, message)

    monkeypatch.setattr(InFlightMessages, "succeeded", break_once)
    run(Rows(), ORDERED, batch=3, visibility_s=2)
    assert met.wait(20)
    eventually(lambda: not sqs.all(ORDERED.url), "all have ended")


def test_no_message_of_a_group_starts_behind_an_expired_one_of_its_batch(
    sqs: InMemorySqs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler_pool, "TIMEOUT_S", 0.02)
    sqs.send(ORDERED.url, *bodies(3), group="a")
    sqs.send(ORDERED.url, "other", group="b")
    ack_batcher = AckBatcher(sqs, linger_s=0.0, senders=1)
    dispatcher = parts.make_dispatcher([ORDERED], batches=BatchRule(size=10))
    in_flight = parts.make_in_flight(sqs, ack_batcher, dispatcher)
    rows = Rows()
    one = HandlerPool(
        BatchCaller(rows).call,
        in_flight,
        Counters(began_at=time.time()),
        slots=Range(min=1, max=1),
        prefetch_s=1.0,
        max_processing_s=60,
        on_exhausted=lambda: None,
    )
    messages = parts.received(sqs, ORDERED)
    messages[0].visible_at = time.monotonic() - 1
    parts.filled(dispatcher, in_flight, messages, ORDERED)
    ack_batcher.start()
    one.start(dispatcher)
    eventually(lambda: in_flight.count == 0, "every message has ended")
    one.stop()
    ack_batcher.stop()
    assert rows.batches == [["other"]]
    assert (in_flight.expired, in_flight.released) == (1, 2)


def test_messages_behind_an_unreadable_one_lose_no_attempt(
    sqs: InMemorySqs, run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those behind it were taken together with it, but their handler was never called."""
    sqs.send(ORDERED.url, *bodies(3), group="a")
    receive = sqs.receive

    def garbled_at_first(*args: Any) -> list[Message]:
        came = receive(*args)
        for message in came:
            if message.body == "000" and message.receive_count == 1:
                message.unreadable = "garbled"
        return came

    monkeypatch.setattr(sqs, "receive", garbled_at_first)
    failing = Rows("001", "002")
    run(failing, ORDERED, batch=3, backoff_s=0.1, max_attempts=2, dead_letter_queue=ORDERED_DEAD)
    eventually(lambda: not sqs.all(ORDERED.url), "all have ended")
    assert failing.processed["001"] == 2


# ---- deadlines, visibility, metrics, drain -----------------------------------------------------------------


def test_every_message_of_a_batch_past_its_deadline_returns_to_the_queue(
    sqs: InMemorySqs, run: Callable[..., Running]
) -> None:
    sqs.send(WORK.url, *bodies(3))
    calls: list[int] = []

    def handle(messages: list[Message]) -> None:
        calls.append(len(messages))
        if len(calls) == 1:
            time.sleep(0.4)

    one = run(handle, max_processing_s=0.1, backoff_s=0.5, max_concurrency=2)
    eventually(lambda: not sqs.all(WORK.url), "all are deleted")
    assert calls[0] == 3
    counts = timed_out(one)
    assert counts[Outcome.TIMEOUT] == 3


def timed_out(one: Running) -> Counter[Outcome]:
    minute = one.worker._counters.close(time.time())
    return Counter({outcome: sum(counts.values()) for outcome, counts in minute.durations_s.items()})


def test_a_message_of_a_large_batch_has_a_short_repr() -> None:
    """Each refers to its batch: in full, the repr of every message would contain all the others."""
    messages = batch(200)
    for message in messages:
        message.batch = messages
    assert len(repr(messages[0])) < 2000


def test_extending_one_message_extends_its_batch(sqs: InMemorySqs, run: Callable[..., Running]) -> None:
    sqs.send(WORK.url, *bodies(3))

    def handle(messages: list[Message]) -> None:
        messages[1].extend(60)
        assert all(message.remaining_s > 50 for message in messages)
        time.sleep(0.3)

    one = run(handle, max_processing_s=0.1)
    eventually(lambda: not sqs.all(WORK.url), "all are deleted")
    assert timed_out(one) == {Outcome.SUCCESS: 3}


def test_a_message_counts_its_share_of_the_batch(sqs: InMemorySqs, run: Callable[..., Running]) -> None:
    """So that latency x concurrency / duration is what an instance does within the latency."""
    sqs.send(WORK.url, *bodies(10))
    one = run(lambda _: time.sleep(0.5), batch_wait_s=5.0)
    eventually(lambda: not sqs.all(WORK.url), "all are deleted")
    [(took_s, count)] = one.worker._counters.close(time.time()).durations_s[Outcome.SUCCESS].items()
    assert count == 10
    assert 0.05 <= took_s < 0.5


def test_every_message_of_a_batch_stays_hidden_while_the_worker_is_busy(
    sqs: InMemorySqs, run: Callable[..., Running]
) -> None:
    sqs.send(WORK.url, *bodies(10))
    rows = Rows()

    def handle(messages: list[Message]) -> None:
        rows(messages)
        time.sleep(3)

    one = run(handle, visibility_s=2, batch_wait_s=1.0)
    eventually(lambda: rows.batches, "the batch is at work")
    assert one.worker.busy
    eventually(lambda: not sqs.all(WORK.url), "all are deleted")
    assert rows.processed == dict.fromkeys(bodies(10), 1)


def test_a_drain_releases_a_batch_that_does_not_end(sqs: InMemorySqs, run: Callable[..., Running]) -> None:
    sqs.send(WORK.url, *bodies(5))
    rows = Rows()

    def handle(messages: list[Message]) -> None:
        rows(messages)
        time.sleep(20)

    one = run(handle, grace_s=0.4)
    eventually(lambda: rows.batches, "the batch is at work")
    assert one.drain("the test is over") == 0
    assert sorted(sqs.visible(WORK.url)) == bodies(5)
