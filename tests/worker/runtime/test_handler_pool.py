"""Slots: their number follows the load, and each survives its handler's failures."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sluice_worker.core.counters import (
    Counters,
    ReportInterval,
)
from sluice_worker.core.model import MAX_VISIBILITY_S, VISIBILITY_MARGIN_S, Outcome
from sluice_worker.core.pool_size import Range
from sluice_worker.core.retry_policy import (
    FailurePolicy,
    Reject,
)
from sluice_worker.message import Message
from sluice_worker.runtime import handler_pool as module
from sluice_worker.runtime.ack_batcher import AckBatcher
from sluice_worker.runtime.batches import one_at_a_time
from sluice_worker.runtime.dispatcher import Dispatcher
from sluice_worker.runtime.handler_pool import HandlerPool
from sluice_worker.runtime.handler_runner import Handler
from sluice_worker.runtime.in_flight import InFlightMessages
from tests.support.builders import queue_url
from tests.worker.fakes import InMemorySqs
from tests.worker.runtime import parts
from tests.worker.runtime.parts import WORK, filled, received
from tests.worker.waiting import eventually

DEAD = queue_url("dead")


class Pool:
    """A handler pool between a queue and the acknowledgements to SQS."""

    def __init__(self, handler: Handler, *, minimum: int, maximum: int, max_processing_s: float) -> None:
        self.sqs = InMemorySqs()
        for name in ("work", "dead"):
            self.sqs.create(name)
        self.ack_batcher = AckBatcher(self.sqs, linger_s=0.0, senders=2)
        self.dispatcher: Dispatcher = parts.make_dispatcher([WORK])
        self.in_flight: InFlightMessages = parts.make_in_flight(
            self.sqs,
            self.ack_batcher,
            self.dispatcher,
            policy=FailurePolicy(dead_letters=True),
            dead_letter_queue=DEAD,
        )
        self.counters = Counters(began_at=time.time())
        self.exhausted = 0
        self.handler_pool = HandlerPool(
            one_at_a_time(handler),
            self.in_flight,
            self.counters,
            slots=Range(min=minimum, max=maximum),
            prefetch_s=1.0,
            max_processing_s=max_processing_s,
            on_exhausted=self._exhaust,
        )
        self.ack_batcher.start()
        self.handler_pool.start(self.dispatcher)

    def _exhaust(self) -> None:
        self.exhausted += 1

    def deliver(self, *bodies: str) -> list[Message]:
        self.sqs.send(WORK.url, *bodies)
        messages = received(self.sqs, WORK, len(bodies))
        filled(self.dispatcher, self.in_flight, messages)
        return messages

    def settled(self) -> None:
        eventually(lambda: self.in_flight.count == 0, "every message has ended")

    def outcomes(self) -> dict[Outcome, int]:
        minute = self.counters.close(time.time())
        return {outcome: sum(counts.values()) for outcome, counts in minute.durations_s.items()}

    def end(self) -> None:
        self.handler_pool.stop()
        self.dispatcher.close()
        self.ack_batcher.stop()


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Pool]]:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.02)
    pools: list[Pool] = []

    def build(
        handler: Handler, *, minimum: int = 1, maximum: int = 4, max_processing_s: float = 3600
    ) -> Pool:
        pools.append(Pool(handler, minimum=minimum, maximum=maximum, max_processing_s=max_processing_s))
        return pools[-1]

    yield build
    for one in pools:
        one.end()


class Gate:
    """A handler that does not return until it is opened."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.opened = threading.Event()

    def __call__(self, message: Message) -> None:
        self.inside.append(message.body)
        assert self.opened.wait(20)


@pytest.fixture
def gate() -> Iterator[Gate]:
    one = Gate()
    yield one
    one.opened.set()


# ---- how a handler ends ------------------------------------------------------------------------------------


def test_a_message_whose_handler_returns_is_deleted_and_counted(pool: Callable[..., Pool]) -> None:
    built = pool(lambda _: None)
    built.deliver("a", "b", "c")
    built.settled()
    assert built.sqs.bodies(WORK.url) == []
    assert built.outcomes() == {Outcome.SUCCESS: 3}
    assert (built.counters.processed, built.handler_pool.busy) == (3, 0)


