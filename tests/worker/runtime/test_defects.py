"""A defect planted in each part of a worker, and calls that hang: the work goes on, the drain keeps time."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sluice.errors import TransientError
from sluice_worker import json_lines
from sluice_worker.core.counters import (
    Counters,
    ReportInterval,
)
from sluice_worker.core.instance_state import OutOfService
from sluice_worker.message import Message
from sluice_worker.runtime import (
    in_flight,
    lifecycle,
    loops,
)
from sluice_worker.runtime import worker as module
from sluice_worker.runtime.worker import Worker
from tests.support.builders import queue_url
from tests.worker.fakes import Call, InMemorySqs
from tests.worker.runtime import parts
from tests.worker.runtime.parts import ORDERED, WORK
from tests.worker.waiting import eventually

DEAD = queue_url("dead")


@pytest.fixture(autouse=True)
def _soon(soon: pytest.MonkeyPatch) -> None:
    soon.setattr(module, "MAX_LAST_REPORT_S", 0.1)
    soon.setattr(in_flight, "HEARTBEATS_PER_VISIBILITY", 1000)
    soon.setattr(loops, "AFTER_DEFECT_S", 0.01)


class Sink:
    """A sink that records which threads put metrics."""

    def __init__(self) -> None:
        self.minutes: list[ReportInterval] = []
        self.threads: set[threading.Thread] = set()

    def put(self, minute: ReportInterval) -> None:
        self.threads.add(threading.current_thread())
        self.minutes.append(minute)


class Running:
    """A worker whose `run` has a separate thread in place of its process's main thread."""

    def __init__(self, sqs: InMemorySqs, handler: Callable[[Message], object], settings: Any) -> None:
        self.sink = Sink()
        self.worker = Worker(settings, handler, sqs, self.sink)
        self.statuses: list[int] = []
        self.thread = threading.Thread(target=lambda: self.statuses.append(self.worker.run()))

    def drained(self) -> int:
        self.worker.drain("the test is over")
        self.thread.join(30)
        assert not self.thread.is_alive(), "the worker did not end"
        return self.statuses[0]


Start = Callable[..., Running]


@pytest.fixture
def start(sqs: InMemorySqs, capsys: pytest.CaptureFixture[str]) -> Iterator[Start]:
    built: list[Running] = []

    def begin(handler: Callable[[Message], object], *queues: Any, **more: Any) -> Running:
        built.append(Running(sqs, handler, parts.settings(*queues, **more)))
        return built[-1]

    yield begin
    sqs.healed()
    for one in built:
        if one.thread.ident is not None:
            one.drained()


class HangingCalls:
    """Calls that hang until the test is over; `ended` is set when one returns before."""

    def __init__(self) -> None:
        self.started, self.ended = threading.Event(), threading.Event()
        self._go = threading.Event()

    def __call__(self, *_: object) -> None:
        self.started.set()
        self._go.wait(20)
        self.ended.set()

    def release(self) -> None:
        self._go.set()


@pytest.fixture
def holding() -> Iterator[HangingCalls]:
    one = HangingCalls()
    yield one
    one.release()


