"""Between pollers and slots: who waits for what, and that nothing falls between them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from sluice_worker.core.model import LONG_POLL_S, Depth, Priority, Queue
from sluice_worker.core.priority_buffer import MessageBuffer
from sluice_worker.core.queue_choice import Schedule
from sluice_worker.message import Message
from sluice_worker.runtime.dispatcher import Intake
from tests.support.builders import queue_url
from tests.worker.runtime.parts import ORDERED, WORK, failed_heads, intake, message, next_to_begin
from tests.worker.waiting import eventually

OTHER = Queue(url=queue_url("other"))
URGENT = Queue(url=queue_url("urgent"), priority=Priority.HIGH)
LIMIT = 100

T = TypeVar("T")


def fill(into: Intake, *messages: Message) -> None:
    poll = into.next_poll(1)
    assert poll is not None
    assert not into.received(poll, messages)


def grouped(group: str, *bodies: str) -> list[Message]:
    return [message(ORDERED, body=body, group_id=group) for body in bodies]


def bodies(messages: list[Message]) -> list[str]:
    return [one.body for one in messages]


def taken(from_intake: Intake) -> list[str]:
    found = []
    while (one := next_to_begin(from_intake, 0.0)) is not None:
        found.append(one.body)
    return found


def waiting(wait: Callable[[], T]) -> tuple[threading.Thread, list[T]]:
    """A thread that waits, and what it is answered."""
    answers: list[T] = []
    thread = threading.Thread(target=lambda: answers.append(wait()), daemon=True)
    thread.start()
    return thread, answers


def answered(thread: threading.Thread) -> None:
    thread.join(10)
    assert not thread.is_alive(), "nobody woke it"


# ---- pollers and room --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reach", "limit", "asked"), [(3, 100, 3), (100, 4, 4), (100, 100, 10)])
def test_a_poll_asks_for_no_more_than_there_is_room(reach: int, limit: int, asked: int) -> None:
    poll = intake(reach=lambda: reach, limit=limit).next_poll(0.0)
    assert poll is not None
    assert poll.max_messages == asked


def test_no_poll_is_made_while_polls_under_way_may_fill_the_room() -> None:
    into = intake(reach=lambda: 20)
    first, second = into.next_poll(0.0), into.next_poll(0.0)
    assert first is not None
    assert second is not None
    assert into.next_poll(0.0) is None
    into.received(first, [])
    into.received(second, [])
    assert into.next_poll(0.0) is not None


def test_a_poller_that_waits_for_room_is_woken_by_a_slot() -> None:
    into = intake(limit=10)
    fill(into, *(message() for _ in range(10)))
    thread, polls = waiting(lambda: into.next_poll(20))
    for _ in range(5):
        assert next_to_begin(into, 0.0) is not None
    answered(thread)
    assert polls[0] is not None


def test_a_poll_that_brings_fewer_than_it_asked_for_makes_room_for_a_poller_that_waits() -> None:
    into = intake(limit=10)
    poll = into.next_poll(0.0)
    assert poll is not None
    thread, polls = waiting(lambda: into.next_poll(20))
    eventually(lambda: into._pollers_waiting == 1, "there is no room")
    into.received(poll, [message()])
    answered(thread)
    assert polls[0] is not None
    assert into._pollers_waiting == 0


def test_many_pollers_and_slots_keep_the_limit_and_pass_every_message_once() -> None:
    into = intake(limit=20, reach=lambda: 1000)
    seen: list[str] = []
    most_held = 0
    lock = threading.Lock()
    numbers = iter(range(2000))

    def receive() -> None:
        nonlocal most_held
        while (poll := into.next_poll(20)) is not None:
            with lock:
                batch = [
                    message(body=str(n)) for _, n in zip(range(poll.max_messages), numbers, strict=False)
                ]
            most_held = max(most_held, into.held()[Priority.MEDIUM])
            into.received(poll, batch)

    def work() -> None:
        while len(seen) < 2000 and not into._closed:  # else one message less would keep the pool's threads
            one = next_to_begin(into, 0.01)
            if one is not None:
                seen.append(one.body)

    with ThreadPoolExecutor(8) as pool:
        pollers = [pool.submit(receive) for _ in range(4)]
        slots = [pool.submit(work) for _ in range(4)]
        try:
            for slot in slots:
                slot.result(60)
        finally:
            into.close()
        for poller in pollers:
            poller.result(60)
    assert sorted(seen, key=int) == [str(n) for n in range(2000)]
    assert 0 < most_held <= 20


def test_a_long_poll_at_one_queue_leaves_room_for_another_of_its_priority() -> None:
    into = intake([WORK, OTHER], reach=lambda: 10)
    for queue in (WORK, OTHER):
        into.read(queue, Depth(visible=0, in_flight=0))
    urls = {poll.queue.url: poll.wait_s for poll in (into.next_poll(0.0), into.next_poll(0.0)) if poll}
    assert urls == {WORK.url: LONG_POLL_S, OTHER.url: LONG_POLL_S}
    assert into.waiting_long == 2


# ---- what is believed of queues ----------------------------------------------------------------------------


def test_a_queue_said_to_be_empty_is_waited_at() -> None:
    """Also before its first poll: were it not polled at all, only its attributes could tell of a message."""
    into = intake()
    into.read(WORK, Depth(visible=0, in_flight=3))
    poll = into.next_poll(0.0)
    assert poll is not None
    assert poll.wait_s == LONG_POLL_S


def test_a_queue_said_to_be_empty_is_looked_at_again_soon_while_others_are_not() -> None:
    """AWS's counts lag by up to a minute."""
    schedule = Schedule([URGENT, WORK], 0.0)
    schedule.read(URGENT, Depth(visible=0, in_flight=0), 0.0)
    schedule.read(WORK, Depth(visible=5, in_flight=0), 0.0)
    room = {URGENT.url: 10, WORK.url: 10}
    for now, polled in [(0.5, WORK), (1.5, URGENT)]:
        poll = schedule.next_poll(now, room)
        assert poll is not None
        assert (poll.queue, poll.wait_s) == (polled, 0)