class UnprintableError(Exception):
    """An exception whose `__str__` raises."""

    def __str__(self) -> str:
        raise ValueError("a defect in the defect")


class EndingError(Exception):
    """An exception whose `__str__` ends the program."""

    def __str__(self) -> str:
        raise SystemExit(1)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        SystemExit(1),
        KeyboardInterrupt(),
        asyncio.CancelledError(),
        UnprintableError(),
        EndingError(),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("kind", ["function", "coroutine"])
def test_any_exception_of_a_handler_releases_its_message_and_keeps_the_slot(
    pool: Callable[..., Pool], error: BaseException, kind: str
) -> None:
    def handle(message: Message) -> None:
        if message.body == "bad":
            raise error

    async def awaited(message: Message) -> None:
        handle(message)

    built = pool(handle if kind == "function" else awaited, maximum=1)
    built.deliver("bad", "good")
    built.settled()
    assert built.sqs.bodies(WORK.url) == ["bad"]
    assert built.outcomes() == {Outcome.SUCCESS: 1, Outcome.FAILURE: 1}
    assert built.sqs.made("hide")[0].seconds[0] > 0


def test_a_rejected_message_is_dead_lettered_with_the_handlers_reason(pool: Callable[..., Pool]) -> None:
    def reject(_: Message) -> None:
        raise Reject("an empty body")

    built = pool(reject)
    built.deliver("poison")
    built.settled()
    assert built.sqs.bodies(WORK.url) == []
    assert [dead.attributes["SluiceWorkerFailure"] for dead in built.sqs.all(DEAD)] == [
        "Reject: an empty body"
    ]


def test_a_message_that_expired_in_the_buffer_is_not_begun(pool: Callable[..., Pool]) -> None:
    started: list[str] = []
    built = pool(lambda message: started.append(message.body))
    built.sqs.send(WORK.url, "gone", "ours")
    messages = received(built.sqs)
    messages[0].visible_at = time.monotonic() - 1
    filled(built.dispatcher, built.in_flight, messages)
    built.settled()
    assert started == ["ours"]
    assert built.in_flight.expired == 1


