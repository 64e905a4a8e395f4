"""The buffer in every interleaving of receipts, starts and ends, compared with a plain and slow model."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sluice_worker.core.batch import BatchRule
from sluice_worker.core.model import Priority
from sluice_worker.core.priority_buffer import (
    MessageBuffer,
    MessageGroup,
)
from tests.worker.core.builders import Item

LIMITS = {Priority.HIGH: 4, Priority.MEDIUM: 7, Priority.LOW: 5}
AGED_AFTER_S = 60
ORDER = list(Priority)
GROUPS: st.SearchStrategy[list[str | None]] = st.lists(st.sampled_from([None, "a", "b"]), max_size=5)
FIND = (Phase.generate,)
"""A broken buffer must be detected; its smallest example is not needed."""


class BufferMachine(RuleBasedStateMachine):
    """Tracks for every message whether it is held, in progress, or gone."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer: MessageBuffer[Item] = MessageBuffer(LIMITS, aged_after_s=AGED_AFTER_S)
        self.now = 0.0
        self.held: list[Item] = []
        """In order of receipt."""
        self.at_work: list[Item] = []
        self.reserved = dict.fromkeys(Priority, 0)
        self.last_started: dict[MessageGroup, int] = {}

    # ---- what happens --------------------------------------------------------------------------------------

    @rule(priority=st.sampled_from(Priority), count=st.integers(1, 4))
    def begin_a_poll(self, priority: Priority, count: int) -> None:
        count = min(count, self.buffer.free_capacity(priority))
        self.buffer.reserve(priority, count)
        self.reserved[priority] += count

    @precondition(lambda self: any(self.reserved.values()))
    @rule(data=st.data(), groups=GROUPS)
    def end_a_poll(self, data: st.DataObject, groups: list[str | None]) -> None:
        priority = data.draw(st.sampled_from([each for each in ORDER if self.reserved[each]]))
        self.bring(priority, self.reserved[priority], groups[: self.reserved[priority]])
        self.reserved[priority] = 0

    @rule(priority=st.sampled_from(Priority), groups=GROUPS)
    def poll(self, priority: Priority, groups: list[str | None]) -> None:
        room = self.buffer.free_capacity(priority)
        self.buffer.reserve(priority, room)
        self.bring(priority, room, groups[:room])

    def bring(self, priority: Priority, reserved: int, groups: list[str | None]) -> None:
        brought = [
            Item(
                priority=priority,
                message_group=None if group is None else (priority.value, group),
                queue_url="standard" if group is None else priority.value,
                received_at=self.now,
                size_bytes=1000 + len(self.held),
            )
            for group in groups
        ]
        self.buffer.fill(priority, reserved, brought)
        self.held += brought

    @rule(seconds=st.sampled_from([1, 20, 59, 61]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def pop(self) -> None:
        popped, ready = self.buffer.pop(self.now), self.ready()
        if popped is None:
            assert not ready, f"{ready} could begin"
            return
        assert popped in ready, f"{popped} is behind its group, or nobody's"
        oldest = min(item.received_at for item in ready)
        if self.now - oldest > AGED_AFTER_S:
            assert popped.received_at == oldest, "an older one had to be first"
        else:
            most_urgent = min(ORDER.index(item.priority) for item in ready)
            assert ORDER.index(popped.priority) == most_urgent, "a more urgent one had to be first"
        same = [item for item in ready if item.priority is popped.priority]
        assert popped.received_at == min(item.received_at for item in same), "received after others"
        if popped.message_group is None:
            assert popped == min(
                (item for item in same if item.message_group is None), key=lambda item: item.number
            )
        if popped.message_group is not None:
            assert self.last_started.get(popped.message_group, -1) < popped.number, "the group went backwards"
        self.began(popped)

    def began(self, item: Item) -> None:
        if item.message_group is not None:
            self.last_started[item.message_group] = item.number
        self.held.remove(item)
        self.at_work.append(item)

    @rule(size=st.integers(2, 4), wait_s=st.sampled_from([0, 20]))
    def pop_batch(self, size: int, wait_s: int) -> None:
        batch_rule = BatchRule(size=size, wait_s=wait_s)
        due, due_at, ready = (
            self.buffer.due(self.now, batch_rule),
            self.buffer.due_at(batch_rule),
            self.ready(),
        )
        assert due_at == min((item.received_at for item in ready), default=math.inf) + wait_s
        batch = self.buffer.pop_batch(self.now, batch_rule)
        assert bool(batch) == due
        if not batch:
            assert self.now < due_at or not ready, "it is due"
            return
        assert len(batch) == size or batch[0].received_at <= self.now - wait_s, "neither full nor waited for"
        assert len(batch) <= size
        assert len({item.queue_url for item in batch}) == 1
        for item in batch:
            group = [
                other
                for other in self.held
                if item.message_group is not None and other.message_group == item.message_group
            ]
            before = group[: group.index(item)] if group else []
            assert batch[: batch.index(item)].count(item) == 0
            assert all(other in batch[: batch.index(item)] for other in before), (
                "one of its group is before it"
            )
            assert item in ready or item.message_group in {
                other.message_group for other in batch if other in ready
            }
        for item in batch:
            self.began(item)

    @precondition(lambda self: self.at_work)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        done = data.draw(st.sampled_from(self.at_work))
        self.at_work.remove(done)
        if done.message_group is not None:
            others = any(item.message_group == done.message_group for item in self.at_work)
            follows = not others and any(item.message_group == done.message_group for item in self.held)
            assert self.buffer.advance(done.message_group) == follows

    @precondition(lambda self: any(item.message_group for item in self.at_work))
    @rule(data=st.data())
    def go_back(self, data: st.DataObject) -> None:
        failed = data.draw(st.sampled_from([item for item in self.at_work if item.message_group is not None]))
        assert failed.message_group is not None
        behind = [item for item in self.held if item.message_group == failed.message_group]
        assert self.buffer.drop(failed.message_group) == behind
        self.at_work.remove(failed)
        self.held = [item for item in self.held if item not in behind]

    @rule()
    def empty(self) -> None:
        out = self.buffer.empty()
        assert sorted(out, key=lambda item: item.number) == sorted(self.held, key=lambda item: item.number)
        for message_group in {item.message_group for item in self.held if item.message_group is not None}:
            assert [item for item in out if item.message_group == message_group] == [
                item for item in self.held if item.message_group == message_group
            ]
        self.held = []

    # ---- what always holds ---------------------------------------------------------------------------------

    @invariant()
    def no_priority_takes_anothers_room(self) -> None:
        for priority, limit in LIMITS.items():
            taken = sum(item.priority is priority for item in self.held) + self.reserved[priority]
            assert taken <= limit
            assert self.buffer.free_capacity(priority) == limit - taken

    @invariant()
    def what_is_held_is_counted(self) -> None:
        for priority in Priority:
            held = [item for item in self.held if item.priority is priority]
            assert self.buffer.held(priority) == len(held)
            assert self.buffer.held_bytes(priority) == sum(item.size_bytes for item in held)

    def ready(self) -> list[Item]:
        """The messages that may start: all without a group, and the first of each group with none in
        progress.
        """
        blocked = {item.message_group for item in self.at_work}
        ready = []
        for item in self.held:
            if item.message_group is None or item.message_group not in blocked:
                ready.append(item)
                blocked.add(item.message_group)
        return ready


def test_no_interleaving_loses_doubles_or_reorders_a_message() -> None:
    run_state_machine_as_test(BufferMachine, settings=settings(max_examples=50, stateful_step_count=50))


def broken_pop(buffer: MessageBuffer[Any], now: float) -> Any:
    """The newest of the most urgent that are ready."""
    for ready in buffer._ready.values():
        if ready:
            buffer._held[ready[-1].priority] -= 1
            return ready.pop()
    return None


def broken_advance(buffer: MessageBuffer[Any], message_group: MessageGroup) -> bool:
    """All of a group's messages at once."""
    waiting = list(buffer._waiting[message_group])
    buffer._waiting[message_group].clear()
    for message in waiting:
        buffer._ready[message.priority].append(message)
    return bool(waiting)


def broken_drop(buffer: MessageBuffer[Any], message_group: MessageGroup) -> list[Any]:
    """The capacity of returned messages is never freed."""
    dropped = list(buffer._waiting.pop(message_group))
    if not buffer._record_ended(message_group):
        buffer._waiting[message_group] = deque()
    return dropped


def broken_pop_batch(buffer: MessageBuffer[Any], now: float, batch_rule: BatchRule) -> list[Any]:
    """A group's message starts while the previous one is in progress."""
    return [one for _ in range(batch_rule.size) if (one := MessageBuffer.pop(buffer, now)) is not None]


@pytest.mark.parametrize(
    ("method", "broken"),
    [
        ("pop", broken_pop),
        ("advance", broken_advance),
        ("drop", broken_drop),
        ("pop_batch", broken_pop_batch),
    ],
)
def test_the_state_machine_detects_a_broken_buffer(
    method: str, broken: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MessageBuffer, method, broken)
    with pytest.raises((AssertionError, ValueError)):
        run_state_machine_as_test(
            BufferMachine,
            settings=settings(max_examples=200, stateful_step_count=60, phases=FIND),
        )