def test_a_queue_whose_poll_failed_lets_others_go_first_and_is_tried_again() -> None:
    schedule, now = Schedule([URGENT, WORK], 0.0), 0.0
    urgent_alone, both = {URGENT.url: 10, WORK.url: 0}, {URGENT.url: 10, WORK.url: 10}
    for pause_s in (1, 2, 4, 8, 16, 30, 30):
        failed = schedule.next_poll(now, urgent_alone)
        assert failed is not None
        schedule.polled(failed, None, now)
        schedule.polled(failed, None, now)  # another one that failed at the same time
        assert schedule.next_poll(now + pause_s - 0.01, urgent_alone) is None
        spared = schedule.next_poll(now + pause_s - 0.01, both)
        assert spared is not None
        assert spared.queue == WORK
        now += pause_s
    back = schedule.next_poll(now, urgent_alone)
    assert back is not None
    schedule.polled(back, 3, now)
    assert schedule.next_poll(now, urgent_alone) is not None


# ---- slots -------------------------------------------------------------------------------------------------


def test_a_slot_that_waits_is_woken_by_a_message() -> None:
    into = intake()
    thread, messages = waiting(lambda: next_to_begin(into, 20))
    fill(into, message(body="work"))
    answered(thread)
    assert messages[0] is not None
    assert messages[0].body == "work"


def test_higher_priorities_are_taken_first() -> None:
    into = intake([WORK, URGENT])
    fill_queue(into, WORK, "later")
    fill_queue(into, URGENT, "first")
    assert taken(into) == ["first", "later"]


def fill_queue(into: Intake, queue: Queue, *named: str) -> None:
    """Whichever queue the polls are for, until it is this one's turn."""
    while (poll := into.next_poll(1)) is not None:
        into.received(poll, [message(queue, body=body) for body in named] if poll.queue == queue else [])
        if poll.queue == queue:
            return


# ---- groups ------------------------------------------------------------------------------------------------


def test_of_each_group_one_runs_and_groups_run_side_by_side() -> None:
    into = intake([ORDERED])
    fill(into, *grouped("a", "a1", "a2"), *grouped("b", "b1", "b2"))
    assert taken(into) == ["a1", "b1"]
    into.advance((ORDERED.url, "b"))
    assert taken(into) == ["b2"]
    into.advance((ORDERED.url, "a"))
    assert taken(into) == ["a2"]


