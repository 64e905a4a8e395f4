"""Between pollers and slots: who waits for what, and that no message is lost between them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from sluice_worker.core.model import LONG_POLL_S, Depth, Priority, Queue
from sluice_worker.core.priority_buffer import MessageBuffer
from sluice_worker.core.queue_choice import PollScheduler
from sluice_worker.core.slot_wakeups import NextLook
from sluice_worker.message import Message
from sluice_worker.runtime.dispatcher import Dispatcher
from tests.support.builders import queue_url
from tests.worker.runtime.parts import ORDERED, WORK, failed_heads, make_dispatcher, message, next_to_begin
from tests.worker.waiting import eventually

OTHER = Queue(url=queue_url("other"))
URGENT = Queue(url=queue_url("urgent"), priority=Priority.HIGH)
LIMIT = 100

T = TypeVar("T")


def fill(dispatcher: Dispatcher, *messages: Message) -> None:
    poll = dispatcher.next_poll(1)
    assert poll is not None
    assert not dispatcher.poll_finished(poll, messages)


def grouped(group: str, *bodies: str) -> list[Message]:
    return [message(ORDERED, body=body, group_id=group) for body in bodies]


def bodies(messages: list[Message]) -> list[str]:
    return [one.body for one in messages]


def taken(dispatcher: Dispatcher) -> list[str]:
    found = []
    while (one := next_to_begin(dispatcher, 0.0)) is not None:
        found.append(one.body)
    return found


def waiting(wait: Callable[[], T]) -> tuple[threading.Thread, list[T]]:
    """A thread that waits, and its result."""
    answers: list[T] = []
    thread = threading.Thread(target=lambda: answers.append(wait()), daemon=True)
    thread.start()
    return thread, answers


def answered(thread: threading.Thread) -> None:
    thread.join(10)
    assert not thread.is_alive(), "nobody woke it"


# ---- pollers and capacity
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("prefetch_limit", "limit", "expected"), [(3, 100, 3), (100, 4, 4), (100, 100, 10)])
def test_a_poll_asks_for_no_more_than_the_free_capacity(
    prefetch_limit: int, limit: int, expected: int
) -> None:
    poll = make_dispatcher(prefetch_limit=lambda: prefetch_limit, limit=limit).next_poll(0.0)
    assert poll is not None
    assert poll.max_messages == expected


def test_no_poll_is_made_while_polls_under_way_may_use_the_capacity() -> None:
    dispatcher = make_dispatcher(prefetch_limit=lambda: 20)
    first, second = dispatcher.next_poll(0.0), dispatcher.next_poll(0.0)
    assert first is not None
    assert second is not None
    assert dispatcher.next_poll(0.0) is None
    dispatcher.poll_finished(first, [])
    dispatcher.poll_finished(second, [])
    assert dispatcher.next_poll(0.0) is not None


def test_a_poller_that_waits_for_capacity_is_woken_by_a_slot() -> None:
    dispatcher = make_dispatcher(limit=10)
    fill(dispatcher, *(message() for _ in range(10)))
    thread, polls = waiting(lambda: dispatcher.next_poll(20))
    for _ in range(5):
        assert next_to_begin(dispatcher, 0.0) is not None
    answered(thread)
    assert polls[0] is not None


def test_a_poll_that_brings_fewer_than_it_asked_for_wakes_a_poller_that_waits() -> None:
    dispatcher = make_dispatcher(limit=10)
    poll = dispatcher.next_poll(0.0)
    assert poll is not None
    thread, polls = waiting(lambda: dispatcher.next_poll(20))
    eventually(lambda: dispatcher._waiting_pollers == 1, "there is no room")
    dispatcher.poll_finished(poll, [message()])
    answered(thread)
    assert polls[0] is not None
    assert dispatcher._waiting_pollers == 0


def test_many_pollers_and_slots_respect_the_limit_and_pass_every_message_once() -> None:
    dispatcher = make_dispatcher(limit=20, prefetch_limit=lambda: 1000)
    processed: list[str] = []
    max_held = 0
    lock = threading.Lock()
    numbers = iter(range(2000))

    def receive() -> None:
        nonlocal max_held
        while (poll := dispatcher.next_poll(20)) is not None:
            with lock:
                batch = [
                    message(body=str(n)) for _, n in zip(range(poll.max_messages), numbers, strict=False)
                ]
            max_held = max(max_held, dispatcher.buffered()[Priority.MEDIUM])
            dispatcher.poll_finished(poll, batch)

    def work() -> None:
        while (
            len(processed) < 2000 and not dispatcher._closed
        ):  # else one message less would keep the pool's threads
            one = next_to_begin(dispatcher, 0.01)
            if one is not None:
                processed.append(one.body)

    with ThreadPoolExecutor(8) as pool:
        pollers = [pool.submit(receive) for _ in range(4)]
        slots = [pool.submit(work) for _ in range(4)]
        try:
            for slot in slots:
                slot.result(60)
        finally:
            dispatcher.close()
        for poller in pollers:
            poller.result(60)
    assert sorted(processed, key=int) == [str(n) for n in range(2000)]
    assert 0 < max_held <= 20


def test_a_long_poll_of_one_queue_leaves_capacity_for_another_of_its_priority() -> None:
    dispatcher = make_dispatcher([WORK, OTHER], prefetch_limit=lambda: 10)
    for queue in (WORK, OTHER):
        dispatcher.record_depth(queue, Depth(visible=0, in_flight=0))
    urls = {
        poll.queue.url: poll.wait_s for poll in (dispatcher.next_poll(0.0), dispatcher.next_poll(0.0)) if poll
    }
    assert urls == {WORK.url: LONG_POLL_S, OTHER.url: LONG_POLL_S}
    assert dispatcher.long_polls_in_progress == 2


# ---- what is believed of queues ----------------------------------------------------------------------------


def test_an_empty_queue_is_long_polled() -> None:
    """Also before its first poll: if it were not polled, only its attributes could show a message."""
    dispatcher = make_dispatcher()
    dispatcher.record_depth(WORK, Depth(visible=0, in_flight=3))
    poll = dispatcher.next_poll(0.0)
    assert poll is not None
    assert poll.wait_s == LONG_POLL_S


def test_an_empty_queue_is_polled_again_soon_while_others_are_not_empty() -> None:
    """AWS's counts lag by up to a minute."""
    scheduler = PollScheduler([URGENT, WORK], 0.0)
    scheduler.record_depth(URGENT, Depth(visible=0, in_flight=0), 0.0)
    scheduler.record_depth(WORK, Depth(visible=5, in_flight=0), 0.0)
    room = {URGENT.url: 10, WORK.url: 10}
    for now, polled in [(0.5, WORK), (1.5, URGENT)]:
        poll = scheduler.next_poll(now, room)
        assert poll is not None
        assert (poll.queue, poll.wait_s) == (polled, 0)


