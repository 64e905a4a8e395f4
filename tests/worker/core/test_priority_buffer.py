import time
from collections.abc import Iterable, Sequence

import pytest

from sluice_worker.core.batch import BatchRule
from sluice_worker.core.model import Priority
from sluice_worker.core.priority_buffer import (
    BufferFullError,
    MessageBuffer,
    MessageGroup,
)
from tests.worker.core.builders import Item, message_group

HIGH, MEDIUM, LOW = Priority


def buffer(high: int = 10, medium: int = 10, low: int = 10, **settings: float) -> MessageBuffer[Item]:
    return MessageBuffer({HIGH: high, MEDIUM: medium, LOW: low}, **settings)


def fill(dispatcher: MessageBuffer[Item], *items: Item) -> None:
    for item in items:
        dispatcher.reserve(item.priority, 1)
        dispatcher.fill(item.priority, 1, [item])


def popped(from_: MessageBuffer[Item], now: float = 0.0) -> list[Item]:
    """Everything that may begin, in order of service."""
    return list(iter(lambda: from_.pop(now), None))


def batch(*groups: str, received_at: float = 0.0) -> list[Item]:
    """One message for each, of that group."""
    return [Item(message_group=message_group(group), received_at=received_at) for group in groups]


class TestOrder:
    def test_messages_pop_by_priority_and_then_in_order_of_receipt(self) -> None:
        items = [Item(priority=priority) for priority in (LOW, MEDIUM, HIGH, LOW, HIGH, MEDIUM)]
        holding = buffer()
        fill(holding, *items)
        low, medium, high, second_low, second_high, second_medium = items
        assert popped(holding) == [high, second_high, medium, second_medium, low, second_low]

    def test_an_empty_buffer_has_nothing_to_begin(self) -> None:
        assert buffer().pop(0) is None

    def test_a_message_older_than_a_minute_pops_first(self) -> None:
        old, young = Item(priority=LOW, received_at=0), Item(priority=HIGH, received_at=50)
        holding = buffer()
        fill(holding, old, young)
        assert holding.pop(60.1) == old
        assert holding.pop(60.1) == young

    def test_a_message_of_exactly_a_minute_does_not_pop_first(self) -> None:
        old, young = Item(priority=LOW, received_at=0), Item(priority=HIGH, received_at=50)
        holding = buffer()
        fill(holding, old, young)
        assert holding.pop(60.0) == young

    def test_among_messages_that_are_too_old_the_oldest_pops_first_then_the_more_urgent(self) -> None:
        items = [
            Item(priority=HIGH, received_at=10),
            Item(priority=MEDIUM, received_at=5),
            Item(priority=LOW, received_at=5),
        ]
        holding = buffer()
        fill(holding, *items)
        assert popped(holding, 100) == [items[1], items[2], items[0]]

    def test_the_age_is_a_setting(self) -> None:
        old, young = Item(priority=LOW, received_at=0), Item(priority=HIGH, received_at=4)
        holding = buffer(aged_after_s=5)
        fill(holding, old, young)
        assert holding.pop(5.5) == old


