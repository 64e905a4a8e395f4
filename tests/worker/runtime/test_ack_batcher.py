"""Deletes and visibility changes are sent in batches, retried if refused, and never lost."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from sluice_worker.core.model import Queue
from sluice_worker.message import Message
from sluice_worker.ports import Refusal
from sluice_worker.runtime import loops
from sluice_worker.runtime.ack_batcher import (
    POLLERS_FIRST_S,
    AckBatcher,
    PendingAck,
)
from tests.support.builders import queue_url
from tests.worker.fakes import DOWN, EXPIRED_HANDLE, THROTTLED, Call, InMemorySqs
from tests.worker.runtime.parts import ORDERED, WORK, message, received
from tests.worker.waiting import eventually

FOR_EVER = float("inf")
NEVER_LINGERING_S = 0.02
LINGERING_S = 3600.0


@pytest.fixture
def sqs() -> InMemorySqs:
    fake = InMemorySqs()
    fake.create("work")
    fake.create("work.fifo")
    return fake


@pytest.fixture
def opened(sqs: InMemorySqs) -> Iterator[Callable[..., AckBatcher]]:
    ack_batchers: list[AckBatcher] = []

    def open_one(*, linger_s: float = NEVER_LINGERING_S, senders: int = 2) -> AckBatcher:
        ack_batchers.append(AckBatcher(sqs, linger_s=linger_s, senders=senders))
        ack_batchers[-1].start()
        return ack_batchers[-1]

    yield open_one
    for ack_batcher in ack_batchers:
        ack_batcher.stop()


class Outcomes:
    """The outcomes of acknowledgements."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, str | None]] = []

    def __call__(self, entry: PendingAck, reason: str | None) -> None:
        self.ends.append((entry.message.body, reason))

    @property
    def done(self) -> list[str]:
        return [body for body, reason in self.ends if reason is None]