def numbered(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def reject(_: Message) -> None:
    raise ValueError("no")


# ---- the thread that drains ----------------------------------------------------------------------


def test_the_draining_thread_makes_no_call(sqs: InMemorySqs, start: Start) -> None:
    """A call may take a minute to fail, and SIGTERM leaves less than two."""
    callers: set[threading.Thread] = set()
    hangs = threading.Event()

    def note(_: Call) -> None:
        callers.add(threading.current_thread())

    for operation in ("receive", "delete", "hide", "depth", "send_to_dead_letter_queue"):
        sqs.before[operation] = note

    def handle(message: Message) -> None:
        if message.body == "hangs":
            hangs.wait(20)
        elif message.body == "poison":
            reject(message)

    sqs.send(WORK.url, "hangs", "poison", "good")
    running = start(
        handle, max_processing_s=0.05, max_attempts=1, dead_letter_queue=DEAD, report_s=1, max_concurrency=3
    )
    running.thread.start()
    eventually(lambda: sorted(sqs.bodies(DEAD)) == ["hangs", "poison"], "both are dead letters")
    eventually(lambda: running.sink.minutes, "a report's metrics are put")
    assert running.drained() == 0
    hangs.set()
    assert running.thread not in callers | running.sink.threads
    assert {"receive", "delete", "send_to_dead_letter_queue"} <= {call.operation for call in sqs.calls}


def test_a_hanging_dead_letter_does_not_delay_a_drain(
    sqs: InMemorySqs, start: Start, holding: HangingCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sluice_worker.runtime.dead_letters.SENDERS", 1)
    hangs = threading.Event()
    sqs.before["send_to_dead_letter_queue"] = holding
    sqs.send(WORK.url, *numbered(3))
    running = start(
        lambda _: hangs.wait(20) and None,
        max_processing_s=0.05,
        max_attempts=1,
        dead_letter_queue=DEAD,
        grace_s=0.3,
        min_concurrency=3,
        max_concurrency=6,
    )
    running.thread.start()
    assert holding.started.wait(20)
    eventually(lambda: running.worker._handler_pool.hung == 3, "all three are dead letters")
    assert running.drained() == 0
    hangs.set()
    assert not holding.ended.is_set()
    assert len(sqs.made("send_to_dead_letter_queue")) == 1
    assert sum(len(call.bodies) for call in sqs.made("hide")) == 2, "those not started are released"


def test_hanging_metrics_do_not_delay_a_drain(
    sqs: InMemorySqs, start: Start, holding: HangingCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MIN_LAST_REPORT_S", 0.05)
    sqs.send(WORK.url, "good")
    running = start(lambda _: None, grace_s=0.3)
    monkeypatch.setattr(running.sink, "put", holding)
    running.thread.start()
    eventually(lambda: running.worker.processed == 1, "it is processed")
    assert running.drained() == 0
    assert holding.started.is_set()
    assert not holding.ended.is_set()


def test_unread_reports_do_not_delay_a_drain(
    sqs: InMemorySqs, start: Start, holding: HangingCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MIN_LAST_REPORT_S", 0.05)
    monkeypatch.setattr(json_lines, "write", holding)
    running = start(lambda _: None, grace_s=0.3, report_s=1)
    running.thread.start()
    assert holding.started.wait(20), "a report is written"
    assert running.drained() == 0
    assert not holding.ended.is_set()


# ---- a defect in each part ---------------------------------------------------------------------------------


def planted(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, times: int = 3) -> Counter[str]:
    """The first calls break; the answer counts them."""
    sound, broken = getattr(owner, name), Counter[str]()

    def call(*args: Any, **kwargs: Any) -> Any:
        if broken[name] < times:
            broken[name] += 1
            raise RuntimeError(f"a defect in {name}")
        return sound(*args, **kwargs)

    monkeypatch.setattr(owner, name, call)
    return broken


PARTS = {
    "adjusting": lambda worker: (worker._handler_pool, "adjust"),
    "the heartbeat": lambda worker: (worker._in_flight, "_extend_if_due"),
    "a poller": lambda worker: (worker._dispatcher, "next_poll"),
    "a poller's call": lambda worker: (worker._pollers._sqs, "receive"),
    "what a poll brought": lambda worker: (worker._dispatcher._scheduler, "record_poll"),
    "the depths": lambda worker: (worker._pollers, "_read"),
    "a slot": lambda worker: (worker._dispatcher, "take_batch"),
    "a slot's message": lambda worker: (worker._handler_pool, "_process"),
    "counting": lambda _: (Counters, "record_start"),
    "settling": lambda worker: (worker._in_flight, "succeeded"),
    "a sender": lambda worker: (worker._ack_batcher, "_next_batch"),
    "a sender's call": lambda worker: (worker._ack_batcher, "_call"),
    "what follows a delete": lambda worker: (worker._in_flight, "_unblock_group"),
    "the report": lambda worker: (worker._reporter, "report"),
    "the report's line": lambda worker: (worker._reporter, "line"),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_defect_is_logged_and_work_continues(
    sqs: InMemorySqs,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    part: str,
) -> None:
    monkeypatch.setattr(loops, "_traced", set())
    running = start(lambda _: None, visibility_s=2, report_s=1, max_pollers=2)
    broken = planted(monkeypatch, *PARTS[part](running.worker), times=2)
    sqs.send(WORK.url, *numbered(20))
    running.thread.start()
    eventually(lambda: sqs.bodies(WORK.url) == [], "the queue is worked off all the same")

    def met_twice() -> bool:
        if not sqs.bodies(WORK.url):
            sqs.send(WORK.url, "one more")  # depths are read only while messages flow
        return sum(broken.values()) == 2

    eventually(met_twice, "the defect was met twice")
    eventually(lambda: running.worker._handler_pool.busy == 0, "no slot counts as busy for ever")
    assert running.drained() == 0
    logged = [one for one in caplog.records if "a defect in" in one.getMessage()]
    assert all(one.levelno == logging.ERROR for one in logged)
    assert len([one for one in logged if one.exc_info]) == 1, "its stack trace is logged once"


def test_a_defect_that_two_threads_meet_at_once_is_traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    traced: list[bool] = []

    def meet() -> None:
        with loops.defects_logged("a test"):
            raise RuntimeError("the same defect")

    def log_while_another_meets_it(*_: object, exc_info: BaseException | None) -> None:
        traced.append(exc_info is not None)
        if len(traced) == 1:
            other = threading.Thread(target=meet)
            other.start()
            other.join(30)

    monkeypatch.setattr(loops, "_traced", set())
    monkeypatch.setattr(loops.log, "error", log_while_another_meets_it)
    meet()
    assert traced == [True, False]


@pytest.mark.parametrize("step", ["succeeded", "failed", "advance"])
def test_a_defect_in_settling_a_groups_message_does_not_block_the_group(
    sqs: InMemorySqs, start: Start, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Those behind it were kept hidden for up to twelve hours."""
    failing = {"0"} if step == "failed" else set()

    def handle(message: Message) -> None:
        if message.body in failing:
            failing.clear()
            raise ValueError("no")

    sqs.send(ORDERED.url, *numbered(4), group="g")
    running = start(handle, ORDERED, visibility_s=2, backoff_s=0)
    owner = running.worker._dispatcher if step == "advance" else running.worker._in_flight
    planted(monkeypatch, owner, step, times=1)
    running.thread.start()
    eventually(lambda: sqs.bodies(ORDERED.url) == [], "the whole group is worked off")
    assert running.drained() == 0


def test_a_defect_in_detaching_a_slot_still_releases_its_message_and_the_others(
    sqs: InMemorySqs, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = threading.Event()
    sqs.send(WORK.url, *numbered(2))
    running = start(
        lambda _: hangs.wait(20) and None, max_processing_s=0.05, min_concurrency=2, backoff_s=600
    )
    planted(monkeypatch, running.worker._in_flight, "failed", times=1)
    running.thread.start()
    eventually(lambda: running.worker._handler_pool.hung == 2, "both are written off")
    eventually(lambda: not running.worker.busy, "neither is held")
    assert running.drained() == 0
    hangs.set()


@pytest.mark.parametrize(
    "step", ["_stop_beginning", "_await_ends", "_release_the_rest", "_end_report"], ids=str.strip
)
def test_a_defect_in_one_drain_step_does_not_skip_the_others(
    sqs: InMemorySqs, start: Start, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    running = start(lambda _: None, grace_s=0.5)
    planted(monkeypatch, running.worker, step, times=1)
    sqs.send(WORK.url, *numbered(3))
    running.thread.start()
    eventually(lambda: running.worker.processed == 3, "all are processed")
    assert running.drained() == 0
    assert running.worker._ack_batcher._stopped


def test_metrics_that_meet_a_defect_do_not_keep_back_those_of_later_reports(
    sqs: InMemorySqs, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = start(lambda _: None, report_s=1)
    sound = running.sink.put
    first: list[ReportInterval] = []

    def break_for_one_minute(minute: ReportInterval) -> None:
        first.append(minute)
        if minute is first[0]:
            raise RuntimeError("a defect")
        sound(minute)

    monkeypatch.setattr(running.sink, "put", break_for_one_minute)
    sqs.send(WORK.url, "early")
    running.thread.start()
    eventually(lambda: first, "the first report's metrics met the defect")
    sqs.send(WORK.url, "late")
    eventually(lambda: running.sink.minutes, "those of a later one are put")
    assert running.drained() == 0


def test_a_report_that_nobody_reads_is_not_a_defect(
    sqs: InMemorySqs, start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def closed(*_: object) -> None:
        raise TransientError("writing to stdout: closed")

    monkeypatch.setattr(json_lines, "write", closed)
    running = start(lambda _: None)
    running.thread.start()
    assert running.drained() == 0
    assert "a defect in" not in caplog.text
    assert "the report is lost" in caplog.text


class DefectiveLifecycle:
    """Protection and notices whose first calls meet a defect."""

    expires_after_s = float("inf")

    def __init__(self, times: int) -> None:
        self.left_defects = times
        self.made: list[str] = []

    def _call(self, name: str) -> None:
        if self.left_defects:
            self.left_defects -= 1
            raise RuntimeError(f"a defect in {name}")
        self.made.append(name)

    def protect(self) -> None:
        self._call("protect")

    def release(self) -> None:
        self._call("release")

    def out_of_service(self) -> OutOfService | None:
        self._call("out_of_service")
        return OutOfService(reason="Spot", for_good=True) if len(self.made) == 1 else None

    def complete_launch_hook(self) -> None: ...

    def extend_hook(self) -> None: ...

    def complete_hook(self) -> None:
        self._call("left")


def test_periodic_tasks_continue_after_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "CHECK_INTERVAL_S", 0.01)
    monkeypatch.setattr(lifecycle, "WATCH_INTERVAL_S", 0.01)
    protection, notices, reasons = DefectiveLifecycle(2), DefectiveLifecycle(2), list[str]()
    protector = lifecycle.ScaleInProtector(protection, lambda: True, idle_s=10)
    watcher = lifecycle.LifecycleWatcher(notices, reasons.append)
    for each in (protector, watcher):
        each.start()
    eventually(lambda: protection.made == ["protect"] and reasons == ["Spot"], "both do their work")
    for each in (protector, watcher):
        each.stop()


def test_a_lifecycle_task_whose_last_call_meets_a_defect_delays_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loops, "AFTER_DEFECT_S", 60)
    protection = DefectiveLifecycle(0)
    protector = lifecycle.ScaleInProtector(protection, lambda: True, idle_s=10)
    protector.start()
    eventually(lambda: protection.made, "it is protected")
    protection.left_defects = 1
    protector.stop()
    assert protector._thread is not None
    assert not protector._thread.is_alive()