class TestFreeCapacity:
    def test_low_priority_never_takes_the_capacity_of_high(self) -> None:
        holding = buffer(high=3, medium=2, low=1)
        fill(holding, Item(priority=LOW), Item(priority=MEDIUM), Item(priority=MEDIUM))
        assert [holding.free_capacity(priority) for priority in Priority] == [3, 0, 0]
        fill(holding, *(Item(priority=HIGH) for _ in range(3)))
        assert [holding.held(priority) for priority in Priority] == [3, 2, 1]
        assert [holding.limit(priority) for priority in Priority] == [3, 2, 1]

    def test_capacity_that_is_reserved_is_taken_until_the_poll_returns(self) -> None:
        holding = buffer(high=10)
        holding.reserve(HIGH, 7)
        assert holding.free_capacity(HIGH) == 3
        holding.fill(HIGH, 7, [Item(priority=HIGH)])
        assert holding.free_capacity(HIGH) == 9

    def test_a_poll_that_brings_nothing_frees_its_capacity(self) -> None:
        holding = buffer(high=10)
        holding.reserve(HIGH, 10)
        holding.fill(HIGH, 10, [])
        assert holding.free_capacity(HIGH) == 10

    def test_more_than_the_free_capacity_cannot_be_reserved(self) -> None:
        holding = buffer(low=10)
        fill(holding, Item(priority=LOW))
        holding.reserve(LOW, 4)
        with pytest.raises(BufferFullError, match="no room for 6 more of priority low: 5 left"):
            holding.reserve(LOW, 6)
        assert holding.free_capacity(LOW) == 5

    def test_more_than_was_reserved_is_refused(self) -> None:
        holding = buffer()
        holding.reserve(LOW, 1)
        with pytest.raises(BufferFullError, match="2 messages for a reservation of 1"):
            holding.fill(LOW, 1, [Item(priority=LOW), Item(priority=LOW)])
        assert (holding.held(LOW), holding.pop(0)) == (0, None)

    def test_a_message_that_waits_behind_its_group_takes_capacity(self) -> None:
        holding = buffer(medium=2)
        fill(holding, *batch("a", "a"))
        assert (holding.held(MEDIUM), holding.ready(MEDIUM), holding.free_capacity(MEDIUM)) == (2, 1, 0)
        holding.pop(0)
        assert (holding.held(MEDIUM), holding.free_capacity(MEDIUM)) == (1, 1)


class TestGroups:
    def test_a_group_has_one_message_in_progress_and_other_groups_pass_it(self) -> None:
        first, second, other = batch("a", "a", "b")
        holding = buffer()
        fill(holding, first, second, other)
        assert popped(holding) == [first, other]
        assert holding.advance(message_group("a"))
        assert popped(holding) == [second]

    def test_a_group_without_waiting_messages_starts_its_next_one_at_once(self) -> None:
        holding = buffer()
        fill(holding, *batch("a"))
        holding.pop(0)
        assert not holding.advance(message_group("a"))
        [later] = batch("a")
        fill(holding, later)
        assert holding.pop(0) == later

    def test_a_groups_batch_is_processed_in_one_call(self) -> None:
        first, second, other = batch("a", "a", "b")
        holding = buffer()
        fill(holding, first, second, other)
        holding.pop(0)
        holding.advance(message_group("a"))
        assert popped(holding) == [second, other]

    def test_when_a_message_is_released_those_behind_it_are_released_in_order(self) -> None:
        first, second, other, third = batch("a", "a", "b", "a")
        holding = buffer()
        fill(holding, first, second, other, third)
        holding.pop(0)
        assert holding.drop(message_group("a")) == [second, third]
        assert holding.held(MEDIUM) == 1
        [again] = batch("a")
        fill(holding, again)
        assert popped(holding) == [other, again]

    def test_groups_of_the_same_name_in_two_queues_are_two_groups(self) -> None:
        one, other = Item(message_group=("one.fifo", "a")), Item(message_group=("other.fifo", "a"))
        holding = buffer()
        fill(holding, one, other)
        assert popped(holding) == [one, other]

    def test_a_group_that_progresses_does_not_hide_one_that_waits_too_long(self) -> None:
        """A group's next message may be received after others, and then waits behind them."""
        holding = buffer()
        first, other = *batch("a"), *batch("b", received_at=10)
        fill(holding, first, other)
        assert holding.pop(20) == first
        [later] = batch("a", received_at=60)
        fill(holding, later)
        holding.advance(message_group("a"))
        fill(holding, Item(priority=HIGH, received_at=60))
        assert holding.pop(71) == other

    def test_groups_that_advance_keep_their_order_of_receipt(self) -> None:
        holding = buffer()
        older, younger = batch("a", "a"), batch("b", "b", received_at=5)
        fill(holding, *older, *younger)
        assert popped(holding) == [older[0], younger[0]]
        holding.advance(message_group("a"))
        holding.advance(message_group("b"))
        assert popped(holding) == [older[1], younger[1]]