def test_a_defect_in_settling_ends_no_slot_and_keeps_no_message(
    pool: Callable[..., Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    built = pool(lambda _: None, maximum=1)
    succeeded = built.in_flight.succeeded

    def break_once(message: Message) -> None:
        if message.body == "unlucky":
            raise RuntimeError("a defect")
        succeeded(message)

    monkeypatch.setattr(built.in_flight, "succeeded", break_once)
    built.deliver("unlucky", "lucky")
    built.settled()
    assert built.sqs.bodies(WORK.url) == ["unlucky"]


# ---- deadlines ---------------------------------------------------------------------------------------------


def test_a_deadline_lies_no_later_than_sqs_can_hide_the_message(
    pool: Callable[..., Pool], gate: Gate
) -> None:
    built = pool(gate, max_processing_s=MAX_VISIBILITY_S)
    built.sqs.send(WORK.url, "old")
    (old,) = received(built.sqs)
    old.received_at -= 100
    filled(built.dispatcher, built.in_flight, [old])
    eventually(lambda: gate.inside, "the handler begins")
    assert old.deadline_at == pytest.approx(old.received_at + MAX_VISIBILITY_S - VISIBILITY_MARGIN_S)


def test_a_handler_past_its_deadline_loses_its_message_and_its_slot(
    pool: Callable[..., Pool], gate: Gate
) -> None:
    built = pool(gate, max_processing_s=0.01)
    (late,) = built.deliver("late")
    eventually(lambda: gate.inside and late.remaining_s < 0, "the handler is late")
    built.handler_pool.adjust()
    built.settled()
    assert built.sqs.bodies(WORK.url) == ["late"]
    assert built.outcomes() == {Outcome.TIMEOUT: 1}
    assert (built.handler_pool.hung, built.handler_pool.busy, built.handler_pool.slots) == (1, 0, 1)
    assert built.handler_pool.busy == 0


def test_the_slot_that_replaces_it_works(pool: Callable[..., Pool], gate: Gate) -> None:
    def handle(message: Message) -> None:
        if message.body == "hangs":
            gate(message)

    built = pool(handle, maximum=2, max_processing_s=0.01)
    (hanging,) = built.deliver("hangs")
    eventually(lambda: gate.inside and hanging.remaining_s < 0, "the handler is late")
    built.handler_pool.adjust()
    built.deliver("next")
    eventually(lambda: built.counters.processed == 1, "the next message is worked on")


def test_a_late_success_deletes_its_message_and_frees_the_thread(
    pool: Callable[..., Pool], gate: Gate
) -> None:
    built = pool(gate, max_processing_s=0.01)
    (late,) = built.deliver("late")
    eventually(lambda: gate.inside and late.remaining_s < 0, "the handler is late")
    built.handler_pool.adjust()
    built.settled()
    gate.opened.set()
    eventually(lambda: built.sqs.bodies(WORK.url) == [], "the message is deleted")
    eventually(lambda: built.handler_pool.hung == 0, "the thread ends")
    assert built.outcomes() == {Outcome.TIMEOUT: 1}


def test_a_late_failure_changes_nothing(pool: Callable[..., Pool], gate: Gate) -> None:
    def handle(message: Message) -> None:
        gate(message)
        raise Reject("too late to matter")

    built = pool(handle, max_processing_s=0.01)
    (late,) = built.deliver("late")
    eventually(lambda: gate.inside and late.remaining_s < 0, "the handler is late")
    built.handler_pool.adjust()
    built.settled()
    calls = len(built.sqs.calls)
    gate.opened.set()
    eventually(lambda: built.handler_pool.hung == 0, "the thread ends")
    assert len(built.sqs.calls) == calls
    assert built.sqs.bodies(WORK.url) == ["late"]


def test_a_slot_whose_handler_moves_its_deadline_is_not_detached(
    pool: Callable[..., Pool], gate: Gate
) -> None:
    def handle(message: Message) -> None:
        message.extend(3600)
        gate(message)

    built = pool(handle, max_processing_s=0.01)
    built.deliver("long")
    eventually(lambda: gate.inside, "the handler begins")
    built.handler_pool.adjust()
    assert built.handler_pool.hung == 0
    gate.opened.set()
    built.settled()
    assert built.outcomes() == {Outcome.SUCCESS: 1}


def test_a_coroutine_cancelled_at_its_deadline_counts_as_a_timeout(pool: Callable[..., Pool]) -> None:
    async def hang(_: Message) -> None:
        await asyncio.Event().wait()

    built = pool(hang, max_processing_s=0.01)
    built.deliver("hangs")
    built.settled()
    assert built.outcomes() == {Outcome.TIMEOUT: 1}
    assert built.handler_pool.hung == 0


def test_a_slot_whose_coroutine_ignores_cancellation_is_detached(
    pool: Callable[..., Pool], gate: Gate
) -> None:
    async def stubborn(message: Message) -> None:
        gate.inside.append(message.body)
        while not gate.opened.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue

    built = pool(stubborn, max_processing_s=0.01)
    (late,) = built.deliver("stubborn")
    eventually(lambda: gate.inside and late.remaining_s < 0, "the handler is late")
    built.handler_pool.adjust()
    built.settled()
    assert built.handler_pool.hung == 1
    gate.opened.set()
    eventually(lambda: built.handler_pool.hung == 0, "its thread ends")


def test_a_coroutine_that_blocks_its_loop_costs_only_slots(pool: Callable[..., Pool], gate: Gate) -> None:
    async def block(message: Message) -> None:
        gate(message)

    built = pool(block, minimum=2, maximum=8, max_processing_s=0.01)
    messages = built.deliver("blocks", "waits for the loop")
    eventually(lambda: gate.inside and all(one.remaining_s < 0 for one in messages), "both are late")
    built.handler_pool.adjust()
    built.settled()
    assert built.handler_pool.hung == 2
    assert sorted(built.sqs.bodies(WORK.url)) == ["blocks", "waits for the loop"]
    gate.opened.set()
    eventually(lambda: built.handler_pool.hung == 0, "the loop is free again")
    assert built.exhausted == 0


def test_as_many_hanging_handlers_as_slots_end_the_worker(pool: Callable[..., Pool], gate: Gate) -> None:
    built = pool(gate, minimum=2, maximum=2, max_processing_s=0.01)
    messages = built.deliver("a")
    eventually(lambda: len(gate.inside) == 1 and messages[0].remaining_s < 0, "the first is late")
    built.handler_pool.adjust()
    assert built.exhausted == 0
    messages = built.deliver("b")
    eventually(lambda: len(gate.inside) == 2 and messages[0].remaining_s < 0, "the second is late")
    built.handler_pool.adjust()
    assert built.exhausted == 1


# ---- how many ----------------------------------------------------------------------------------------------


def test_slots_grow_one_at_a_time_while_they_are_busy_and_shrink_when_they_are_not(
    pool: Callable[..., Pool], gate: Gate
) -> None:
    built = pool(gate, maximum=3)
    built.deliver("a", "b", "c", "d")
    for slots in (1, 2, 3):
        eventually(lambda slots=slots: len(gate.inside) == slots, f"{slots} handlers run")
        assert built.handler_pool.slots == slots
        built.handler_pool.adjust()
    assert built.handler_pool.slots == 3
    gate.opened.set()
    built.settled()

    def shrunk() -> bool:
        built.handler_pool.adjust()
        return built.handler_pool.slots == 1

    eventually(shrunk, "one slot is left")


def test_the_prefetch_limit_counts_idle_slots_until_a_message_ended(
    pool: Callable[..., Pool], gate: Gate
) -> None:
    built = pool(gate, minimum=3)
    assert built.handler_pool.prefetch_limit() == 3
    built.deliver("a")
    eventually(lambda: built.handler_pool.busy == 1, "one handler runs")
    assert built.handler_pool.prefetch_limit() == 2


# ---- the end -----------------------------------------------------------------------------------------------


def test_nothing_is_begun_after_the_stop(pool: Callable[..., Pool], gate: Gate) -> None:
    built = pool(gate, minimum=1, maximum=1)
    built.deliver("runs", "waits")
    eventually(lambda: gate.inside == ["runs"], "the first runs")
    built.handler_pool.stop()
    gate.opened.set()
    eventually(lambda: built.handler_pool.slots == 0, "the slot ends")
    assert gate.inside == ["runs"]
    assert [message.body for message in built.dispatcher.close()] == ["waits"]


def test_abandoned_messages_are_settled_by_the_caller(pool: Callable[..., Pool], gate: Gate) -> None:
    built = pool(gate, minimum=2)
    built.deliver("a", "b")
    eventually(lambda: len(gate.inside) == 2, "both run")
    built.handler_pool.stop()
    assert sorted(message.body for message in built.handler_pool.abandon()) == ["a", "b"]
    assert built.handler_pool.abandon() == []
    assert (built.handler_pool.busy, built.handler_pool.slots) == (0, 0)
    assert built.sqs.made("delete") == []


def many(handler: Callable[[Message], Any], pool: Callable[..., Pool]) -> Pool:
    built = pool(handler, minimum=4, maximum=4)
    for batch in range(20):
        built.deliver(*(f"{batch}-{number}" for number in range(10)))
    built.settled()
    return built


def test_many_slots_begin_each_message_once(pool: Callable[..., Pool]) -> None:
    started: list[str] = []
    built = many(lambda message: started.append(message.body), pool)
    assert len(started) == len(set(started)) == 200
    assert built.sqs.bodies(WORK.url) == []


def test_a_closed_interval_is_complete_and_does_not_change(pool: Callable[..., Pool]) -> None:
    """It is read while slots count on: none may still be counting into it."""
    closed: list[ReportInterval] = []
    closing: list[threading.Thread] = []

    class Interrupted(Counters):
        def record_end(self, outcome: Outcome, took_s: float) -> None:
            close = threading.Thread(
                target=lambda: closed.append(built.handler_pool.close_interval(time.time())), daemon=True
            )
            closing.append(close)
            close.start()
            close.join(0.1)
            assert not closed
            super().record_end(outcome, took_s)

    built = pool(lambda _: None)
    built.handler_pool._counters = Interrupted(began_at=time.time())
    built.deliver("one")
    built.settled()
    closing[0].join(10)
    assert [minute.processed for minute in closed] == [1]