def test_a_queue_whose_poll_failed_is_retried_after_the_others() -> None:
    scheduler, now = PollScheduler([URGENT, WORK], 0.0), 0.0
    urgent_alone, both = {URGENT.url: 10, WORK.url: 0}, {URGENT.url: 10, WORK.url: 10}
    for pause_s in (1, 2, 4, 8, 16, 30, 30):
        failed = scheduler.next_poll(now, urgent_alone)
        assert failed is not None
        scheduler.record_poll(failed, None, now)
        scheduler.record_poll(failed, None, now)  # another one that failed at the same time
        assert scheduler.next_poll(now + pause_s - 0.01, urgent_alone) is None
        spared = scheduler.next_poll(now + pause_s - 0.01, both)
        assert spared is not None
        assert spared.queue == WORK
        now += pause_s
    back = scheduler.next_poll(now, urgent_alone)
    assert back is not None
    scheduler.record_poll(back, 3, now)
    assert scheduler.next_poll(now, urgent_alone) is not None


# ---- slots -------------------------------------------------------------------------------------------------


def test_a_slot_that_waits_is_woken_by_a_message() -> None:
    dispatcher = make_dispatcher()
    thread, messages = waiting(lambda: next_to_begin(dispatcher, 20))
    fill(dispatcher, message(body="work"))
    answered(thread)
    assert messages[0] is not None
    assert messages[0].body == "work"


def test_higher_priorities_are_taken_first() -> None:
    dispatcher = make_dispatcher([WORK, URGENT])
    fill_queue(dispatcher, WORK, "later")
    fill_queue(dispatcher, URGENT, "first")
    assert taken(dispatcher) == ["first", "later"]


def fill_queue(dispatcher: Dispatcher, queue: Queue, *named: str) -> None:
    """Polls of any queue, until this one is next."""
    while (poll := dispatcher.next_poll(1)) is not None:
        dispatcher.poll_finished(
            poll, [message(queue, body=body) for body in named] if poll.queue == queue else []
        )
        if poll.queue == queue:
            return


# ---- groups ------------------------------------------------------------------------------------------------


def test_one_message_of_each_group_runs_and_groups_run_side_by_side() -> None:
    dispatcher = make_dispatcher([ORDERED])
    fill(dispatcher, *grouped("a", "a1", "a2"), *grouped("b", "b1", "b2"))
    assert taken(dispatcher) == ["a1", "b1"]
    dispatcher.advance((ORDERED.url, "b"))
    assert taken(dispatcher) == ["b2"]
    dispatcher.advance((ORDERED.url, "a"))
    assert taken(dispatcher) == ["a2"]