def test_a_group_that_advances_wakes_a_slot() -> None:
    into = intake([ORDERED])
    fill(into, *grouped("a", "a1", "a2"))
    assert taken(into) == ["a1"]
    thread, messages = waiting(lambda: next_to_begin(into, 20))
    into.advance((ORDERED.url, "a"))
    answered(thread)
    assert messages[0] is not None
    assert messages[0].body == "a2"


def test_a_dropped_group_gives_what_was_behind_and_frees_its_room() -> None:
    into = intake([ORDERED], limit=3)
    fill(into, *grouped("a", "a1", "a2", "a3"))
    assert taken(into) == ["a1"]
    assert bodies(into.drop((ORDERED.url, "a"))) == ["a2", "a3"]
    assert into.held()[Priority.MEDIUM] == 0
    fill(into, *grouped("a", "a1"))
    assert taken(into) == ["a1"]


def test_after_a_group_was_dropped_its_queue_is_asked_for_one_until_a_message_of_the_group_comes() -> None:
    into = intake([ORDERED])
    fill(into, *grouped("a", "a1", "a2"))
    assert taken(into) == ["a1"]
    into.drop((ORDERED.url, "a"))
    asked = []
    for brought in (grouped("b", "b1"), grouped("a", "a1"), []):
        poll = into.next_poll(1)
        assert poll is not None
        asked.append(poll.max_messages)
        into.received(poll, brought)
    assert asked == [1, 1, 10]


def test_a_long_poll_is_back_before_what_is_held_can_fail_and_be_visible_again() -> None:
    """What failed would otherwise come back in it, with all that is behind it."""
    into = intake([ORDERED])
    fill(into, *grouped("a", "a1"))
    first = next_to_begin(into, 0.0)
    assert first is not None
    into.read(ORDERED, Depth(visible=0, in_flight=1))
    poll = into.next_poll(0.0)
    assert poll is not None
    assert (poll.max_messages, poll.wait_s) == (10, 8)
    into.received(poll, [])
    into.advance((ORDERED.url, "a"))
    idle = into.next_poll(0.0)
    assert idle is not None
    assert idle.wait_s == LONG_POLL_S


# ---- the end -----------------------------------------------------------------------------------------------


def test_closing_answers_with_all_that_was_not_begun_and_wakes_everybody() -> None:
    into = intake([ORDERED], limit=10)
    fill(into, *grouped("a", *(f"a{n}" for n in range(5))), *grouped("b", *(f"b{n}" for n in range(5))))
    assert taken(into) == ["a0", "b0"]
    poller, polls = waiting(lambda: into.next_poll(20))
    slot, messages = waiting(lambda: next_to_begin(into, 20))
    assert bodies(into.close()) == ["a1", "a2", "a3", "a4", "b1", "b2", "b3", "b4"]
    answered(poller)
    answered(slot)
    assert (polls, messages) == ([None], [None])
    assert into.close() == []


def test_what_a_poll_brings_after_the_closing_is_given_back() -> None:
    into = intake()
    poll = into.next_poll(0.0)
    assert poll is not None
    into.close()
    late = [message(), message()]
    assert list(into.received(poll, late)) == late
    assert next_to_begin(into, 0.0) is None
    assert into.next_poll(0.0) is None


def test_a_group_whose_message_ends_after_the_closing_has_nothing_behind_it() -> None:
    into = intake([ORDERED])
    fill(into, *grouped("a", "a1", "a2"), *grouped("b", "b1", "b2"))
    assert taken(into) == ["a1", "b1"]
    into.close()
    into.advance((ORDERED.url, "a"))
    assert into.drop((ORDERED.url, "b")) == []
    assert taken(into) == []


# ---- what it looks like ------------------------------------------------------------------------------------