def work(sqs: InMemorySqs, count: int, queue: Queue = WORK) -> list[Message]:
    """Messages that were sent and received."""
    sqs.send(queue.url, *map(str, range(count)), group="g" if queue.is_fifo else None)
    return [one for _ in range(-(-count // 10)) for one in received(sqs, queue)]


def deletes(messages: list[Message], outcomes: Outcomes, until: float = FOR_EVER) -> list[PendingAck]:
    return [PendingAck(message, None, until, outcomes) for message in messages]


def add(ack_batcher: AckBatcher, entries: list[PendingAck]) -> None:
    for entry in entries:
        ack_batcher.add(entry)


def soon() -> float:
    return time.monotonic() + 20


# ---- batches -----------------------------------------------------------------------------------------------


def test_ten_deletes_make_one_call(sqs: InMemorySqs, opened: Callable[..., AckBatcher]) -> None:
    ack_batcher, outcomes = opened(linger_s=LINGERING_S), Outcomes()
    add(ack_batcher, deletes(work(sqs, 20), outcomes))
    assert ack_batcher.wait_empty(soon())
    assert [len(call.bodies) for call in sqs.made("delete")] == [10, 10]
    assert sqs.bodies(WORK.url) == []
    assert len(outcomes.done) == 20


def test_fewer_than_ten_acknowledgements_wait_for_others(
    sqs: InMemorySqs, opened: Callable[..., AckBatcher]
) -> None:
    ack_batcher, outcomes = opened(linger_s=LINGERING_S), Outcomes()
    add(ack_batcher, deletes(work(sqs, 13), outcomes))
    eventually(lambda: len(outcomes.done) == 10, "ten are deleted")
    assert not ack_batcher.wait_empty(time.monotonic() + 0.1)
    assert ack_batcher.pending == 3


def test_fewer_than_ten_acknowledgements_are_sent_after_the_linger(
    sqs: InMemorySqs, opened: Callable[..., AckBatcher]
) -> None:
    ack_batcher, outcomes = opened(linger_s=0.2), Outcomes()
    began_at = time.monotonic()
    add(ack_batcher, deletes(work(sqs, 3), outcomes))
    assert ack_batcher.wait_empty(soon())
    (call,) = sqs.made("delete")
    assert len(call.bodies) == 3
    assert call.at - began_at >= 0.2


def test_a_caller_sends_one_batch_that_is_due(sqs: InMemorySqs, opened: Callable[..., AckBatcher]) -> None:
    ack_batcher, outcomes = opened(linger_s=LINGERING_S, senders=0), Outcomes()
    assert not ack_batcher.send_due_batch()
    add(ack_batcher, deletes(work(sqs, 13), outcomes))
    assert ack_batcher.send_due_batch()
    assert len(outcomes.done) == 10
    assert not ack_batcher.send_due_batch()
    assert ack_batcher.pending == 3


def test_a_full_batch_is_left_to_the_pollers_at_first(
    sqs: InMemorySqs, opened: Callable[..., AckBatcher]
) -> None:
    ack_batcher, outcomes = opened(linger_s=LINGERING_S, senders=2), Outcomes()
    began_at = time.monotonic()
    add(ack_batcher, deletes(work(sqs, 20), outcomes))
    assert ack_batcher.send_due_batch()
    eventually(lambda: len(outcomes.done) == 20, "a sender sends what no poller has sent")
    by_the_poller, by_the_sender = sqs.made("delete")
    assert by_the_poller.at - began_at < POLLERS_FIRST_S <= by_the_sender.at - began_at


def test_nothing_lingers_while_draining(sqs: InMemorySqs, opened: Callable[..., AckBatcher]) -> None:
    ack_batcher, outcomes = opened(linger_s=LINGERING_S), Outcomes()
    add(ack_batcher, deletes(work(sqs, 3), outcomes))
    ack_batcher.stop_lingering()
    assert ack_batcher.wait_empty(soon())
    assert sqs.bodies(WORK.url) == []


@pytest.mark.parametrize(("queue", "hide_s"), [(WORK, 0), (ORDERED, None)])
def test_releases_and_deletes_that_others_wait_for_do_not_linger(
    sqs: InMemorySqs, opened: Callable[..., AckBatcher], queue: Queue, hide_s: int | None
) -> None:
    ack_batcher, outcomes = opened(linger_s=LINGERING_S), Outcomes()
    add(ack_batcher, [PendingAck(one, hide_s, FOR_EVER, outcomes) for one in work(sqs, 1, queue)])
    assert ack_batcher.wait_empty(soon())
    assert outcomes.ends == [("0", None)]


def test_a_batch_is_of_one_queue_and_one_operation(
    sqs: InMemorySqs, opened: Callable[..., AckBatcher]
) -> None:
    ack_batcher, outcomes = (
        opened(linger_s=LINGERING_S),
        Outcomes(),
    )  # the fake refuses a batch for two queues
    plain, ordered = work(sqs, 4), work(sqs, 4, ORDERED)
    for one, other in zip(plain, ordered, strict=True):
        add(ack_batcher, [*deletes([one], outcomes), PendingAck(other, 0, FOR_EVER, outcomes)])
    ack_batcher.stop_lingering()
    assert ack_batcher.wait_empty(soon())
    assert sqs.bodies(WORK.url) == []
    assert sqs.visible(ORDERED.url) == ["0", "1", "2", "3"]


def test_one_busy_queue_does_not_hold_up_another(sqs: InMemorySqs, opened: Callable[..., AckBatcher]) -> None:
    """Deletes that always fill the next batch must not keep a message from being hidden in time."""
    ack_batcher, outcomes = opened(linger_s=LINGERING_S, senders=1), Outcomes()
    hidden = Outcomes()
    (pending,) = work(sqs, 1)
    calls: list[int] = []

    def flood(_: Call) -> None:
        calls.append(1)
        if len(calls) == 1:
            ack_batcher.add(PendingAck(pending, 300, FOR_EVER, hidden))
        if len(calls) < 50 and not hidden.ends:
            add(ack_batcher, deletes([message() for _ in range(10)], outcomes))

    sqs.before["delete"] = flood
    add(ack_batcher, deletes([message() for _ in range(20)], outcomes))
    assert ack_batcher.wait_empty(soon())
    assert hidden.done == ["0"]
    assert len(calls) < 10


def test_the_batch_that_has_waited_longest_is_sent_first(
    sqs: InMemorySqs, opened: Callable[..., AckBatcher]
) -> None:
    """Whichever queue was the first to have one."""
    ack_batcher, outcomes = opened(linger_s=0.0, senders=0), Outcomes()
    for queues in ([WORK, ORDERED], [ORDERED, WORK]):
        for queue in queues:
            add(ack_batcher, deletes([message(queue, body=queue.name)], outcomes))
        while ack_batcher.send_due_batch():
            pass
    assert [call.url for call in sqs.made("delete")] == [WORK.url, ORDERED.url, ORDERED.url, WORK.url]


# ---- what is refused ---------------------------------------------------------------------------------------


def test_temporarily_refused_entries_are_sent_again_without_the_rest_of_their_batch(
    sqs: InMemorySqs, opened: Callable[..., AckBatcher]
) -> None:
    refusals = {"3": 2, "7": 1}

    def sometimes(one: Message) -> Refusal | None:
        if refusals.get(one.body, 0) == 0:
            return None
        refusals[one.body] -= 1
        return THROTTLED

    sqs.refusing["delete"] = sometimes
    ack_batcher, outcomes = opened(), Outcomes()
    add(ack_batcher, deletes(work(sqs, 10), outcomes))
    assert ack_batcher.wait_empty(soon())
    assert sorted(outcomes.done) == list("0123456789")
    deleted_bodies = [body for call in sqs.made("delete") for body in call.bodies]
    assert {body: deleted_bodies.count(body) for body in "0123456789"} == {
        **dict.fromkeys("01245689", 1),
        "3": 3,
        "7": 2,
    }
    assert sqs.bodies(WORK.url) == []


def test_a_final_refusal_is_not_retried(sqs: InMemorySqs, opened: Callable[..., AckBatcher]) -> None:
    sqs.refusing["delete"] = lambda _: EXPIRED_HANDLE
    ack_batcher, outcomes = opened(), Outcomes()
    add(ack_batcher, deletes(work(sqs, 1), outcomes))
    assert ack_batcher.wait_empty(soon())
    assert outcomes.ends == [("0", EXPIRED_HANDLE.reason)]
    assert len(sqs.made("delete")) == 1


def test_nothing_is_lost_while_sqs_is_down(sqs: InMemorySqs, opened: Callable[..., AckBatcher]) -> None:
    ack_batcher, outcomes = opened(), Outcomes()
    messages = work(sqs, 30)
    sqs.failing("delete")
    add(ack_batcher, deletes(messages, outcomes))
    eventually(lambda: len(sqs.made("delete")) >= 9, "every batch is sent again twice")
    assert (outcomes.ends, ack_batcher.pending) == ([], 30)
    sqs.healed()
    assert ack_batcher.wait_empty(soon())
    assert len(outcomes.done) == len(set(outcomes.done)) == 30
    assert sqs.bodies(WORK.url) == []


def test_the_pause_grows_with_each_attempt(sqs: InMemorySqs, opened: Callable[..., AckBatcher]) -> None:
    ack_batcher, outcomes = opened(), Outcomes()
    sqs.failing("delete")
    add(ack_batcher, deletes(work(sqs, 1), outcomes))
    eventually(lambda: len(sqs.made("delete")) >= 4, "it is logged four times")
    at = [call.at for call in sqs.made("delete")]
    pauses_s = [later - sooner for sooner, later in itertools.pairwise(at)]
    assert all(pause_s >= least_s for pause_s, least_s in zip(pauses_s, (0.1, 0.2, 0.4), strict=False))


def test_an_acknowledgement_refused_for_hours_is_still_retried(
    sqs: InMemorySqs, opened: Callable[..., AckBatcher]
) -> None:
    """A doubled pause outgrows a float after three hours of ten seconds each."""
    ack_batcher, outcomes = opened(), Outcomes()
    refusals = iter([THROTTLED])
    sqs.refusing["delete"] = lambda _: next(refusals, None)
    (entry,) = deletes(work(sqs, 1), outcomes, until=time.monotonic() + 0.5)
    entry.attempts = 2000
    ack_batcher.add(entry)
    assert ack_batcher.wait_empty(soon())
    assert outcomes.done == ["0"]


def test_an_acknowledgement_that_is_no_longer_useful_is_dropped(
    sqs: InMemorySqs, opened: Callable[..., AckBatcher]
) -> None:
    ack_batcher, outcomes = opened(), Outcomes()
    sqs.failing("hide")
    add(ack_batcher, [PendingAck(one, 0, time.monotonic() + 0.25, outcomes) for one in work(sqs, 1)])
    assert ack_batcher.wait_empty(soon())
    assert outcomes.ends == [("0", "SQS is down")]
    assert 2 <= len(sqs.made("hide")) <= 3


def test_a_defect_in_a_call_loses_no_acknowledgement_and_ends_no_sender(
    sqs: InMemorySqs, opened: Callable[..., AckBatcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "AFTER_DEFECT_S", 0.01)
    ack_batcher, outcomes = opened(senders=1), Outcomes()
    broken = [True]

    def break_once(_: Call) -> None:
        if broken:
            broken.pop()
            raise RuntimeError("a defect")

    sqs.before["delete"] = break_once
    add(ack_batcher, deletes(work(sqs, 10), outcomes))
    assert ack_batcher.wait_empty(soon())
    assert len(outcomes.done) == 10


def test_a_request_whose_response_was_lost_is_sent_again(
    sqs: InMemorySqs, opened: Callable[..., AckBatcher]
) -> None:
    ack_batcher, outcomes = opened(), Outcomes()
    messages = work(sqs, 10)
    sqs.after["delete"] = loses_one_response(sqs)
    add(ack_batcher, deletes(messages, outcomes))
    assert ack_batcher.wait_empty(soon())
    assert len(outcomes.done) == 10
    assert len(sqs.made("delete")) == 2


def loses_one_response(sqs: InMemorySqs) -> Callable[[Call], None]:
    def lose(_: Call) -> None:
        del sqs.after["delete"]
        raise DOWN

    return lose


# ---- its end -----------------------------------------------------------------------------------------------


def test_waiting_ends_at_its_deadline_and_reports_pending_acknowledgements(
    sqs: InMemorySqs, opened: Callable[..., AckBatcher]
) -> None:
    ack_batcher, outcomes = opened(), Outcomes()
    sqs.failing("delete")
    add(ack_batcher, deletes(work(sqs, 1), outcomes))
    assert not ack_batcher.wait_empty(time.monotonic() + 0.1)
    assert ack_batcher.pending == 1


def test_an_acknowledgement_that_adds_another_is_never_seen_as_none_pending(
    sqs: InMemorySqs, opened: Callable[..., AckBatcher]
) -> None:
    ack_batcher, outcomes = opened(), Outcomes()
    (one,) = work(sqs, 1)
    pending_counts: list[int] = []

    def add_a_release(entry: PendingAck, reason: str | None) -> None:
        ack_batcher.add(PendingAck(entry.message, 0, FOR_EVER, outcomes))
        pending_counts.append(ack_batcher.pending)

    ack_batcher.add(PendingAck(one, 300, FOR_EVER, add_a_release))
    assert ack_batcher.wait_empty(soon())
    assert pending_counts == [2]
    assert sqs.visible(WORK.url) == ["0"]


def test_stopped_senders_end(sqs: InMemorySqs, opened: Callable[..., AckBatcher]) -> None:
    before = {thread.ident for thread in threading.enumerate()}
    opened(senders=3).stop()
    eventually(
        lambda: not {thread.ident for thread in threading.enumerate()} - before, "the senders' threads end"
    )


def test_deletes_of_many_queues_all_arrive(sqs: InMemorySqs, opened: Callable[..., AckBatcher]) -> None:
    ack_batcher, outcomes = opened(senders=4), Outcomes()
    queues = [Queue(url=sqs.create(f"queue-{number}")) for number in range(8)]
    for queue in queues:
        add(ack_batcher, deletes(work(sqs, 25, queue), outcomes))
    assert ack_batcher.wait_empty(soon())
    assert len(outcomes.done) == 200
    assert [sqs.bodies(queue_url(f"queue-{number}")) for number in range(8)] == [[]] * 8
