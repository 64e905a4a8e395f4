"""How many messages polls may ask for, by number and by bytes."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from sluice_worker.core.headroom import Headroom
from sluice_worker.core.model import LONG_POLL_S, MAX_BATCH_SIZE, MAX_MESSAGE_BYTES, Poll, Priority, Queue
from sluice_worker.core.priority_buffer import MessageBuffer
from tests.worker.core.builders import HIGH, LOW, MEDIUM, Item, queue

KIB, MIB = 2**10, MAX_MESSAGE_BYTES
OTHER = queue("other")


class PollCapacity:
    """Headroom over a buffer that is filled by polls."""

    def __init__(
        self, *queues: Queue, limit: int = 200, prefetch_limit: int = 1000, max_bytes: int = 32 * MIB
    ) -> None:
        limits = dict.fromkeys(Priority, limit)
        self.buffer: MessageBuffer[Item] = MessageBuffer(limits, max_bytes=max_bytes)
        self.headroom = Headroom(queues or (MEDIUM,), self.buffer, lambda: prefetch_limit)

    def of(self, queue: Queue = MEDIUM) -> int:
        return self.headroom.free_capacity()[queue.url]

    def ask(self, queue: Queue = MEDIUM, *, wait_s: int = 0) -> Poll:
        poll = Poll(queue=queue, max_messages=min(MAX_BATCH_SIZE, self.of(queue)), wait_s=wait_s)
        self.buffer.reserve(queue.priority, poll.max_messages)
        self.headroom.poll_started(poll)
        return poll

    def answer(self, poll: Poll, sizes_bytes: Iterable[int] = ()) -> None:
        brought = [Item(priority=poll.queue.priority, size_bytes=size) for size in sizes_bytes]
        self.headroom.poll_finished(poll, brought)
        self.buffer.fill(poll.queue.priority, poll.max_messages, brought)

    def begin_all(self) -> None:
        while self.buffer.pop(0.0) is not None:
            pass


def test_small_messages_are_bounded_by_their_number_alone() -> None:
    room = PollCapacity(limit=200)
    room.answer(room.ask(), [KIB] * MAX_BATCH_SIZE)
    assert room.of() == 190


def test_large_messages_are_bounded_by_their_bytes() -> None:
    room = PollCapacity()
    room.answer(room.ask(), [MIB] * MAX_BATCH_SIZE)
    assert room.of() == 22
    room.answer(room.ask(), [MIB] * MAX_BATCH_SIZE)
    assert room.of() == 12


def test_capacity_is_reserved_for_polls_in_progress() -> None:
    room = PollCapacity()
    room.answer(room.ask(), [MIB] * MAX_BATCH_SIZE)
    room.ask()
    assert room.of() == 12


def test_before_the_first_message_of_a_queue_it_is_taken_to_be_as_large_as_may_be() -> None:
    room = PollCapacity(MEDIUM, OTHER)
    room.answer(room.ask(), [KIB] * MAX_BATCH_SIZE)
    assert (room.of(MEDIUM), room.of(OTHER)) == (190, 31)


def test_the_largest_message_is_remembered_less_with_each_poll_that_brings_smaller_ones() -> None:
    room = PollCapacity()
    room.answer(room.ask(), [MIB, KIB])
    room.begin_all()
    free_capacity = [room.of()]
    for _ in range(30):
        room.answer(room.ask(), [KIB])
        room.begin_all()
        free_capacity.append(room.of())
    assert free_capacity == sorted(free_capacity)
    assert (free_capacity[0], free_capacity[-1]) == (32, 200)


@pytest.mark.parametrize("size_bytes", [MIB, 5 * MIB])
def test_one_message_of_each_priority_may_be_held_whatever_its_size(size_bytes: int) -> None:
    room = PollCapacity(HIGH, LOW, max_bytes=MIB)
    for polled in (LOW, HIGH):
        poll = room.ask(polled)
        assert poll.max_messages == 1
        assert room.of(polled) == 0
        room.answer(poll, [size_bytes])
        assert room.of(polled) == 0
    room.begin_all()
    assert (room.of(LOW), room.of(HIGH)) == (1, 1)


def test_a_long_poll_takes_no_capacity_from_another_queue_of_its_priority() -> None:
    room = PollCapacity(MEDIUM, OTHER, max_bytes=10 * MIB)
    room.ask(MEDIUM, wait_s=LONG_POLL_S)
    assert (room.of(MEDIUM), room.of(OTHER)) == (0, 10)


def test_a_poll_that_brought_nothing_frees_its_capacity() -> None:
    room = PollCapacity(max_bytes=10 * MIB)
    poll = room.ask()
    assert room.of() == 0
    room.answer(poll)
    assert room.of() == 10


def test_less_urgent_messages_have_the_prefetch_that_more_urgent_ones_leave() -> None:
    """Ready, requested and held messages all count before a less urgent queue may be polled."""
    room = PollCapacity(HIGH, LOW, prefetch_limit=25)
    assert room.headroom.unclaimed(room.headroom.free_capacity()) == {HIGH.url: 25, LOW.url: 25}
    room.answer(room.ask(HIGH), [KIB] * MAX_BATCH_SIZE)
    room.ask(HIGH)
    assert room.headroom.unclaimed(room.headroom.free_capacity())[LOW.url] == 25 - 2 * MAX_BATCH_SIZE


def test_one_priority_has_all_the_capacity() -> None:
    room = PollCapacity(MEDIUM, OTHER)
    free_capacity = room.headroom.free_capacity()
    assert room.headroom.unclaimed(free_capacity) == free_capacity


def test_a_queue_is_stalled_where_it_has_no_capacity_and_no_poll_under_way() -> None:
    room = PollCapacity(limit=MAX_BATCH_SIZE)
    assert room.headroom.stalled() == set()
    poll = room.ask()
    assert room.headroom.stalled() == set(), "the poll may bring more"
    room.answer(poll, [KIB] * MAX_BATCH_SIZE)
    assert room.headroom.stalled() == {MEDIUM.url}
    room.begin_all()
    assert room.headroom.stalled() == set()