def test_use_is_the_share_of_what_may_be_held() -> None:
    schedule = Schedule([WORK], time.monotonic())
    into = Intake([WORK], schedule, MessageBuffer(dict.fromkeys(Priority, LIMIT)), lambda: 20, failed_heads())
    fill(into, *(message() for _ in range(5)))
    assert into.use() == into.use(Priority.MEDIUM) == 0.25
    assert into.use(Priority.HIGH) == 0.0  # no queue has it
    eventually(lambda: taken(into) and into.use() == 0.0, "all are taken")


def test_the_depth_of_a_queue_is_the_last_that_was_read_or_unknown() -> None:
    into = intake([WORK, OTHER])
    three = Depth(visible=3, in_flight=1)
    into.read(WORK, three)
    assert into.depths() == {WORK.url: three, OTHER.url: None}
    into.read(WORK, None)
    assert into.depths() == {WORK.url: None, OTHER.url: None}


def test_while_a_slot_is_about_to_look_again_no_other_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """While messages flow, a timer costs less than being woken for each batch."""
    into = intake()
    monkeypatch.setattr("sluice_worker.runtime.dispatcher.NAP_S", 0.0)
    waiter, found_by_the_waiter = waiting(lambda: next_to_begin(into, 10))
    eventually(lambda: into._idle == 1, "it waits")
    monkeypatch.setattr("sluice_worker.runtime.dispatcher.NAP_S", 1.0)
    napper, found_by_the_napper = waiting(lambda: next_to_begin(into, 10))
    eventually(lambda: into._waking, "it naps")
    fill(into, message())
    answered(napper)
    assert None not in found_by_the_napper
    assert found_by_the_waiter == []
    fill(into, message())
    answered(waiter)
    assert None not in found_by_the_waiter


def test_a_batch_wakes_one_slot_and_that_one_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waking a thread costs more than a short message does: a slot may have worked off the batch by then."""
    into = intake()
    waits = [waiting(lambda: next_to_begin(into, 10)) for _ in range(10)]
    eventually(lambda: into._idle == 10, "every slot waits")
    woken_by: list[threading.Thread] = []
    notify = into._ready.notify
    monkeypatch.setattr(
        into._ready, "notify", lambda: (woken_by.append(threading.current_thread()), notify())
    )
    fill(into, *(message() for _ in range(10)))
    for slot, _ in waits:
        answered(slot)
    assert None not in [answer for _, [answer] in waits]
    assert woken_by[0] is threading.current_thread()
    assert threading.current_thread() not in woken_by[1:]


@pytest.mark.parametrize(
    ("queue", "reach"), [(ORDERED, LIMIT), (WORK, LIMIT - 1)], ids=["ordered", "slow handlers"]
)
def test_no_slot_naps_while_others_wait_for_it(
    monkeypatch: pytest.MonkeyPatch, queue: Queue, reach: int
) -> None:
    """The next of a group, or pollers that ask for what the slots can begin."""
    monkeypatch.setattr("sluice_worker.runtime.dispatcher.NAP_S", 600.0)
    into = intake([queue], reach=lambda: reach, limit=LIMIT)
    slot, found = waiting(lambda: next_to_begin(into, 60))
    eventually(lambda: into._idle == 1, "it waits to be woken")
    fill(into, message(queue))
    answered(slot)
    assert None not in found


def test_the_next_of_a_group_wakes_a_slot_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluice_worker.runtime.dispatcher.NAP_S", 600.0)
    into = intake([ORDERED])
    fill(into, *grouped("g", "first", "second"))
    first = next_to_begin(into, 0.0)
    assert first is not None
    assert first.lane is not None
    slot, found = waiting(lambda: next_to_begin(into, 60))
    eventually(lambda: into._idle == 1, "it waits to be woken")
    into.advance(first.lane)
    answered(slot)
    assert [one.body for one in found if one] == ["second"]


def test_a_slot_that_finds_nothing_makes_room_before_it_naps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sluice_worker.runtime.dispatcher.NAP_S", 600.0)
    room = 0
    into = intake(reach=lambda: room, limit=LIMIT)
    poller, polls = waiting(lambda: into.next_poll(60))
    eventually(lambda: into._pollers_waiting == 1, "there is no room")
    room = LIMIT
    waiting(lambda: next_to_begin(into, 60))
    answered(poller)
    assert polls[0] is not None