def test_a_group_that_advances_wakes_a_slot() -> None:
    dispatcher = make_dispatcher([ORDERED])
    fill(dispatcher, *grouped("a", "a1", "a2"))
    assert taken(dispatcher) == ["a1"]
    thread, messages = waiting(lambda: next_to_begin(dispatcher, 20))
    dispatcher.advance((ORDERED.url, "a"))
    answered(thread)
    assert messages[0] is not None
    assert messages[0].body == "a2"


def test_a_dropped_group_returns_its_waiting_messages_and_frees_their_capacity() -> None:
    dispatcher = make_dispatcher([ORDERED], limit=3)
    fill(dispatcher, *grouped("a", "a1", "a2", "a3"))
    assert taken(dispatcher) == ["a1"]
    assert bodies(dispatcher.drop((ORDERED.url, "a"))) == ["a2", "a3"]
    assert dispatcher.buffered()[Priority.MEDIUM] == 0
    fill(dispatcher, *grouped("a", "a1"))
    assert taken(dispatcher) == ["a1"]


def test_after_a_group_was_dropped_its_queue_is_polled_for_one_until_a_message_of_the_group_comes() -> None:
    dispatcher = make_dispatcher([ORDERED])
    fill(dispatcher, *grouped("a", "a1", "a2"))
    assert taken(dispatcher) == ["a1"]
    dispatcher.drop((ORDERED.url, "a"))
    sizes = []
    for brought in (grouped("b", "b1"), grouped("a", "a1"), []):
        poll = dispatcher.next_poll(1)
        assert poll is not None
        sizes.append(poll.max_messages)
        dispatcher.poll_finished(poll, brought)
    assert sizes == [1, 1, 10]


def test_a_long_poll_is_back_before_what_is_held_can_fail_and_be_visible_again() -> None:
    """What failed would otherwise come back in it, with all that is behind it."""
    dispatcher = make_dispatcher([ORDERED])
    fill(dispatcher, *grouped("a", "a1"))
    first = next_to_begin(dispatcher, 0.0)
    assert first is not None
    dispatcher.record_depth(ORDERED, Depth(visible=0, in_flight=1))
    poll = dispatcher.next_poll(0.0)
    assert poll is not None
    assert (poll.max_messages, poll.wait_s) == (10, 8)
    dispatcher.poll_finished(poll, [])
    dispatcher.advance((ORDERED.url, "a"))
    idle = dispatcher.next_poll(0.0)
    assert idle is not None
    assert idle.wait_s == LONG_POLL_S


# ---- the end -----------------------------------------------------------------------------------------------


def test_closing_returns_unstarted_messages_and_wakes_all_waiters() -> None:
    dispatcher = make_dispatcher([ORDERED], limit=10)
    fill(dispatcher, *grouped("a", *(f"a{n}" for n in range(5))), *grouped("b", *(f"b{n}" for n in range(5))))
    assert taken(dispatcher) == ["a0", "b0"]
    poller, polls = waiting(lambda: dispatcher.next_poll(20))
    slot, messages = waiting(lambda: next_to_begin(dispatcher, 20))
    assert bodies(dispatcher.close()) == ["a1", "a2", "a3", "a4", "b1", "b2", "b3", "b4"]
    answered(poller)
    answered(slot)
    assert (polls, messages) == ([None], [None])
    assert dispatcher.close() == []


def test_messages_received_after_the_close_are_returned() -> None:
    dispatcher = make_dispatcher()
    poll = dispatcher.next_poll(0.0)
    assert poll is not None
    dispatcher.close()
    late = [message(), message()]
    assert list(dispatcher.poll_finished(poll, late)) == late
    assert next_to_begin(dispatcher, 0.0) is None
    assert dispatcher.next_poll(0.0) is None


def test_a_groups_message_that_ends_after_the_close_has_no_successor() -> None:
    dispatcher = make_dispatcher([ORDERED])
    fill(dispatcher, *grouped("a", "a1", "a2"), *grouped("b", "b1", "b2"))
    assert taken(dispatcher) == ["a1", "b1"]
    dispatcher.close()
    dispatcher.advance((ORDERED.url, "a"))
    assert dispatcher.drop((ORDERED.url, "b")) == []
    assert taken(dispatcher) == []


# ---- what it looks like ------------------------------------------------------------------------------------


def test_utilisation_is_the_share_of_the_limit_that_is_held() -> None:
    scheduler = PollScheduler([WORK], time.monotonic())
    dispatcher = Dispatcher(
        [WORK], scheduler, MessageBuffer(dict.fromkeys(Priority, LIMIT)), lambda: 20, failed_heads()
    )
    fill(dispatcher, *(message() for _ in range(5)))
    assert dispatcher.utilization() == dispatcher.utilization(Priority.MEDIUM) == 0.25
    assert dispatcher.utilization(Priority.HIGH) == 0.0  # no queue has it
    eventually(lambda: taken(dispatcher) and dispatcher.utilization() == 0.0, "all are taken")