class TestEmptying:
    def test_all_messages_come_out_in_order_with_those_behind_a_busy_group_last(self) -> None:
        first, second, third = batch("a", "a", "b")
        low, high = Item(priority=LOW), Item(priority=HIGH)
        holding = buffer()
        fill(holding, low, first, second, third, high)
        assert holding.empty() == [high, first, third, low, second]
        assert holding.empty() == []
        assert [holding.held(priority) for priority in Priority] == [0, 0, 0]
        assert [holding.free_capacity(priority) for priority in Priority] == [10, 10, 10]

    def test_a_group_in_progress_may_end_after_the_buffer_was_emptied(self) -> None:
        holding = buffer()
        fill(holding, *batch("a", "a", "b", "b", "c"))
        holding.pop(0)
        holding.pop(0)
        holding.empty()
        assert not holding.advance(message_group("a"))
        assert holding.drop(message_group("b")) == []
        [again] = batch("c")
        fill(holding, again)
        assert holding.pop(0) == again


class CountingMessage:
    """A message that counts how often it is read."""

    looks = 0

    def __init__(self, priority: Priority, message_group: MessageGroup | None, received_at: float) -> None:
        self._fields = (priority, message_group, received_at)

    @property
    def priority(self) -> Priority:
        CountingMessage.looks += 1
        return self._fields[0]

    @property
    def message_group(self) -> MessageGroup | None:
        CountingMessage.looks += 1
        return self._fields[1]

    @property
    def received_at(self) -> float:
        CountingMessage.looks += 1
        return self._fields[2]

    @property
    def size_bytes(self) -> int:
        CountingMessage.looks += 1
        return 1


def message_groups(size: int, grouped: bool) -> Iterable[MessageGroup | None]:
    """Ten messages to a group, one after the other, as SQS delivers them."""
    return (message_group(str(number // 10)) if grouped else None for number in range(size))


def worked_off(size: int, *, grouped: bool, now: float) -> tuple[float, float]:
    """Reads and seconds for each message from its receipt to its end, with `size` of them held."""
    holding: MessageBuffer[CountingMessage] = MessageBuffer(dict.fromkeys(Priority, size))
    messages: Sequence[CountingMessage] = [
        CountingMessage(MEDIUM, of, float(number)) for number, of in enumerate(message_groups(size, grouped))
    ]
    CountingMessage.looks, began = 0, time.perf_counter()
    holding.reserve(MEDIUM, size)
    holding.fill(MEDIUM, size, messages)
    for _ in range(size):
        message = holding.pop(now)
        assert message is not None
        if message.message_group is not None:
            holding.advance(message.message_group)
    assert holding.pop(now) is None
    return CountingMessage.looks / size, (time.perf_counter() - began) / size


@pytest.mark.parametrize(("grouped", "now"), [(False, 0.0), (True, 1e9)])
def test_a_message_costs_the_same_among_a_hundred_and_among_a_hundred_thousand(
    grouped: bool, now: float
) -> None:
    few = [worked_off(100, grouped=grouped, now=now) for _ in range(20)]
    [(looks, seconds)] = [worked_off(100_000, grouped=grouped, now=now)]
    assert looks == pytest.approx(few[0][0], rel=0.05)
    # What grows with the number held would take hundreds of times as long.
    assert seconds < 20 * max(seconds for _, seconds in few)


class TestBatches:
    ONE, THREE = BatchRule(), BatchRule(size=3, wait_s=5.0)

    def test_one_at_a_time_is_a_batch_of_one_due_at_once(self) -> None:
        holding = buffer()
        assert holding.pop_batch(0.0, self.ONE) == []
        assert not holding.due(0.0, self.ONE)
        first, second = Item(), Item()
        fill(holding, first, second)
        assert holding.due(0.0, self.ONE)
        assert holding.pop_batch(0.0, self.ONE) == [first]

    def test_a_batch_is_due_when_it_is_full_has_waited_or_cannot_grow(self) -> None:
        holding = buffer()
        items = [Item(), Item()]
        fill(holding, *items)
        assert holding.pop_batch(4.9, self.THREE) == []
        assert holding.due(4.9, self.THREE, {"queue"})
        assert holding.due(5.0, self.THREE)
        assert holding.pop_batch(4.9, self.THREE, {"queue"}) == items

    def test_a_queue_holds_groups_until_the_last_of_them_has_ended(self) -> None:
        holding = buffer()
        url, _ = message_group()
        assert not holding.holds_groups(url)
        fill(holding, Item(message_group=message_group()))
        assert holding.holds_groups(url)
        holding.pop(0.0)
        assert holding.holds_groups(url)
        holding.advance(message_group())
        assert not holding.holds_groups(url)