def test_the_depth_of_a_queue_is_the_last_that_was_read_or_unknown() -> None:
    dispatcher = make_dispatcher([WORK, OTHER])
    three = Depth(visible=3, in_flight=1)
    dispatcher.record_depth(WORK, three)
    assert dispatcher.depths() == {WORK.url: three, OTHER.url: None}
    dispatcher.record_depth(WORK, None)
    assert dispatcher.depths() == {WORK.url: None, OTHER.url: None}


def test_while_a_slot_is_about_to_look_again_no_other_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """While messages flow, a timer costs less than being woken for each batch."""
    dispatcher = make_dispatcher()
    monkeypatch.setattr("sluice_worker.runtime.dispatcher.SPIN_WAIT_S", 0.0)
    waiter, found_by_the_waiter = waiting(lambda: next_to_begin(dispatcher, 10))
    eventually(lambda: dispatcher._wakeups.waiting == 1, "it waits")
    monkeypatch.setattr("sluice_worker.runtime.dispatcher.SPIN_WAIT_S", 1.0)
    napper, found_by_the_napper = waiting(lambda: next_to_begin(dispatcher, 10))
    eventually(lambda: dispatcher._wakeups.next_look is NextLook.SPINNING, "it spins")
    fill(dispatcher, message())
    answered(napper)
    assert None not in found_by_the_napper
    assert found_by_the_waiter == []
    fill(dispatcher, message())
    answered(waiter)
    assert None not in found_by_the_waiter


def test_a_batch_wakes_one_slot_which_wakes_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waking a thread costs more than a short message does: a slot may have worked off the batch by then."""
    dispatcher = make_dispatcher()
    waits = [waiting(lambda: next_to_begin(dispatcher, 10)) for _ in range(10)]
    eventually(lambda: dispatcher._wakeups.waiting == 10, "every slot waits")
    woken_by: list[threading.Thread] = []
    notify = dispatcher._batch_due.notify
    monkeypatch.setattr(
        dispatcher._batch_due, "notify", lambda: (woken_by.append(threading.current_thread()), notify())
    )
    fill(dispatcher, *(message() for _ in range(10)))
    for slot, _ in waits:
        answered(slot)
    assert None not in [answer for _, [answer] in waits]
    assert woken_by[0] is threading.current_thread()
    assert threading.current_thread() not in woken_by[1:]


@pytest.mark.parametrize(
    ("queue", "prefetch_limit"), [(ORDERED, LIMIT), (WORK, LIMIT - 1)], ids=["ordered", "slow handlers"]
)
def test_no_slot_spins_while_others_wait_for_it(
    monkeypatch: pytest.MonkeyPatch, queue: Queue, prefetch_limit: int
) -> None:
    """The next of a group, or pollers that ask for what the slots can begin."""
    monkeypatch.setattr("sluice_worker.runtime.dispatcher.SPIN_WAIT_S", 600.0)
    dispatcher = make_dispatcher([queue], prefetch_limit=lambda: prefetch_limit, limit=LIMIT)
    slot, found = waiting(lambda: next_to_begin(dispatcher, 60))
    eventually(lambda: dispatcher._wakeups.waiting == 1, "it waits to be woken")
    fill(dispatcher, message(queue))
    answered(slot)
    assert None not in found


def test_the_next_message_of_a_group_wakes_a_slot_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluice_worker.runtime.dispatcher.SPIN_WAIT_S", 600.0)
    dispatcher = make_dispatcher([ORDERED])
    fill(dispatcher, *grouped("g", "first", "second"))
    first = next_to_begin(dispatcher, 0.0)
    assert first is not None
    assert first.message_group is not None
    slot, found = waiting(lambda: next_to_begin(dispatcher, 60))
    eventually(lambda: dispatcher._wakeups.waiting == 1, "it waits to be woken")
    dispatcher.advance(first.message_group)
    answered(slot)
    assert [one.body for one in found if one] == ["second"]


def test_a_slot_without_work_wakes_a_poller_before_it_spins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluice_worker.runtime.dispatcher.SPIN_WAIT_S", 600.0)
    room = 0
    dispatcher = make_dispatcher(prefetch_limit=lambda: room, limit=LIMIT)
    poller, polls = waiting(lambda: dispatcher.next_poll(60))
    eventually(lambda: dispatcher._waiting_pollers == 1, "there is no room")
    room = LIMIT
    waiting(lambda: next_to_begin(dispatcher, 60))
    answered(poller)
    assert polls[0] is not None
